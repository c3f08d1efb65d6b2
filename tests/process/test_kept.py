"""The one model that `matte` keeps: loaded once, and anew when its file is another one."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny import picture

from matting_anything_core import WeightsError, api, matte
from matting_anything_core.kept import Kept, stamp
from matting_anything_core.weights.convert import write_model
from matting_anything_core.weights.store import bundled_path, open_checkpoint


class Thing:
    """Something that weak references can be made to."""


def test_many_threads_make_it_once():
    kept, made, together = Kept(), [], threading.Barrier(8)

    def make():
        made.append(1)
        time.sleep(0.1)
        return Thing()

    def ask(_number):
        together.wait()
        return kept.get("a", (), make)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(made) == 1
    assert all(one is found[0] for one in found)


def test_another_key_takes_its_place_and_the_old_one_goes_first():
    kept = Kept()
    first = weakref.ref(kept.get("a", (), Thing))

    def make():
        gc.collect()
        assert first() is None  # memory need not hold both
        return Thing()

    second = kept.get("b", (), make)
    assert kept.get("b", (), make) is second
    assert kept.get("a", (), Thing) is not second


def test_what_fails_is_not_kept():
    kept = Kept()
    kept.get("a", (), Thing)

    def fails():
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            kept.get("b", (), fails)
    assert isinstance(kept.get("b", (), Thing), Thing)


def test_files_that_change(tmp_path):
    kept, file = Kept(), tmp_path / "a"
    assert stamp(file) is None
    first = kept.get("a", [file], Thing)
    assert kept.get("a", [file], Thing) is first  # still not there
    file.write_bytes(b"1234")
    second = kept.get("a", [file], Thing)
    assert second is not first
    assert kept.get("a", [file], Thing) is second
    status = file.stat()
    (tmp_path / "b").write_bytes(b"5678")
    os.utime(tmp_path / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "b").replace(file)  # same size, same time, another file
    third = kept.get("a", [file], Thing)
    assert third is not second
    file.write_bytes(b"56789")  # overwritten in place
    assert kept.get("a", [file], Thing) is not third


@pytest.fixture
def own(tmp_path):
    """A copy of the bundled model."""
    return shutil.copy(bundled_path(), tmp_path / "own.safetensors")


def test_matte_notices_that_a_model_was_replaced(own, tmp_path, monkeypatch):
    rgb, box = picture(90, 120), (20, 10, 100, 80)
    loads = []
    load = api.load_model
    monkeypatch.setattr(api, "load_model", lambda *args, **keywords: loads.append(args) or load(*args, **keywords))
    api._MODEL.forget()
    first = matte(rgb, box, model=own).alpha
    assert np.array_equal(matte(rgb, box, model=own).alpha, first)
    assert len(loads) == 1
    checkpoint = open_checkpoint(own)
    changed = {name: -value if name.startswith("mask_decoder.output_hyper") else value
               for name, value in checkpoint.sam.items()}
    write_model(tmp_path / "new.safetensors", sam=changed, m2m=checkpoint.m2m, metadata=checkpoint.metadata)
    os.replace(tmp_path / "new.safetensors", own)
    assert not np.array_equal(matte(rgb, box, model=own).alpha, first)
    assert len(loads) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deeper").mkdir()
    matte(rgb, box, model="own.safetensors")
    monkeypatch.chdir(tmp_path / "deeper")
    with pytest.raises(WeightsError, match="does not exist"):  # a relative path is another file in another folder
        matte(rgb, box, model="own.safetensors")
    os.truncate(own, 1_000_000)
    with pytest.raises(WeightsError, match="truncated"):
        matte(rgb, box, model=own)


def test_eight_first_calls_load_once(monkeypatch):
    rgb, box = picture(90, 120), (20, 10, 100, 80)
    loads = []
    load = api.load_model
    monkeypatch.setattr(api, "load_model", lambda *args, **keywords: loads.append(args) or load(*args, **keywords))
    api._MODEL.forget()
    with ThreadPoolExecutor(8) as pool:
        alphas = list(pool.map(lambda _: matte(rgb, box, device="cpu").alpha, range(8)))
    assert len(loads) == 1
    assert all(np.array_equal(alpha, alphas[0]) for alpha in alphas)
