"""Files that others read: ends that are missing, descriptions of any size, formats by their packages."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest

from matting_anything_core.assets import demo_picture
from matting_anything_core.errors import ImageError, PictureMemoryError
from matting_anything_core.image import (
    FORMATS,
    encode_image,
    format_names,
    read_image,
    readable_media_types,
    readable_suffixes,
)
from matting_anything_core.image.formats import format_at
from matting_anything_core.image.memory import memory_for
from matting_anything_core.image.read import jxl_size

PICTURE = read_image(demo_picture()).rgb


def saved(form, picture=PICTURE, **options):
    PIL.Image.fromarray(picture).save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


FILES = {
    "jpeg": saved("jpeg", quality=90), "progressive": saved("jpeg", quality=90, progressive=True),
    "subsampled": saved("jpeg", quality=80, subsampling=2), "gray": saved("jpeg", PICTURE[..., 0]),
    "png": saved("png"), "interlaced": None, "png16": encode_image(PICTURE, "png", bits=16), "webp": saved("webp"),
    "lossless": saved("webp", lossless=True), "gif": saved("gif"), "bmp": saved("bmp"), "ppm": saved("ppm"),
    "tiff": saved("tiff"), "avif": saved("avif"),
}
del FILES["interlaced"]


@pytest.mark.parametrize("name", FILES)
def test_a_few_bytes_are_missing(name):
    data = FILES[name]
    whole = read_image(data).rgb8().astype(int)
    for missing in (1, 2, 4, 13, 30):
        if name == "gif" and missing <= 2:
            continue  # only what follows the pixels is missing; Pillow does not look for it
        with pytest.warns(UserWarning, match="end of"):
            image = read_image(data[:-missing])
        assert (np.abs(image.rgb8() - whole).max(2) > 8).mean() < 0.01
    for share in (0.5,) if name == "progressive" else (0.5, 0.8):  # its last scan only refines
        with pytest.raises(ImageError):
            read_image(data[:int(share * len(data))])


def test_a_jpeg_that_is_half_white_and_cut_there():
    """What is missing is not told by what it looks like: mid-gray is what libjpeg puts there."""
    picture = np.full((400, 300, 3), 255, np.uint8)
    picture[:200] = np.random.default_rng(0).integers(0, 256, (200, 300, 3))
    data = saved("jpeg", picture, quality=90)
    with pytest.warns(UserWarning, match="end of"):
        assert (read_image(data[:-2]).rgb[390:] == 255).all()
    with pytest.raises(ImageError, match="cut off"):
        read_image(data[:-500])


def test_png_with_texts_of_any_size():
    data = encode_image(PICTURE[:20, :30], "png")
    end = data.index(b"IDAT") - 4
    texts = [
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 3_000_000)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * 70_000_000)),
        chunk(b"tEXt", b"parameters\0" + b"y" * 70_000_000),
        chunk(b"tEXt", b"Author\0me")[:-1] + b"!",  # a wrong checksum
        chunk(b"iCCP", b"x\0\0not packed"), chunk(b"prVt", b"whatever"), chunk(b"eXIf", b"junk"),
    ]
    for text in texts:
        changed = data[:end] + text + data[end:]
        if b"iCCP" in text:
            changed = changed.replace(data[data.index(b"iCCP") - 4:end], b"", 1)
            with pytest.warns(UserWarning, match="colour profile"):
                image = read_image(changed)
        else:
            image = read_image(changed)
        assert (image.rgb == PICTURE[:20, :30]).all()
    with pytest.raises(ImageError, match="QQQQ"):
        read_image(data[:end] + chunk(b"QQQQ", b"") + data[end:])
    deep = encode_image(PICTURE[:20, :30], "png", bits=16)
    end = deep.index(b"IDAT") - 4
    assert (read_image(deep[:end] + texts[0] + deep[end:]).rgb8() == PICTURE[:20, :30]).all()


@pytest.mark.parametrize("interlaced", [False, True])
def test_png_whose_compressed_pixels_stop_early(interlaced):
    rows, height, width = [], 64, 40
    gray = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for x, y, dx, dy in passes if interlaced else ((0, 0, 1, 1),):
        rows += [b"\0" + row.tobytes() for row in gray[y::dy, x::dx]]
    packer = zlib.compressobj()
    packed = packer.compress(b"".join(rows)[:-40]) + packer.flush(zlib.Z_FULL_FLUSH)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced))
    data += chunk(b"IDAT", packed)
    with pytest.warns(UserWarning, match="end of"):
        image = read_image(data)
    assert (image.rgb[:60:2, :, 0] == gray[:60:2]).all()


def test_heic_and_jpeg_xl_by_their_packages(tmp_path):
    """In a process in which nobody has taught Pillow these formats."""
    heif, _ = pytest.importorskip("pillow_heif"), pytest.importorskip("pillow_jxl")
    heif.register_heif_opener()
    from pillow_jxl import JpegXLImagePlugin

    assert JpegXLImagePlugin is not None
    PIL.Image.fromarray(PICTURE).save(tmp_path / "a.heic", quality=95)
    PIL.Image.fromarray(PICTURE).save(tmp_path / "a.jxl", lossless=True)
    code = ("import sys, numpy as np\nfrom matting_anything_core import read_image\n"
            "for path in sys.argv[1:]: print(read_image(path).rgb.astype(int).sum())\n")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.heic"), str(tmp_path / "a.jxl")],
                          capture_output=True, text=True, check=True)
    first, second = (int(line) for line in done.stdout.split())
    assert second == PICTURE.astype(int).sum()
    assert abs(first / second - 1) < 0.01
    for size in ((8, 8), (512, 300), (3000, 17), (1, 1), (640, 480)):
        PIL.Image.new("RGB", size).save(buffer := io.BytesIO(), "JXL")
        assert jxl_size(buffer.getvalue(), "it") == size
    with pytest.raises(ImageError, match="max_pixels"):
        read_image(tmp_path / "a.jxl", max_pixels=1000)


def test_what_a_format_needs_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("HEIF", "JXL"):
        monkeypatch.delitem(PIL.Image.OPEN, name, raising=False)
    for head, word in ((b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pip install 'pillow-heif'"),
                       (b"\xff\x0a" + bytes(40), "pip install 'pillow-jxl-plugin'")):
        with pytest.raises(ImageError, match=word):
            read_image(head)
    assert "HEIC" not in format_names()
    assert ".heic" not in readable_suffixes()


def test_one_list_of_formats():
    assert {".png", ".jpg", ".tif", ".webp", ".gif", ".bmp", ".jp2", ".avif"} <= set(readable_suffixes())
    assert {"image/jpeg", "image/jpg", "image/avif", "image/gif", "image/bmp", "image/jp2"} <= set(
        readable_media_types())
    suffixes = [suffix for form in FORMATS for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    for name, data in FILES.items():
        form = format_at(data[:64])
        assert form is not None, name
        assert form.pillow in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF", "AVIF")


def test_a_sparse_file_of_20_gigabytes(tmp_path):
    file = tmp_path / "a.png"
    with file.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        out.truncate(20 << 30)
    with pytest.raises(ImageError, match=r"21\.5 GB"):
        read_image(file)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_too_little_memory_is_said_in_numbers():
    code = (
        "import io, resource, sys, numpy as np, cv2, tifffile, torch\n"
        "from matting_anything_core import read_image\n"
        "from matting_anything_core.image import encode_image\n"
        "from matting_anything_core.errors import DeviceError\n"
        "pixels = np.zeros((2000, 8000, 3), np.uint8)\n"
        "files = [encode_image(pixels, form, bits=bits) for form, bits in"
        " (('png', 8), ('jpeg', 8), ('tiff', 8), ('webp', 8), ('png', 16), ('tiff', 16))]\n"
        "del pixels\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20), resource.RLIM_INFINITY))\n"
        "for data in files:\n"
        "    try: read_image(data)\n"
        "    except DeviceError as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"})
    lines = done.stdout.splitlines()
    assert len(lines) == 6, done.stdout + done.stderr
    assert all("needs about" in line and "MB" in line for line in lines)
    with pytest.raises(PictureMemoryError, match=r"needs about 1000\.0 TB"), memory_for("it", 10**15):
        pass
