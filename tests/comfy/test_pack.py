"""The pack's files: nothing foreign is imported, every text is there in every language, every example is whole."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
ALLOWED = {"comfy", "comfy_api", "folder_paths", "server", "torch", "numpy", "matting_anything_core"}
NODES = [f"MattingAnything{name}" for name in ("Apply", "LoadModel", "Matte", "PromptEditor", "Refine", "Trimap")]
LANGUAGES = ("en", "fr", "de")


@pytest.mark.parametrize("path", sorted(PACK.glob("*.py")), ids=lambda path: path.name)
def test_nothing_else_is_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
            [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        for name in names:
            top = name.partition(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names


def test_every_node_is_explained_in_every_language() -> None:
    source = "".join(path.read_text() for path in PACK.glob("*.py"))
    texts = {name: json.loads((PACK / "locales" / name / "nodeDefs.json").read_text()) for name in LANGUAGES}
    for node in NODES:
        assert f'node_id="{node}"' in source
        for language in LANGUAGES:
            page = PACK / "web" / "docs" / node / f"{language}.md"
            assert "picture.webp" in page.read_text()
            own, english = texts[language][node], texts["en"][node]
            assert own["inputs"].keys() == english["inputs"].keys()
            assert own["outputs"].keys() == english["outputs"].keys()
        assert (PACK / "web" / "docs" / node / "picture.webp").is_file()
    assert all(set(each) == set(NODES) for each in texts.values())


@pytest.mark.parametrize("path", sorted(PACK.glob("example_workflows/*.json")), ids=lambda path: path.stem)
def test_every_example_is_whole(path: Path) -> None:
    workflow = json.loads(path.read_text())
    assert path.with_suffix(".jpg").is_file()
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, start, output, end, place, kind in workflow["links"]:
        assert number in nodes[start]["outputs"][output]["links"]
        assert nodes[end]["inputs"][place]["link"] == number
        assert nodes[start]["outputs"][output]["type"] == kind
    for node in nodes.values():
        if node["type"].startswith("LoadImage"):
            assert (PACK / "example_pictures" / Path(node["widgets_values"][0]).name).is_file()


def test_the_registrys_metadata_is_this_projects() -> None:
    tomllib = pytest.importorskip("tomllib")
    own, whole = (tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (PACK, PACK.parent))
    assert own["project"]["version"] == whole["project"]["version"]
    assert own["project"]["dependencies"] == [whole["project"]["name"]]
    assert own["project"].get("urls", {}).items() <= whole["project"].get("urls", {}).items()  # no invented address
    assert (PACK / own["project"]["license"]["file"]).read_text() == (PACK.parent / "LICENSE").read_text()
