from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.PngImagePlugin
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from matting_anything_core.errors import ImageError
from matting_anything_core.image import Image, encode_image, output_format, read_image, write_image
from matting_anything_core.image.icc import SRGB_COLORANTS, SRGB_CURVE, build_profile, srgb_profile, to_srgb16

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), np.uint8)
RGBA = RNG.integers(0, 256, (6, 9, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), np.uint16)
P3 = ((0.515102, 0.291965, 0.157153), (0.241182, 0.692236, 0.066582), (-0.001050, 0.041882, 0.784378))
ADOBE = ((0.609741, 0.205276, 0.149185), (0.311111, 0.625671, 0.063217), (0.019470, 0.060867, 0.744568))


def saved(image, form="png", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_round_trips_are_exact(form, bits, channels):
    pixels = RNG.integers(0, 2**bits, (70, 41, channels), dtype=np.uint8 if bits == 8 else np.uint16)
    image = read_image(encode_image(pixels, form, bits=bits))
    assert image.rgb.dtype == pixels.dtype
    assert (image.rgb == (np.repeat(pixels, 3, 2) if channels == 1 else pixels[..., :3])).all()
    assert (image.alpha is None) if channels < 4 else (image.alpha == pixels[..., 3]).all()


def test_other_programs_read_our_16_bits():
    cv2, tifffile = pytest.importorskip("cv2"), pytest.importorskip("tifffile")
    for channels in (1, 3, 4):
        pixels = DEEP[..., :channels]
        for form in ("png", "tiff"):
            read = cv2.imdecode(np.frombuffer(encode_image(pixels, form, bits=16), np.uint8), cv2.IMREAD_UNCHANGED)
            read = read.reshape(pixels.shape)[..., [[0], [], [2, 1, 0], [2, 1, 0, 3]][channels - 1]]
            assert (read == pixels).all()
        read = tifffile.imread(io.BytesIO(encode_image(pixels, "tiff", bits=16)))
        assert (read.reshape(pixels.shape) == pixels).all()


def test_webp_and_jpeg():
    image = read_image(encode_image(RGBA, "webp"))
    assert (image.rgb == RGBA[..., :3]).all()  # also where alpha is 0
    assert (image.alpha == RGBA[..., 3]).all()
    smooth = np.repeat(np.linspace(0, 1, 64)[None, :, None], 64, 0).repeat(3, 2)
    assert np.abs(read_image(encode_image(smooth, "jpeg")).rgb_float() - smooth).max() < 0.02


def test_bits_there_and_back():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (read_image(encode_image(every, "png", bits=16)).rgb8()[..., 0] == every).all()
    assert (read_image((every / 255).astype(np.float32)).rgb8()[..., 0] == every).all()
    assert (read_image(every).rgb_float()[..., 0] * 255 == pytest.approx(every))


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(form, orientation):
    from PIL import ImageOps

    exif = PIL.Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if form == "webp" else {}
    data = saved(RGB, form, exif=exif, **options)
    wanted = np.asarray(ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))))
    assert (read_image(data).rgb == wanted).all()
    assert (read_image(PIL.Image.open(io.BytesIO(data))).rgb == wanted).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bits(orientation):
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP[..., :3], photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    eight = PIL.Image.open(io.BytesIO(buffer.getvalue()))
    eight.load()
    image = read_image(buffer.getvalue())
    assert image.rgb.dtype == np.uint16
    assert (image.rgb >> 8 == np.asarray(eight)).all()


def test_modes():
    picture = PIL.Image.fromarray(RGB)
    for mode in ("1", "L", "LA", "P", "RGBA", "RGBX", "YCbCr", "HSV", "CMYK", "I", "F", "La", "RGBa", "PA"):
        try:
            converted = picture.convert(mode)
        except ValueError:
            converted = picture.convert("RGBA").convert(mode)
        if mode == "F":
            converted = converted.point(lambda value: value * (1 / 255) + 0)
        image = read_image(converted)
        assert image.rgb.shape == (6, 9, 3)
        assert (image.alpha is not None) == (mode in ("LA", "RGBA", "La", "RGBa", "PA"))
    assert np.abs(read_image(picture.convert("CMYK")).rgb.astype(int) - RGB).max() <= 1


