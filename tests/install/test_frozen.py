"""Programs frozen with PyInstaller take along what no analysis of imports sees."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

import matting_anything_core

ROOT = Path(__file__).parents[2]


def test_the_entry_point_leads_to_the_hook():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["pyinstaller40"]["hook-dirs"].partition(":")
    [folder] = getattr(importlib.import_module(module), name)()
    assert (Path(folder) / "hook-matting_anything_core.py").is_file()


def test_the_hook_takes_data_and_late_imports_along():
    pytest.importorskip("PyInstaller")
    hook = Path(matting_anything_core.__file__).parent / "__pyinstaller" / "hook-matting_anything_core.py"
    found = runpy.run_path(str(hook))
    names = {Path(source).name for source, _ in found["datas"]}
    assert {"lite.safetensors", "index.html", "page.js"} <= names
    package = Path(matting_anything_core.__file__).parent
    needed = {path for path in package.rglob("*") if path.suffix in (".toml", ".safetensors", ".html", ".js", ".css")
              and "__pycache__" not in path.parts}
    taken = {Path(source) for source, _ in found["datas"]}
    assert needed <= taken
    modules = {".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
               for path in package.rglob("*.py") if not {"_hosts", "__pyinstaller"} & set(path.parts)}
    assert {name for name in modules if not name.endswith("__main__")} <= set(found["hiddenimports"])
