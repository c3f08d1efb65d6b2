"""Picture and prompt in one form, a picture out; and the kinds of files that go in and come out."""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

import numpy as np
import PIL.features
import PIL.Image
import pytest
import requests
from tiny import picture, tiny_model

from matting_anything_core import Prompt, matte, read_image
from matting_anything_core.image import encode_image

from .service import BOX, Client

PICTURE = picture(64, 80)
PNG = encode_image(PICTURE)
ROUGH = np.zeros((64, 80), np.uint8)
ROUGH[10:40, 20:60] = 255


def ask(client: Client, image: bytes | None = PNG, *, files: dict[str, Any] | None = None,
        **fields: Any) -> requests.Response:
    parts = {**({} if image is None else {"image": ("photo.png", image)}), **(files or {})}
    parts |= {name: (None, value if isinstance(value, str) else json.dumps(value)) for name, value in fields.items()}
    return client("POST", "/v1/matte", files=parts)


@pytest.mark.parametrize(("fields", "prompt"), [
    ({"box": "8,6,60,50"}, BOX), ({"box": "[8, 6, 60, 50]"}, BOX), ({"box": " 8 6 60  50 "}, BOX),
    ({"points": "30,30;70,5", "labels": "1,0"}, {"points": [[30, 30], [70, 5]], "labels": [1, 0]}),
    ({"box": "5,5,70,60", "points": "20,20"}, {"box": [5, 5, 70, 60], "points": [[20, 20]]}),
    ({"prompt": BOX}, BOX), ({"prompt": {"box": None, "points": [[30, 30]]}}, {"points": [[30, 30]]}),
])
def test_the_prompt_as_people_write_it(client: Client, fields: dict[str, Any], prompt: dict[str, Any]) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    truth = matte(PICTURE, prompt, model=tiny_model())
    found = read_image(answer.content)
    np.testing.assert_allclose(found.alpha / 255, truth.alpha, atol=0.502 / 255)
    np.testing.assert_allclose(found.rgb / 255, truth.foreground, atol=0.502 / 255)
    assert float(answer.headers["X-Score"]) == pytest.approx(truth.score, abs=1e-3)
    # What was made of it can be fetched as any matte.
    np.testing.assert_array_equal(client.alpha(answer.headers["X-Matte"]), truth.alpha)
    assert client("GET", f"/v1/images/{answer.headers['X-Image']}").status_code == 200


def mask_file(kind: str) -> bytes:
    """A mask as programs write them: gray, white or black paint on transparency, a palette, bilevel, 16 bits, AVIF."""
    if kind == "16 bits":
        return encode_image(ROUGH.astype(np.uint16) * 257, bits=16)
    paint = {"white": 255, "black": 0}.get(kind)
    image = PIL.Image.fromarray(ROUGH)
    if paint is not None:
        image = PIL.Image.fromarray(np.dstack([np.full((*ROUGH.shape, 3), paint, np.uint8), ROUGH]))
    elif kind == "gray with alpha":
        image = PIL.Image.fromarray(np.dstack([np.zeros_like(ROUGH), ROUGH]))
    elif kind == "palette":
        image = image.convert("P")
    elif kind == "bilevel":
        image = image.convert("1")
    elif kind == "opaque with alpha":
        image = PIL.Image.fromarray(np.dstack([ROUGH, ROUGH, ROUGH, np.full_like(ROUGH, 255)]))
    file = io.BytesIO()
    image.save(file, "GIF" if kind == "gif" else "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["gray", "white", "black", "gray with alpha", "palette", "bilevel",
                                  "opaque with alpha", "16 bits", "gif"])
def test_a_mask_means_what_it_means_on_the_command_line(client: Client, kind: str) -> None:
    """Through its alpha where it has some, else through its brightness: in a form and in JSON."""
    import base64

    data = mask_file(kind)
    truth = matte(PICTURE, Prompt(mask=ROUGH), model=tiny_model())
    answer = ask(client, files={"mask": ("mask.png", data)}, output="alpha", format="png16")
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(read_image(answer.content).rgb[..., 0] / 65535, truth.alpha, atol=1 / 65535)
    image = client.upload(PICTURE)
    [found] = client.mattes(image, {"mask": {"png": base64.b64encode(data).decode()}}).json()["mattes"]
    np.testing.assert_array_equal(client.alpha(found["matte"]), truth.alpha)


