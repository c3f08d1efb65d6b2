"""POST /v1/matte: picture and prompt in one form, a picture file out, for programs that ask once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options import OPTION_HELP, SWITCHES, MatteOptions
from ..types import Prompt
from . import form as forms
from . import wire
from .engine import Ask
from .problems import Malformed

if TYPE_CHECKING:
    from ..image import Image

IMAGE = ("image", "file")
"""The field of the picture; programs that know rembg's server call it `file`."""
PROMPT = ("box", "points", "labels", "text")
FIELDS = (*PROMPT, "prompt", "model", *OPTION_HELP, "output", "format", "quality", "background", "crop")
EXPECTED = "expected box=120,40,560,700, points=300,200;40,40 with labels=1,0, text=the dog, a mask file, or prompt={…}"


@dataclass(frozen=True)
class Asked:
    """What a form asks for. prompt: as in the JSON of a request for mattes, without the mask."""

    image: bytes
    mask: bytes | None
    prompt: Mapping[str, Any]
    model: str | None
    options: MatteOptions
    output: str
    form: wire.Form
    background: str
    crop: bool


def read(form: forms.Form) -> Asked:
    """What a form asks for. Raises Malformed."""
    known = {*FIELDS, *IMAGE, "mask"}
    unknown = sorted({*form.texts, *form.files} - known)
    if unknown:
        raise Malformed(f"the form has the unknown field {unknown[0][:80]!r}; known are {', '.join(sorted(known))}")
    images = [form.files[name] for name in IMAGE if name in form.files]
    if len(images) != 1 or any(name in form.texts for name in (*IMAGE, "mask")):
        raise Malformed("the form has not one picture as a file in the field `image`; with curl: -F image=@photo.jpg")
    if text := next((name for name in form.files if name not in (*IMAGE, "mask")), None):
        raise Malformed(f"the field {text!r} came as a file; expected text")
    texts = {name: value.strip() for name, value in form.texts.items() if value.strip()}
    mask = form.files.get("mask")
    prompt = _prompt(texts)
    if not prompt and mask is None:
        prompt = {"subject": True}
    output = texts.get("output", "cutout")
    if output not in wire.OUTPUTS:
        raise Malformed(f"output is {output[:40]!r}; expected {', '.join(wire.OUTPUTS)}")
    return Asked(images[0], mask, prompt, texts.get("model"), _options(texts), output,
                 wire.form_of(texts, wire.OUTPUTS[output], output), texts.get("background", ""), wire.is_cropped(texts))


def ask_of(asked: Asked, image: Image, room: wire.Room, find: wire.Find) -> Ask:
    """The request for one matte of the picture. Raises Malformed, PromptError and ImageError."""
    fields = dict(asked.prompt)
    if asked.mask is not None:
        if fields.get("mask") is not None:
            raise Malformed("the mask came twice, as a file and in the prompt; expected one")
        fields["mask"] = wire.mask_of(asked.mask, image, room)
        prompt = Prompt.of({name: value for name, value in fields.items() if value is not None})
    else:
        prompt = wire.prompt_of(fields, image, room, find)
    return Ask([prompt], asked.model, asked.options)


def _options(texts: Mapping[str, str]) -> MatteOptions:
    """The options of the matte in a form's texts, where switches are true or false."""
    given: dict[str, Any] = {name: texts[name] for name in OPTION_HELP if name in texts}
    for name in SWITCHES.keys() & given.keys():
        value = {"true": True, "1": True, "false": False, "0": False}.get(given[name].lower())
        if value is None:
            raise Malformed(f"{name} is {given[name][:40]!r}; expected true or false")
        given[name] = value
    return wire.options_of(given)


def _prompt(texts: Mapping[str, str]) -> dict[str, Any]:
    given = {name: texts[name] for name in PROMPT if name in texts}
    if "prompt" not in texts:
        return {name: text if name == "text" else _numbers(name, text) for name, text in given.items()}
    if given:
        raise Malformed(f"the form has prompt and {', '.join(given)}; expected one or the other")
    prompt = wire.read_json(texts["prompt"].encode())
    if not isinstance(prompt, dict):
        raise Malformed(f"prompt is no JSON object; {EXPECTED}")
    return prompt


def _numbers(name: str, text: str) -> list[Any]:
    """Numbers with commas or spaces between them; points with semicolons between those; or the same as JSON."""
    if text.startswith("["):
        value = wire.read_json(text.encode())
        return value if isinstance(value, list) else [value]
    try:
        rows = [[float(number) for number in re.split(r"[\s,]+", row.strip())] for row in text.strip("; ").split(";")]
    except ValueError:
        raise Malformed(f"{name} is {text[:80]!r}, which holds something that is no number; {EXPECTED}") from None
    if name == "points":
        return rows
    if len(rows) > 1:
        raise Malformed(f"{name} is {text[:80]!r}; {EXPECTED}")
    return rows[0]
