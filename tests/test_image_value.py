"""Image and Matte as values: in their own colour space, with what their file told, at home in other libraries."""

from __future__ import annotations

import io
import math

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch

from matting_anything_core import Image, MattingError, Prompt, read_image, write_image
from matting_anything_core.errors import ImageError
from matting_anything_core.image import Metadata, encode_image
from matting_anything_core.image.colour import colour_of
from matting_anything_core.image.icc import (
    ADOBE_COLORANTS,
    ADOBE_CURVE,
    SRGB_CURVE,
    build_profile,
    rgb_to_srgb,
    srgb_to_rgb,
)
from matting_anything_core.image.metadata import tidy_xmp
from matting_anything_core.output import OutputOptions, write_output
from matting_anything_core.result import Matte

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 60, 3), np.uint8)
P3 = build_profile("Display P3", ((0.515102, 0.291965, 0.157153), (0.241182, 0.692236, 0.066582),
                                  (-0.001050, 0.041882, 0.784378)), SRGB_CURVE)
ADOBE = build_profile("Adobe", ADOBE_COLORANTS, ADOBE_CURVE)
XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6" dc:rights="me"/>'
       b"<xmp:Thumbnails><rdf:Alt>AAAA</rdf:Alt></xmp:Thumbnails></rdf:RDF></x:xmpmeta>")


def described(form, picture=RGB):
    """A file that tells much: turned by a quarter, 300 x 200 pixels an inch, GPS, a maker's note."""
    exif = PIL.Image.Exif()
    exif[274], exif[270], exif[33432], exif[271] = 6, "Lot 117", "(c) somebody", "Canon"
    exif[0x8769] = {36867: "2024:01:02 03:04:05", 33434: (1, 200), 37500: b"maker" * 50, 40962: 60}
    exif[0x8825] = {1: "N", 2: (50.0, 10.0, 1.0)}
    options = {"exif": exif.tobytes(), "dpi": (300, 200)}
    if form == "png":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
        options["pnginfo"].add_text("Title", "A title")
    elif form != "tiff":
        options["xmp"] = XMP
    else:
        exif[700] = XMP
        options["exif"] = exif.tobytes()
    PIL.Image.fromarray(picture).save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def matte_of(image, alpha=None):
    if alpha is None:
        alpha = np.linspace(0, 1, image.width, dtype=np.float32)[None].repeat(image.height, 0)
    return Matte(alpha, alpha > 0.5, 1.0, Prompt(box=(0, 0, image.width, image.height)), image)


@pytest.mark.parametrize("source", ["jpeg", "tiff", "png", "webp"])
@pytest.mark.parametrize(("form", "bits"), [("png", 8), ("png", 16), ("tiff", 8), ("tiff", 16), ("webp", 8),
                                            ("jpeg", 8)])
def test_descriptions_are_kept(source, form, bits):
    image = read_image(described(source))
    assert (image.width, image.height) == (40, 60)
    opened = PIL.Image.open(io.BytesIO(image.encode(form, bits=bits)))
    opened.load()
    exif = opened.getexif()
    assert exif.get(274, 1) == 1
    assert (exif[270], exif[33432], exif[271]) == ("Lot 117", "(c) somebody", "Canon")
    assert exif.get_ifd(0x8769)[36867] == "2024:01:02 03:04:05"
    assert exif.get_ifd(0x8769).keys() & {37500, 40962} == set()
    assert exif.get_ifd(0x8825)[2] == (50.0, 10.0, 1.0)
    if source != "webp":  # Pillow writes no resolution there
        dpi = opened.info["dpi"] if form != "webp" else (exif[282], exif[283])
        assert [round(float(value)) for value in dpi] == [200, 300]  # turned with the picture
    xmp = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp", "").encode() or opened.tag_v2[700]
    assert b'dc:rights="me"' in xmp
    assert b"Orientation" not in xmp
    assert b"AAAA" not in xmp
    if source == form == "png":
        assert opened.text["Title"] == "A title"
    assert (np.asarray(PIL.ImageOps.exif_transpose(opened)) == np.asarray(opened)).all()


def test_descriptions_can_be_stripped(tmp_path):
    matte = matte_of(read_image(described("jpeg")))
    for output in ("cutout", "alpha", "foreground", "composite"):
        for strip in (False, True):
            write_output(tmp_path / "a.tif", matte, OutputOptions(output, strip=strip))
            opened = PIL.Image.open(tmp_path / "a.tif")
            assert ("dpi" in opened.info, opened.getexif().get(33432)) == (
                (False, None) if strip else (True, "(c) somebody"))
    assert not read_image(matte.cutout().stripped().encode("png")).metadata


