"""The nodes' help pages, made of locales/*/nodeDefs.json and help.json: `python -m tests.comfy.help_pages` writes them.

ComfyUI resolves what a page refers to from the folder above the node's, web/docs, so pictures are named from there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[2] / "comfy_nodes"
DOCS = PACK / "web" / "docs"


def languages() -> list[str]:
    return sorted(folder.name for folder in (PACK / "locales").iterdir())


def texts(language: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PACK / "locales" / language / f"{name}.json").read_text("utf-8"))
    return content


def pages() -> dict[Path, str]:
    """Every page's place and its text."""
    return {DOCS / node / f"{language}.md": page(node, texts(language, "nodeDefs")[node], texts(language, "help"))
            for language in languages() for node in texts(language, "nodeDefs")}


def page(node: str, words: dict[str, Any], help_: dict[str, Any]) -> str:
    picture = f"![{words['display_name']}]({node}/picture.webp)\n\n" if (DOCS / node / "picture.webp").is_file() else ""
    tables = "".join(f"\n## {help_[part]}\n\n| | |\n|---|---|\n" + "".join(
        f"| `{name if part == 'inputs' else one['name']}` | {one['tooltip']} |\n" for name, one in words[part].items())
        for part in ("inputs", "outputs"))
    return (f"# {words['display_name']}\n\n{words['description']}\n\n{picture}{help_['nodes'][node]}\n{tables}")


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
