"""How many threads compute, how they wait, and that both are this library's business only inside of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from tiny import picture, tiny_model

from matting_anything_core import DeviceError, load_model, threads
from matting_anything_core.model import MattingAnything
from matting_anything_core.threads import SPINS, at_most, cpu_quota, gentle_start, openmp

linux = pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")


@pytest.fixture
def four():
    """A program that computes with four threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@linux
def test_a_number_holds_inside_and_for_this_thread_only(four):
    seen = []
    with at_most(2):
        assert torch.get_num_threads() == 2
        for _ in range(2):
            thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
            thread.start()
            thread.join()
        with at_most(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
    assert seen == [4, 4]
    with pytest.raises(ValueError, match="no"), at_most(3):
        raise ValueError("no")
    assert torch.get_num_threads() == 4


@linux
def test_a_containers_share_counts_unless_the_user_says_otherwise(four, monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: 2)
    with at_most():
        assert torch.get_num_threads() == 2
    with at_most(3):
        assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with at_most():
        assert torch.get_num_threads() == 4
    monkeypatch.delenv("OMP_NUM_THREADS")
    for quota in (None, 8):
        monkeypatch.setattr(threads, "cpu_quota", lambda quota=quota: quota)
        with at_most():
            assert torch.get_num_threads() == 4


@pytest.mark.parametrize(("files", "expected"), [
    ({}, None),
    ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    ({"/sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
    ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, None),
    ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ({"/proc/self/cgroup": "0::/user/job\n", "/sys/fs/cgroup/user/cpu.max": "300000 100000",
      "/sys/fs/cgroup/user/job/cpu.max": "max 100000"}, 3),
    ({"/proc/self/cgroup": "4:cpu,cpuacct:/docker/a\n3:memory:/b\n",
      "/sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "5",
      "/sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "10"}, 1),
    ({"/sys/fs/cgroup/cpu.max": "what is this"}, None),
])
def test_quotas_are_read(files, expected, monkeypatch):
    def read(path):
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    monkeypatch.setattr(threads, "_read", read)
    assert cpu_quota.__wrapped__() == expected


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True, 100000])
def test_numbers_that_are_none(number):
    with pytest.raises(DeviceError, match=r"threads was given as .* from 1 to 1024"):
        load_model("lite", device="cpu", threads=number)


@linux
def test_a_model_computes_with_the_threads_it_was_given(four, monkeypatch):
    seen = []
    plain = MattingAnything.check

    def check(self, *args):
        seen.append(torch.get_num_threads())
        return plain(self, *args)

    monkeypatch.setattr(MattingAnything, "check", check)
    model = tiny_model()
    [first] = model.matte(model.embed(picture(90, 120)), [(20, 10, 100, 80)])
    monkeypatch.setattr(model, "threads", 1)
    [second] = model.matte(model.embed(picture(90, 120)), [(20, 10, 100, 80)])
    assert seen == [4, 1]
    assert torch.get_num_threads() == 4
    assert np.allclose(first.alpha, second.alpha, atol=1e-4)


@linux
def test_torchs_threads_sleep_soon_when_this_library_brings_them():
    code = """
import os, sys
import matting_anything_core
def waiting():
    return {name: value for name, value in os.environ.items() if "OMP" in name}
before = waiting()
matting_anything_core.load_model
assert waiting() == before
print(open("/proc/self/environ").read().count("GOMP"), bool(matting_anything_core.threads.openmp()))
"""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment["OMP_DISPLAY_ENV"] = "verbose"  # libgomp says what it was set to
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "0 True\n"
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in said.stderr
    for name, value in (("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "77")):
        said = subprocess.run([sys.executable, "-c", code], env={**environment, name: value}, capture_output=True,
                              text=True, check=True)
        assert f"{name} = '{value}'" in said.stderr


def test_nothing_is_set_where_torch_is_loaded_already(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    with gentle_start():
        assert "GOMP_SPINCOUNT" not in os.environ


@linux
def test_openmp_has_the_one_that_torch_uses(four):
    """Others are there too once a package that brings its own (scikit-learn, SciPy) has been imported."""
    changed = 0
    for runtime in openmp():
        torch.set_num_threads(4)
        runtime.omp_set_num_threads(3)
        changed += torch.get_num_threads() == 3
    assert changed == 1