def test_text_that_is_not_ascii_and_iptc():
    """Bytes are copied, whatever they mean; what news agencies write besides becomes EXIF."""
    text = "© Müller".encode()
    record = b"\x1c\x02\x74" + len(text).to_bytes(2, "big") + text
    resource = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record + b"\0" * (len(record) % 2)
    body = b"Photoshop 3.0\0" + resource
    PIL.Image.fromarray(RGB).save(buffer := io.BytesIO(), "jpeg",
                                  extra=b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body)
    for form in ("png", "tiff", "webp", "jpeg"):
        again = read_image(read_image(buffer.getvalue()).encode(form))
        assert again.metadata.exif.text(33432) == text


@pytest.mark.parametrize("packet", [b"<x><xmp:Thumbnails>" * 20000, b"<!DOCTYPE a [<!ENTITY b 'c'>]><x>" + b"y" * 99,
                                    b"x" * 100, b"<" + b"x" * 2_000_000, b"", None])
def test_hostile_xmp(packet):
    assert tidy_xmp(packet) is None


def test_unknown_resolution_is_not_invented():
    for form in ("png", "tiff", "jpeg", "webp"):
        assert read_image(encode_image(RGB, form)).metadata == Metadata()


@pytest.mark.parametrize("profile", [P3, ADOBE])
@pytest.mark.parametrize("bits", [8, 16])
def test_results_stay_in_the_picture_s_space(profile, bits, tmp_path):
    pixels = RGB if bits == 8 else RGB.astype(np.uint16) * 257
    image = read_image(Image(pixels, profile=profile).encode("png", bits=bits))
    assert image.profile == profile
    assert (image.rgb == pixels).all()
    assert np.abs(image.rgb8().astype(int) - RGB).max() > 10
    assert np.abs(image.rgb_float() * 255 - image.rgb8()).max() < 1.01
    whole = matte_of(image, np.ones((40, 60), np.float32))
    for form in ("png", "tiff", "webp", "jpeg"):
        opened = read_image(whole.opaque().encode(form))
        assert opened.profile == profile
        if form in ("png", "tiff"):
            assert (opened.rgb == pixels).all()
        assert read_image(whole.opaque().to_srgb().encode(form)).profile is None
    for srgb in (False, True):
        write_output(tmp_path / "a.png", whole, OutputOptions(srgb=srgb))
        written = read_image(tmp_path / "a.png")
        assert written.profile == (None if srgb else profile)
        assert np.abs(written.rgb8().astype(int) - image.rgb8()).max() <= 1
    assert image.part(slice(3, 9), slice(5, 7)).profile == profile


def test_backgrounds_meet_the_picture_in_its_space():
    image = Image(RGB, profile=P3)
    none = matte_of(image, np.zeros((40, 60), np.float32))
    for ground in ((200, 30, 60), "#c81e3c", np.full((5, 5, 3), (200, 30, 60), np.uint8)):
        result = none.composite(ground)
        assert result.profile == P3
        assert np.abs(result.rgb8().astype(int) - (200, 30, 60)).max() <= 1
    other = none.composite(Image(RGB, profile=ADOBE))
    assert np.abs(other.rgb8().astype(int) - Image(RGB, profile=ADOBE).rgb8()).mean() < 1  # two roundings in the dark


def test_there_and_back():
    inside = RNG.random((30, 30, 3)).astype(np.float32)
    for profile in (P3, ADOBE):
        wide = np.rint(srgb_to_rgb(inside, profile) * 65535).astype(np.uint16)
        assert np.abs(rgb_to_srgb(wide, profile) / 65535 - inside).max() < 1e-3


def test_cameras_adobe_rgb():
    """DCF: no profile, but R03 in the interoperability directory."""
    exif = PIL.Image.Exif()
    exif[0x8769] = {40961: 65535, 0xA005: {1: "R03"}}
    PIL.Image.fromarray(RGB).save(buffer := io.BytesIO(), "jpeg", exif=exif.tobytes(), quality=95)
    image = read_image(buffer.getvalue())
    assert image.profile is not None
    PIL.Image.fromarray(RGB).save(plain := io.BytesIO(), "jpeg", quality=95)
    assert (image.rgb == read_image(plain.getvalue()).rgb).all()
    assert (image.rgb8() == rgb_to_srgb(image.rgb, ADOBE)).all()