def test_transparency_of_palettes_and_keys():
    palette = PIL.Image.fromarray(RGB).quantize(8)
    image = read_image(saved(palette, transparency=3))
    assert ((image.alpha == 0) == (np.asarray(palette) == 3)).all()
    image = read_image(saved(RGB, transparency=tuple(int(value) for value in RGB[0, 0])))
    assert image.alpha[0, 0] == 0
    assert image.alpha[1:].min() == 255


def test_gray_16_and_premultiplied_tiff():
    image = read_image(PIL.Image.fromarray(DEEP[..., 0]))
    assert (image.rgb[..., 1] == DEEP[..., 0]).all()
    tifffile = pytest.importorskip("tifffile")
    straight = DEEP.copy()
    straight[..., 3] |= 0x8000
    multiplied = straight.copy()
    multiplied[..., :3] = np.rint(straight[..., :3] * (straight[..., 3:] / 65535))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, multiplied, photometric="rgb", extrasamples=["assocalpha"])
    image = read_image(buffer.getvalue())
    assert np.abs(image.rgb.astype(int) - straight[..., :3]).max() <= 2
    tifffile.imwrite(buffer := io.BytesIO(), DEEP[..., 0], photometric="miniswhite")
    assert (read_image(buffer.getvalue()).rgb[..., 0] == 65535 - DEEP[..., 0]).all()


def test_first_frame():
    frames = [PIL.Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    for form in ("gif", "png", "webp", "tiff"):
        options = {"lossless": True} if form == "webp" else {}
        data = saved(frames[0], form, save_all=True, append_images=frames[1:], **options)
        assert (read_image(data).rgb == (255, 0, 0)).all()


def test_srgb_profiles_change_nothing():
    other = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    for profile in (other, srgb_profile()):
        assert (read_image(saved(RGB, icc_profile=profile)).rgb == RGB).all()
    assert srgb_profile() == PIL.Image.open(io.BytesIO(encode_image(RGB, "jpeg"))).info["icc_profile"]
    assert "icc_profile" not in PIL.Image.open(io.BytesIO(encode_image(RGB[..., 0], "png"))).info


@pytest.mark.parametrize(("colorants", "curve"), [(P3, SRGB_CURVE), (ADOBE, (2.19921875,))])
def test_wide_profiles_become_srgb(colorants, curve):
    profile = build_profile("wide", colorants, curve)
    image = read_image(saved(RGB, icc_profile=profile))
    assert (image.rgb == RGB).all()  # in its own space …
    assert image.profile == profile
    shallow = image.rgb8()  # … and as the network sees it
    assert np.abs(shallow.astype(int) - RGB).max() > 20
    deep = to_srgb16(RGB.astype(np.uint16) * 257, profile, "test")  # ours against littleCMS
    assert np.abs(deep / 257 - shallow).max() < 1
    white = np.full((2, 2, 3), 255, np.uint8)
    assert (read_image(saved(white, icc_profile=profile)).rgb8() == 255).all()


def test_profile_of_a_16_bit_file():
    ours = encode_image(DEEP[..., :3], "png", bits=16)
    start, end = ours.index(b"iCCP") - 4, ours.index(b"IDAT") - 4
    body = b"iCCP" + b"x\0\0" + zlib.compress(build_profile("wide", P3, SRGB_CURVE))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    image = read_image(ours[:start] + chunk + ours[end:])
    assert (image.rgb == DEEP[..., :3]).all()
    wanted = to_srgb16(DEEP[..., :3], build_profile("wide", P3, SRGB_CURVE), "")
    assert (image.to_srgb().rgb == wanted).all()
    assert (wanted != DEEP[..., :3]).any()


@pytest.mark.parametrize("profile", [b"nonsense" * 40, build_profile("x", SRGB_COLORANTS, (2.2,))[:200]])
def test_broken_profiles_warn(profile):
    with pytest.warns(UserWarning, match="colour profile"):
        image = read_image(saved(RGB, icc_profile=profile))
    assert (image.rgb == RGB).all()


@pytest.mark.parametrize(("content", "word"), [
    (b"", "empty"), (b"hello, this is text\n", "text"), (b"<!DOCTYPE html><html>", "HTML"), (b"<html>", "HTML"),
    (b'<?xml version="1.0"?><svg/>', "SVG"), (b"<svg xmlns=''/>", "SVG"), (b"%PDF-1.7\n\xff", "PDF"),
    (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"), (b"\x1a\x45\xdf\xa3\x01", "video"), (b"PK\x03\x04\0\0", "archive"),
    (b"version https://git-lfs.github.com/spec/v1\n", "LFS"), (b"\0\1\2\3\4", "known format"), (b"P", "P"),
    (b"\x89PNG\r\n\x1a\n", "damaged"), (b"\xff\xd8\xff", "damaged"), (b"II*\0", "damaged"),
])
def test_foreign_files(tmp_path, content, word):
    file = tmp_path / "picture.png"
    file.write_bytes(content)
    with pytest.raises(ImageError, match=word) as caught:
        read_image(file)
    assert "picture.png" in str(caught.value)
    with pytest.raises(ImageError):
        read_image(content)


def test_missing_and_odd_paths(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "pipe.png", "a\0b.png", "x" * 5000, "",
                 "https://example.org/x.png"):
        with pytest.raises(ImageError):
            read_image(path)


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "webp"])
def test_cut_off(form):
    data = encode_image(RNG.integers(0, 256, (80, 80, 3), np.uint8), form)
    for share in (0.3, 0.9):
        with pytest.raises(ImageError):
            read_image(data[:int(len(data) * share)])


