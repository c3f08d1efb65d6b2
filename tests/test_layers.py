"""Files of layers, read back by other programs' readers: psd-tools' own, Pillow's, and zipfile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import pytest
from test_image_value import ADOBE, P3, XMP, described

from matting_anything_core import Image, MattingError, Prompt, read_image, write_image
from matting_anything_core.adjust import Adjustment
from matting_anything_core.assets import demo_picture
from matting_anything_core.cli import main
from matting_anything_core.errors import ImageError, MissingExtraError
from matting_anything_core.image import encode_image, layers, output_format
from matting_anything_core.image.layers import Layer, encode_layers, merged
from matting_anything_core.output import OutputOptions, encode_output, write_output
from matting_anything_core.result import Matte

psd_tools = pytest.importorskip("psd_tools")
RNG = np.random.default_rng(0)


def a_matte(bits: int = 8, *, opaque: bool = True, profile: bytes | None = None, source: bytes | None = None) -> Matte:
    """A disc with a soft edge on noise, 60 x 40."""
    top, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    rgb = RNG.integers(0, top + 1, (40, 60, 3)).astype(kind)
    own = None if opaque else RNG.integers(0, top + 1, (40, 60)).astype(kind)
    image = Image(rgb, own, profile) if source is None else read_image(source)
    rows, columns = np.mgrid[: image.height, : image.width]
    alpha = np.clip((15 - np.hypot(rows - 20, columns - 25)) / 6 + 0.5, 0, 1).astype(np.float32)
    return Matte(alpha, alpha > 0.5, 0.9, Prompt(box=(5, 2, 45, 38)), image)


def openraster(data: bytes) -> tuple[dict[str, bytes], ElementTree.Element]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names = archive.infolist()
        assert names[0].filename == "mimetype"
        assert names[0].compress_type == zipfile.ZIP_STORED
        files = {one.filename: archive.read(one) for one in names}
    assert files["mimetype"] == b"image/openraster"
    return files, ElementTree.fromstring(files["stack.xml"])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("opaque", [True, False])
def test_a_psd_holds_the_object_with_its_mask_over_the_picture(bits, opaque) -> None:
    found = a_matte(bits, opaque=opaque)
    data = found.encode("psd")
    document = psd_tools.PSDImage.open(io.BytesIO(data))
    top = 2**bits - 1
    assert (document.width, document.height, document.depth) == (60, 40, bits)
    below, above = document
    assert (below.name, below.visible, below.has_mask()) == ("picture", False, False)
    assert (above.name, above.visible, above.has_mask()) == ("object", True, True)
    cut = found.cutout()
    for layer, rgb in ((below, found.image.rgb), (above, cut.rgb)):
        np.testing.assert_array_equal(np.rint(layer.numpy("color") * top), rgb)
    np.testing.assert_array_equal(np.rint(above.numpy("mask")[..., 0] * top), cut.alpha)
    if not opaque:
        np.testing.assert_array_equal(np.rint(below.numpy("shape")[..., 0] * top), found.image.alpha)
    assert data == found.encode("psd")


def test_programs_that_know_no_layers_see_the_cut_out_in_a_psd() -> None:
    found = a_matte()
    cut = np.asarray(found.cutout(), np.float64)
    with PIL.Image.open(io.BytesIO(found.encode("psd"))) as flat:
        assert flat.mode == "RGBA"
        seen = np.asarray(flat)
        assert flat.info["icc_profile"]
    np.testing.assert_array_equal(seen[..., 3], cut[..., 3])
    share = cut[..., 3:] / 255
    np.testing.assert_allclose(seen[..., :3], cut[..., :3] * share + 255 * (1 - share), atol=1)  # as Photoshop has it


@pytest.mark.parametrize("bits", [8, 16])
def test_openraster_holds_the_cut_out_its_mask_and_the_picture(bits) -> None:
    found = a_matte(bits)
    files, image = openraster(found.encode("ora"))
    assert (image.get("w"), image.get("h"), image.get("version")) == ("60", "40", "0.0.3")
    stack = list(image.iter("layer"))  # the topmost first
    assert [(layer.get("name"), layer.get("visibility")) for layer in stack] == [
        ("object mask", "hidden"), ("object", "visible"), ("picture", "hidden")]
    mask, cut, picture = (read_image(files[layer.get("src") or ""]) for layer in stack)
    expected = found.cutout()
    assert cut.alpha is not None
    np.testing.assert_array_equal(cut.rgb, expected.rgb)
    np.testing.assert_array_equal(cut.alpha, expected.alpha)
    np.testing.assert_array_equal(mask.rgb[..., 1], expected.alpha)
    np.testing.assert_array_equal(picture.rgb, found.image.rgb)
    whole, small = (PIL.Image.open(io.BytesIO(files[name])) for name in ("mergedimage.png", "Thumbnails/thumbnail.png"))
    assert (whole.mode, whole.size, small.size) == ("RGBA", (60, 40), (60, 40))
    assert found.encode("ora") == found.encode("ora")


def test_a_large_openraster_has_a_small_thumbnail() -> None:
    files, _ = openraster(encode_image(np.zeros((300, 700, 3), np.uint8), "ora"))
    with PIL.Image.open(io.BytesIO(files["Thumbnails/thumbnail.png"])) as small:
        assert max(small.size) == 256


@pytest.mark.parametrize("profile", [P3, ADOBE])
def test_colours_stay_in_their_space_or_become_srgb(profile) -> None:
    found = a_matte(profile=profile)
    document = psd_tools.PSDImage.open(io.BytesIO(encode_output(found, "psd")))
    assert document.image_resources.get_data(1039) == profile
    files, _ = openraster(encode_output(found, "ora"))
    assert read_image(files["data/layer0.png"]).profile == profile
    srgb = psd_tools.PSDImage.open(io.BytesIO(encode_output(found, "psd", OutputOptions(srgb=True))))
    np.testing.assert_array_equal(np.rint(srgb[0].numpy("color") * 255), found.image.to_srgb().rgb)
    assert srgb.image_resources.get_data(1039) != profile


def test_what_the_picture_tells_stays_unless_it_is_stripped() -> None:
    found = a_matte(source=described("jpeg"))
    document = psd_tools.PSDImage.open(io.BytesIO(encode_output(found, "psd")))
    resolution = document.image_resources.get_data(1005)
    assert (resolution.horizontal / 65536, resolution.vertical / 65536) == found.image.metadata.dpi == (200, 300)
    assert b"(c) somebody" in document.image_resources.get_data(1058)
    assert b"dc:rights" in document.image_resources.get_data(1060)
    assert XMP not in document.image_resources.get_data(1060)  # without the orientation that is no longer true
    files, image = openraster(encode_output(found, "ora"))
    assert (image.get("xres"), image.get("yres")) == ("200", "300")
    told = read_image(files["mergedimage.png"]).metadata
    assert (told.exif, told.xmp) == (found.image.metadata.exif, found.image.metadata.xmp)
    assert told.dpi == pytest.approx((200, 300), rel=1e-4)  # a PNG counts by the metre
    bare = encode_output(found, "psd", OutputOptions(strip=True))
    assert b"somebody" not in bare
    assert 1005 not in psd_tools.PSDImage.open(io.BytesIO(bare)).image_resources
    assert b"somebody" not in encode_output(found, "ora", OutputOptions(strip=True))


@pytest.mark.parametrize("suffix", [".psd", ".ora"])
def test_a_matte_saves_layers_and_a_picture_one(tmp_path: Path, suffix: str) -> None:
    found = a_matte()
    found.save(tmp_path / f"cut{suffix}")
    with (tmp_path / f"same{suffix}").open("wb") as file:
        found.save(file)
    form = output_format(f"x{suffix}")
    assert (tmp_path / f"cut{suffix}").read_bytes() == (tmp_path / f"same{suffix}").read_bytes() == found.encode(form)
    buffer = io.BytesIO()
    found.save(buffer, form=form)
    assert buffer.getvalue() == found.encode(form)
    for name, picture in (("gray", found.alpha), ("rgb", found.image), ("rgba", found.cutout())):
        write_image(tmp_path / f"{name}{suffix}", picture)
    write_output(tmp_path / f"green{suffix}", found, OutputOptions("composite", background="#20a040"))
    write_output(tmp_path / f"alpha{suffix}", found, OutputOptions("alpha"))
    for path in tmp_path.glob(f"*{suffix}"):
        several = path.stem in ("cut", "same")
        if suffix == ".ora":
            assert len(list(openraster(path.read_bytes())[1].iter("layer"))) == (3 if several else 1)
        else:
            assert len(list(psd_tools.PSDImage.open(path))) == (2 if several else 1)
    if suffix == ".psd":
        alpha = psd_tools.PSDImage.open(tmp_path / "alpha.psd")
        assert alpha.color_mode.name == "GRAYSCALE"
        np.testing.assert_array_equal(np.rint(alpha[0].numpy("color")[..., 0] * 255), np.rint(found.alpha * 255))


def test_what_is_done_to_a_matte_is_done_before(tmp_path: Path) -> None:
    found = a_matte()
    change = Adjustment(grow=2, invert=True)
    data = encode_output(found, "psd", OutputOptions(adjustment=change))
    mask = psd_tools.PSDImage.open(io.BytesIO(data))[1].numpy("mask")[..., 0]
    np.testing.assert_allclose(mask, change.alpha(found.alpha), atol=1 / 255)
    cropped = encode_output(found, "psd", OutputOptions(adjustment=Adjustment(crop=0)))
    assert psd_tools.PSDImage.open(io.BytesIO(cropped)).width < 60
    for form in ("psd", "ora"):
        with pytest.raises(ImageError, match="nothing premultiplied"):
            encode_output(found, form, OutputOptions(adjustment=Adjustment(premultiplied=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("visible", [(True, True), (True, False), (False, False)])
def test_visible_layers_are_drawn_over_one_another(visible) -> None:
    below = Layer("a", np.full((2, 3, 3), 200, np.uint8), visible=visible[0])
    mask = np.array([[0, 128, 255], [0, 128, 255]], np.uint8)
    above = Layer("b", np.full((2, 3, 3), 100, np.uint8), mask, visible=visible[1])
    seen = merged([below, above])
    assert seen.shape == (2, 3, 4)
    assert seen[0, :, 3].tolist() == ([255] * 3 if visible[0] else [0] * 3)
    if visible[0]:
        assert seen[0, :, 0].tolist() == ([200, 150, 100] if visible[1] else [200] * 3)


def test_what_cannot_be_written_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="at most 30000 pixels a side"):
        encode_layers([Layer("x", np.zeros((1, 30001, 3), np.uint8))], "psd")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(demo_picture())
    for suffix in ("psd", "ora"):
        out = tmp_path / f"cut.{suffix}"
        assert main(["matte", str(photo), "-o", str(out), "--premultiplied"]) == 3
        assert "nothing premultiplied" in capsys.readouterr().err
        assert not out.exists()
    real = layers.importlib.util.find_spec
    monkeypatch.setattr(layers.importlib.util, "find_spec", lambda name: None if name == "psd_tools" else real(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'matting-anything-core\[layers\]'.*\.ora"):
        output_format("cut.psd")
    with pytest.raises(MattingError, match="layers"):
        a_matte().save(tmp_path / "x.psd")
    for command in (["matte", str(photo), "-o", str(tmp_path / "cut.psd")],
                    ["batch", str(tmp_path), "-o", str(tmp_path / "cuts"), "--format", "psd"]):
        assert main(command) == 6
        assert "matting-anything-core[layers]" in capsys.readouterr().err
    assert output_format("cut.ora") == "ora"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["photo.jpg"]


def test_both_commands_write_layers(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    write_image(photos / "photo.png", read_image(demo_picture()).rgb[::3, ::3].copy())
    assert main(["matte", str(photos / "photo.png"), "--box", "5%,5%,95%,95%", "-o", str(tmp_path / "cut.psd")]) == 0
    assert [layer.has_mask() for layer in psd_tools.PSDImage.open(tmp_path / "cut.psd")] == [False, True]
    assert main(["batch", str(photos), "--box", "5%,5%,95%,95%", "-o", str(tmp_path / "cuts"), "--format", "ora"]) == 0
    _, image = openraster((tmp_path / "cuts" / "photo.ora").read_bytes())
    assert len(list(image.iter("layer"))) == 3
