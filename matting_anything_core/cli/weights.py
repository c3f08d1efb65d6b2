"""`matting-anything weights`: see, get, check and convert files of weights."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..weights.catalogue import WeightFile

_EPILOG = """\
examples:
  matting-anything weights list                      what there is, what is installed, under which licence
  matting-anything weights fetch vit_b               download SAM ViT-B and its Mask-to-Matte, check, convert
  matting-anything weights fetch lite+vitmatte_s     what lite needs to work with ViTMatte: that alone
  matting-anything weights fetch vit_l --sha256 HEX  a file without a published checksum: give the one you know
  matting-anything weights verify                    read everything that is installed and check it
  matting-anything weights convert sam_vit_l_0b3195.pth mam_vitl.pth -o vit_l.safetensors
  matting-anything weights fetch mobile_sam          MobileSAM: small, and quick on the CPU
  matting-anything weights path vit_b                where the files are

Nothing is downloaded by any other command. Files go to the folder that `weights path` prints; set
MATTING_ANYTHING_HOME to have them elsewhere."""

_FETCH_EPILOG = """\
examples:
  matting-anything weights fetch vit_b
  matting-anything weights fetch sam_vit_h --dtype float16     half the size on the disk
  matting-anything weights fetch m2m_vit_l --trust             no published checksum: taken as it comes
  matting-anything weights fetch m2m_vit_b --url https://mirror.example/mam.pth

An interrupted download goes on where it stopped when the same command is given again."""

_CONVERT_EPILOG = """\
examples:
  matting-anything weights convert mam_sam_vitb.pth -o vit_b.safetensors
  matting-anything weights convert sam_vit_b_01ec64.pth mam.pth -o vit_b_half.safetensors --dtype float16
  matting-anything weights convert trained.safetensors -o mine.safetensors --meta licence=MIT
  matting-anything weights convert ViTMatte_S_Com.pth -o hair.safetensors      then: --model lite+hair.safetensors

