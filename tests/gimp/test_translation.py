"""The texts of all languages are complete, and the compiled files are those of the sources.

After a change of texts: pybabel compile -D matte_selection -d gimp_plugin/matte_selection/locale
"""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from .conftest import PLUGIN

SOURCE = Path(__file__).parents[2] / "gimp_plugin" / "matte_selection"
LANGUAGES = ("de", "es", "fr")


def file(language: str) -> Path:
    return SOURCE / "locale" / language / "LC_MESSAGES" / "matte_selection.po"


@pytest.fixture(scope="module", params=LANGUAGES)
def catalog(request: pytest.FixtureRequest) -> Catalog:
    return read_po(file(request.param).open("rb"), locale=request.param)


def test_every_language_that_is_there_is_tried() -> None:
    assert sorted(folder.name for folder in (SOURCE / "locale").iterdir()) == sorted(LANGUAGES)


def texts() -> set[str]:
    found = extract_from_dir(str(PLUGIN), [("**.py", "python")], {}, keywords={"_": None})
    return {message for _file, _line, message, _comments, _context in found}


def test_every_text_is_translated_and_none_is_left_over(catalog: Catalog) -> None:
    assert len(texts()) > 90
    assert {message.id for message in catalog if message.id} == texts()
    assert not [message.id for message in catalog if message.id and (not message.string or message.fuzzy)]
    assert not catalog.obsolete


def test_the_same_values_are_filled_in(catalog: Catalog) -> None:
    def fields(text: str) -> list[str]:
        return sorted(str(name) for _, name, _, _ in string.Formatter().parse(text) if name is not None)

    assert not [message.id for message in catalog if message.id and fields(message.id) != fields(message.string)]


def test_the_compiled_file_is_that_of_the_source(catalog: Catalog) -> None:
    compiled = read_mo(file(str(catalog.locale)).with_suffix(".mo").open("rb"))
    assert {one.id: one.string for one in compiled if one.id} == {one.id: one.string for one in catalog if one.id}


BUTTONS = {"en": "hrcm", "de": "hzaf", "es": "yrct", "fr": "erad"}
"""Keys of the dialog's own buttons: help, reset, cancel and matte."""


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_two_fields_of_the_dialog_have_the_same_key(language: str) -> None:
    source = (PLUGIN / "arguments.py").read_text(encoding="utf-8")
    labels = re.findall(r'^    \("[a-z-]+", _\("([^"]*_[^"]*)"\)', source, re.MULTILINE)
    assert len(labels) == 10
    if language != "en":
        catalog = read_po(file(language).open("rb"))
        labels = [str(catalog[label].string) for label in labels]
    keys = [label[label.index("_") + 1].lower() for label in labels]
    taken = BUTTONS[language]
    assert len({*keys, *taken}) == len(keys) + len(taken), (language, keys)
