"""Readers of published layouts, and what happens with files that are not what they should be."""

from __future__ import annotations

import numpy as np
import pytest

from matting_anything_core.errors import MattingError
from matting_anything_core.training.layouts import list_records
from matting_anything_core.training.library import open_library, read_photo
from matting_anything_core.training.recipe import Source

from .made_up import LAYOUTS, colours, make_layout, save, shape_alpha

ROLES = {"refmatte": ("picture", 6), "coco": ("background", 3), "bg20k": ("background", 3),
         "picture_alpha": ("picture", 3), "picture_mask": ("picture", 3)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_listed_and_read(tmp_path, layout):
    make_layout(tmp_path / "set", layout)
    records = list_records(Source(layout, "set"), tmp_path)
    role, count = ROLES.get(layout, ("foreground", 3))
    assert (len(records), {record.role for record in records}) == (count, {role})
    photo = read_photo(records[0])
    assert photo.rgb.shape == (150, 170, 3)
    if role == "background":
        assert photo.alpha is None
    else:
        assert photo.alpha.shape == (150, 170)
        assert photo.hard == (layout == "picture_mask")
        assert set(np.unique(photo.alpha)) == {0, 255} if photo.hard else len(np.unique(photo.alpha)) > 10


def test_colours_are_rgb(tmp_path):
    save(tmp_path / "a.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))  # OpenCV writes blue
    save(tmp_path / "c" / "a.png", np.full((4, 4, 4), (255, 0, 0, 128), np.uint8))
    assert read_photo(list_records(Source("backgrounds", "a.png"), tmp_path)[0]).rgb[0, 0].tolist() == [0, 0, 255]
    cut = read_photo(list_records(Source("cutouts", "c"), tmp_path)[0])
    assert (cut.rgb[0, 0].tolist(), int(cut.alpha[0, 0])) == ([0, 0, 255], 128)


def test_what_is_held_out_is_not_trained_on(tmp_path):
    make_layout(tmp_path, "picture_alpha", 7)
    rest = list_records(Source("picture_alpha", ".", hold_out=(3, 1)), tmp_path)
    held = list_records(Source("picture_alpha", ".", hold_out=(3, 1), keep="held"), tmp_path)
    assert [record.rgb.stem for record in held] == ["p1", "p4"]
    assert len(rest) == 5
    assert not set(rest) & set(held)


def test_a_missing_data_set_says_what_was_looked_for(tmp_path):
    with pytest.raises(MattingError, match=r"no pictures in the layout adobe.*Adobe-licensed images"):
        list_records(Source("adobe", "nowhere"), tmp_path)
    with pytest.raises(MattingError, match="no layout 'zip'"):
        list_records(Source("zip", "."), tmp_path)


def test_corrupt_files_are_passed_over_and_counted(tmp_path):
    make_layout(tmp_path / "set", "picture_alpha", 4)
    (tmp_path / "set/image/p1.png").write_bytes(b"not a picture")
    (tmp_path / "set/image/p2.png").write_bytes(b"")
    save(tmp_path / "set/alpha/p3.png", shape_alpha(0)[:50])  # of another size
    library = open_library((Source("picture_alpha", "set"),), tmp_path, unreadable=tmp_path / "bad.txt")
    rng = np.random.default_rng(0)
    for _ in range(30):
        np.testing.assert_array_equal(library.draw(rng, library.photos).rgb, colours(0)[..., ::-1])
    bad = (tmp_path / "bad.txt").read_text().split()
    assert sorted(path[-6:] for path in bad) == ["p1.png", "p2.png", "p3.png"]


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    library = open_library((Source("backgrounds", "."),), tmp_path)
    with pytest.raises(MattingError, match="cannot be read"):
        library.draw(np.random.default_rng(0), library.backgrounds)


def test_pictures_are_drawn_as_often_as_their_sources_weigh(tmp_path):
    for name, count in (("rare", 3), ("common", 1)):
        for number in range(count):
            save(tmp_path / name / f"{number}.png", colours(number))
    sources = [Source("backgrounds", "rare"), Source("backgrounds", "common", weight=9.0)]
    library = open_library(tuple(sources), tmp_path)
    rng = np.random.default_rng(0)
    drawn = [library.backgrounds.draw(rng).rgb.parent.name for _ in range(2000)]
    assert drawn.count("common") / 2000 == pytest.approx(9 / 12, abs=0.03)
    assert len({library.backgrounds.draw(rng).rgb for _ in range(200)}) == 4
