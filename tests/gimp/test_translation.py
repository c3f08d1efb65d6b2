"""The German texts are complete, and the compiled file is that of the source.

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
FILE = SOURCE / "locale" / "de" / "LC_MESSAGES" / "matte_selection.po"


@pytest.fixture(scope="module")
def german() -> Catalog:
    return read_po(FILE.open("rb"))


def texts() -> set[str]:
    found = extract_from_dir(str(PLUGIN), [("**.py", "python")], {}, keywords={"_": None})
    return {message for _file, _line, message, _comments, _context in found}


def test_every_text_is_translated_and_none_is_left_over(german: Catalog) -> None:
    assert len(texts()) > 90
    assert {message.id for message in german if message.id} == texts()
    assert not [message.id for message in german if message.id and (not message.string or message.fuzzy)]
    assert not german.obsolete


def test_the_same_values_are_filled_in(german: Catalog) -> None:
    def fields(text: str) -> list[str]:
        return sorted(str(name) for _, name, _, _ in string.Formatter().parse(text) if name is not None)

    assert not [message.id for message in german if message.id and fields(message.id) != fields(message.string)]


def test_the_compiled_file_is_that_of_the_source(german: Catalog) -> None:
    compiled = read_mo(FILE.with_suffix(".mo").open("rb"))
    assert {one.id: one.string for one in compiled if one.id} == {one.id: one.string for one in german if one.id}


def test_no_two_fields_of_the_dialog_have_the_same_key(german: Catalog) -> None:
    source = (PLUGIN / "arguments.py").read_text(encoding="utf-8")
    labels = re.findall(r'^    \("[a-z-]+", _\("([^"]*_[^"]*)"\)', source, re.MULTILINE)
    assert len(labels) == 10
    buttons = {"en": "hrcmls", "de": "hzaf"}
    for language, taken in buttons.items():
        shown = labels if language == "en" else [str(german[label].string) for label in labels]
        keys = [label[label.index("_") + 1].lower() for label in shown]
        assert len({*keys, *taken}) == len(keys) + len(taken), (language, keys)
