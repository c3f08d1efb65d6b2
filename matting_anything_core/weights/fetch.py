"""Fetching what the catalogue names: download, check, convert to safetensors in the weights folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import WeightsError
from . import catalogue, store
from .catalogue import WeightFile
from .convert import Dtype, convert
from .download import DownloadProgress, Patience, download
from .write import file_sha256, read_header

Stage = Literal["download", "convert"]
StageProgress = Callable[[str, Stage], DownloadProgress]
"""Called with a file's name and what is done with it; returns the callback that takes the steps."""


def fetch(
    name: str,
    *,
    sha256: str | None = None,
    trust: bool = False,
    url: str | None = None,
    keep: bool = False,
    dtype: Dtype = "keep",
    progress: StageProgress | None = None,
    patience: Patience | None = None,
) -> list[Path]:
    """Download a model or a published file into `store.home()` and return where its files are.

    What is installed already stays. sha256: of the one file that has no published checksum; trust: take such a file
    as it comes (it still cannot run code, but nothing vouches for it). url: another place (a mirror) for the one file
    that is fetched; the checksum stays the same. keep: leave the downloaded .pth beside the converted file.
    Raises WeightsError before anything is downloaded when the name is unknown or a file lacks its checksum.
    """
    files = catalogue.files_of(name)
    if files is None:
        raise WeightsError(f"there is nothing called {name[:80]!r} to fetch; known are "
                           f"{', '.join([*catalogue.MODELS, *catalogue.FILES])}, or a model with an alpha head, such "
                           "as lite+vitmatte_s")
    if not files:
        return [store.bundled_path()]
    wanted = _with_checksums([file for file in files if not _installed(file)], name, sha256, trust)
    if url is not None:
        if len(wanted) > 1:
            raise WeightsError(f"{name} is several files ({', '.join(file.name for file in wanted)}); fetch them one "
                               "by one when giving an address")
        beside = url.rsplit("/", 1)[0]
        wanted = [replace(file, url=url, companions=tuple(replace(text, url=f"{beside}/{text.name}")
                                                          for text in file.companions)) for file in wanted]
    for file in wanted:
        if file.role == "grounding":
            _fetch_grounding(file, progress, patience)
        else:
            _fetch_checkpoint(file, keep, dtype, progress, patience)
    return [path for file in files if (path := store.locate(file)) is not None]


def _installed(file: WeightFile) -> bool:
    path = store.home() / file.installed_name
    return path.is_file() and all((path.parent / text.name).is_file() for text in file.companions)


def _with_checksums(files: list[WeightFile], name: str, sha256: str | None, trust: bool) -> list[WeightFile]:
    """The files with the checksum to hold them to. Raises WeightsError when one has none and is not trusted."""
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"{sha256[:80]!r} is no sha256; expected 64 hexadecimal digits")
    unknown = [file for file in files if file.sha256 is None]
    if sha256 is not None and not unknown and all(file.sha256 != sha256.lower() for file in files) and files:
        raise WeightsError(f"{name} has a published checksum, {files[0].sha256}, and it is not the one given")
    if len(unknown) > 1 and sha256 is not None:
        raise WeightsError(f"several files of {name} lack a checksum; fetch them one by one")
    if unknown and sha256 is None and not trust:
        raise WeightsError(f"{unknown[0].name} ({unknown[0].url}) has no published checksum, so nothing would tell a "
                           "wrong file from the right one; give the one you know: matting-anything weights fetch "
                           f"{name} --sha256 HEX, or take it as it comes: --trust")
    return [replace(file, sha256=sha256.lower()) if sha256 is not None and file.sha256 is None else file
            for file in files]


def _fetch_checkpoint(file: WeightFile, keep: bool, dtype: Dtype, progress: StageProgress | None,
                      patience: Patience | None) -> None:
    folder = store.home()
    source = folder / file.published_name
    target = folder / file.installed_name
    there = source.is_file()
    if not (there and file.sha256 is not None and file_sha256(source) == file.sha256):
        download(file.url, source, sha256=file.sha256, size=file.size, patience=patience,
                 progress=progress(file.name, "download") if progress else None)
    step = progress(file.name, "convert") if progress else None
    size = source.stat().st_size
    metadata = {"source": file.url, "licence": file.licence, "revision": file.revision}
    if file.role != "joint":
        metadata["architecture"] = file.architecture
    convert([source], target, dtype=dtype, metadata=metadata, overwrite=True,
            progress=(lambda share: step(int(share * size), size)) if step else None)
    _check_content(file, target)
    if not (keep or there):
        source.unlink(missing_ok=True)


def _check_content(file: WeightFile, path: Path) -> None:
    """The address may deliver a sound file of something else: another architecture, or the other part."""
    metadata = read_header(path)[1]
    part = {"sam": "sam", "m2m": "m2m", "joint": "both", "head": "head"}[file.role]
    if metadata.get("part") != part or metadata.get("architecture") != file.architecture:
        path.unlink()
        raise WeightsError(f"{file.url} holds {metadata.get('part')} of {metadata.get('architecture')}, not "
                           f"{file.name} ({part} of {file.architecture}); it was not installed")


def _fetch_grounding(file: WeightFile, progress: StageProgress | None, patience: Patience | None) -> None:
    """As published, and beside it the vocabulary; both are held to their checksums."""
    target = store.home() / file.installed_name
    for text in file.companions:
        download(text.url, target.parent / text.name, sha256=text.sha256, patience=patience)
    download(file.url, target, sha256=file.sha256, size=file.size, patience=patience,
             progress=progress(file.name, "download") if progress else None)
