"""From a name or a path to a model's tensors. Never goes to the network: what is missing is named, with its command.

Weights are looked for in the folder `home()` and in folders the caller adds (a host's model folders), as fetched
(`sam_vit_b.safetensors`) or under the name they are published with (`sam_vit_b_01ec64.pth`).
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import WeightsError
from . import catalogue
from .catalogue import WeightFile
from .convert import check_pair
from .files import read_file
from .metadata import check_room, pixels
from .recognise import Parts, head_module, recognise

if TYPE_CHECKING:
    from torch import Tensor, nn

Source = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class PairedHead:
    """An alpha head that was named apart from the segmenter.

    name: of the head (pipeline/heads.py). label: what the model is called behind the "+". build: its network, to be
    filled with `Checkpoint.m2m`; None for a head without one.
    """

    name: str
    label: str
    build: Callable[[], nn.Module | None]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A complete model as it lies on the disk: tensors keep the file's type (float16 …); large files are mapped.

    architecture: a name in BACKBONES. square: side in pixels of the picture SAM's encoder takes;
    matte_square: of the one Mask-to-Matte takes. sam, m2m: tensors by published name, checked for names, shapes and
    finite values; m2m is empty for a backbone that does without. metadata: texts from the files, and under `file` (and
    `m2m_file`) where they were read from.
    head: an alpha head in the place of Mask-to-Matte; m2m are the tensors of its network then.
    """

    architecture: str
    square: int
    matte_square: int
    sam: dict[str, Tensor]
    m2m: dict[str, Tensor]
    metadata: dict[str, str]
    head: PairedHead | None = None


