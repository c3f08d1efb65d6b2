"""Is what is installed whole, and what it says it is? Reads every byte, unlike opening a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import WeightsError
from . import catalogue, store
from .catalogue import WeightFile
from .files import kind_of, read_file
from .recognise import check_finite, recognise
from .write import CHECKSUM, ShareCallback, data_sha256, file_sha256

State = Literal["ok", "unverified", "damaged"]


@dataclass(frozen=True)
class Finding:
    """What was found about one file. `unverified`: sound weights, but there is no checksum to hold them to."""

    path: Path
    state: State
    detail: str


def verify_file(path: Path, *, file: WeightFile | None = None, progress: ShareCallback | None = None) -> Finding:
    """Read a whole file: checksum (recorded in it, or the catalogue's), tensors' names and shapes, NaN.

    file: the published file it should be. Never raises WeightsError: what is wrong stands in the finding.
    """
    try:
        if file is not None and file.role == "grounding":
            return _whole(path, file, progress)
        return _weights(path, file, progress)
    except WeightsError as error:
        return Finding(path, "damaged", str(error))


def installed(folders: Sequence[store.Source] = ()) -> list[tuple[Path, WeightFile | None]]:
    """The bundled file, every file of the catalogue that is on this machine, and other weights in `store.home()`."""
    found: dict[Path, WeightFile | None] = {store.bundled_path(): None}
    for file in catalogue.FILES.values():
        for folder in (store.home(), *map(Path, folders)):
            for name in dict.fromkeys((file.installed_name, f"{file.name}.safetensors", file.published_name)):
                if (folder / name).is_file():
                    found.setdefault(folder / name, file)
    if store.home().is_dir():
        for path in sorted(store.home().glob("*.safetensors")):
            found.setdefault(path, None)
    return list(found.items())


def _whole(path: Path, file: WeightFile, progress: ShareCallback | None) -> Finding:
    digest = file_sha256(path, progress=progress)
    if digest != file.sha256:
        return Finding(path, "damaged", f"{path} has the sha256 {digest}, published is {file.sha256}; get it again")
    for text in file.companions:
        beside = path.parent / text.name
        if not beside.is_file():
            return Finding(path, "damaged", f"{path.parent} lacks {text.name}; get it again")
        if (digest := file_sha256(beside)) != text.sha256:
            return Finding(path, "damaged", f"{beside} has the sha256 {digest}, published is {text.sha256}; delete it "
                                            "and get it again")
    return Finding(path, "ok", "sha256 as published")


def _weights(path: Path, file: WeightFile | None, progress: ShareCallback | None) -> Finding:
    kind = kind_of(path)
    raw = read_file(path)
    parts = recognise(raw)
    found = parts.architecture if parts.head_network is None else parts.head_network.label(parts.shapes)
    if file is not None and found not in (None, file.architecture):
        return Finding(path, "damaged", f"{path} holds {found}, not {file.name}")
    check_finite(raw, raw.tensors)
    if kind != "safetensors":
        digest = file_sha256(path, progress=progress)
        published = catalogue.by_sha256(digest)
        if published is not None:
            return Finding(path, "ok", f"sha256 as published for {published.name}")
        if file is not None and file.sha256 is not None:
            return Finding(path, "damaged", f"{path} has the sha256 {digest}, published is {file.sha256}; get it again")
        return Finding(path, "unverified", f"no published checksum; its sha256 is {digest}")
    recorded = raw.metadata.get(CHECKSUM)
    if recorded is None:
        return Finding(path, "unverified", "sound, but holds no checksum; `matting-anything weights convert` adds one")
    if data_sha256(path, progress=progress) != recorded:
        return Finding(path, "damaged", f"{path} does not match the checksum recorded in it; get it again")
    if file is not None and file.sha256 is not None:
        source = raw.metadata.get(f"{file.role if file.role in ('m2m', 'head') else 'sam'}_source_sha256")
        if source != file.sha256:
            return Finding(path, "unverified", f"intact, but made from another file than the published {file.name}")
        return Finding(path, "ok", "checksum matches; made from the published file")
    return Finding(path, "ok", "checksum matches")
