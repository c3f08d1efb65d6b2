"""`matting-anything install comfyui` on a folder that looks like a ComfyUI; a real one is in tests/e2e/comfyui."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from matting_anything_core.cli import main
from matting_anything_core.install import comfyui
from matting_anything_core.install.files import InstallError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("main.py", "nodes.py"):
        (tmp_path / name).touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.27.0"\n')
    return tmp_path


@pytest.mark.parametrize("link", [False, True])
def test_it_is_put_in_and_taken_out(folder: Path, link: bool, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["install", "comfyui", str(folder), "--python", sys.executable, *(["--link"] if link else [])]
    for _again in range(2):
        assert main(arguments) == 0
    target = folder / "custom_nodes" / "matting_anything"
    assert target.is_symlink() == link
    assert (target / "nodes.py").is_file()
    picture = folder / "input" / "matting_anything_astronaut.png"
    assert picture.is_file()
    changed = folder / "input" / "matting_anything_cat.png"
    changed.write_bytes(b"the user's own by now")
    said = capsys.readouterr().out
    assert "ComfyUI 0.27.0" in said
    assert ("linked" if link else "copied") in said
    assert main(["install", "comfyui", str(folder), "--uninstall"]) == 0
    assert not target.exists()
    assert not picture.exists()
    assert changed.read_bytes() == b"the user's own by now"
    assert main(["install", "comfyui", str(folder), "--uninstall"]) == 0
    assert "nothing of Matting Anything" in capsys.readouterr().out
    assert Path(comfyui.host_files("comfy_nodes"), "nodes.py").is_file()  # the link's goal is untouched


def test_what_is_no_comfyui_or_too_old_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InstallError, match="is no ComfyUI"):
        comfyui.install(tmp_path_factory.mktemp("empty"), Path(sys.executable), link=False)
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.60"\n')
    with pytest.raises(InstallError, match=r"0\.3\.60; the nodes need 0\.3\.64"):
        comfyui.install(folder, Path(sys.executable), link=False)


def test_what_is_not_ours_stays(folder: Path) -> None:
    other = folder / "custom_nodes" / "matting_anything"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("# another pack")
    for act in (lambda: comfyui.install(folder, Path(sys.executable), link=False), lambda: comfyui.uninstall(folder)):
        with pytest.raises(InstallError, match="something else"):
            act()
    assert (other / "__init__.py").read_text() == "# another pack"


def test_missing_packages_are_named_with_a_command_that_moves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comfyui, "MODULES", {"torch": "torch", "no_such_module_here": "no-such-package"})
    done = comfyui.install(folder, Path(sys.executable), link=False)
    assert "pip install --no-deps no-such-package" in "\n".join(done.lines)
    assert not done.complete
    assert main(["install", "comfyui", str(folder), "--python", sys.executable]) == 1
    with pytest.raises(InstallError, match="--python"):
        comfyui.install(folder, folder / "no-python", link=False)


def test_the_command_for_this_package_works_as_it_was_got(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a checkout its folder, from a wheel or a repository that, from an index the name and version."""
    monkeypatch.setattr(comfyui, "MODULES", {"no_such_module_here": comfyui.PACKAGE})
    checkout = Path(__file__).resolve().parents[2]
    assert comfyui.requirement() == str(checkout)
    assert f"--no-deps {checkout}" in "\n".join(comfyui.install(folder, Path(sys.executable), link=False).lines)
    monkeypatch.setattr(comfyui, "__file__", str(folder / "site" / "package" / "install" / "comfyui.py"))
    wheel = folder / "a wheel-0.2.0.whl"
    wheel.touch()

    class Got:
        version = "0.2.0"
        origin = ""

        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            return self.origin

    monkeypatch.setattr(comfyui.importlib.metadata, "distribution", lambda name: Got())
    commit = '{"url": "https://example.org/it.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
    for origin, expected in ((f'{{"url": "{wheel.as_uri()}"}}', str(wheel)),
                             ('{"url": "file:///gone.whl"}', "matting-anything-core==0.2.0"),
                             ("", "matting-anything-core==0.2.0"), ("{", "matting-anything-core==0.2.0"),
                             (commit, "matting-anything-core @ git+https://example.org/it.git@abc")):
        Got.origin = origin
        assert comfyui.requirement() == expected
