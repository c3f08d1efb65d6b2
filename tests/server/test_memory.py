"""--memory bounds what the service takes: sizes are told from headers, work waits for work, refusals have numbers."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tiny import picture, tiny_model

from matting_anything_core.image import encode_image, read_image
from matting_anything_core.server import machine
from matting_anything_core.server.cache import Cache
from matting_anything_core.server.pictures import DEEP, OTHERS, SHALLOW, header_of
from matting_anything_core.server.problems import NoRoom, TooLarge
from matting_anything_core.server.settings import Settings

from .service import BOX, Client, in_a_process, in_a_thread, until

MEGABYTE = 1 << 20


def test_what_is_kept_gives_way_to_work_but_not_what_is_in_use() -> None:
    cache = Cache(100)
    cache.put("a", 1, 40)
    cache.put("b", 2, 40)
    with cache.using("a"), cache.room(50, "work"):
        assert (cache.get("a"), cache.get("b"), cache.nbytes, cache.work) == (1, None, 40, 50)
        with pytest.raises(NoRoom, match=r"more work takes about 0 MB, but of .* 0 MB"):
            cache.reserve(20, "more work")
        assert cache.reserve_rest(20) == 10
        cache.release(10)
        cache.drop("a")  # its memory is not free before its use ends
        assert cache.nbytes == 40
    assert (cache.nbytes, cache.work) == (0, 0)
    with pytest.raises(TooLarge):
        cache.reserve(101, "too much")


def test_what_a_value_belongs_to_stays_while_it_is_used() -> None:
    cache = Cache(100)
    cache.put("image", 1, 40)
    cache.put("matte", 2, 20, parent="image")
    cache.put("other", 3, 30, parent="image")
    with cache.using("matte"), cache.room(40, "work"):
        assert [cache.get(name) for name in ("image", "matte", "other")] == [1, 2, None]


def test_a_value_that_grows_is_counted_anew() -> None:
    cache = Cache(100)
    cache.put("old", 1, 40)
    cache.put("embedding", 2, 30)
    cache.resize("embedding", 90)
    cache.resize("nothing", 90)
    assert (cache.get("old"), cache.get("embedding"), cache.nbytes) == (None, 2, 90)


def test_an_embedding_that_grows_with_its_mattes_is_counted_anew(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the crops that prompts asked for, so the service asks for its size after each matte."""
    from matting_anything_core import Embedding

    grown = [0]
    before = Embedding.nbytes.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Embedding, "nbytes", property(lambda self: before(self) + grown[0]))
    with in_a_thread(runtime, Settings(), tiny_model()) as client:
        image = client.upload(picture(40, 50))
        client.mattes(image, BOX)
        first = client.status()["cache"]["bytes"]
        grown[0] = 5 * MEGABYTE
        client.mattes(image, BOX)
        assert 5 * MEGABYTE <= client.status()["cache"]["bytes"] - first < 6 * MEGABYTE


def encoded(form: str, mode: str, bits: int, side: int) -> bytes:
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    pixels = np.random.default_rng(0).integers(0, 1 << bits, (side, side, channels)).astype(f"u{bits // 8}")
    if form in ("png", "tiff"):
        return encode_image(pixels, form, bits=bits)  # type: ignore[arg-type]
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze()).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(("form", "mode", "bits"), [
    ("png", "L", 8), ("png", "RGB", 8), ("png", "RGBA", 8), ("png", "L", 16), ("png", "RGB", 16), ("png", "RGBA", 16),
    ("tiff", "RGB", 8), ("tiff", "RGB", 16), ("tiff", "RGBA", 16), ("jpeg", "RGB", 8), ("webp", "RGBA", 8),
    ("gif", "L", 8), ("bmp", "RGB", 8), ("jpeg2000", "RGB", 8)])
def test_headers_tell_size_and_depth(form: str, mode: str, bits: int) -> None:
    header = header_of(encoded(form, mode, bits, 33))
    assert header is not None
    assert (header.width, header.height, header.deep) == (33, 33, bits == 16)
    assert header.peak == 33 * 33 * (DEEP if bits == 16 else OTHERS if form in ("webp", "jpeg2000") else SHALLOW)