def test_cut_off_16_bits():
    for form in ("png", "tiff"):
        data = encode_image(RNG.integers(0, 65536, (80, 80, 3), np.uint16), form, bits=16)
        with pytest.raises(ImageError):
            read_image(data[:len(data) // 2])


def test_bombs():
    bomb = bytearray(encode_image(RGB, "png"))
    bomb[16:24] = struct.pack(">II", 60000, 60000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    with pytest.raises(ImageError, match=r"3600\.0 megapixels"):
        read_image(bytes(bomb))
    with pytest.raises(ImageError, match="max_pixels"):
        read_image(RGB, max_pixels=53)
    assert read_image(RGB, max_pixels=54).width == 9
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("bomb", "0" * 50_000_000, zip=True)
    assert (read_image(saved(RGB, pnginfo=info)).rgb == RGB).all()


@pytest.mark.parametrize(("array", "word"), [
    (np.zeros((0, 5)), "empty"), (np.zeros((5, 0, 3)), "empty"), (np.zeros(5), "shape"), (np.zeros((4, 5, 2)), "shape"),
    (np.zeros((3, 40, 50)), "channels first"), (np.zeros((1, 4, 5, 3)), "batch"), (np.full((4, 5), np.nan), "NaN"),
    (np.full((4, 5), np.inf), "NaN"), (np.full((4, 5, 3), 200.0), "255"), (np.full((4, 5), -1.0), "0..1"),
    (np.zeros((4, 5), np.int64), "uint8"), (np.zeros((4, 5), complex), "complex"), (np.zeros((4, 5), object), "object"),
])
def test_arrays_that_cannot_be(array, word):
    with pytest.raises(ImageError, match=word):
        read_image(array)


@pytest.mark.parametrize("source", [None, 5, [[1, 2], [3, 4]], {}, object()])
def test_other_types(source):
    with pytest.raises(ImageError, match="expected"):
        read_image(source)


def test_arrays_and_tensors_are_copied():
    for dtype in (np.uint8, np.uint16, np.float32, bool):
        array = np.zeros((4, 5, 3), dtype)
        image = read_image(array)
        array[:] = 1
        assert image.rgb.max() == 0
    tensor = torch.rand(3, 4, 5, requires_grad=True)
    image = read_image(tensor)
    assert np.abs(image.rgb_float() - tensor.detach().permute(1, 2, 0).numpy()).max() < 1e-5
    assert read_image(torch.zeros(6, 5, 3)).rgb.shape == (6, 5, 3)
    assert read_image(torch.zeros(3, 5, 3)).rgb.shape == (5, 3, 3)  # both could be: channels first
    assert read_image(torch.zeros(6, 5, dtype=torch.bfloat16)).rgb.shape == (6, 5, 3)
    assert read_image(torch.zeros(6, 5, 4, dtype=torch.uint8)).alpha.shape == (6, 5)
    for wrong in (torch.zeros(2, 3, 4, 5), torch.zeros(6, 5, 7), torch.zeros(6, 5, dtype=torch.int64)):
        with pytest.raises(ImageError):
            read_image(wrong)
    assert (read_image(np.asarray(RGB, dtype=">u2")).rgb == RGB).all()
    assert read_image(image) is image


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float16, np.float32, np.float64, bool, np.int32, ">u2", ">f4", complex]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_any_array(array):
    before = array.tobytes()
    try:
        image = read_image(array)
    except ImageError:
        return
    assert image.rgb.dtype in (np.uint8, np.uint16)
    assert image.rgb.shape == (*array.shape[:2], 3)
    assert before == array.tobytes()


FILES = [encode_image(RGBA, form) for form in ("png", "tiff", "webp")] + [
    encode_image(DEEP, "png", bits=16), encode_image(DEEP[..., :3], "tiff", bits=16), encode_image(RGB, "jpeg"),
    saved(PIL.Image.fromarray(RGB).quantize(8), "gif"), saved(RGB, "bmp"), saved(RGB, "ppm")]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
       st.integers(0, 10**6))
def test_mutated_files(data, changes, cut):
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    if cut % 3 == 0:
        changed = changed[:cut % len(changed)]
    try:
        image = read_image(bytes(changed), max_pixels=1_000_000)
    except ImageError:
        return
    assert isinstance(image, Image)
    assert image.rgb.shape == (image.height, image.width, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_sizes(size):
    pixels = RNG.integers(0, 256, (*size, 3), np.uint8)
    for form in ("png", "tiff", "webp"):
        assert (read_image(encode_image(pixels, form)).rgb == pixels).all()


def test_40_megapixels():
    data = encode_image(np.zeros((5000, 8000), np.uint8), "png")
    assert read_image(data).rgb.shape == (5000, 8000, 3)


def test_what_formats_cannot_hold(tmp_path):
    for name, options, word in (("a.jpg", {"alpha": True}, "PNG"), ("a.webp", {"bits": 16}, "bits=8"),
                                ("a.xyz", {}, ".png"), ("a", {}, "no suffix"), ("a.png", {"bits": 12}, "8 or 16")):
        with pytest.raises(ImageError, match=word):
            output_format(name, **options)
    with pytest.raises(ImageError, match="16383"):
        encode_image(np.zeros((1, 20000), np.uint8), "webp")
    with pytest.raises(ImageError, match="no folder"):
        write_image(tmp_path / "none" / "a.png", RGB)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="folder"):
        write_image(tmp_path / "folder.png", RGB)
    with pytest.raises(ImageError):
        write_image(tmp_path / "a.png", np.full((4, 4), np.nan))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_files_are_replaced_whole(tmp_path):
    file, link = tmp_path / "a.png", tmp_path / "link.png"
    link.symlink_to(file)
    write_image(file, RGB)
    write_image(link, RGBA)
    assert link.is_symlink()
    assert (read_image(file).alpha == RGBA[..., 3]).all()
    Image(DEEP[..., :3], DEEP[..., 3]).save(file)
    assert (read_image(file).rgb == DEEP[..., :3]).all()
    Image(DEEP[..., :3]).save(tmp_path / "a.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "link.png"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """The largest size of files of one process stands for the full disk."""
    file = tmp_path / "a.png"
    write_image(file, RGB)
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from matting_anything_core.image import write_image\n"
        "from matting_anything_core.errors import ImageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: write_image(sys.argv[1], np.random.default_rng(0).random((200, 200, 3)))\n"
        "except ImageError as error: print(error)\n")
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-B", "-c", code, str(file)], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": root})
    assert "cannot be written: File too large" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (read_image(file).rgb == RGB).all()


def test_without_opencv_only_16_bit_colours_fail(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)  # what a failing import looks like
    assert read_image(encode_image(RGBA, "png")).alpha is not None
    assert read_image(encode_image(DEEP[..., 0], "png", bits=16)).rgb.dtype == np.uint16
    with pytest.raises(ImageError, match="headless"):
        read_image(encode_image(DEEP, "png", bits=16))


def test_same_bytes_every_time():
    with tempfile.TemporaryDirectory() as folder:
        for form in ("png", "tiff", "webp", "jpeg"):
            path = Path(folder) / f"a.{form}"
            write_image(path, RGB)
            first = path.read_bytes()
            write_image(path, RGB)
            assert path.read_bytes() == first