The result works wherever a model is named: matting-anything matte photo.jpg --model mine.safetensors"""


_PAIRS = "lite+vitmatte_s, vit_b+vitmatte_s …"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `weights` and its commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser("weights", help="list, fetch, verify and convert files of weights", epilog=_EPILOG,
                                   description="See, get, check and convert files of weights.", formatter_class=raw)
    commands = parser.add_subparsers(dest="weights_command", metavar="COMMAND", required=True)

    commands.add_parser("list", help="what there is, what is installed, size, licence, source")

    fetch = commands.add_parser("fetch", help="download a model or file, check it and convert it to safetensors",
                                epilog=_FETCH_EPILOG, formatter_class=raw)
    fetch.add_argument("names", nargs="+", metavar="NAME", help="a model or a file of `weights list`")
    fetch.add_argument("--sha256", metavar="HEX", help="checksum of the file that has no published one")
    fetch.add_argument("--trust", action="store_true", help="take a file without a checksum as it comes")
    fetch.add_argument("--url", help="fetch the file from this address instead, e.g. a mirror; the checksum stays")
    fetch.add_argument("--dtype", default="keep", choices=("keep", "float32", "float16", "bfloat16"),
                       help="number type to store (keep: as published)")
    fetch.add_argument("--keep", action="store_true", help="keep the downloaded .pth beside the converted file")

    verify = commands.add_parser("verify", help="read files whole: checksums, tensors, NaN; exit 1 when one is damaged")
    verify.add_argument("names", nargs="*", metavar="NAME_OR_PATH", help="left out: everything that is installed")

    convert = commands.add_parser("convert", help="published .pth files to one safetensors file",
                                  epilog=_CONVERT_EPILOG, formatter_class=raw)
    convert.add_argument("sources", nargs="+", metavar="FILE",
                         help="SAM, Mask-to-Matte or both, or ViTMatte; .pth, .bin or .safetensors")
    convert.add_argument("-o", "--output", required=True, metavar="FILE", help="the .safetensors file to write")
    convert.add_argument("--dtype", default="keep", choices=("keep", "float32", "float16", "bfloat16"),
                         help="number type to store (keep: as it is)")
    convert.add_argument("--meta", action="append", default=[], metavar="KEY=TEXT",
                         help="note this in the file, e.g. licence=MIT; may be repeated")
    convert.add_argument("--overwrite", action="store_true", help="replace the output if it exists")

    path = commands.add_parser("path", help="print the weights folder, or where a model's files are")
    path.add_argument("name", nargs="?", metavar="NAME", help="a model or a file of `weights list`")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed; 0 = done, 1 = verify found damage. MattingErrors pass to the caller."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "fetch": _fetch, "verify": _verify, "convert": _convert, "path": _path,
    }
    return commands[args.weights_command](args)


def _list(_: argparse.Namespace) -> int:
    from ..weights import catalogue, store

    rows = [("MODEL", "INSTALLED", "SIZE", "LICENCE", "WHAT")]
    for model in catalogue.MODELS.values():
        files = catalogue.files_of(model.name) or ()
        there = "bundled" if model.bundled else _state(model.name)
        size = _size(os.path.getsize(store.bundled_path())) if model.bundled else _sizes([file.size for file in files])
        licence = " + ".join(dict.fromkeys(file.licence for file in files)) or "MIT"
        rows.append((model.name, there, size, licence, model.note))
    _table(rows)
    print()
    rows = [("FILE", "INSTALLED", "SIZE", "LICENCE", "SOURCE")]
    for file in catalogue.FILES.values():
        rows.append((file.name, _file_state(file), _sizes([file.size]), file.licence, file.url))
    _table(rows)
    print(f"\nThe files vitmatte_* are alpha heads, which go with any model, and are named behind a +: {_PAIRS}")
    print(f"\nWeights folder: {store.home()}\nGet one with: matting-anything weights fetch NAME")
    return 0


def _state(name: str) -> str:
    from ..errors import WeightsError
    from ..weights import store

    try:
        store.find(name)
    except WeightsError:
        return "no"
    return "yes"


def _file_state(file: WeightFile) -> str:
    from ..weights import store

    if store.locate(file) is not None:
        return "yes"
    return "no" if file.sha256 else "no (needs --sha256 or --trust)"


def _size(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"


def _sizes(sizes: list[int | None]) -> str:
    known = sum(size for size in sizes if size is not None)
    unknown = any(size is None for size in sizes)
    return f"> {_size(known)}" if unknown and known else "?" if unknown else _size(known)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip())


def _fetch(args: argparse.Namespace) -> int:
    from ..errors import WeightsError
    from ..weights.fetch import fetch

    if len(args.names) > 1 and (args.sha256 or args.url):
        raise WeightsError("--sha256 and --url belong to one file; fetch the names one by one")
    for name in args.names:
        with _Bars() as bars:
            paths = fetch(name, sha256=args.sha256, trust=args.trust, url=args.url, keep=args.keep, dtype=args.dtype,
                          progress=bars.stage)
        for path in paths:
            print(f"{name}: {path}")
    return 0


class _Bars:
    """tqdm bars for the stages of a fetch, one after the other."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def stage(self, name: str, what: str) -> Callable[[int, int | None], None]:
        """Start the bar of a stage; returns what moves it."""
        from tqdm import tqdm

        self._close()
        bar = self._bar = tqdm(desc=f"{name}: {what}", unit="B", unit_scale=True, unit_divisor=1000, leave=True)

        def step(done: int, total: int | None) -> None:
            if bar.total != total:
                bar.total = total
            if bar.n == 0:  # a resumed download starts further on, which must not count as speed
                bar.n = bar.initial = done
            bar.update(done - bar.n)

        return step


def _verify(args: argparse.Namespace) -> int:
    from ..weights import catalogue, store
    from ..weights.verify import installed, verify_file

    if args.names:
        todo: list[tuple[Path, WeightFile | None]] = []
        for name in args.names:
            if catalogue.files_of(name) is not None:
                files = catalogue.files_of(name) or ()
                published = {store.locate(file): file for file in files}
                todo.extend((path, published.get(path)) for path in store.find(name))
            else:
                todo.append((Path(name), None))
    else:
        todo = installed()
    damaged = 0
    for path, file in todo:
        finding = verify_file(path, file=file)
        damaged += finding.state == "damaged"
        print(f"{finding.state:<11} {path}\n            {finding.detail}")
    print(f"{len(todo)} files, {damaged} damaged")
    return 1 if damaged else 0


def _convert(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..errors import WeightsError
    from ..weights.convert import convert

    metadata = {}
    for text in args.meta:
        key, mark, value = text.partition("=")
        if not mark or not key:
            raise WeightsError(f"--meta was given {text!r}; expected KEY=TEXT")
        metadata[key] = value
    with tqdm(total=100, desc="convert", unit="%", leave=False) as bar:
        def step(share: float) -> None:
            bar.update(round(share * 100) - bar.n)

        path = convert(args.sources, args.output, dtype=args.dtype, metadata=metadata, overwrite=args.overwrite,
                       progress=step)
    print(path)
    return 0


def _path(args: argparse.Namespace) -> int:
    from ..weights import store

    for path in store.find(args.name) if args.name else [store.home()]:
        print(path)
    return 0
