"""What could be faster on a card, tried side by side: kernels for attention with relative positions, and CUDA graphs.

Numbers to decide by; nothing here is part of the library.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_models import Networks
from gpu_stages import name_of
from torch import Tensor
from torch.nn import functional as F

from matting_anything_core.device import autocast
from matting_anything_core.networks import attention as ours

BACKENDS = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")


def milliseconds(work: Callable[[], Any], device: torch.device, seconds: float = 0.3, least: int = 5) -> float:
    """Median time of some work, after two turns that don't count."""
    cuda = device.type == "cuda"
    spent: list[float] = []
    until = time.monotonic() + seconds
    while len(spent) < least + 2 or time.monotonic() < until:
        if cuda:
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            stop.record()
            stop.synchronize()
            spent.append(start.elapsed_time(stop))
        else:
            before = time.perf_counter()
            work()
            spent.append((time.perf_counter() - before) * 1000)
    return statistics.median(spent[2:])


@torch.inference_mode()
def attention(networks: Networks, dtype: torch.dtype, seconds: float = 0.3) -> list[dict[str, Any]]:
    """One block over the whole image, and one over windows, of a ViT: q and k with the relative positions appended (the
    library's way), the same with v widened so that kernels which want like widths can run, and the positions as a mask;
    each with every kernel that torch has for it. off: the largest difference to float32."""
    device = networks.model.device
    found = []
    for block in {bool(block.window_size): block for block in networks.sam.image_encoder.blocks}.values():
        layer, grid = block.attn, networks.sam.grid
        side, heads = block.window_size or grid, layer.num_heads
        count = 1 if not block.window_size else (-(-grid // side)) ** 2
        width = layer.qkv.in_features // heads
        generator = torch.Generator("cpu").manual_seed(0)
        full = torch.randn((3, count, heads, side * side, width), generator=generator).to(device)
        exact = _masked(layer, *full, side)()
        q, k, v = full.to(dtype)
        ways = {"appended": _appended(layer, q, k, v, side), "appended, v widened": _widened(layer, q, k, v, side),
                "mask": _masked(layer, q, k, v, side)}
        for way, work in ways.items():
            for backend in BACKENDS if device.type == "cuda" else ("MATH",):
                row = {"model": networks.name, "block": "windows" if block.window_size else "whole", "way": way,
                       "kernel": backend, "dtype": name_of(dtype)}
                try:
                    with _only(backend):
                        off = float((work().float() - exact).abs().max())
                        found.append({**row, "ms": milliseconds(work, device, seconds), "off": off})
                except RuntimeError as error:
                    found.append({**row, "failed": str(error).splitlines()[0][:120]})
    return found


def _only(backend: str) -> Any:
    """Nothing but this kernel; in this program alone, the library changes no such setting."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel([getattr(SDPBackend, backend)]) if hasattr(SDPBackend, backend) else contextlib.nullcontext()


def _appended(layer: Any, q: Tensor, k: Tensor, v: Tensor, side: int) -> Callable[[], Tensor]:
    places: dict[tuple[int, int], Tensor] = {}
    return lambda: ours._fused_attention(layer, q, k, v, side, side, places)


def _widened(layer: Any, q: Tensor, k: Tensor, v: Tensor, side: int) -> Callable[[], Tensor]:
    places: dict[tuple[int, int], Tensor] = {}
    width = v.shape[-1]

    def work() -> Tensor:
        more = q.shape[-1] + 2 * side + (-(q.shape[-1] + 2 * side) % 8)
        return ours._fused_attention(layer, q, k, F.pad(v, (0, more - width)), side, side, places)[..., :width]

    return work


def _masked(layer: Any, q: Tensor, k: Tensor, v: Tensor, side: int) -> Callable[[], Tensor]:
    def work() -> Tensor:
        by_row, by_column = ours._bias_factors(layer, q.flatten(0, 1), side, side)
        bias = (by_row[..., :, None] + by_column[..., None, :]).view(*q.shape[:3], -1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=layer.scale)

    return work


@torch.inference_mode()
def graphs(networks: Networks, dtype: torch.dtype, seconds: float = 0.5) -> list[dict[str, Any]]:
    """Encoder and decoder for one image as they are, and replayed from a CUDA graph: the difference is what launching
    the kernels costs. Off a card the first time alone."""
    device, sam = networks.model.device, networks.sam
    pixels = torch.randn((1, 3, sam.square, sam.square), device=device)
    features = torch.randn((1, 256, sam.grid, sam.grid), device=device)
    box = torch.tensor([[0.2, 0.2, 0.8, 0.7]], device=device) * sam.square

    def encode() -> Tensor:
        with autocast(device, dtype):
            return sam.encode(pixels)

    def decode() -> Tensor:
        with autocast(device, dtype):
            return sam.decode(features, boxes=box)[0]

    found = []
    for name, work in (("encode", encode), ("decode", decode)):
        row: dict[str, Any] = {"model": networks.name, "stage": name, "dtype": name_of(dtype),
                               "eager_ms": milliseconds(work, device, seconds)}
        if device.type == "cuda":
            try:
                row["graph_ms"] = milliseconds(_captured(work), device, seconds)
            except RuntimeError as error:
                row["failed"] = str(error).splitlines()[0][:120]
        found.append(row)
    return found


def _captured(work: Callable[[], Any]) -> Callable[[], None]:
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