def test_how_the_matte_is_made(client: Client) -> None:
    answer = ask(client, box="8,6,60,50", output="alpha", format="png16", guidance="alpha", sides="two",
                 postprocess="true", detail="false")
    assert answer.status_code == 200, answer.text
    truth = matte(PICTURE, BOX, model=tiny_model(), guidance="alpha", sides="two", postprocess=True, detail=False)
    np.testing.assert_allclose(read_image(answer.content).rgb[..., 0] / 65535, truth.alpha, atol=1 / 65535)


@pytest.mark.parametrize(("output", "form", "kind"), [
    ("cutout", "webp", "WEBP"), ("composite", "webp", "WEBP"), ("composite", "jpeg", "JPEG"),
    ("composite", "png8", "PNG"), ("cutout", "tiff16", "TIFF"), ("alpha", "png16", "PNG"), ("mask", "webp", "WEBP"),
    ("foreground", "tiff8", "TIFF"),
])
def test_outputs_and_formats(client: Client, output: str, form: str, kind: str) -> None:
    fields = {"background": "#2040a0"} if output == "composite" else {}
    answer = ask(client, box="8,6,60,50", output=output, format=form, **fields)
    assert answer.status_code == 200, answer.text
    assert PIL.Image.open(io.BytesIO(answer.content)).format == kind
    truth = matte(PICTURE, BOX, model=tiny_model())
    found = read_image(answer.content)
    if output == "composite":
        difference = np.abs(found.rgb.astype(int) - truth.composite((32, 64, 160)).rgb)
        assert difference.mean() < 8 if kind == "JPEG" else difference.max() <= 1
    elif output == "cutout":
        top = np.iinfo(found.alpha.dtype).max
        np.testing.assert_allclose(found.alpha / top, truth.alpha, atol=0.502 / top)
    elif output == "mask":
        np.testing.assert_array_equal(found.rgb[..., 0] > 0, truth.mask)


def test_quality_makes_files_smaller(client: Client) -> None:
    answer = ask(client, box="8,6,60,50")
    path = f"/v1/mattes/{answer.headers['X-Matte']}/cutout"
    sizes = [len(client("GET", path + query).content) for query in ("?format=webp", "?format=webp&quality=20")]
    assert sizes[1] < sizes[0] / 2
    for query in ("?quality=50", "?format=webp&quality=0", "?format=webp&quality=101", "?format=webp&quality=x"):
        assert client("GET", path + query).status_code == 400


def test_a_picture_as_background(client: Client) -> None:
    ground = picture(30, 90, seed=4)
    key = client.upload(ground)
    matte_id = ask(client, box="8,6,60,50").headers["X-Matte"]
    truth = matte(PICTURE, BOX, model=tiny_model()).composite(ground)
    for answer in (client("GET", f"/v1/mattes/{matte_id}/composite?background={key}"),
                   ask(client, box="8,6,60,50", output="composite", background=key)):
        np.testing.assert_allclose(read_image(answer.content).rgb, truth.rgb, atol=1)
    assert client("GET", f"/v1/mattes/{matte_id}/composite?background={'0' * 64}").status_code == 404
    for colour in ("nocolour", "#12", "url(x)"):
        answer = client("GET", f"/v1/mattes/{matte_id}/composite", params={"background": colour})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "Malformed")


def test_without_a_prompt_it_is_the_clear_subject(client: Client) -> None:
    answer = ask(client)
    assert answer.status_code == 200, answer.text
    truth = matte(PICTURE, model=tiny_model())
    found = read_image(answer.content)
    np.testing.assert_allclose(found.alpha / np.iinfo(found.alpha.dtype).max, truth.alpha, atol=0.002)


@pytest.mark.parametrize(("fields", "status", "words"), [
    ({"box": "1,2,3"}, 422, "four"), ({"box": "1,2,x,4"}, 400, "no number"),
    ({"box": "1,2,3,4;5,6"}, 400, "box"), ({"points": "[[[[[1]]]]]"}, 422, ""),
    ({"box": "1,2,30,40", "colour": "x"}, 400, "unknown field 'colour'"),
    ({"prompt": "[" * 900 + "]" * 900}, 400, "deep"), ({"prompt": "[1]"}, 400, "no JSON object"),
    ({"prompt": '{"subject": 3}'}, 422, "expected True"), ({"prompt": BOX, "box": "1,2,3,4"}, 400, "one or the other"),
    ({"box": "8,6,60,50", "output": "depth"}, 400, "cutout"), ({"box": "8,6,60,50", "format": "gif"}, 400, "png8"),
    ({"box": "8,6,60,50", "format": "png8", "quality": "50"}, 400, "webp"),
    ({"box": "8,6,60,50", "background": "red"}, 400, "composite"), ({"box": "nan,6,60,50"}, 422, "finite"),
    ({"box": "500,500,600,600"}, 422, "outside"), ({"box": "8,6,60,50", "model": "x"}, 422, "no model"),
    ({"box": "8,6,60,50", "guidance": "x"}, 400, "guidance"),
    ({"box": "8,6,60,50", "reference": "perhaps"}, 400, "true or false"),
])
def test_what_is_refused(client: Client, fields: dict[str, Any], status: int, words: str) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]


