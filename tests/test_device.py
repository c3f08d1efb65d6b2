"""Which device and number type are taken, and what happens when memory runs out."""

from __future__ import annotations

import contextlib

import pytest
import torch

from matting_anything_core import DeviceError
from matting_anything_core.device import autocast, in_chunks, is_out_of_memory, resolve_device, resolve_dtype

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda", 0), torch.device("mps")


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have devices; only the choice is tested, nothing runs on them."""
    def pretend(*, cuda=0, mps=False, bf16=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


def test_auto_is_cuda_then_mps_then_the_cpu(machine):
    machine(cuda=2, mps=True)
    assert resolve_device() == CUDA
    machine(mps=True)
    assert resolve_device("auto") == MPS
    machine()
    assert resolve_device("auto") == CPU


def test_named_devices(machine):
    machine(cuda=2, mps=True)
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda") == CUDA
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device(torch.device("cuda")) == CUDA
    assert resolve_device("mps") == MPS
    assert resolve_device(torch.device("meta")) == torch.device("meta")  # a host's own kind is its business
    with pytest.raises(DeviceError, match="there are 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "gpu", "", "cuda:x", "meta", "AUTO", 5, None])
def test_devices_that_are_not_there(machine, device):
    machine()
    with pytest.raises(DeviceError):
        resolve_device(device)


def test_number_types(machine):
    machine(cuda=1, mps=True)
    assert resolve_dtype() == torch.float32
    assert resolve_dtype("auto", CPU) == torch.float32
    assert resolve_dtype("auto", MPS) == torch.float32
    assert resolve_dtype("auto", CUDA) == torch.bfloat16
    machine(cuda=1, bf16=False)
    assert resolve_dtype("auto", CUDA) == torch.float16
    assert resolve_dtype("float16", MPS) == torch.float16
    assert resolve_dtype(torch.bfloat16, CPU) == torch.bfloat16
    for dtype, device in (("float64", MPS), (torch.float64, CPU), ("half", CUDA), ("float16", CPU), ("bfloat16", MPS)):
        with pytest.raises(DeviceError):
            resolve_dtype(dtype, device)


def test_autocast_computes_in_the_wanted_type_whatever_surrounds_it():
    a = torch.rand(4, 4)
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with autocast(CPU, torch.float32):
            assert (a @ a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32
    assert isinstance(autocast(MPS, torch.float32), contextlib.nullcontext)


def test_real_errors_of_memory_are_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))
    assert is_out_of_memory(RuntimeError("Invalid buffer size: 24.00 GB"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def rows_up_to(limit, calls):
    """Really asks for more memory than there is when given more than `limit` rows."""
    def function(start, stop):
        calls.append((start, stop))
        if stop - start > limit:
            torch.empty(1 << 46)
        return list(range(start, stop))

    return function


def test_chunks_are_halved_until_they_fit():
    calls = []
    found = list(in_chunks(rows_up_to(3, calls), 20, 16, device=CPU))
    assert [row for rows in found for row in rows] == list(range(20))
    assert calls[:4] == [(0, 16), (0, 8), (0, 4), (0, 2)]
    assert all(stop - start <= 2 for start, stop in calls[3:])
    assert list(in_chunks(rows_up_to(3, calls), 0, 16, device=CPU)) == []


def test_when_nothing_fits_the_error_says_what_to_do():
    calls = []
    with pytest.raises(DeviceError, match=r"prompts are taken one at a time.*smaller model"):
        list(in_chunks(rows_up_to(0, calls), 5, 4, device=CPU))
    assert calls == [(0, 4), (0, 2), (0, 1)]


def test_other_errors_pass():
    def function(start, stop):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        list(in_chunks(function, 5, 4, device=CPU))
    with pytest.raises(ValueError, match="at least 1"):
        list(in_chunks(function, 5, 0, device=CPU))
