"""Images of which less is wanted: JPEGs decoded smaller, prompts that follow, results of the wanted size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from tiny import picture, tiny_model

from matting_anything_core import Prompt, PromptError, read_image, write_image
from matting_anything_core.batch import BatchOptions, Item, clear_subject, in_shares, matte_batch
from matting_anything_core.cli import main
from matting_anything_core.errors import ImageError
from matting_anything_core.image import Image, encode_image
from matting_anything_core.image.read import decode
from matting_anything_core.manifest import read_manifest
from matting_anything_core.shrink import Picture, read_picture, scaled_prompt
from matting_anything_core.times import Times


def _smooth(height: int, width: int) -> np.ndarray:
    """Without detail that scaling would take away."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], 2).astype(np.uint8)


def _read(source: object, side: int | None) -> Picture:
    return read_picture(source, None, side, Times())  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_a_scaled_image_is_the_whole_one_averaged(tmp_path: Path, form: str) -> None:
    data = encode_image(_smooth(300, 500), form)  # type: ignore[arg-type]
    for side, size in ((60, (60, 36)), (250, (250, 150)), (333, (333, 200)), (500, (500, 300)), (900, (500, 300))):
        found = _read(data, side)
        assert (found.width, found.height) == (500, 300)
        assert (found.image.width, found.image.height) == size
        assert found.scaled == (side < 500)
        truth = np.asarray(Pillow.fromarray(read_image(data).rgb).resize(size, Pillow.Resampling.BOX)).astype(int)
        assert np.abs(found.image.rgb - truth)[2:-2, 2:-2].max() <= 6
    assert _read(data, None).image.width == 500


def test_a_jpeg_is_decoded_smaller_and_stays_upright(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[274] = 6  # a quarter turn
    Pillow.fromarray(_smooth(400, 800)).save(tmp_path / "turned.jpg", exif=exif)
    data = (tmp_path / "turned.jpg").read_bytes()
    small = decode(data, "it", None, 150)
    assert (small.width, small.height) == (100, 200)  # a quarter: the next smaller has less than was asked for
    found = _read(tmp_path / "turned.jpg", 150)
    assert (found.width, found.height, found.image.width, found.image.height) == (400, 800, 75, 150)
    with pytest.warns(UserWarning, match="end of"):
        cut = _read(data[:-2], 150)
    np.testing.assert_array_equal(cut.image.rgb, found.image.rgb)
    with pytest.raises(ImageError, match="pixels"):
        read_picture(data, 1000, 150, Times())


def test_transparent_images_keep_clean_colours() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :32] = 200, 100, 50, 255
    rgba[:, 32:] = 0, 255, 0, 0
    found = _read(rgba, 24).image
    assert found.alpha is not None
    seen = found.alpha > 0
    assert np.abs(found.rgb[seen].astype(int) - (200, 100, 50)).max() <= 1
    deep = _read(rgba.astype(np.uint16) * 257, 24).image
    assert (deep.bits, deep.width) == (16, 24)


def test_prompts_follow() -> None:
    whole = Picture(Image(picture(50, 100)), 200, 100)
    mask = np.zeros((100, 200), bool)
    mask[20:60, 40:80] = True
    found = scaled_prompt(Prompt(box=(20, 10, 100, 80), points=[(50, 50), (3, 3)], labels=[1, 0], mask=mask,
                                 text="a dog"), whole)
    assert isinstance(found, Prompt)
    assert found.box == (10, 5, 50, 40)
    assert (found.points, found.labels, found.text) == (((25, 25), (1.5, 1.5)), (1, 0), "a dog")
    np.testing.assert_array_equal(found.mask, mask[::2, ::2])
    trimap = scaled_prompt(Prompt(trimap=mask.astype(np.uint8) * 255), whole)
    assert isinstance(trimap, Prompt)
    assert trimap.trimap is not None
    assert trimap.trimap.shape == (50, 100)
    for wrong in (Prompt(previous=np.ones((100, 200), np.float32), points=[(1, 1)]),
                  Prompt(box=(1, 1, 50, 50), keep=mask)):
        with pytest.raises(PromptError, match="max_side"):
            scaled_prompt(wrong, whole)
    as_it_is = Prompt(keep=mask, box=(1, 1, 50, 50))
    assert scaled_prompt(as_it_is, Picture(Image(picture(100, 200)), 200, 100)) is as_it_is


def test_a_batch_of_smaller_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "a.jpg", _smooth(200, 400))
    write_image(tmp_path / "b.png", _smooth(60, 80))
    (tmp_path / "list.csv").write_text("path,box,points,out\na.jpg,,\"200,100\",points\n"
                                       "a.jpg,10%,10%,50%,90%,,shares\nb.png,,\"20,20\",small\n")
    items = [Item(tmp_path / "a.jpg", (100, 50, 300, 150), tmp_path / "box.png"),
             Item(tmp_path / "a.jpg", in_shares(0.25, 0.25, 0.75, 0.75), tmp_path / "rule.png"),
             Item(tmp_path / "b.png", clear_subject, tmp_path / "whole.png"),
             *read_manifest(tmp_path / "list.csv", tmp_path)]
    found = list(matte_batch(items, model=tiny_model(), max_side=100))
    ended = [outcome.status for outcome in found]
    assert ended.pop(2) in ("unsure", "empty")  # there is no subject
    assert ended == ["done"] * 5
    assert [outcome.box for outcome in found] == [
        (25, 12.5, 75, 37.5), (25, 12.5, 75, 37.5), found[2].box, None, pytest.approx((10, 5, 50, 45)), None]
    assert [(read_image(path).width, read_image(path).height) for path in (item.out for item in items) if path] == [
        (100, 50), (100, 50), (80, 60), (100, 50), (100, 50), (80, 60)]
    for wrong in (0, 15, True, 1.5):
        with pytest.raises(ImageError, match="max_side"):
            BatchOptions(max_side=wrong)  # type: ignore[arg-type]
    assert main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), "--max-side", "9"]) == 2
    assert "--max-side" in capsys.readouterr().err


def test_png_levels(tmp_path: Path) -> None:
    image = picture(200, 300)
    sizes = [len(encode_image(image, png_level=level)) for level in (0, 1, 9)]
    assert sizes[0] > sizes[1] > sizes[2]
    deep = image.astype(np.uint16) * 257
    assert len(encode_image(deep, bits=16, png_level=0)) > len(encode_image(deep, bits=16, png_level=9))
    assert encode_image(image) == encode_image(image, png_level=4)
    for level in (-1, 10, 1.5):
        with pytest.raises(ImageError, match="png_level"):
            encode_image(image, png_level=level)  # type: ignore[arg-type]