def test_at_home_in_numpy_and_pillow():
    alpha = RNG.integers(0, 256, (40, 60), np.uint8)
    for image in (Image(RGB), Image(RGB, alpha)):
        wanted = image.rgb if image.alpha is None else np.dstack([RGB, alpha])
        assert (np.asarray(image) == wanted).all()
        assert np.asarray(image, dtype=np.float32).dtype == np.float32
        assert (np.asarray(PIL.Image.fromarray(image)) == wanted).all()
        assert (np.asarray(image.to_pil()) == wanted).all()
        assert (np.array(image.__array__(copy=True)) == wanted).all()
    deep = Image(RGB.astype(np.uint16) * 257)
    assert (np.asarray(deep.to_pil()) == RGB).all()
    assert Image(RGB, profile=P3).to_pil().info["icc_profile"] == P3
    assert repr(Image(RGB, alpha, P3)) == "Image(60 x 40, 8 bits, alpha, Display P3)"
    assert len(repr(matte_of(Image(RGB)))) < 300


def test_notebooks():
    alpha = np.zeros((900, 1700), np.uint8)
    alpha[200:700, 200:1200] = 255
    image = Image(np.full((900, 1700, 3), 200, np.uint8), alpha, P3)
    shown = PIL.Image.open(io.BytesIO(image._repr_png_()))
    assert max(shown.size) == 800
    matte = matte_of(Image(np.full((900, 1700, 3), (200, 20, 20), np.uint8)), (alpha / 255).astype(np.float32))
    shown = np.asarray(PIL.Image.open(io.BytesIO(matte._repr_png_())))
    assert shown.shape == (424, 800, 3)
    assert (np.abs(shown[200, 300].astype(int) - (200, 20, 20)) <= 1).all()
    assert {int(value) for value in shown[-20:].ravel()} == {217, 255}  # a checkerboard


def test_files_and_file_objects(tmp_path):
    image = Image(RGB)
    image.save(buffer := io.BytesIO())
    assert buffer.getvalue()[:4] == b"\x89PNG"
    buffer.seek(0)
    assert (read_image(buffer).rgb == RGB).all()
    write_image(buffer := io.BytesIO(b""), image, form="tiff")
    assert buffer.getvalue()[:2] == b"II"
    with (tmp_path / "a.webp").open("wb") as file:
        write_image(file, RGB)
    with (tmp_path / "a.webp").open("rb") as file:
        assert (read_image(file).rgb == RGB).all()
    write_image(tmp_path / "a.tif", Image(RGB.astype(np.uint16) * 257))
    assert read_image(tmp_path / "a.tif").bits == 16
    write_image(tmp_path / "a.jpg", Image(RGB.astype(np.uint16) * 257))
    write_image(tmp_path / "a.png", PIL.Image.fromarray(RGB))
    assert (read_image(tmp_path / "a.png").rgb == RGB).all()
    write_image(tmp_path / "b.png", torch.from_numpy(RGB).permute(2, 0, 1))
    assert (read_image(tmp_path / "b.png").rgb == RGB).all()
    matte_of(image).save(tmp_path / "c.png")
    assert read_image(tmp_path / "c.png").alpha is not None
    assert matte_of(image).to_pil().mode == "RGBA"
    assert matte_of(image).encode("webp")[8:12] == b"WEBP"


