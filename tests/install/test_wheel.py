"""The plug-ins' files are in the wheel, with their run bits, and found in an installed package; the sdist is whole."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTS = "matting_anything_core/_hosts/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout was installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def test_the_plug_ins_are_found_in_an_installed_package(site: Path, tmp_path: Path) -> None:
    (tmp_path / ".config/GIMP/3.0").mkdir(parents=True)
    code = (f"import sys; sys.path.insert(0, {str(site)!r}); from matting_anything_core.install import files, gimp; "
            "from pathlib import Path; [p] = gimp.find_profiles(Path(sys.argv[1]), {}, 'linux'); "
            "print(files.__file__, files.host_files('gimp_plugin')); gimp.install(p, Path(sys.executable))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True,
                          cwd=tmp_path)
    package, hosts = site / "matting_anything_core/install/files.py", site / HOSTS / "gimp_plugin"
    assert done.stdout.split() == [str(package), str(hosts)]
    plugin = tmp_path / ".config/GIMP/3.0/plug-ins/matte_selection"
    assert (plugin / "matte_selection.py").stat().st_mode & 0o111
    for name in ("matte_selection.svg", "service.py", "locale/de/LC_MESSAGES/matte_selection.mo"):
        assert (plugin / name).exists(), name


def test_the_wheel_holds_no_more_than_it_should(site: Path) -> None:
    [wheel] = site.parent.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "gimp_plugin/"))]
    assert [name for name in names if name.startswith(HOSTS + "gimp_plugin/matte_selection/")]


def test_the_sdist_holds_everything_that_is_kept_here() -> None:
    """Tests, benchmarks, documentation and all: what is unpacked can be worked on and tested."""
    from hatchling.builders.sdist import SdistBuilder

    if not (ROOT / ".git").exists():
        pytest.skip("no checkout: this is the sdist itself")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("git cannot list this checkout")
    kept = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).exists()}
    there = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert sorted(kept - there - {".gitignore", "pyproject.toml"}) == []  # the builder adds these two by itself
    assert not [name for name in there if "__pycache__" in name or name.startswith((".venv", "build/", "runs/"))]
