"""Putting the nodes into a ComfyUI: a copy or a link in custom_nodes, the example pictures in input, and what is
missing in the Python that runs it. Nothing is installed into that Python: its torch, numpy and OpenCV stay.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .files import InstallError, host_files, put_folder, remove_folder

NAME = "matting_anything"
"""The pack's folder in custom_nodes."""
OLDEST = (0, 3, 64)
"""The first ComfyUI whose V3 interface the nodes were tried with."""
MODULES = {
    "matting_anything_core": "matting-anything-core", "torch": "torch", "torchvision": "torchvision", "numpy": "numpy",
    "cv2": "opencv-python", "segment_anything": "segment-anything", "timm": "timm", "safetensors": "safetensors",
    "PIL": "pillow", "platformdirs": "platformdirs", "requests": "requests", "urllib3": "urllib3",
    "filelock": "filelock", "tqdm": "tqdm",
}
"""What the nodes import, and the package that has it. OpenCV is whichever of its packages is there."""
PACKAGE = "matting-anything-core"
_ASK = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))
"""


class Installed(NamedTuple):
    """What was done, in lines, and whether the Python that runs ComfyUI has all that the nodes need."""

    lines: list[str]
    complete: bool


def comfyui_version(folder: Path) -> tuple[int, ...]:
    """The version of the ComfyUI in a folder. Raises InstallError when there is none, or it is too old."""
    if not (folder / "main.py").is_file() or not (folder / "nodes.py").is_file():
        raise InstallError(f"{folder} is no ComfyUI (no main.py and nodes.py in it); give the folder that ComfyUI is "
                           "started in")
    try:
        text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r'__version__\s*=\s*"(\d+)\.(\d+)\.(\d+)', text)
    version = tuple(int(part) for part in found.groups()) if found else ()
    if version < OLDEST:
        shown = ".".join(map(str, version)) or "older than its version file"
        raise InstallError(f"the ComfyUI in {folder} is {shown}; the nodes need {'.'.join(map(str, OLDEST))} or later")
    return version


def python_of(folder: Path) -> Path:
    """The Python that runs a ComfyUI, as far as its folder tells: an environment in or beside it, else this one."""
    for place in ("venv/bin/python", ".venv/bin/python", "venv/Scripts/python.exe", ".venv/Scripts/python.exe",
                  "../python_embeded/python.exe"):
        if (folder / place).is_file():
            return folder / place
    return Path(sys.executable)


def missing_packages(python: Path) -> list[str]:
    """The packages that a Python lacks for the nodes. Raises InstallError when it cannot be asked."""
    try:
        answer = subprocess.run([str(python), "-c", _ASK, *MODULES], capture_output=True, text=True, timeout=120,
                                check=True, cwd=Path(sys.executable).anchor)
        names = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InstallError(f"{python} cannot be asked what is installed ({error}); name the Python that runs ComfyUI "
                           "with --python") from None
    return [MODULES[name] for name in names]


def requirement() -> str:
    """How pip is told of this package, as it got here: the folder of a checkout, a wheel's file, a repository, or, from
    an index, its name and version."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file() and (checkout / "comfy_nodes").is_dir():
        return str(checkout)
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return PACKAGE
    with contextlib.suppress(ValueError, KeyError, TypeError):
        origin = json.loads(found.read_text("direct_url.json") or "")  # PEP 610
        if "vcs_info" in origin:
            return f"{PACKAGE} @ {origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
        if urlsplit(origin["url"]).scheme != "file":
            return f"{PACKAGE} @ {origin['url']}"
        path = Path(url2pathname(urlsplit(origin["url"]).path))
        if path.exists():
            return str(path)
    return f"{PACKAGE}=={found.version}"


def install(folder: Path, python: Path, *, link: bool) -> Installed:
    """Put the nodes into the ComfyUI in `folder`; returns what was done and what is missing.

    link: a symbolic link to the files of this package instead of a copy, so that updates arrive by themselves.
    Raises InstallError, also when something else stands in the nodes' place.
    """
    version = comfyui_version(folder)
    missing = missing_packages(python)
    source, target = host_files("comfy_nodes"), folder / "custom_nodes" / NAME
    _ours(target)
    if link:
        remove_folder(target)
        try:
            target.parent.mkdir(exist_ok=True)
            os.symlink(source, target, target_is_directory=True)
        except OSError as error:
            raise InstallError(f"{target} cannot be linked: {error.strerror or error}; install a copy (without --link)"
                               ) from None
    else:
        put_folder(source, target)
    pictures = folder / "input"
    try:
        pictures.mkdir(exist_ok=True)
        for picture in _pictures(source):
            shutil.copyfile(picture, pictures / picture.name)
    except OSError as error:
        raise InstallError(f"{pictures} cannot be written: {error.strerror or error}") from None
    lines = [f"ComfyUI {'.'.join(map(str, version))}: {'linked' if link else 'copied'} the nodes to {target}",
             f"The example workflows' pictures are in {pictures}"]
    if missing:
        wanted = [requirement() if name == PACKAGE else name for name in missing]
        lines += [f"{python} lacks {', '.join(missing)}. This gets them, and moves nothing else:",
                  f"  {shlex.quote(str(python))} -m pip install --no-deps {' '.join(map(shlex.quote, wanted))}"]
    else:
        lines.append(f"{python} has all that the nodes need")
    lines.append("Start ComfyUI anew; the nodes are under mask > matting, examples under Browse Templates")
    return Installed(lines, not missing)


def uninstall(folder: Path) -> list[str]:
    """Take the nodes and the example pictures out again; returns what was done, in lines. Raises InstallError."""
    target = folder / "custom_nodes" / NAME
    _ours(target)
    removed = [target] if remove_folder(target) else []
    for picture in _pictures(host_files("comfy_nodes")):
        copy = folder / "input" / picture.name
        if copy.is_file() and copy.read_bytes() == picture.read_bytes():  # otherwise it is the user's by now
            copy.unlink()
            removed.append(copy)
    return [f"removed {place}" for place in removed] or [f"there is nothing of Matting Anything in {folder}"]


def _pictures(source: Path) -> list[Path]:
    """The pictures that the example workflows load; their names begin with the pack's."""
    return sorted((source / "example_pictures").glob(f"{NAME}_*.png"))


def _ours(target: Path) -> None:
    """Raises InstallError when what stands in the nodes' place is not the nodes."""
    text = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = (target / "__init__.py").read_text(encoding="utf-8")
    dangling = target.is_symlink() and not target.exists()
    if target.exists() and not dangling and "Matting Anything for ComfyUI" not in text:
        raise InstallError(f"{target} is something else; move it away and try again")