def test_forms_that_are_none(client: Client) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    for body, headers, status in (
        (b"", boundary, 400), (b"--b", boundary, 400), (head + PNG, boundary, 400), (b"nonsense", boundary, 400),
        (b"--b\r\n\r\nx\r\n--b--\r\n", boundary, 400), (b"x", {"Content-Type": "multipart/form-data"}, 400),
        (PNG, {"Content-Type": "image/png"}, 415), (head + b"\r\n--b--\r\n", boundary, 422),
        ((b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n') * 40 + b"--b--\r\n", boundary, 400),
        (b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + b"x" * (2 << 20) + b"\r\n--b--\r\n", boundary,
         400),
        (b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\xfe\r\n--b--\r\n', boundary, 400),
        (head + b"GIF8\r\n" + head + b"GIF8\r\n--b--\r\n", boundary, 400),
    ):
        answer = client("POST", "/v1/matte", data=body, headers=headers)
        assert answer.status_code == status, (body[:60], answer.text)
    assert ask(client, None, box="1,2,3,4").status_code == 400
    assert ask(client, b"", box="1,2,3,4").status_code == 422
    assert ask(client, None, files={"file": ("x", PNG)}, box="8,6,60,50").status_code == 200  # as rembg's server
    assert client("POST", "/v1/matte", files={"image": (None, "x"), "box": (None, "1,2,3,4")}).status_code == 400


def test_bytes_of_a_picture_pass_through_a_form_unchanged(client: Client) -> None:
    """Line ends, and what looks like a boundary."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    noise.reshape(-1)[:60] = np.frombuffer(b"\r\n--\r\n\n\r--b\r\n--b--\r\n" * 3, np.uint8)[:60]
    from matting_anything_core.image import encode_image

    # deflated, or the bytes would not be these
    data = encode_image(noise, "tiff") + b"\r\n--b\r\n\r\n\n"
    answer = ask(client, data, box="8,6,60,50", output="alpha", format="png16")
    truth = matte(noise, BOX, model=tiny_model())
    np.testing.assert_allclose(read_image(answer.content).rgb[..., 0] / 65535, truth.alpha, atol=1 / 65535)
    assert zlib.crc32(client("GET", f"/v1/images/{answer.headers['X-Image']}/pixels").content)


KINDS = [("PNG", "image/png"), ("JPEG", "image/jpg"), ("GIF", "image/gif"), ("BMP", "image/bmp"),
         ("BMP", "image/x-ms-bmp"), ("TIFF", "image/tiff"), ("WEBP", "image/webp"), ("JPEG2000", "image/jp2"),
         ("AVIF", "image/avif"), ("PPM", "image/x-portable-anymap"), ("PNG", "IMAGE/PNG; charset=binary"),
         ("GIF", "image/png")]


@pytest.mark.parametrize(("form", "kind"), KINDS)
def test_every_kind_of_file_that_the_library_reads(client: Client, form: str, kind: str) -> None:
    if form == "AVIF" and not PIL.features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    file = io.BytesIO()
    PIL.Image.fromarray(picture(64, 80, seed=KINDS.index((form, kind)))).save(file, form)
    answer = client("POST", "/v1/images", data=file.getvalue(), headers={"Content-Type": kind})
    assert answer.status_code == 201, answer.text
    assert answer.json()["width"] == 80
    shown = client("GET", f"/v1/images/{answer.json()['image']}/pixels")
    np.testing.assert_array_equal(read_image(shown.content).rgb, read_image(file.getvalue()).rgb)
    assert ask(client, file.getvalue(), box="8,6,60,50").status_code == 200


def test_the_status_names_the_formats(client: Client) -> None:
    formats = client.status()["formats"]
    assert {"image/png", "image/avif", "image/jp2", "image/tiff", "image/heic"} <= set(formats)
    assert ".jpeg" in formats["image/jpeg"]
