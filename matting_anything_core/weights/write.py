"""Writing safetensors: tensor by tensor, so that a file of gigabytes passes through little memory, with a checksum.

The format (github.com/huggingface/safetensors): eight bytes with the header's length, the header as JSON (name ->
type, shape, offsets; `__metadata__` -> texts), then the values. The library's own writer takes all tensors at once;
this one streams, and puts `data_sha256` into the metadata: over the table of tensors and the values, so that a copy
can be checked anywhere, without knowing where it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from ..replacing import replacing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHECKSUM = "data_sha256"
_BLOCK = 1 << 20

ShareCallback = Callable[[float], None]
"""Called with the share done, 0..1; may raise to cancel."""


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    progress: ShareCallback | None = None,
) -> Path:
    """Write tensors and metadata to `path`, under a temporary name first; `data_sha256` is added to the metadata.

    dtype: what floating-point tensors become; left out, they keep theirs, except float64, which becomes float32.
    Raises WeightsError for values that are not finite or do not fit into dtype, and when the disk refuses.
    """
    path = Path(path)
    names, table = _table(tensors, dtype)
    header = _header(table, {**metadata, CHECKSUM: "0" * 64})
    total = max(1, sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in table.values()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, synced=True) as file:
            digest = _start(table)
            file.write(header)
            for name in names:
                data = _bytes(path, name, tensors[name], _target(tensors[name], dtype))
                file.write(data)
                digest.update(data)
                if progress is not None:
                    progress(table[name]["data_offsets"][1] / total)
            file.seek(0)
            file.write(_header(table, {**metadata, CHECKSUM: digest.hexdigest()}))
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """The table of tensors, the metadata, and where the values start, of a safetensors file that opens."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        table = json.loads(file.read(length))
    return table, table.pop("__metadata__", None) or {}, 8 + length


def data_sha256(path: Path, *, progress: ShareCallback | None = None) -> str:
    """The checksum of what a safetensors file holds, as `write_safetensors` records it."""
    table, _, start = read_header(path)
    digest = _start(table)
    size = max(1, path.stat().st_size - start)
    done = 0
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done / size)
    return digest.hexdigest()


def file_sha256(path: Path, *, progress: ShareCallback | None = None) -> str:
    """sha256 of a whole file, read in blocks. Raises WeightsError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        size = max(1, path.stat().st_size)
        with path.open("rb") as file:
            done = 0
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(done / size)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _target(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    import torch

    if not tensor.is_floating_point():
        return tensor.dtype
    return dtype or (torch.float32 if tensor.dtype == torch.float64 else tensor.dtype)


def _table(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> tuple[list[str], dict[str, Any]]:
    """The order of the tensors (widest type first, so that all are aligned) and the header's entry for each."""
    import torch

    short = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32"}
    targets = {name: _target(tensor, dtype) for name, tensor in tensors.items()}
    names = sorted(tensors, key=lambda name: (-targets[name].itemsize, name))
    table: dict[str, Any] = {}
    offset = 0
    for name in names:
        end = offset + tensors[name].numel() * targets[name].itemsize
        table[name] = {"dtype": short[targets[name]], "shape": list(tensors[name].shape), "data_offsets": [offset, end]}
        offset = end
    return names, table


def _header(table: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    text = json.dumps({"__metadata__": dict(sorted(metadata.items())), **table}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _start(table: Mapping[str, Any]) -> hashlib._Hash:
    return hashlib.sha256(json.dumps(table, sort_keys=True, separators=(",", ":")).encode())


def _bytes(path: Path, name: str, tensor: Tensor, dtype: torch.dtype) -> bytes:
    import torch

    values = tensor.detach().cpu().to(dtype).contiguous()
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        if bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path} is not written: {name} has values beyond the range of {dtype}; "
                               "keep float32 or take bfloat16")
        raise WeightsError(f"{path} is not written: {name} holds NaN or infinite values")
    return values.reshape(-1).view(torch.uint8).numpy().tobytes()
