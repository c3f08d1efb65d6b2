"""TIFFs of every layout are read exactly or refused, never guessed."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL.Image
import pytest
import tifffile

from matting_anything_core.errors import ImageError
from matting_anything_core.image import encode_image, read_image
from matting_anything_core.image.exif import Entry, Exif, write_directories
from matting_anything_core.image.icc import _D50, SRGB_COLORANTS

cv2 = pytest.importorskip("cv2")
Y, X = np.mgrid[0:70, 0:90]
TRUTH = np.stack([X / 89, Y / 69, (X + Y) / 158], -1)
GRAY = np.repeat(TRUTH[..., :1], 3, 2)


def at(bits, truth=TRUTH):
    return np.rint(truth * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def tiff(array, **options):
    tifffile.imwrite(buffer := io.BytesIO(), array, **options)
    return buffer.getvalue()


def bare(photometric, array, *more):
    """A TIFF of uint16 H×W×C that has no tags but the necessary ones."""
    height, width, channels = array.shape
    raw = array.astype("<u2").tobytes()

    def short(tag, *values):
        return Entry(tag, 3, struct.pack(f"<{len(values)}H", *values))

    entries = [short(256, width), short(257, height), short(258, *[16] * channels), short(259, 1),
               short(262, photometric), Entry(273, 4, struct.pack("<I", 8)), short(277, channels), short(278, height),
               Entry(279, 4, struct.pack("<I", len(raw))), *more]
    return b"II*\0" + struct.pack("<I", 8 + len(raw)) + raw + write_directories(entries, Exif(), 8 + len(raw))


def off(image, truth=TRUTH):
    return np.abs(image.rgb_float() - truth).max()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("packed", "predictor"), [(None, None), ("zlib", None), ("zlib", 2)])
@pytest.mark.parametrize("tile", [None, (32, 48)])
def test_layouts(bits, order, planar, packed, predictor, tile):
    array = at(bits)
    data = tiff(array if planar == "contig" else np.moveaxis(array, 2, 0), byteorder=order, photometric="rgb",
                planarconfig=planar, compression=packed, predictor=predictor, tile=tile)
    image = read_image(data)
    assert (image.rgb == array).all()
    assert image.rgb.dtype == array.dtype


@pytest.mark.parametrize("packing", [1, 5, 8, 32773])
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_what_needs_a_codec(packing, predictor, kind):
    if (predictor == 3 and kind == "uint16") or (predictor > 1 and packing in (1, 32773)):
        pytest.skip("there is no such TIFF")
    array = at(16) if kind == "uint16" else TRUTH.astype(np.float32)
    done, data = cv2.imencode(".tiff", array[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, packing,
                                                          cv2.IMWRITE_TIFF_PREDICTOR, predictor])
    assert done
    assert (read_image(data.tobytes()).rgb == at(16)).all()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats(kind):
    assert off(read_image(tiff(TRUTH.astype(kind), photometric="rgb"))) < 1e-3
    assert off(read_image(tiff(GRAY[..., 0].astype(kind), photometric="minisblack")), GRAY) < 1e-3
    for wrong in (TRUTH * 200, TRUTH - 0.5, TRUTH * np.nan):
        with pytest.raises(ImageError, match=r"0\.\.1"):
            read_image(tiff(wrong.astype(kind), photometric="rgb"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_alpha_and_extra_channels(bits, planar):
    top, array = 2**bits - 1, at(bits)
    alpha = np.full((70, 90, 1), round(0.6 * top), array.dtype)
    alpha[:5] = 0
    noise = np.random.default_rng(0).integers(0, top, (70, 90, 2)).astype(array.dtype)

    def read(*parts, **options):
        whole = np.dstack(parts)
        return read_image(tiff(whole if planar == "contig" else np.moveaxis(whole, 2, 0), planarconfig=planar,
                               photometric="rgb", **options))

    image = read(array, alpha, extrasamples=["unassalpha"])
    assert (image.rgb == array).all()
    assert (image.alpha == alpha[..., 0]).all()
    multiplied = np.rint(array * (alpha / top)).astype(array.dtype)
    image = read(multiplied, alpha, extrasamples=["assocalpha"])
    assert np.abs(image.rgb[5:].astype(int) - array[5:]).max() <= 1
    assert (image.alpha == alpha[..., 0]).all()
    with pytest.warns(UserWarning, match="2 more channels"):
        image = read(array, noise, extrasamples=["unspecified", "unspecified"])
    assert (image.rgb == array).all()
    assert image.alpha is None
    with pytest.warns(UserWarning, match="1 more channel"):
        image = read(array, alpha, noise[..., :1], extrasamples=["unassalpha", "unspecified"])
    assert (image.alpha == alpha[..., 0]).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_inks_palettes_and_gray(bits):
    array, top = at(bits), 2**bits - 1
    inks = np.dstack([top - array, np.zeros_like(array[..., :1])])
    assert off(read_image(tiff(inks, photometric="separated"))) < 0.006
    planes = tiff(np.moveaxis(inks, 2, 0), photometric="separated", planarconfig="separate")
    assert off(read_image(planes)) < 0.006
    image = read_image(tiff(np.dstack([inks, array[..., 0]]), photometric="separated", extrasamples=["unassalpha"]))
    assert (image.alpha == array[..., 0]).all()
    index = (np.arange(6300) % 256).reshape(70, 90).astype(array.dtype)
    table = np.tile(np.arange(2**bits, dtype=np.uint16)[::-1] * (257 if bits == 8 else 1), (3, 1))
    image = read_image(tiff(index, photometric="palette", colormap=table))
    assert (image.rgb[..., 1] == top - index).all()
    image = read_image(tiff(array[..., 0], photometric="miniswhite"))
    assert (image.rgb[..., 2] == top - array[..., 0]).all()
    image = read_image(tiff(array[..., :2], photometric="minisblack", planarconfig="contig",
                            extrasamples=["unassalpha"]))
    assert (image.rgb[..., 0] == array[..., 0]).all()
    assert (image.alpha == array[..., 1]).all()


def test_bilevel_and_old_rgba():
    assert (read_image(tiff(GRAY[..., 0] > 0.5, photometric="minisblack")).rgb == 255 * (GRAY > 0.5)).all()
    PIL.Image.fromarray(GRAY[..., 0] > 0.5).save(buffer := io.BytesIO(), "tiff", compression="group4")
    assert (read_image(buffer.getvalue()).rgb == 255 * (GRAY > 0.5)).all()
    with pytest.warns(UserWarning, match="taken for alpha"):
        assert (read_image(bare(2, np.dstack([at(16), at(16)[..., 0]]))).alpha == at(16)[..., 0]).all()


def test_lab():
    linear = np.where(TRUTH <= 0.04045, TRUTH / 12.92, ((TRUTH + 0.055) / 1.055) ** 2.4)
    t = (linear @ np.array(SRGB_COLORANTS).T) / np.array(_D50)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness, a, b = 116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    signed = [np.rint(plane * 256).astype(np.int16).view(np.uint16) for plane in (a, b)]
    image = read_image(bare(8, np.dstack([np.rint(lightness * 655.35).astype(np.uint16), *signed])))
    assert off(image) < 1e-3
    shifted = [np.rint((plane + 128) * 256).astype(np.uint16) for plane in (a, b)]
    image = read_image(bare(9, np.dstack([np.rint(lightness * 652.8).astype(np.uint16), *shifted])))
    assert off(image) < 1e-3
    shallow = PIL.Image.merge("LAB", [PIL.Image.fromarray(np.rint(plane).astype(np.uint8)) for plane in (
        lightness * 2.55, a + 128, b + 128)])
    shallow.save(buffer := io.BytesIO(), "tiff")
    error = np.abs(read_image(buffer.getvalue()).rgb_float() - TRUTH)
    assert error.mean() < 0.005  # a step of 8 bits is much for dark colours


@pytest.mark.parametrize(("data", "word"), [
    (tiff(np.dstack([at(16), at(16)[..., :2]]), photometric="minisblack", planarconfig="contig"), "5 channels"),
    (tiff(np.moveaxis(at(16), 2, 0), imagej=True, metadata={"axes": "CYX"}), "microscope"),
    (tiff(np.moveaxis(at(16), 2, 0), ome=True, photometric="minisblack", metadata={"axes": "CYX"}), "microscope"),
    (tiff(np.stack([at(8)] * 4), photometric="rgb", volumetric=True, tile=(16, 32, 32)), "slices"),
    (tiff((TRUTH * (2**32 - 1)).astype(np.uint32), photometric="rgb"), "32 bits"),
    (tiff((GRAY[..., 0] * 32767).astype(np.int16)), "signed"),
    (bare(2, np.dstack([at(16), at(16), at(16)])), "9 channels"),
    (bare(5, at(16)), "inks"),
    (bare(5, np.dstack([at(16), at(16)]), Entry(332, 3, b"\2\0")), "inks"),
    (bare(32803, at(16)[..., :1]), "raw"),
    (bare(32844, at(16)[..., :1]), "rare kind"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_understood_is_refused(data, word):
    with pytest.raises(ImageError, match=word):
        read_image(data)


def test_missing_pixels_are_not_black():
    data = tiff(at(16), photometric="rgb", compression="zlib", rowsperstrip=10)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages[0].tags[279].valueoffset
    for count in (0, 10**6):
        changed = bytearray(data)
        changed[place:place + 4] = struct.pack("<I", count)
        with pytest.raises(ImageError, match=r"pixels are not in the file|damaged"):
            read_image(bytes(changed))


def test_more_than_pillow_allows():
    """Pillow refuses more than 179 megapixels, in a setting of the whole process; the limit here is an argument."""
    data = tiff(np.zeros((13500, 13500), np.uint8), compression="zlib")
    with pytest.raises(ImageError, match="megapixels"):
        read_image(data, max_pixels=180_000_000)
    image = read_image(data)
    assert (image.width, image.height) == (13500, 13500)


def test_big_tiff_and_our_own():
    assert (read_image(tiff(at(16), photometric="rgb", bigtiff=True)).rgb == at(16)).all()
    for bits in (8, 16):
        for extra in (0, 1):
            array = np.dstack([at(bits), *[at(bits)[..., 0]] * extra])
            assert (tifffile.imread(io.BytesIO(encode_image(array, "tiff", bits=bits))) == array).all()