@pytest.mark.parametrize("call", [
    lambda path: read_image(io.StringIO("text")), lambda path: read_image(io.BytesIO(b"")),
    lambda path: read_image(torch.zeros(4, 5, 3, dtype=torch.int64)),
    lambda path: read_image(np.zeros((4, 5), np.int32)),
    lambda path: read_image(path / "a.png", bgr=True), lambda path: write_image(5, RGB),
    lambda path: write_image(RGB, path / "a.png"), lambda path: write_image(path / "a.png", "b.png"),
    lambda path: write_image(path / "a.png", None), lambda path: write_image(path / "a.png", torch.zeros(2, 3, 4, 5)),
    lambda path: write_image(path / "a.png", RGB.astype(np.int64)), lambda path: write_image(io.StringIO(), RGB),
    lambda path: Image(RGB).save(None), lambda path: Image(RGB.astype(np.float32)), lambda path: Image("a.png"),
    lambda path: Image(RGB, np.zeros((3, 3), np.uint8)), lambda path: Image(RGB).save(path / "a.xyz"),
    lambda path: matte_of(Image(RGB)).composite(5), lambda path: matte_of(Image(RGB)).composite("whit"),
    lambda path: matte_of(Image(RGB)).composite(None), lambda path: Image(RGB).encode("bmp"),
])
def test_wrong_kinds_of_things(call, tmp_path):
    with pytest.raises(MattingError):
        call(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_channel_order():
    assert (read_image(RGB[..., ::-1], bgr=True).rgb == RGB).all()
    four = np.dstack([RGB[..., ::-1], RGB[..., :1]])
    image = read_image(four, bgr=True)
    assert (image.rgb == RGB).all()
    assert (image.alpha == RGB[..., 0]).all()
    assert (read_image(RGB[..., 0], bgr=True).rgb[..., 2] == RGB[..., 0]).all()


@pytest.mark.parametrize(("given", "expected"), [
    ("white", (1, 1, 1)), ("#fff", (1, 1, 1)), ("#20a040", (32 / 255, 160 / 255, 64 / 255)), ((255, 0, 0), (1, 0, 0)),
    ((1.0, 1.0, 1.0), (1, 1, 1)), ((0.5, 0.25, 0), (0.5, 0.25, 0)), ((1, 1, 1), (1 / 255,) * 3), ([0, 0, 0], (0, 0, 0)),
    (np.array([1.0, 0.5, 0.0], np.float32), (1, 0.5, 0)), (np.array([255, 0, 128]), (1, 0, 128 / 255)),
    ((255.0, 127.5, 0.5), (1, 0.5, 0.5 / 255)), ("rgb(255, 0, 0)", (1, 0, 0)),
])
def test_colours(given, expected):
    np.testing.assert_allclose(colour_of(given), expected, atol=1e-6)
    image = matte_of(Image(RGB.astype(np.uint16) * 257), np.zeros((40, 60), np.float32)).composite(given)
    np.testing.assert_allclose(image.rgb_float()[0, 0], expected, atol=1e-4)


@pytest.mark.parametrize("given", [
    "nocolour", "#ff000080", (300, 0, 0), (-1, 0, 0), (1, 2), (math.nan, 0, 0), (1, 2, 3, 4), (True, False, True),
    ("a", "b", "c")])
def test_what_is_no_colour(given):
    with pytest.raises(ImageError, match="expected"):
        matte_of(Image(RGB)).composite(given)


def test_transparent_backgrounds():
    matte = matte_of(Image(RGB))
    assert (matte.composite("transparent").alpha == matte.cutout().alpha).all()
    behind = np.zeros((40, 60, 4), np.uint8)
    behind[..., :3], behind[:20, :, 3] = (10, 200, 30), 255
    hidden = behind.copy()
    hidden[20:, :, :3] = 255
    result, other = matte.composite(behind), matte.composite(hidden)
    assert (result.alpha[:19] == 255).all()
    assert (np.abs(result.alpha[21:].astype(int) - matte.cutout().alpha[21:]) <= 1).all()
    seen = result.alpha > 0
    assert (result.rgb[seen] == other.rgb[seen]).all()


def soft_disc(hidden):
    """A disc of one colour with a soft edge and a half transparent pane, over nothing; hidden: under alpha 0."""
    y, x = np.mgrid[0:120, 0:160]
    alpha = np.clip((50 - np.hypot(x - 80, y - 60)) / 12 + 0.5, 0, 1)
    alpha[40:80, 60:100] = 0.5
    pixels = np.empty((120, 160, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = (190, 60, 50), np.rint(alpha * 255)
    pixels[pixels[..., 3] == 0, :3] = hidden
    return read_image(pixels)


@pytest.mark.parametrize("hidden", [0, 255, (0, 255, 0)])
def test_transparent_pictures_keep_their_colours(hidden):
    image = soft_disc(hidden)
    own = image.alpha_float()
    for net in (np.ones_like(own), np.clip(own * 3, 0, 1), np.where(own > 0, 0.7, 0).astype(np.float32)):
        result = matte_of(image, (own * net).astype(np.float32)).cutout()
        seen = (image.alpha > 25) & (result.alpha > 12)
        assert np.abs(result.rgb[seen].astype(int) - (190, 60, 50)).max() <= 3
        again = matte_of(soft_disc(77), (own * net).astype(np.float32)).cutout()
        assert (again.rgb == result.rgb).all()  # what is hidden does not matter, wherever it is


def test_an_opaque_ground_in_a_transparent_picture_is_still_taken_out():
    y, x = np.mgrid[0:120, 0:160]
    net = np.clip((40 - np.hypot(x - 80, y - 60)) / 10 + 0.5, 0, 1).astype(np.float32)
    colours = net[..., None] * (190, 60, 50) + (1 - net[..., None]) * (20, 200, 60)
    pixels = np.dstack([np.rint(colours), np.where(np.hypot(x - 80, y - 60) < 58, 255, 0)]).astype(np.uint8)
    result = matte_of(read_image(pixels), net).cutout()
    soft = (net > 0.2) & (net < 0.9)
    assert np.abs(result.rgb[soft].astype(int) - (190, 60, 50)).mean() < 12
    assert np.abs(pixels[soft][:, :3].astype(int) - (190, 60, 50)).mean() > 40
