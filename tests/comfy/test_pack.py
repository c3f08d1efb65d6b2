"""The pack's files: nothing foreign is imported, every text is there in every language, every example is whole."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import example_graphs
import help_pages
import pytest

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
ALLOWED = {"comfy", "comfy_api", "folder_paths", "server", "torch", "numpy", "matting_anything_core"}
NODES = [f"MattingAnything{name}" for name in
         ("Apply", "GetWeights", "LoadModel", "Matte", "PromptEditor", "Refine", "Trimap")]
LANGUAGES = ("en", "es", "fr", "ja", "ko", "ru", "zh")
RECORDED = PACK.parent / "tests" / "e2e" / "comfyui_frontend" / "data" / "object_info.json"


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
    assert help_pages.languages() == list(LANGUAGES)
    texts = {name: help_pages.texts(name, "nodeDefs") for name in LANGUAGES}
    known = json.loads(RECORDED.read_text())
    for node in NODES:
        assert f'node_id="{node}"' in source
        inputs = {**known[node]["input"].get("required", {}), **known[node]["input"].get("optional", {})}
        for language in LANGUAGES:
            own = texts[language][node]
            assert list(own["inputs"]) == list(inputs), (language, node)
            assert list(own["outputs"]) == [str(place) for place in range(len(known[node]["output"]))]
            assert all(part["name"] and part["tooltip"] for part in (*own["inputs"].values(), *own["outputs"].values()))
    assert all(set(each) == set(NODES) for each in texts.values())


def test_the_help_pages_are_what_the_texts_make_of_them() -> None:
    """And their pictures are where ComfyUI looks for them: from the folder above the node's on."""
    pages = help_pages.pages()
    assert set(pages) == set((PACK / "web" / "docs").glob("*/*.md"))
    for path, text in pages.items():
        assert path.read_text("utf-8") == text, f"python -m tests.comfy.help_pages writes {path} anew"
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            assert (PACK / "web" / "docs" / picture).is_file()


@pytest.mark.parametrize("word", ["rembg", "foreground", "green screen", "trimap", "bokeh", "vitmatte",
                                  "background removal", "lasso", "segment anything"])
def test_the_search_finds_what_people_call_it(word: str) -> None:
    known = json.loads(RECORDED.read_text())
    assert any(word in known[node]["search_aliases"] for node in NODES)


def test_the_examples_and_the_blueprint_are_what_their_script_makes() -> None:
    files = example_graphs.files()
    assert set(files) == {*PACK.glob("example_workflows/*.json"), *PACK.glob("subgraphs/*.json")}
    for path, text in files.items():
        assert path.read_text("utf-8") == text, "python -m tests.comfy.example_graphs writes them anew"


def test_words_name_the_weights_that_they_need() -> None:
    """ComfyUI offers them when a template is opened and they are not there."""
    words = json.loads((PACK / "example_workflows" / "Cut out by words.json").read_text())
    [model] = words["models"]
    assert model["directory"] == "grounding-dino"
    assert model["url"].startswith("https://")
    assert len(model["hash"]) == 64


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
