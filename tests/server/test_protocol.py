"""The protocol: what goes in and comes out, every status, and that the document says so."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from tiny import picture, tiny_model

from matting_anything_core import Prompt, matte, read_image
from matting_anything_core.assets import demo_picture
from matting_anything_core.image import encode_image

from .service import BOX, Client

PICTURE = picture(64, 80)


def expected(pixels: Any, prompt: Any, **options: Any) -> Any:
    return matte(pixels, prompt, model=tiny_model(), **options)


@pytest.fixture(scope="module")
def image(client: Client) -> str:
    return client.upload(PICTURE)


@pytest.fixture(scope="module")
def made(client: Client, image: str) -> str:
    return str(client.mattes(image, BOX).json()["mattes"][0]["matte"])


def test_status_says_what_a_client_needs(client: Client) -> None:
    status = client.status()
    assert status["protocol"] == 1
    assert status["models"] == {"loaded": ["tiny"], "available": ["tiny", "lite"]}
    assert status["queue"] == {"running": 0, "waiting": 0, "limit": 16}
    assert status["limits"]["pixels"] == (1024 - 32) * (1 << 20) // 16
    assert status["text"] is False
    assert status["cache"]["bytes"] <= status["cache"]["limit"] == 1 << 30


@pytest.mark.parametrize("pixels", [
    PICTURE, PICTURE[..., 0], picture(33, 47, channels=4), picture(50, 20).astype(np.uint16) * 257,
    (picture(20, 50) / np.float32(255)).astype(np.float32), picture(1, 1), picture(3, 200),
], ids=["rgb", "gray", "rgba", "16 bits", "floats", "one pixel", "a strip"])
def test_raw_pixels_give_mattes_own_alpha(client: Client, pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    box = [0, 0, width, height]
    [answer] = client.mattes(client.upload(pixels), {"box": box}).json()["mattes"]
    truth = expected(pixels, box)
    np.testing.assert_array_equal(client.alpha(answer["matte"]), truth.alpha.squeeze())
    assert (answer["width"], answer["height"], answer["box"]) == (width, height, box)
    assert answer["score"] == truth.score
    assert answer["empty"] == (not truth.alpha.any())


@pytest.mark.parametrize(("form", "kind"), [("png", "png"), ("jpeg", "jpeg"), ("webp", "webp"), ("tiff", "tiff")])
def test_picture_files_give_mattes_own_alpha(client: Client, form: str, kind: str) -> None:
    data = encode_image(PICTURE, form)
    answer = client("POST", "/v1/images", data=data, headers={"Content-Type": f"image/{kind}"})
    assert answer.status_code == 201
    assert answer.json() == {"image": hashlib.sha256(data).hexdigest(), "width": 80, "height": 64}
    [found] = client.mattes(answer.json()["image"], BOX).json()["mattes"]
    np.testing.assert_array_equal(client.alpha(found["matte"]), expected(data, BOX).alpha)


def test_a_photograph_and_its_orientation(client: Client) -> None:
    photo = PillowImage.open(io.BytesIO(demo_picture())).resize((120, 90))
    exif = photo.getexif()
    exif[274] = 6
    file = io.BytesIO()
    photo.save(file, "jpeg", exif=exif)
    answer = client("POST", "/v1/images", data=file.getvalue(), headers={"Content-Type": "image/jpeg"}).json()
    assert (answer["width"], answer["height"]) == (90, 120)
    [found] = client.mattes(answer["image"], {"points": [[45, 60]]}).json()["mattes"]
    np.testing.assert_array_equal(client.alpha(found["matte"]),
                                  expected(file.getvalue(), Prompt(points=[(45, 60)])).alpha)


def test_the_same_content_is_the_same_picture(client: Client) -> None:
    pixels = picture(40, 30, seed=5)
    path = "/v1/images?width=30&height=40&channels=3&dtype=u8"
    headers = {"Content-Type": "application/octet-stream"}
    answers = [client("POST", path, data=pixels.tobytes(), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    # A client can tell the id without uploading.
    name = hashlib.sha256(b"30x40x3 u8\n" + pixels.tobytes()).hexdigest()
    assert answers[0].json()["image"] == name
    assert client("GET", f"/v1/images/{name}").json() == answers[0].json()
    # The same bytes in another shape are another picture.
    assert client("POST", "/v1/images?width=40&height=30&channels=3&dtype=u8", data=pixels.tobytes(),
                  headers=headers).json()["image"] != name


def test_many_prompts_at_once_and_their_order(client: Client, image: str) -> None:
    rough = np.zeros((64, 80), np.uint8)
    rough[10:40, 20:60] = 255
    png = base64.b64encode(encode_image(rough)).decode()
    deflate = base64.b64encode(zlib.compress(rough.tobytes())).decode()
    prompts = [
        BOX, {"points": [[30, 30], [70, 5]], "labels": [1, 0]}, {"box": [5, 5, 70, 60], "points": [[20, 20]]},
        {"mask": {"png": png}}, {"mask": {"width": 80, "height": 64, "deflate": deflate}, "box": None},
    ]
    asked: list[Any] = [*prompts[:3], {"mask": rough}, {"mask": rough}]
    plain = client.mattes(image, *prompts).json()["mattes"]
    for options in ({"guidance": "alpha"}, {"guidance": "alpha", "sides": "two", "postprocess": True},
                    {"reference": True}):
        answers = client.mattes(image, *prompts, **options).json()["mattes"]
        for answer, truth in zip(answers, expected(PICTURE, asked, **options), strict=True):
            np.testing.assert_array_equal(client.alpha(answer["matte"]), truth.alpha)
        assert any((client.alpha(one["matte"]) != client.alpha(other["matte"])).any()
                   for one, other in zip(answers, plain, strict=True)), options


def test_every_output_in_every_format(client: Client, made: str) -> None:
    truth = expected(PICTURE, BOX)
    values = {"alpha": truth.alpha, "mask": truth.mask.astype(np.float32), "foreground": truth.foreground,
              "cutout": np.dstack([truth.foreground, truth.alpha])}
    formats = {"alpha": ("u8", "u16", "f32"), "mask": ("u8",), "foreground": ("u8", "f32"), "cutout": ("u8", "f32")}
    for output, forms in formats.items():
        for form in forms:
            top = {"u8": 255, "u16": 65535, "f32": 1}[form]
            got = client.alpha(made, form, output)
            np.testing.assert_allclose(got / np.float64(top), values[output], atol=0.5001 / top if top > 1 else 0)
    for output, depth in (("alpha", "png8"), ("alpha", "png16"), ("mask", "png8"), ("foreground", "png16"),
                          ("cutout", "png8"), ("cutout", "png16")):
        answer = client("GET", f"/v1/mattes/{made}/{output}?format={depth}")
        assert answer.headers["Content-Type"] == "image/png"
        read = read_image(answer.content)
        top = 255 if depth == "png8" else 65535
        assert read.rgb.dtype.itemsize == (1 if depth == "png8" else 2)
        shown = values[output]
        if output == "cutout":
            np.testing.assert_allclose(read.alpha / top, shown[..., 3], atol=0.5001 / top)
        colours = shown[..., :3] if shown.ndim == 3 else np.dstack([shown] * 3)
        np.testing.assert_allclose(read.rgb / top, colours, atol=0.5001 / top)


def test_the_stream_ends_with_the_mattes(client: Client) -> None:
    image = client.upload(picture(60, 60, seed=9))
    answer = client("POST", f"/v1/images/{image}/mattes", json={"prompts": [BOX]},
                    headers={"Accept": "application/x-ndjson"}, stream=True)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    events = [json.loads(line) for line in answer.iter_lines()]
    assert {event["event"] for event in events[:-1]} <= {"queued", "progress", "alive"}
    shares = [event["share"] for event in events if event.get("stage") == "matte"]
    assert shares == sorted(shares)
    assert events[-1]["event"] == "done"
    [found] = events[-1]["mattes"]
    np.testing.assert_array_equal(client.alpha(found["matte"]), expected(picture(60, 60, seed=9), BOX).alpha)


def test_errors_of_a_job_end_the_stream(client: Client, image: str) -> None:
    answer = client("POST", f"/v1/images/{image}/mattes", json={"prompts": [{"box": [500, 500, 600, 600]}]},
                    headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 200
    last = json.loads(answer.text.splitlines()[-1])
    assert (last["event"], last["kind"]) == ("error", "PromptError")
    assert "outside the picture, which is 80 x 64" in last["message"]


def test_forgetting(client: Client) -> None:
    image = client.upload(picture(31, 32, seed=3))
    first, second = (answer["matte"] for answer in client.mattes(image, BOX, BOX).json()["mattes"])
    assert client("DELETE", f"/v1/mattes/{first}").status_code == 204
    assert client("GET", f"/v1/mattes/{first}/alpha").status_code == 404
    assert client("GET", f"/v1/mattes/{second}/alpha").status_code == 200
    assert client("DELETE", f"/v1/images/{image}").status_code == 204
    assert client("GET", f"/v1/mattes/{second}/alpha").status_code == 404
    assert client.mattes(image, BOX).status_code == 404
    assert client("DELETE", f"/v1/images/{image}").status_code == 404


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be enormous."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


RAW = {"Content-Type": "application/octet-stream"}
PNG = {"Content-Type": "image/png"}


@pytest.mark.parametrize(("path", "body", "headers", "status", "kind", "words"), [
    ("?width=4&height=4&channels=3&dtype=u8", bytes(47), RAW, 400, "Malformed", "are 48 bytes; the body has 47"),
    ("?width=4&height=4&channels=3&dtype=u8", bytes(49), RAW, 413, "TooLarge", "at most 48"),
    ("?width=4&height=4&channels=2&dtype=u8", bytes(32), RAW, 400, "Malformed", "1 (gray), 3 (RGB) or 4"),
    ("?width=4&height=4&channels=3&dtype=i8", bytes(48), RAW, 400, "Malformed", "u8, u16 or f32"),
    ("?width=-4&height=4&channels=3&dtype=u8", bytes(48), RAW, 400, "Malformed", "width='-4'"),
    ("?width=٤&height=4&channels=3&dtype=u8", bytes(48), RAW, 400, "Malformed", "above 0"),
    ("?width=0&height=4&channels=3&dtype=u8", b"", RAW, 400, "Malformed", "above 0"),
    ("", bytes(48), RAW, 400, "Malformed", "?width=640"),
    ("?width=90000&height=90000&channels=3&dtype=u8", b"", RAW, 413, "TooLarge", "65.0 megapixels"),
    ("?width=2&height=1&channels=1&dtype=f32", np.array([np.nan, 0], "<f4").tobytes(), RAW, 422, "ImageError", "NaN"),
    ("?width=2&height=1&channels=1&dtype=f32", np.array([7, 0], "<f4").tobytes(), RAW, 422, "ImageError", "0..1"),
    ("", bomb(60000, 60000), PNG, 413, "TooLarge", "3600.0 megapixels"),
    ("", bomb(3000, 3000), PNG, 422, "ImageError", "damaged"),
    ("", b"", PNG, 422, "ImageError", "is empty"),
    ("", b"GIF8nonsense", PNG, 422, "ImageError", ""),
    ("", b"<html>", PNG, 422, "ImageError", "web page"),
    ("", b"x", {"Content-Type": "text/plain"}, 415, "BadRequest", "image/png"),
    ("", b"x", {}, 415, "BadRequest", "no Content-Type"),
    ("", b"/etc/passwd", {"Content-Type": "image/svg+xml"}, 415, "BadRequest", "image/png"),
])
def test_pictures_that_are_refused(client: Client, path: str, body: bytes, headers: dict[str, str], status: int,
                                   kind: str, words: str) -> None:
    before = client.status()["cache"]["bytes"]
    answer = client("POST", "/v1/images" + path, data=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["kind"] == kind
    assert words in answer.json()["error"]["message"]
    assert client.status()["cache"]["bytes"] == before


@pytest.mark.parametrize(("body", "status", "words"), [
    (b"", 400, "no JSON"), (b"{", 400, "no JSON"), (b"[]", 400, "no JSON object"), (b"\xff\xfe", 400, "no JSON"),
    (b"[" * 100_000, 400, "no JSON"), (b'{"prompts": []}', 400, "prompts"), (b'{"prompts": {"box": 1}}', 400, "list"),
    (b'{"prompts": [1]}', 400, "JSON object"), (b'{"prompts": [{}]}', 422, "empty"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "path": "/etc/passwd"}', 400, "'path'"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "model": "../../x.pth"}', 422, "no model"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "model": "vit_b"}', 422, "weights fetch vit_b"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "model": 7}', 400, "model"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "guidance": "x"}', 400, "guidance"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "sides": ["one"]}', 400, "sides"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "detail": 1}', 400, "detail"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "all_matches": 1}', 400, "all_matches"),
    (b'{"prompts": [{"box": [1, 2, 3, 4]}], "all_matches": true}', 422, "needs words"),
    (b'{"prompts": [{"box": [1, 2, 3, 4], "colour": 3}]}', 422, "colour"),
    (b'{"prompts": [{"box": [NaN, 2, 3, 4]}]}', 422, "finite"),
    (b'{"prompts": [{"box": [1e999, 2, 3, 4]}]}', 422, "finite"),
    (b'{"prompts": [{"box": [%s, 2, 3, 4]}]}' % (b"9" * 400), 422, "no number"),
    (b'{"prompts": [{"box": [%s, 2, 3, 4]}]}' % (b"9" * 5000), 400, "no JSON"),
    (b'{"prompts": [{"box": [3, 2, 1, 4]}]}', 422, "reversed"), (b'{"prompts": [{"box": [3, 2, 1]}]}', 422, "four"),
    (b'{"prompts": [{"box": ["1", 2, 3, 4]}]}', 400, "no number"),
    (b'{"prompts": [{"box": "1234"}]}', 400, "no number"),
    (b'{"prompts": [{"points": [[1, 2]], "labels": [true]}]}', 400, "no number"),
    (b'{"prompts": [{"points": [[1, 2]], "labels": [0]}]}', 422, "negative"),
    (b'{"prompts": [{"points": [[1, 2]], "labels": [1, 0]}]}', 422, "labels"),
    (b'{"prompts": [{"points": [[1000, 2]]}]}', 422, "outside"), (b'{"prompts": [{"text": " "}]}', 422, "words"),
    (b'{"prompts": [{"text": "a dog"}]}', 422, "weights fetch grounding-dino-tiny"),
    (b'{"prompts": [{"mask": "x"}]}', 400, "JSON object"), (b'{"prompts": [{"mask": {"png": "%%%"}}]}', 400, "base64"),
    (b'{"prompts": [{"mask": {"png": 3}}]}', 400, "base64"), (b'{"prompts": [{"mask": {"png": "QUJD"}}]}', 422, ""),
    (b'{"prompts": [{"mask": {"path": "/etc/passwd"}}]}', 400, "other fields"),
    (b'{"prompts": [{"mask": {"width": 3, "height": 3, "deflate": ""}}]}', 422, "the picture's size"),
    (b'{"prompts": [{"mask": {"width": 80, "height": 64, "deflate": "QUJD"}}]}', 400, "unpacked"),
    (b'{"prompts": [{"mask": {"width": 80, "height": 64, "deflate": "%s"}}]}'
     % base64.b64encode(zlib.compress(bytes(10**7))), 400, "more bytes"),
    (b'{"prompts": [{"mask": {"width": 80, "height": 64, "deflate": "%s"}}]}'
     % base64.b64encode(zlib.compress(bytes(10))), 400, "holds 10 bytes"),
    (b'{"prompts": [{"mask": {"width": 80, "height": 64, "deflate": "%s"}}]}'
     % base64.b64encode(zlib.compress(bytes(5120))), 422, "mask is empty"),
    (b'{"prompts": [{"mask": {"png": "%s"}}]}' % base64.b64encode(bomb(60000, 60000)), 422, "60000 x 60000"),
    (json.dumps({"prompts": [BOX] * 257}).encode(), 413, "257 prompts"),
])
def test_requests_for_mattes_that_are_refused(client: Client, image: str, body: bytes, status: int,
                                              words: str) -> None:
    answer = client("POST", f"/v1/images/{image}/mattes", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]


def test_other_refusals(client: Client, image: str, made: str) -> None:
    for method, path, status, words in (
        ("GET", "/v1/nothing", 404, ""), ("GET", "/v2/status", 404, ""), ("POST", "/v1/images/x/mattes", 404, "upload"),
        ("GET", "/v1/mattes/x/alpha", 404, "ask for it again"), ("GET", f"/v1/mattes/{made}/depth", 404, "alpha, mask"),
        ("GET", f"/v1/mattes/{made}/alpha?format=gif", 400, "png8, png16"), ("PUT", "/v1/images", 405, ""),
        ("GET", f"/v1/mattes/{made}/mask?format=png16", 400, "png8, webp, tiff8, u8"), ("GET", "/v1/shutdown", 405, ""),
        ("GET", "/page/../../run.py", 404, ""), ("GET", "/page/%2e%2e/run.py", 404, ""),
    ):
        headers = {"Content-Type": "application/json"} if method == "POST" else {}
        answer = client(method, path, headers=headers, data=b"{}" if method == "POST" else None)
        assert answer.status_code == status, (path, answer.text)
        assert words in answer.json()["error"]["message"]
    assert client("PUT", "/v1/images").headers["Allow"] == "POST"
    answer = client("POST", f"/v1/images/{image}/mattes", data=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_no_answer_may_be_framed_sniffed_or_kept(client: Client) -> None:
    for path in ("/", "/v1/status", "/v1/nothing"):
        headers = client("GET", path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_strokes_trimap_and_a_kept_matte_are_prompts(client: Client, image: str, made: str) -> None:
    first = client.alpha(made)
    point = [40.5, 30.5]
    label = int(first[30, 40] < 0.5)
    [answer] = client.mattes(image, {**BOX, "previous": made, "points": [point], "labels": [label]}).json()["mattes"]
    assert (client.alpha(answer["matte"])[30, 40] > 0.5) == bool(label)
    assert answer["warnings"] == []
    strokes = [{"points": [[10, 10], [30, 12]], "width": 3}]
    [answer] = client.mattes(image, {**BOX, "drop": strokes}).json()["mattes"]
    assert client.alpha(answer["matte"])[10:12, 12:28].max() < 0.5
    trimap = np.full(PICTURE.shape[:2], 128, np.uint8)
    trimap[:10], trimap[30:40, 30:40] = 0, 255
    sent = {"width": 80, "height": 64, "deflate": base64.b64encode(zlib.compress(trimap.tobytes())).decode()}
    [answer] = client.mattes(image, {"trimap": sent}).json()["mattes"]
    alpha = client.alpha(answer["matte"])
    assert alpha[:10].max() == 0
    assert alpha[30:40, 30:40].min() == 1


def deflated(alpha: np.ndarray) -> dict[str, Any]:
    return {"width": alpha.shape[1], "height": alpha.shape[0],
            "deflate": base64.b64encode(zlib.compress(np.ascontiguousarray(alpha).tobytes())).decode()}


def test_a_matte_that_is_kept_no_more_may_come_along_as_its_alpha(client: Client, image: str) -> None:
    made = client.mattes(image, BOX).json()["mattes"][0]["matte"]
    mark = {**BOX, "points": [[40.5, 30.5]], "labels": [int(client.alpha(made)[30, 40] < 0.5)]}
    [kept, sent] = client.mattes(image, {**mark, "previous": made},
                                 {**mark, "previous": deflated(client.alpha(made, "u8"))}).json()["mattes"]
    assert np.abs(client.alpha(kept["matte"]) - client.alpha(sent["matte"])).max() < 0.02
    client("DELETE", f"/v1/mattes/{made}")
    refused = client.mattes(image, {**mark, "previous": made})
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "Forgotten")


def test_one_matte_of_several(client: Client, image: str) -> None:
    [first, second] = (one["matte"] for one in client.mattes(image, BOX, {"box": [40, 4, 78, 60]}).json()["mattes"])
    a, b = client.alpha(first), client.alpha(second, "u8")
    answer = client("POST", f"/v1/images/{image}/combined", json={"of": [first, deflated(b)]})
    assert answer.status_code == 201
    np.testing.assert_allclose(client.alpha(answer.json()["matte"]), 1 - (1 - a) * (1 - b / 255), atol=1e-6)
    assert client("GET", f"/v1/mattes/{answer.json()['matte']}").json() == answer.json()
    for body, status, words in [({"of": []}, 400, "names no mattes"), ({"of": ["x"]}, 422, "not kept"), ([], 400, "of"),
                                ({"of": [7]}, 400, "the id of a matte"), ({"of": [first] * 9000}, 413, "limit"),
                                ({"of": [deflated(b[:9])]}, 422, "picture's size")]:
        refused = client("POST", f"/v1/images/{image}/combined", json=body)
        assert refused.status_code == status
        assert words in refused.json()["error"]["message"]
    other = client.upload(np.zeros((20, 30, 3), np.uint8))
    refused = client("POST", f"/v1/images/{other}/combined", json={"of": [first]})
    assert "of another picture" in refused.json()["error"]["message"]


def test_colours_are_made_with_progress_and_then_there(client: Client, image: str) -> None:
    made = client.mattes(image, BOX).json()["mattes"][0]["matte"]
    answer = client("POST", f"/v1/mattes/{made}/foreground", headers={"Accept": "application/x-ndjson"})
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert events[-1] == {"event": "done", "matte": made}
    assert client("POST", f"/v1/mattes/{made}/foreground").json() == {"matte": made}
    assert client("POST", "/v1/mattes/x/foreground").status_code == 404


def test_cropped_to_what_can_be_seen(client: Client, image: str) -> None:
    alpha = np.zeros(PICTURE.shape[:2], np.uint8)
    alpha[10:30, 20:25] = 200
    made = client("POST", f"/v1/images/{image}/combined", json={"of": [deflated(alpha)]}).json()["matte"]
    assert client.alpha(made, "u8").shape == alpha.shape
    answer = client("GET", f"/v1/mattes/{made}/cutout?format=png8&crop=1")
    cut = np.asarray(PillowImage.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(cut[..., 3], alpha[10:30, 20:25])
    whole = client("GET", f"/v1/mattes/{made}/cutout?format=png8&crop=0")
    np.testing.assert_array_equal(np.asarray(PillowImage.open(io.BytesIO(whole.content)))[10:30, 20:25], cut)
    assert client("GET", f"/v1/mattes/{made}/alpha?crop=yes").status_code == 400


@pytest.mark.parametrize(("prompt", "status", "words"), [
    ({"previous": "nothing", "points": [[5, 5]], "labels": [0]}, 422, "not kept any more"),
    ({"previous": 7, "points": [[5, 5]]}, 400, "id of a matte"), ({"keep": ["line"]}, 400, "stroke"),
    ({"box": [1, 1, 9, 9], "keep": [{"points": []}]}, 422, "no points"),
    ({"box": [1, 1, 9, 9], "drop": [{"points": [["1", 2]]}]}, 400, "stroke"),
])
def test_strokes_and_mattes_that_cannot_be_are_refused(
    client: Client, image: str, prompt: dict[str, Any], status: int, words: str
) -> None:
    answer = client.mattes(image, prompt)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
