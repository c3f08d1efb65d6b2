"""Memory that runs out ends in a DeviceError with numbers, however it shows."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from matting_anything_core import DeviceError, MattingError, startup
from matting_anything_core.cli import status_of
from matting_anything_core.device import working
from matting_anything_core.memory import (
    asked_for,
    free_memory,
    in_words,
    is_out_of_memory,
    memory_errors,
    shortage,
    total_memory,
)

CPU = torch.device("cpu")
HUGE = 1 << 46


def numpy_fails():
    np.empty(HUGE, np.float64)


def torch_fails():
    torch.empty(HUGE)


def opencv_fails():
    cv2.resize(np.zeros((2, 2), np.float32), (1 << 30, 1 << 30))


def python_fails():
    bytearray(1 << 50)


@pytest.mark.parametrize("fails", [numpy_fails, torch_fails, opencv_fails, python_fails])
def test_real_errors_become_device_errors(fails):
    with pytest.raises(DeviceError, match=r"^matting needs .*memory.*; .* has \d.* free; close other") as caught, \
            working(CPU, "matting"):
        fails()
    assert isinstance(caught.value.__cause__, Exception)
    if fails is not python_fails:  # which does not say for how much it was asked
        assert "at least" in str(caught.value)


@pytest.mark.parametrize(("error", "nbytes"), [
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"), 2 << 30),
    (MemoryError("Unable to allocate 512. MiB for an array with shape"), 512 << 20),
    (MemoryError("Unable to allocate 512 MiB for an array with shape"), 512 << 20),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12345 bytes."), 12345),
    (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB). Tried to allocate 3 GB on private pool"), 3 << 30),
    (RuntimeError("could not create a primitive"), None),
    (OSError("libtorch_cpu.so: failed to map segment from shared object"), None),
    (ImportError("libtorch_cpu.so: cannot allocate memory in static TLS block"), None),
    (MemoryError(), None), (OSError(12, "Cannot allocate memory"), None),
])
def test_what_errors_say(error, nbytes):
    assert is_out_of_memory(error)
    assert asked_for(error) == nbytes or nbytes is None
    with pytest.raises(DeviceError, match="work needs"), memory_errors("work"):
        raise error


@pytest.mark.parametrize("error", [
    RuntimeError("size mismatch"), ValueError("out of memory"), ImportError("no module named x"), KeyError("memory"),
    DeviceError("cuda:0 is out of memory"), FileNotFoundError(2, "No such file"),
    FileNotFoundError(2, "No such file", "out of memory.png"),
    OSError("cannot identify image file 'out of memory.png'"),
    RuntimeError("unable to open file </photos/not enough memory/lite.pt> in read-only mode: No such file"),
])
def test_other_errors_pass(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as caught, memory_errors("work"):
        raise error
    assert caught.value is error


def test_what_ran_out_is_let_go_of():
    """A caller who catches the error has the memory back."""
    array = np.zeros(10)
    gone = weakref.ref(array)

    def work(held):  # a local of a frame that the error's traceback holds
        raise MemoryError(str(len(held)))

    caught = None
    try:
        with memory_errors("work"):
            work(array)
    except DeviceError as error:
        caught = error
    del array
    gc.collect()
    assert gone() is None
    assert "work needs" in str(caught)


def test_the_numbers_are_those_of_the_system():
    room = free_memory()
    assert 0 < room.free <= room.total
    assert room.total <= total_memory() * 1.01 or room.bound == "the machine"  # with swap, which the latter leaves out
    assert [in_words(n) for n in (0, 12_300_000, 3_240_000_000, 640e12)] == ["1 MB", "12 MB", "3.2 GB", "640.0 TB"]
    assert "on cuda:1; use less" in str(shortage("it", 5_000_000_000, advice="use less", memory="cuda:1"))


needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from matting_anything_core import MattingError
try:
    {code}
except MattingError as error:
    print(type(error).__name__, error)
"""


def limited(code, limit):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", LIMITED.format(code=code, limit=limit)], env=environment,
                          capture_output=True, text=True, check=False)


@needs_limits
@pytest.mark.parametrize("limit", [200_000_000, 700_000_000, 1_500_000_000])
@pytest.mark.parametrize("code", ["from matting_anything_core import matte", "import matting_anything_core.api"])
def test_imports_that_find_no_room_say_how_much_they_need(code, limit):
    if startup.needed() < 2e9 and limit > 6e8:
        pytest.skip("torch's build for CPUs fits into that")
    done = limited(code, limit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("DeviceError loading torch and matting with it needs at least ")
    assert f"(ulimit -v) has {in_words(limit)}, " in done.stdout
    assert "raise the limit" in done.stdout


@needs_limits
def test_a_command_under_a_limit_ends_in_one_line(tmp_path):
    command = f"ulimit -v 900000; exec {sys.executable} -m matting_anything_core.cli demo --out {tmp_path / 'out'}"
    if startup.needed() < 2e9:
        pytest.skip("torch's build for CPUs fits into that")
    done = subprocess.run(["bash", "-c", command], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == status_of(DeviceError())
    assert done.stderr.count("\n") == 1
    assert "needs at least" in done.stderr
    assert "ulimit -v" in done.stderr


@needs_limits
def test_matting_under_a_limit_says_how_much_it_needs():
    """The limit is put where everything is loaded, so that it is the work that finds no room."""
    tests = Path(__file__).parents[1]
    code = """
import resource, numpy as np
from tiny import picture, tiny_model
from matting_anything_core import MattingError, Prompt
model, rgb = tiny_model(), picture(6000, 8000)
small = model.matte(model.embed(rgb[:90, :120]), [Prompt(box=(20, 10, 100, 80))])
used = 4096 * int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
try:
    model.matte(model.embed(rgb), [Prompt(box=(200, 100, 7800, 5900))])
except MattingError as error:
    print(type(error).__name__, error)
again = model.matte(model.embed(rgb[:90, :120]), [Prompt(box=(20, 10, 100, 80))])
print(np.array_equal(small[0].alpha, again[0].alpha))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    error, again = done.stdout.splitlines()
    assert error.startswith("DeviceError ")
    assert "ulimit -v" in error
    assert again == "True"  # and smaller work goes on


@needs_limits
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_sparse_file_of_weights(tmp_path, suffix):
    """Twenty gigabytes of nothing behind a sound beginning."""
    path = tmp_path / f"sparse.{suffix}"
    if suffix == "pth":
        torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    else:
        header = b'{"a":{"dtype":"F32","shape":[5000000000],"data_offsets":[0,20000000000]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 20_000_000_000 + (8 + len(header) if suffix == "safetensors" else 0))
    done = limited(f"from matting_anything_core import load_model; load_model({str(path)!r}, device='cpu')", 8 << 30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("DeviceError ", "WeightsError "))
    assert f"sparse.{suffix}" in done.stdout


def test_errors_of_this_library_keep_their_kind():
    class OwnError(MattingError):
        pass

    with pytest.raises(OwnError), working(CPU, "matting"):
        raise OwnError("out of memory")
