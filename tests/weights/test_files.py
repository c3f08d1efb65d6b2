"""Whatever a file holds, it is read or refused with a WeightsError that names it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matting_anything_core import WeightsError
from matting_anything_core.weights.files import read_file
from matting_anything_core.weights.recognise import recognise
from matting_anything_core.weights.store import open_checkpoint

MANY = settings(max_examples=60, deadline=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


class Bomb:
    """Would make a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(("content", "says"), [
    (b"", "is empty"),
    (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    (b"\n  <html>", "web page"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG picture"),
    (b"\xff\xd8\xff\xe0" + bytes(100), "JPEG picture"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    (zipped(readme="hello"), "zip archive without a torch checkpoint"),
    (zipped(readme="hello" * 100)[:300], "truncated or damaged"),
    (pickle.dumps({"a": 1}), "pickle that torch did not write"),
    (b"\x1f\x8b" + bytes(100), "unpack it first"),
    (b'{"state_dict": {}}', "JSON"),
    (bytes(1000), "neither safetensors nor a torch checkpoint"),
    (struct.pack("<Q", 5000) + b'{"a":{"dtype":"F32"', "header alone is longer"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_other_kinds_of_files_are_named(tmp_path, content, says):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"model\.pth.*{says}"):
        read_file(path)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    for new in (True, False):
        torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Bomb(made)}, path, _use_new_zipfile_serialization=new)
        with pytest.raises(WeightsError, match=r"evil\.pth holds Python objects besides tensors"):
            read_file(path)
        assert not made.exists()
    path.write_bytes(pickle.dumps(Bomb(made)))
    with pytest.raises(WeightsError, match=r"evil\.pth is a Python pickle"):
        read_file(path)
    assert not made.exists()


def test_what_is_no_regular_file_is_named(tmp_path, files):
    link = tmp_path / "link.pth"
    link.symlink_to(files["m2m"])
    assert "refine_OS1.0.weight" in read_file(link).tensors  # hosts share models by links: sound ones are followed
    link.unlink()
    link.symlink_to(tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match=r"link\.pth is a link to .*gone\.pth, which does not exist"):
        read_file(link)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(WeightsError, match=r"link\.pth cannot be read"):
        read_file(link)
    with pytest.raises(WeightsError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(WeightsError, match=r"none\.pth does not exist"):
        read_file(tmp_path / "none.pth")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="no regular file"):
        read_file(tmp_path / "pipe")


@pytest.mark.parametrize("tensor", [
    torch.zeros(4, 4).to_sparse(),
    torch.zeros(4, dtype=torch.complex64),
    torch.zeros(4, dtype=torch.bool),
    torch.zeros(4, device="meta"),
], ids=["sparse", "complex", "bool", "meta"])
@pytest.mark.filterwarnings("ignore")
def test_odd_tensors_are_refused(tmp_path, tensor):
    path = tmp_path / "odd.pth"
    torch.save({"refine_OS1.0.weight": tensor}, path)
    with pytest.raises(WeightsError, match=r"odd\.pth"):
        read_file(path)


@pytest.mark.parametrize("loaded", [[], 5, {}, {"state_dict": {}}, {"state_dict": {"a": 1}}, {1: torch.zeros(1)}, "a"])
def test_checkpoints_without_named_tensors_are_refused(tmp_path, loaded):
    path = tmp_path / "none.pth"
    torch.save(loaded, path)
    with pytest.raises(WeightsError, match=r"none\.pth holds"):
        read_file(path)


def header(table, data=b""):
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("content", [
    header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
    header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
    header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
    header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, bytes(4)),
    header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(400)),
    header({"__metadata__": {"architecture": 5}}),
    header({}),
    struct.pack("<Q", 2) + b"{{" + bytes(8),
])
def test_headers_that_lie_are_refused(tmp_path, content):
    path = tmp_path / "lies.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"lies\.safetensors"):
        read_file(path)


@MANY
@given(content=st.binary(max_size=300), start=st.sampled_from([
    b"", b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"\x80\x02}", struct.pack("<Q", 40) + b"{",
]))
def test_random_bytes_are_refused(tmp_path, content, start):
    path = tmp_path / "random.pth"
    path.write_bytes(start + content)
    with pytest.raises(WeightsError, match=r"random\.pth"):
        open_checkpoint(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Small sound files, so that a change is likely to hit something that matters."""
    from matting_anything_core.weights.write import write_safetensors

    folder = tmp_path_factory.mktemp("small")
    tensors = {"refine_OS1.3.bias": torch.ones(1), "refine_OS1.0.weight": torch.ones(2, 3, dtype=torch.float16)}
    write_safetensors(folder / "a.safetensors", tensors, {"architecture": "vit_b"})
    torch.save({"state_dict": tensors, "iter": 5}, folder / "b.pth")
    torch.save({"state_dict": tensors, "iter": 5}, folder / "c.pth", _use_new_zipfile_serialization=False)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@MANY
@given(which=st.integers(0, 2), data=st.data())
def test_changed_and_cut_files_end_in_weights_errors_only(tmp_path, small, which, data):
    content = bytearray(small[which])
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.pth"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with pytest.raises(WeightsError, match=r"changed\.pth"):  # at the latest for lacking nearly all of Mask-to-Matte
        recognise(read_file(path))


@settings(MANY, max_examples=15)
@given(data=st.data())
def test_a_changed_header_of_a_whole_model_ends_in_a_checkpoint_or_a_weights_error(tmp_path, files, data):
    content = bytearray(files["model"].read_bytes())
    length = int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, length + 7))] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(WeightsError):
        assert open_checkpoint(path).architecture == "vit_tiny_test"
