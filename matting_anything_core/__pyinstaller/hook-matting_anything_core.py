"""PyInstaller's hook: the data files (weights, recipes, the page, plug-ins) and the modules that are imported late."""

import contextlib
from importlib.metadata import PackageNotFoundError

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

# The plug-ins for GIMP and ComfyUI are Python files that are copied, not imported.
datas = collect_data_files("matting_anything_core", include_py_files=False, excludes=["_hosts/**"])
datas += collect_data_files("matting_anything_core", include_py_files=True, includes=["_hosts/**"])
# `matting_anything_core.matte` and its like are imported by name when they are first used, which no analysis sees.
hiddenimports = collect_submodules("matting_anything_core", filter=lambda name: "._hosts" not in name)
# segment-anything needs torchvision without saying so.
hiddenimports += ["segment_anything", "timm", "torchvision", "safetensors.torch"]

with contextlib.suppress(PackageNotFoundError):  # a source tree that was never installed; a version is not shown then
    datas += copy_metadata("matting_anything_core")