def test_headers_of_what_is_no_picture() -> None:
    assert [header_of(data) for data in (b"", b"x" * 100, b"\x89PNG\r\n\x1a\n", b"GIF8")] == [None] * 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for a process's peak memory")
@pytest.mark.parametrize(("form", "mode", "bits"), [
    ("png", "RGBA", 16), ("png", "RGBA", 8), ("tiff", "RGBA", 16), ("jpeg", "RGB", 8), ("webp", "RGBA", 8),
    ("gif", "L", 8), ("jpeg2000", "RGB", 8)])
def test_reading_takes_no_more_than_its_header_told(form: str, mode: str, bits: int, tmp_path: Path) -> None:
    import os
    import subprocess

    side = 1600
    (tmp_path / "picture").write_bytes(encoded(form, mode, bits, side))
    code = """
import sys
from matting_anything_core.image import encode_image, read_image
import numpy as np, re
small = np.zeros((8, 8, 4), np.uint16)
for data in (encode_image(small, bits=16), encode_image(small[..., :3], bits=16), encode_image(small, "webp")):
    read_image(data)
data = open("picture", "rb").read()
def now(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1])
before = now("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
read_image(data)
print(now("VmHWM") - before)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          check=True)
    header = header_of((tmp_path / "picture").read_bytes())
    assert header is not None
    assert int(done.stdout) <= header.peak + 4 * MEGABYTE


def post(client: Client, data: bytes, kind: str = "png") -> Any:
    return client("POST", "/v1/images", data=data, headers={"Content-Type": f"image/{kind}"})


def test_what_can_never_fit_is_413_and_what_does_not_now_is_503(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matting_anything_core.server.app.PATIENCE", 0.3)
    memory = 80 * MEGABYTE
    with in_a_thread(runtime, Settings(memory=memory), tiny_model()) as client:
        side = int((memory / DEEP) ** 0.5) + 100
        flat = np.zeros((side, side, 4), np.uint16)
        answer = post(client, encode_image(flat, bits=16))
        assert answer.status_code == 413
        assert f"{side} x {side}" in answer.json()["error"]["message"]
        assert "of more than 8 bits takes about" in answer.json()["error"]["message"]
        assert "--memory of 84 MB" in answer.json()["error"]["message"]
        assert post(client, encode_image(flat[..., :3].astype(np.uint8))).status_code == 201  # with 8 bits it fits
        part = 40 * MEGABYTE
        with client.half_a_request("POST", "/v1/images", bytes(part), "Content-Type: image/png", sent=part - 1):
            until(lambda: client.status()["cache"]["work"] == part)
            answer = post(client, encode_image(flat[:side // 2 + 500, :side // 2 + 500], bits=16))
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"]["kind"] == "NoRoom"
            assert "other work uses 4" in answer.json()["error"]["message"]
            assert answer.headers["Retry-After"] == "1"
        until(lambda: client.status()["cache"]["work"] == 0)
        assert post(client, encode_image(flat[:side // 2 + 500, :side // 2 + 500], bits=16)).status_code == 201


def test_large_pictures_are_read_one_at_a_time(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matting_anything_core.server import pictures

    at_once: list[int] = []
    now: list[int] = []
    real = pictures.read_picture

    def watched(*arguments: Any) -> Any:
        now.append(1)
        at_once.append(len(now))
        try:
            return real(*arguments)
        finally:
            now.pop()

    monkeypatch.setattr(pictures, "read_picture", watched)
    with in_a_thread(runtime, Settings(memory=100 * MEGABYTE), tiny_model()) as client:
        files = [encode_image(picture(900, 1000, seed=seed)) for seed in range(4)]
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda data=data: statuses.append(
            post(Client(client.endpoint, runtime), data).status_code)) for data in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert statuses == [201] * 4
        assert max(at_once) == 1
        assert client.status()["cache"]["work"] == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for a process's peak memory")
def test_the_peak_of_the_process_stays_within_its_memory(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large pictures of 16 bits at once, again and again, and answers of them."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    memory = 256 * MEGABYTE
    with in_a_process(runtime, "--memory", "256M") as (process, client):
        def peak() -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

        small = client.upload(picture(64, 80))
        client.alpha(client.mattes(small, BOX).json()["mattes"][0]["matte"], output="cutout", form="u8")
        post(client, encode_image(np.zeros((9, 9, 4), np.uint16), bits=16))
        before = peak()
        side = int((memory / DEEP) ** 0.5) - 120
        flats = [np.full((side, side, 4), number, np.uint16) for number in range(4)]
        statuses: list[int] = []

        def send(data: bytes) -> None:
            answer = post(Client(client.endpoint, runtime), data)
            statuses.append(answer.status_code)
            if answer.status_code < 300:
                client("GET", f"/v1/images/{answer.json()['image']}/pixels")

        threads = [threading.Thread(target=send, args=(encode_image(flat, bits=16),)) for flat in flats]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert 201 in statuses
        assert set(statuses) <= {201, 503}
        assert peak() - before < 1.15 * memory


def test_work_beyond_the_memory_is_done_where_the_machine_has_it(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matting_anything_core.server import engine

    monkeypatch.setattr(engine, "MATTING", 10_000)
    with in_a_thread(runtime, Settings(memory=64 * MEGABYTE), tiny_model()) as client:
        image = client.upload(picture(200, 200))
        box = {"box": [0, 0, 200, 200]}
        assert client.mattes(image, box).status_code == 200
        monkeypatch.setattr(engine, "available_memory", lambda: 100 * MEGABYTE)
        answer = client.mattes(image, box)
        assert answer.status_code == 413
        assert "takes about 400 MB" in answer.json()["error"]["message"]
        assert "the 105 MB that this machine has free" in answer.json()["error"]["message"]
        assert client.status()["cache"]["work"] == 0


def test_what_a_container_may_take_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500000\n")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "GROUPS", ())
    assert machine.available_memory() == 8000 * 1024
    monkeypatch.setattr(machine, "GROUPS", ((*(tmp_path / f"memory.{name}" for name in ("max", "current", "stat")),
                                             "inactive_file"),))
    assert machine.available_memory() == 2_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory() == 8000 * 1024
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "none")
    assert machine.available_memory() is None


@pytest.mark.parametrize("place", ["box", "points", "labels", "text", "mask", "png", "width", "model", "guidance",
                                   "detail", "prompts", "all_matches", "unknown"])
@pytest.mark.parametrize("depth", [17, 100, 900, 5000])
def test_deep_json_is_malformed(client: Client, place: str, depth: int) -> None:
    image = client.upload(picture(64, 80))
    value = "[" * depth + "1" + "]" * depth
    inner = {"mask": '{"mask": %s}', "png": '{"mask": {"png": %s}}', "box": '{"box": %s}', "points": '{"points": %s}',
             "labels": '{"points": [[1, 2]], "labels": %s}', "text": '{"text": %s}',
             "width": '{"mask": {"width": %s, "height": 64, "deflate": ""}}'}
    body = '{"prompts": [%s]}' % (inner[place] % value) if place in inner else \
        f'{{"prompts": [{{"box": [1, 2, 30, 40]}}], "{place}": {value}}}'
    answer = client("POST", f"/v1/images/{image}/mattes", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["kind"] == "Malformed"


def test_json_of_millions_of_values_is_malformed(client: Client) -> None:
    image = client.upload(picture(64, 80))
    body = json.dumps({"prompts": [{"points": [[1, 1]] * 600_000}]})
    answer = client("POST", f"/v1/images/{image}/mattes", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "more than 1000000 values" in answer.json()["error"]["message"]


def test_a_picture_is_what_the_library_reads(client: Client) -> None:
    data = encode_image(np.arange(4000, dtype=np.uint16).reshape(40, 25, 4) * 16, bits=16)
    image = post(client, data).json()["image"]
    shown = read_image(client("GET", f"/v1/images/{image}/pixels").content)
    np.testing.assert_allclose(shown.rgb, read_image(data).rgb / 257, atol=0.51)
