"""One file of weights in, its tensors and metadata out; everything that is not one is refused by name.

Files come from the network and from strangers. So: the kind is told from the content, never from the suffix;
safetensors are parsed by their own library; pickles go through torch's restricted unpickler only (weights_only), which
refuses everything that would run code. Whatever goes wrong ends in a WeightsError that says what to do.

Files of up to WHOLE bytes are read: whoever overwrites or truncates one later does no harm to who uses it. Larger ones
are mapped, so that processes share one copy and nothing is read twice; a mapped file that is truncated in place ends
the processes that use it (SIGBUS), so replace such a file by renaming a new one over it, as this library's own writers
and downloads do. A mapped file that is replaced stays as it was for who has it open.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import WeightsError
from ..memory import in_words, is_out_of_memory, memory_errors

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = 512 << 20
"""Files of at most so many bytes are read into memory (lite, ViT-B); larger ones are mapped (ViT-L, ViT-H)."""

Kind = Literal["safetensors", "torch zip", "torch legacy"]

_AGAIN = "get it again (matting-anything weights list shows what is published)"
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a WebP picture or another RIFF file"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull` where it came from"),
    (b"GGUF", "a GGUF file, which this library does not read"),
    (b"\x80", "a Python pickle that torch did not write; it is not opened, since pickles can run code"),
    (b"{", "a JSON text"),
)


@dataclass(frozen=True, eq=False)
class RawFile:
    """What stands in a file: named tensors, mapped from the disk when it is large, and text metadata."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def check_regular(path: Path) -> int:
    """The size in bytes of the regular file at `path`; links to one are followed.

    Raises WeightsError when there is none: missing, a folder, a dangling or circular link, a device.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise WeightsError(f"{path} is a link to {os.readlink(path)}, which does not exist") from None
        raise WeightsError(f"{path} does not exist; check the path, or `matting-anything weights list`") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(status.st_mode):
        raise WeightsError(f"{path} is a folder; give the file of weights in it")
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{path} is no regular file; give a .safetensors or .pth file")
    return status.st_size


def kind_of(path: Path) -> Kind:
    """What kind of weights file it is, by its content. Raises WeightsError, naming what it is instead."""
    size = check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    if not head:
        raise WeightsError(f"{path} is empty; {_AGAIN}")
    if head.startswith(b"PK\x03\x04"):
        _check_torch_zip(path)
        return "torch zip"
    if head.startswith(_LEGACY_MAGIC):
        return "torch legacy"
    if head[8:9] == b"{":
        length = int.from_bytes(head[:8], "little")
        if length <= size - 8:
            return "safetensors"
        if length < 1 << 30:
            raise WeightsError(f"{path} is truncated: its header alone is longer than the file; {_AGAIN}")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise WeightsError(f"{path} is a web page, not weights; download from the file's own address, "
                           "or with `matting-anything weights fetch`")
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise WeightsError(f"{path} is {what}; expected a .safetensors or .pth file of weights")
    raise WeightsError(f"{path} is neither safetensors nor a torch checkpoint (or its start is damaged); {_AGAIN}")


def _check_torch_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise WeightsError(f"{path} is truncated or damaged ({error}); {_AGAIN}") from None
    if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        raise WeightsError(f"{path} is a zip archive without a torch checkpoint in it; if weights are packed in it, "
                           "unpack it first")


def read_file(path: str | os.PathLike[str], *, mapped: bool = False) -> RawFile:
    """Read tensors by name and metadata from a .safetensors or .pth/.pt file, on the CPU; large ones are mapped, and
    with `mapped` all (processes then share them).

    A checkpoint's `state_dict` is taken out of what lies around it (optimiser state, step counters). Names are left
    as they are.

    Raises
    ------
    WeightsError
        Names the file, what is wrong with it and what to do.
    DeviceError
        When memory does not suffice for it.
    """
    path = Path(path)
    kind = kind_of(path)
    size = check_regular(path)
    with memory_errors(f"opening {path} ({in_words(size)})", least=size,
                       advice="close other programs, or use a smaller model (lite, vit_b)"):
        if kind == "safetensors":
            tensors, metadata = _read_safetensors(path, mapped or size > WHOLE)
        else:
            tensors, metadata = _read_torch(path, kind, mapped or size > WHOLE), {}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors; {_AGAIN}")
    return RawFile(path, {name: _plain(path, name, tensor) for name, tensor in tensors.items()}, metadata)


def _read_safetensors(path: Path, mapped: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    import safetensors
    import safetensors.torch

    try:
        if mapped:
            with safetensors.safe_open(str(path), framework="pt", device="cpu") as file:
                metadata = dict(file.metadata() or {})
                return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 - no mapping
        data = path.read_bytes()
        tensors = safetensors.torch.load(data)
        # The header is sound, or `load` would have refused it; only its texts are not handed out.
        header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
        return tensors, dict(header.get("__metadata__") or {})
    except Exception as error:  # the parser's own error types, OSError, or torch's for odd dtypes
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{path} is no intact safetensors file ({_first_line(error)}): truncated or tampered with; "
                           f"{_AGAIN}") from error


def _read_torch(path: Path, kind: Kind, mapped: bool) -> dict[str, Tensor]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's hints on other ways of loading say nothing about this file
            loaded: object = torch.load(str(path), map_location="cpu", weights_only=True,
                                        mmap=kind == "torch zip" and mapped)
    except Exception as error:  # a hostile pickle can raise anything; all of it means the same to the caller
        if is_out_of_memory(error):
            raise
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise WeightsError(f"{path} holds Python objects besides tensors ({_culprit(error)}); they could run code "
                               "and are refused. Ask its maker for the bare state_dict, or for safetensors, or take a "
                               "published file (matting-anything weights list)") from error
        raise WeightsError(f"{path} is no intact torch checkpoint ({_first_line(error)}); {_AGAIN}") from error
    return _state_dict(path, loaded)


def _state_dict(path: Path, loaded: object) -> dict[str, Tensor]:
    import torch

    if isinstance(loaded, Mapping):
        for key in ("state_dict", "model"):
            if isinstance(inner := loaded.get(key), Mapping):
                loaded = inner
                break
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds {type(loaded).__name__}, not a state_dict of named tensors")
    return {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}


def _plain(path: Path, name: str, tensor: Any) -> Tensor:
    """The tensor as inference wants it: dense, on the CPU, of a number type weights have, without gradient."""
    import torch

    allowed = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32)
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.dtype not in allowed \
            or tensor.is_quantized:
        raise WeightsError(f"{path} holds {name} as {tensor.dtype} ({tensor.layout}, {tensor.device.type}); "
                           "expected dense float32, float16 or bfloat16 tensors")
    plain: Tensor = tensor.detach().as_subclass(torch.Tensor)
    return plain


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__


def _culprit(error: Exception) -> str:
    """The object torch's restricted unpickler stumbled on, out of its page-long message."""
    for word in ("Unsupported global:", "Unsupported operand", "Unsupported class", "Trying to"):
        for line in str(error).splitlines():
            if word in line:
                return line[line.index(word):][:120].strip()
    return _first_line(error)
