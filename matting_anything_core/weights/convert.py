"""Published checkpoints to safetensors: optimiser state dropped, layouts made one, the source and licence noted.

`write_model` is also how training writes its results.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import WeightsError
from . import catalogue
from .files import read_file
from .recognise import Parts, recognise
from .write import ShareCallback, file_sha256, write_safetensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Dtype = Literal["keep", "float32", "float16", "bfloat16"]


def write_model(
    path: str | os.PathLike[str],
    *,
    sam: Mapping[str, Tensor] | None = None,
    m2m: Mapping[str, Tensor] | None = None,
    head: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
    progress: ShareCallback | None = None,
) -> Path:
    """Write one file of weights: `sam.*` and `m2m.*` tensors when both are given, else one part under flat names.

    sam, m2m: tensors by their published names; head: those of an alpha head's own network, alone. metadata: texts;
    wanted with SAM are `architecture` and `square`, with lite `matte_square` too. dtype: what floating-point tensors
    become (None: they stay as they are). `format`, `part`, `converter` and `data_sha256` are added.
    Raises WeightsError, see `write_safetensors`.
    """
    if not sam and not m2m and not head:
        raise WeightsError(f"{path} is not written: neither SAM nor Mask-to-Matte was given")
    if head and (sam or m2m):
        raise WeightsError(f"{path} is not written: an alpha head's network goes into a file of its own, since it goes "
                           "with any segmenter; name both where a model is named: lite+FILE")
    both = bool(sam) and bool(m2m)
    tensors = {f"sam.{name}" if both else name: tensor for name, tensor in (sam or {}).items()}
    tensors.update({f"m2m.{name}" if both else name: tensor for name, tensor in (m2m or head or {}).items()})
    texts = {
        **metadata,
        "format": "matting-anything",
        "part": "both" if both else "sam" if sam else "m2m" if m2m else "head",
        "converter": f"matting-anything-core {_version()}",
    }
    return write_safetensors(path, tensors, texts, dtype=dtype, progress=progress)


def convert(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    dtype: Dtype = "keep",
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
    progress: ShareCallback | None = None,
) -> Path:
    """Turn one or two files (SAM, Mask-to-Matte, or one that holds both), or one of an alpha head that goes with any
    segmenter (ViTMatte), into one safetensors file at `target`.

    sources: .pth or .safetensors in any published layout. dtype: type of the weights; "keep" leaves it.
    metadata: texts that are added or replace what would be written (`licence`, `square`, `data_card` …).
    Raises WeightsError when a source is refused, when a part comes twice, when the parts belong to different
    architectures, and when the target exists and `overwrite` is not set.
    """
    target = Path(target)
    if target.suffix != ".safetensors":
        raise WeightsError(f"{target} must end in .safetensors, the format that is written")
    if target.is_dir() or (target.exists() and not overwrite):
        raise WeightsError(f"{target} exists already; choose another name, or allow overwriting (--overwrite)")
    parts = [recognise(read_file(source)) for source in sources]
    sam, m2m, head = _one(parts, "sam"), _one(parts, "m2m"), _one(parts, "head")
    texts = _describe(sam, m2m, head)
    if head is not None and (metadata or {}).get("architecture", texts["architecture"]) != texts["architecture"]:
        raise WeightsError(f"{head.raw.path} holds {texts['architecture']}, not {(metadata or {})['architecture']}")
    for key, value in (metadata or {}).items():
        texts[key] = value
    return write_model(target, sam=sam.sam if sam else None, m2m=m2m.m2m if m2m else None,
                       head=head.head if head else None, metadata=texts, dtype=_torch_dtype(dtype), progress=progress)


def _one(parts: Sequence[Parts], which: Literal["sam", "m2m", "head"]) -> Parts | None:
    found = [part for part in parts if getattr(part, which)]
    if len(found) > 1:
        title = {"sam": "SAM", "m2m": "Mask-to-Matte", "head": "an alpha head"}[which]
        raise WeightsError(f"{found[0].raw.path} and {found[1].raw.path} both hold {title}; give each part once")
    return found[0] if found else None


def check_pair(sam: Parts, m2m: Parts) -> None:
    """Raise WeightsError when Mask-to-Matte says that it was trained on the features of another SAM.

    One whose features these are, or that they imitate, will do (`Backbone.features_of`).
    """
    from ..networks.backbones import backbone_of

    assert sam.architecture is not None
    backbone = backbone_of(sam.architecture)
    if m2m.architecture is None and backbone.alone is not None and backbone.features_of is None:
        raise WeightsError(f"{m2m.raw.path} does not say whose features it was trained on, and no published "
                           f"Mask-to-Matte was on those of {backbone.name}; leave it away, {backbone.name} needs none")
    if m2m.architecture not in (None, sam.architecture, backbone.features_of):
        raise WeightsError(f"{m2m.raw.path} is the Mask-to-Matte of {m2m.architecture}, but {sam.raw.path} is "
                           f"{sam.architecture}; they only work with their own, see `matting-anything weights list`. "
                           f"ViTMatte goes with any: {sam.architecture}+vitmatte_s")


def _describe(sam: Parts | None, m2m: Parts | None, head: Parts | None = None) -> dict[str, str]:
    """Metadata of the new file: what the sources say of themselves, and what the catalogue knows of them."""
    texts: dict[str, str] = {}
    origins: dict[str, list[str]] = {"source": [], "licence": []}
    known: dict[Path, dict[str, str]] = {}
    for which, part in (("sam", sam), ("m2m", m2m), ("head", head)):
        if part is None:
            continue
        if part.raw.path not in known:
            known[part.raw.path] = _origin(part)
        origin = known[part.raw.path]
        texts.update({key: value for key, value in part.raw.metadata.items()
                      if key not in ("architecture", "data_sha256", *origin)})
        for key, value in origin.items():
            texts[f"{which}_{key}"] = part.raw.metadata.get(f"{which}_{key}", value)
        for key, values in origins.items():
            value = texts[f"{which}_{key}"]
            if value not in values:
                values.append(value)
    texts.update({key: "; ".join(values) for key, values in origins.items()})
    published = catalogue.by_sha256(texts.get("m2m_source_sha256", ""))
    if m2m is not None and m2m.architecture is None and published is not None:
        m2m = replace(m2m, architecture=published.architecture)
    if sam is not None and m2m is not None:
        check_pair(sam, m2m)
    if sam is not None:
        texts.update(architecture=str(sam.architecture), square=str(sam.square))
    elif m2m is not None and m2m.architecture:
        texts["architecture"] = m2m.architecture
    elif head is not None and head.head_network is not None:
        texts["architecture"] = head.head_network.label(head.shapes)
    return texts


def _origin(part: Parts) -> dict[str, str]:
    """Source, its sha256, and licence of the file a part was read from."""
    metadata = part.raw.metadata
    digest = metadata.get("source_sha256") or file_sha256(part.raw.path)
    published = catalogue.by_sha256(digest)
    if published is not None:
        return {"source": published.url, "source_sha256": digest, "licence": published.licence}
    return {"source": metadata.get("source", part.raw.path.name), "source_sha256": digest,
            "licence": metadata.get("licence", "unknown")}


def _torch_dtype(name: Dtype) -> torch.dtype | None:
    import torch

    known: dict[str, torch.dtype | None] = {
        "keep": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
    }
    if name not in known:
        raise WeightsError(f"weights cannot be written as {name!r}; known are {', '.join(known)}")
    return known[name]


def _version() -> str:
    try:
        return importlib.metadata.version("matting-anything-core")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree"
