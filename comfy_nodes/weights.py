"""Get Weights: the files of a model or of the word detector, downloaded when a user asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management as mm
import comfy.utils
from comfy_api.latest import io

from matting_anything_core import WeightsError
from matting_anything_core.weights import catalogue, store
from matting_anything_core.weights.fetch import fetch

from .schema import schema, setting

HEAD_NAMES = tuple(name for name in catalogue.HEADS if catalogue.FILES[name].sha256 is not None)
"""Alpha heads that go with any model, and that there is a checksum for."""
NAMES = (*(model.name for model in catalogue.MODELS.values() if not model.bundled),
         *(file.name for file in catalogue.FILES.values() if file.role == "grounding"), *HEAD_NAMES)
"""What can be got: models, the detector that text needs, and alpha heads."""
STEPS = 1000
"""Parts of a download that the progress bar can show."""
TOLD_EVERY = 8_000_000
"""Bytes after which the node says anew how far a download is."""


class GetWeights(io.ComfyNode):
    """Downloads, checks and converts what the catalogue names; what is there already stays."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="MattingAnythingGetWeights",
            display_name="Get Weights",
            description="Downloads the weights of a model, or of the detector that text needs, once: checks them, and "
                        "puts them where Load Matting Model finds them. An interrupted download goes on next time.",
            search_aliases=["download model", "download weights", "vit_b", "grounding dino", "segment anything",
                            "matting anything"],
            inputs=[
                io.Combo.Input("weights", options=list(NAMES), default=NAMES[0],
                               tooltip="A model, or the detector that text needs",
                               extra_dict={"matting_anything_missing": missing(NAMES)}),
                setting(io.String, "sha256", default="", optional=True,
                        tooltip="The checksum you know of a file that has no published one"),
                setting(io.Boolean, "trust", default=False, optional=True, tooltip=(
                    "Take a file that has no published checksum as it comes; it cannot run code, but nothing vouches "
                    "for it")),
            ],
            outputs=[io.String.Output("REPORT", display_name="report",
                                      tooltip="Where the files are, their checksums, sources and licences")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, weights: str, sha256: str = "", trust: bool = False) -> tuple[str, bool]:
        """Run again when the files are gone."""
        return weights, installed(weights)

    @classmethod
    def execute(cls, weights: str, sha256: str = "", trust: bool = False) -> io.NodeOutput:
        told = _Told(cls.hidden.unique_id if cls.hidden is not None else None)
        fetch(weights, sha256=sha256.strip() or None, trust=trust, progress=told.stage)
        text = report(weights, sha256.strip())
        told.say(text)
        return io.NodeOutput(text, ui={"text": [text]})


class _Told:
    """Progress of a download in ComfyUI's bar and on the node; it stops when the user asks for that."""

    def __init__(self, node: str | None) -> None:
        self._node = node

    def say(self, text: str) -> None:
        from server import PromptServer

        if self._node is not None:
            PromptServer.instance.send_progress_text(text, self._node)

    def stage(self, name: str, what: str) -> Callable[[int, int | None], None]:
        """What takes the steps of one stage: bytes done, and all of them where they are known."""
        bar = comfy.utils.ProgressBar(STEPS)
        last = -TOLD_EVERY

        def step(done: int, total: int | None) -> None:
            nonlocal last
            mm.throw_exception_if_processing_interrupted()
            if total:
                bar.update_absolute(min(int(done / total * STEPS), STEPS))
            if done - last >= TOLD_EVERY:
                last = done
                self.say(f"{name}: {what} {done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB")

        return step


def installed(name: str) -> bool:
    """Whether all files behind the name of a model or of a file are in the weights folder."""
    try:
        return bool(store.find(name))
    except WeightsError:
        return False


def report(name: str, sha256: str = "") -> str:
    """What was got: each file's place, checksum, licence and source."""
    lines = []
    for file in catalogue.files_of(name) or ():
        held_to = file.sha256 or sha256 or "none known; taken as it came"
        lines.append(f"{file.name}: {store.locate(file)}\n  sha256 {held_to}\n  {file.licence}, {file.url}")
    return "\n".join(lines)


def remedy(name: str, error: Exception) -> str:
    """An error about weights that are not there, the remedy first where there is one (not for files without a published
    checksum: of these the error says what to do)."""
    if not all(file.sha256 for file in catalogue.files_of(name) or ()):
        return str(error)
    return f"run the node Get Weights with {name}, or the command matting-anything weights fetch {name}: {error}"


def missing(names: Any) -> list[str]:
    """Those of the models that are not in the weights folder."""
    return [name for name in names if name in NAMES and not installed(name)]