def home() -> Path:
    """The folder of fetched weights: MATTING_ANYTHING_HOME, else the platform's cache folder (it can be got again)."""
    if chosen := os.environ.get("MATTING_ANYTHING_HOME"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("matting-anything", appauthor=False) / "weights"


def bundled_path() -> Path:
    """The file of the bundled model `lite`. Raises WeightsError when the installation lacks it."""
    path = Path(str(importlib.resources.files("matting_anything_core.weights") / "lite.safetensors"))
    if not path.is_file():
        raise WeightsError(f"the bundled weights {path} are missing: this installation is incomplete; install the "
                           "package again (from a source tree: with the file in place)")
    return path


def locate(file: WeightFile, folders: Sequence[Source] = ()) -> Path | None:
    """Where a published file is on this machine, None when it is nowhere."""
    for folder in (home(), *map(Path, folders)):
        for name in (file.installed_name, f"{file.name}.safetensors", file.published_name):
            if (folder / name).is_file():
                return folder / name
    return None


def find(name: str, folders: Sequence[Source] = ()) -> list[Path]:
    """The installed files behind the name of a model or of a published file.

    Raises WeightsError for an unknown name, and for what is not installed with the command that fetches it.
    """
    if len(name) > 100:
        raise _unknown(name)
    if (pair := catalogue.pair_of(name)) is not None and _own(name, folders) is None:
        return [*_segmenter(pair[0], folders, name), *find(pair[1], folders)]
    if (own := _own(name, folders)) is not None:
        return [own]
    files = catalogue.files_of(name)
    if files is None:
        raise _unknown(name)
    if not files:
        return [bundled_path()]
    paths = [locate(file, folders) for file in files]
    found = [path for path in paths if path is not None]
    if len(found) == len(files):
        return found
    joint = next((file for file in catalogue.FILES.values()
                  if file.role == "joint" and file.architecture == name), None)
    if joint is not None and (path := locate(joint, folders)) is not None:
        return [path]
    raise _not_installed(name, files, [file for file, path in zip(files, paths, strict=True) if path is None])


def _not_installed(name: str, files: Sequence[WeightFile], missing: Sequence[WeightFile]) -> WeightsError:
    """What is missing, and what gets it: a command that works, or where such a file comes from."""
    names = ", ".join(file.name for file in missing)
    what = f"the model {name} is" if name in catalogue.MODELS else f"{name} is"
    if name in catalogue.HEADS and catalogue.FILES[name].sha256 is None:
        return WeightsError(f"{what} not installed in {home()}; there is no checksum to hold it to, so get it from "
                            f"{catalogue.FILES[name].url} and give its path (lite+FILE), or take vitmatte_s")
    lacks = f" (missing: {names})" if names != name else ""
    told = f"{what} not installed in {home()}{lacks}"
    unknown = [file for file in missing if file.sha256 is None]
    if not unknown:
        wanted = name if len(missing) == len(files) else " ".join(file.name for file in missing)
        return WeightsError(f"{told}; get it with: matting-anything weights fetch {wanted}")
    fetched = [file.name for file in missing if file.sha256 is not None]
    first = f"get {fetched[0]} with: matting-anything weights fetch {fetched[0]}; " if fetched else ""
    file = unknown[0]
    return WeightsError(f"{told}; {first}{file.name} has no published checksum, so it is not fetched by its name "
                        f"alone: put the file into that folder as {file.published_name} (see {file.url}), or take "
                        f"another model: {', '.join(catalogue.fetchable())}")


def _own(name: str, folders: Sequence[Source]) -> Path | None:
    """A file of the user's with that name."""
    if name in catalogue.FILES or name == "lite":
        return None
    places = (folder / f"{name}.safetensors" for folder in (home(), *map(Path, folders)))
    return next((path for path in places if path.is_file()), None)


def _segmenter(name: str, folders: Sequence[Source], wanted: str) -> list[Path]:
    """The installed file with a model's segmenter, whether its own alpha head is there or not; wanted: what to
    fetch when it is not."""
    if _own(name, folders) is not None or name == "lite":
        return find(name, folders)
    paths = [locate(file, folders) for file in catalogue.segmenter_of(name)]
    found = [path for path in paths if path is not None]
    if len(found) == len(paths):
        return found
    try:
        return find(name, folders)  # a joint file
    except WeightsError:
        missing = ", ".join(file.name for file, path in zip(catalogue.segmenter_of(name), paths, strict=True)
                            if path is None)
        raise WeightsError(f"the segmenter of {wanted} is not installed in {home()} (missing: {missing}); get it with: "
                           f"matting-anything weights fetch {wanted}") from None


def open_checkpoint(
    name_or_path: Source | None = "lite",
    *,
    sam: Source | None = None,
    m2m: Source | None = None,
    head: Source | None = None,
    folders: Sequence[Source] = (),
    mapped: bool = False,
) -> Checkpoint:
    """Open a model: its tensors, recognised and checked; nothing is downloaded.

    name_or_path: the name of a model (lite, vit_b …) or of a file in the weights folder, or the path of a
    .safetensors/.pth file. sam, m2m: a name or path whose SAM or Mask-to-Matte is taken instead; with both,
    name_or_path may be None. head: an alpha head that goes with any segmenter (vitmatte_s …, the path of a file of
    ViTMatte, or guided, which needs no weights) in the place of Mask-to-Matte; the same may stand behind the name:
    "vit_b+vitmatte_s". Backbones that do without a Mask-to-Matte (`Backbone.alone`) need none.
    folders: further folders to look for names in. mapped: map all files, not large ones only.
    Raises WeightsError: not installed, not a file of weights, damaged, of another network, or parts that do not
    belong together. Raises DeviceError when memory does not suffice for it.
    """
    opened: dict[Path, Parts] = {}
    name_or_path, paired = split_pair(name_or_path, folders)
    if head is None:
        head = paired
    elif paired is not None:
        raise WeightsError(f"two alpha heads were named, {paired} and {os.fspath(head)!r}; name one")
    if head is not None:
        if m2m is not None:
            raise WeightsError(f"both the alpha head {os.fspath(head)!r} and m2m={os.fspath(m2m)!r} were named; one "
                               "takes the other's place, so name one")
        return _with_head(name_or_path if sam is None else sam, head, folders, opened, mapped)
    sam_part = _part("sam", name_or_path if sam is None else sam, folders, opened, mapped)
    assert sam_part.architecture is not None
    assert sam_part.square is not None
    m2m_part = _m2m_part(sam_part.architecture, name_or_path, m2m, folders, opened, mapped)
    if m2m_part is not None:
        check_pair(sam_part, m2m_part)
        _warn_of_imitation(sam_part, m2m_part)
    matte_square = _matte_square(sam_part, m2m_part)
    check_room(sam_part.raw.path, sam_part.square, "square")
    check_room((m2m_part or sam_part).raw.path, matte_square, "matte_square")
    return Checkpoint(
        architecture=sam_part.architecture,
        square=sam_part.square,
        matte_square=matte_square,
        sam=sam_part.sam,
        m2m={} if m2m_part is None else m2m_part.m2m,
        metadata=_metadata(sam_part, m2m_part),
    )


def files_behind(name_or_path: Source, folders: Sequence[Source] = ()) -> list[Path]:
    """The files that `open_checkpoint` would read for this name or path, absolute; a path need not exist.

    Raises WeightsError for an unknown name and for what is not installed.
    """
    segmenter, head = split_pair(name_or_path, folders)
    paths = _paths(segmenter, folders) if head is None else _segmenter_paths(segmenter, head, folders)
    if head is not None and head != GUIDED:
        paths = [*paths, *_head_paths(segmenter, head, folders)]
    return [path.absolute() for path in paths]


def split_pair(source: Source | None, folders: Sequence[Source] = ()) -> tuple[Source | None, str | None]:
    """What stands before and behind the "+" of "vit_b+vitmatte_s"; (source, None) when there is no head in it.

    Both may be paths: a "+" in the name of a file that is there is part of the name.
    """
    if not isinstance(source, str) or "+" not in source or os.path.exists(source) \
            or ("/" not in source and _own(source, folders) is not None):
        return source, None
    segmenter, _, head = source.rpartition("+")
    if not segmenter or not head:
        raise WeightsError(f"{source[:80]!r} has nothing on one side of the +; expected a segmenter and an alpha head, "
                           "such as lite+vitmatte_s")
    if segmenter in catalogue.MODELS or os.path.exists(head) or not any(mark in head for mark in "/\\."):
        return segmenter, head
    return source, None


def _with_head(segmenter: Source | None, head: Source, folders: Sequence[Source], opened: dict[Path, Parts],
               mapped: bool) -> Checkpoint:
    """A segmenter with an alpha head of its own choosing."""
    if segmenter is None:
        raise WeightsError("an alpha head was named without a segmenter; name that too, e.g. lite+vitmatte_s")
    part, paths = None, _segmenter_paths(segmenter, head, folders)
    heads = [] if head == GUIDED else _head_paths(segmenter, head, folders)  # before gigabytes are read
    for path in paths:
        part = opened[path] = recognise(read_file(path, mapped=mapped))
        if part.sam:
            break
    if part is None or not part.sam or part.architecture is None or part.square is None:
        raise _no_segmenter(part, os.fspath(segmenter))
    check_room(part.raw.path, part.square, "square")
    if head == GUIDED:
        return Checkpoint(part.architecture, part.square, part.square, part.sam, {},
                          {**part.raw.metadata, "file": str(part.raw.path)}, PairedHead(GUIDED, GUIDED, lambda: None))
    own = recognise(read_file(heads[0], mapped=mapped))
    if own.head_network is None and own.m2m:
        check_pair(part, own)
        side = _matte_square(part, own)
        return Checkpoint(part.architecture, part.square, side, part.sam, own.m2m, _metadata(part, own))
    if own.head_network is None:
        raise WeightsError(f"{heads[0]} holds a segmenter and no alpha head; what goes behind the + is "
                           f"{', '.join([*catalogue.HEADS, GUIDED])}, or a file of ViTMatte")
    network = own.head_network
    paired = PairedHead(network.head, network.label(own.shapes), lambda: head_module(own))
    return Checkpoint(part.architecture, part.square, part.square, part.sam, own.head, _metadata(part, own), paired)


GUIDED = "guided"
"""The alpha head that needs no weights."""


def _segmenter_paths(segmenter: object, head: Source, folders: Sequence[Source]) -> list[Path]:
    if isinstance(segmenter, str) and segmenter in catalogue.MODELS:
        return _segmenter(segmenter, folders, f"{segmenter}+{head}" if head in catalogue.HEADS else segmenter)
    return _paths(segmenter, folders)


def _head_paths(segmenter: object, head: Source, folders: Sequence[Source]) -> list[Path]:
    """The one file of an alpha head."""
    if isinstance(head, str) and head in catalogue.MODELS:
        raise WeightsError(f"{head} is a model with a segmenter, and {segmenter} has one already; what goes behind the "
                           f"+ is an alpha head: {', '.join([*catalogue.HEADS, GUIDED])}, or a file of ViTMatte")
    try:
        return _paths(head, folders)[:1]
    except WeightsError as error:
        if isinstance(head, str) and catalogue.files_of(head) is None:
            raise WeightsError(f"there is no alpha head called {head[:80]!r}; known are "
                               f"{', '.join([*catalogue.HEADS, GUIDED])}, or give the path of a file of ViTMatte"
                               ) from None
        raise error


def _no_segmenter(part: Parts | None, name: str) -> WeightsError:
    """That a file holds an alpha head where a segmenter is wanted."""
    if part is not None and part.head_network is not None:
        return WeightsError(f"{part.raw.path} holds {part.head_network.title}, an alpha head, which needs a segmenter "
                            f"before it: lite+{name}, for example")
    return WeightsError(f"{name} holds no segmenter, only an alpha head; name a segmenter, such as lite or vit_b")


def open_sam(name_or_path: Source, *, folders: Sequence[Source] = ()) -> Parts:
    """Open SAM alone (training starts from it with a fresh Mask-to-Matte): `.architecture`, `.square`, `.sam`.

    Raises WeightsError like `open_checkpoint`.
    """
    return _part("sam", name_or_path, folders, {})


def _m2m_part(architecture: str, model: Source | None, m2m: Source | None, folders: Sequence[Source],
              opened: dict[Path, Parts], mapped: bool) -> Parts | None:
    """The Mask-to-Matte that was named, or that of the model; for a backbone that needs none, None where the model has
    none that fits."""
    from ..networks.backbones import backbone_of

    backbone = backbone_of(architecture)
    if m2m is not None or backbone.alone is None:
        return _part("m2m", model if m2m is None else m2m, folders, opened, mapped)
    if model is None:
        return None
    fitting = (architecture, backbone.features_of)
    files = catalogue.files_of(model) if isinstance(model, str) else None
    if files and any(file.role == "m2m" and file.architecture in fitting for file in files):
        return _part("m2m", model, folders, opened, mapped)
    # Of a published name that has none, a file of one's own may be there that has one.
    there = list(opened.values()) if files else _opened(_paths(model, folders), opened, mapped)
    return next((parts for parts in there if parts.m2m and parts.architecture in fitting), None)


def _warn_of_imitation(sam: Parts, m2m: Parts) -> None:
    from ..networks.backbones import backbone_of

    backbone = backbone_of(str(sam.architecture))
    if backbone.imitates and m2m.raw.path != sam.raw.path:
        warnings.warn(f"{m2m.raw.path} was trained on the features of {backbone.features_of}, which {backbone.name} "
                      "only imitates; nobody has tested the two together", stacklevel=4)


def _opened(paths: Sequence[Path], opened: dict[Path, Parts], mapped: bool) -> list[Parts]:
    for path in paths:
        if path not in opened:
            opened[path] = recognise(read_file(path, mapped=mapped))
    return [opened[path] for path in paths]


def _part(which: Literal["sam", "m2m"], source: Source | None, folders: Sequence[Source],
          opened: dict[Path, Parts], mapped: bool = False) -> Parts:
    """The file, of those behind `source`, that holds the wanted part; files are opened once."""
    if source is None:
        raise WeightsError(f"no weights were named for {which}; give a model's name or path, or both sam= and m2m=")
    paths = _paths(source, folders)
    if len(paths) > 1:  # a model of two published files: which is which stands in the catalogue
        files = catalogue.files_of(str(source)) or ()
        paths = [path for file, path in zip(files, paths, strict=True) if file.role == which]
    for path in paths:
        [parts] = _opened([path], opened, mapped)
        if parts.sam if which == "sam" else parts.m2m:
            return parts
        if parts.head_network is not None:
            raise _no_segmenter(parts, os.fspath(source))
    if which == "sam":
        raise WeightsError(f"{paths[0]} holds no SAM, only Mask-to-Matte; name its SAM too, e.g. sam='vit_b', "
                           "or join both: matting-anything weights convert SAM M2M -o MODEL.safetensors")
    raise WeightsError(f"{paths[0]} holds only SAM; name its Mask-to-Matte too, e.g. m2m='vit_b' or a path, "
                       "or join both: matting-anything weights convert SAM M2M -o MODEL.safetensors")


def _paths(source: object, folders: Sequence[Source]) -> list[Path]:
    if not isinstance(source, (str, os.PathLike)):
        raise WeightsError(f"weights were named by a {type(source).__name__}; expected a model's name or a path")
    text = os.fspath(source)
    if not isinstance(text, str):
        text = os.fsdecode(text)
    if not text:
        raise WeightsError("weights were named by an empty text; expected a model's name or a path")
    named = isinstance(source, str) and not any(mark in text for mark in ("/", "\\", ".", "\0"))
    known = isinstance(source, str) and (text in catalogue.MODELS or text in catalogue.FILES)
    if known or (named and not os.path.exists(text)):
        return find(text, folders)
    try:
        return [Path(text).expanduser()]
    except RuntimeError as error:  # ~user without such a user
        raise WeightsError(f"{text[:200]} is no path: {error}") from None


def _unknown(name: str) -> WeightsError:
    known = [*catalogue.MODELS, *catalogue.FILES]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return WeightsError(f"there is no model or file of weights called {name[:80]!r}; {hint}Known are "
                        f"{', '.join(catalogue.MODELS)}, or give the path of a file")


def _matte_square(sam: Parts, m2m: Parts | None) -> int:
    """Mask-to-Matte's side: what its file says, else SAM's own side (section 3 of the paper: both see 1024), or twice
    that for lite, whose encoder sees little."""
    assert sam.square is not None
    usual = 2 * sam.square if sam.architecture == "lite" else sam.square
    own = None if m2m is None else pixels(m2m.raw.path, m2m.raw.metadata, "matte_square")
    claimed = own or pixels(sam.raw.path, sam.raw.metadata, "matte_square") or usual
    if claimed % 16:
        raise WeightsError(f"{(m2m or sam).raw.path} says matte_square = {claimed}; expected a multiple of 16")
    return claimed


def _metadata(sam: Parts, m2m: Parts | None) -> dict[str, str]:
    texts = {**sam.raw.metadata, "file": str(sam.raw.path)}
    if m2m is not None and m2m.raw.path != sam.raw.path:
        licences = [_licence(part.raw.metadata, part.raw.path) for part in (sam, m2m)]
        texts.update({f"m2m_{key}" if not key.startswith("m2m_") else key: value
                      for key, value in m2m.raw.metadata.items()})
        texts["m2m_file"] = str(m2m.raw.path)
        texts["licence"] = "; ".join(dict.fromkeys(licences))
    else:
        texts["licence"] = _licence(sam.raw.metadata, sam.raw.path)
    return texts


def _licence(metadata: Mapping[str, str], path: Path) -> str:
    if licence := metadata.get("licence"):
        return licence
    known = next((file for file in catalogue.FILES.values() if file.published_name == path.name), None)
    return known.licence if known else "unknown"
