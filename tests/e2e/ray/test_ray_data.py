"""Batches on a real Ray of two nodes: the same results, each once, whatever happens to actors, nodes and the driver."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import picture

from matting_anything_core import PromptError, matte, read_image, write_image
from matting_anything_core.batch import BatchOptions, InShares
from matting_anything_core.cli import main
from matting_anything_core.errors import ImageError, MattingError
from matting_anything_core.image import encode_image
from matting_anything_core.journal import described
from matting_anything_core.manifest import RowRule, fields_of, prompt_of
from matting_anything_core.ray_data import image_column, matte_dataset, row_fields
from matting_anything_core.ray_steps import Attempts, result_name

POISON, ONCE = 61, 62


class Deadly:
    """The rule for the whole picture; a picture that is 61 wide ends its process, one of 62 the first time."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, image: Any) -> tuple[int, int, int, int]:
        if image.width == POISON or (image.width == ONCE and not self.mark.exists()):
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1, 1, image.width - 2, image.height - 2


def _alpha(data: bytes) -> np.ndarray:
    return read_image(data).rgb[..., 0].astype(int)


def _summary(text: str) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len({row["image"] for row in rows}) == len(rows)
    return {row["image"].partition("?")[0].rpartition("/")[2]: row for row in rows}


def test_a_dataset_in_and_out_whatever_dies(cluster: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    widths = [60, POISON, 63, 64, ONCE, 65, 66, 67]
    rows: list[dict[str, Any]] = [
        {"path": f"{width}.png", "bytes": encode_image(picture(40, width, seed=width)), "own": width,
         "box": [1.0, 2.0, 50.0, 35.0] if width == 64 else None, "prompt": None} for width in widths]
    rows[2]["prompt"] = '{"points": [[20, 20], [5, 5]], "labels": [1, 0]}'
    rows[3]["text"] = None
    rows += [{"path": "bad.png", "bytes": b"no picture", "own": 1}, {"path": "none.png", "bytes": None, "own": 2},
             {"path": "json.png", "bytes": rows[0]["bytes"], "own": 3, "prompt": "{"}]
    schema = pa.schema([("path", pa.string()), ("bytes", pa.binary()), ("own", pa.int64()),
                        ("box", pa.list_(pa.float64())), ("prompt", pa.string()), ("text", pa.string())])
    dataset = ray.data.from_arrow([pa.Table.from_pylist(rows[start:start + 4], schema)
                                   for start in range(0, len(rows), 4)])
    found = {row["path"]: row for row in matte_dataset(
        dataset, Deadly(tmp_path / "died once"), workers=2, batch_size=2).take_all()}
    assert len(found) == len(rows)
    assert Counter(row["status"] for row in found.values()) == {"done": 7, "failed": 4}, found
    assert "the process that worked on it ended" in found[f"{POISON}.png"]["message"]
    assert "is a text file" in found["bad.png"]["message"]
    assert "no image" in found["none.png"]["message"]
    assert "no JSON" in found["json.png"]["message"]
    assert "bytes" not in found["60.png"]
    assert found["60.png"]["own"] == 60
    assert found["64.png"]["box"] == [1, 2, 50, 35]
    assert found["63.png"]["box"] is None
    assert (tmp_path / "died once").exists()
    for width in (60, ONCE, 67):
        truth = matte(picture(40, width, seed=width), (1, 1, width - 2, 38)).alpha
        assert np.abs(_alpha(found[f"{width}.png"]["alpha"]) - truth * 255).max() <= 1.01
        assert 0 < found[f"{width}.png"]["score"] < 1.2


def test_a_folder_and_both_engines_share_what_is_done(cluster: Any, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    (photos / "sub").mkdir(parents=True)
    for index in range(3):
        write_image(photos / "sub" / f"{index}.jpg", picture(50, 70, seed=index))
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (photos / "list.csv").write_text("path,box,points,out\nsub/0.jpg,5,5,50,40,,a\nsub/1.jpg,10%,10%,90%,90%,,b\n"
                                     'bad.png,,,c\nsub/2.jpg,,"20,20",d\n')
    command = ["batch", str(photos / "list.csv"), "-o", str(out)]
    assert main([*command, "--engine", "ray", "--workers", "1"]) == 1
    assert "3 done, 1 failed of 4" in capsys.readouterr().out
    rows = _summary((out / "summary.csv").read_text())
    assert {name: row["status"] for name, row in rows.items()} == {
        "0.jpg": "done", "1.jpg": "done", "bad.png": "failed", "2.jpg": "done"}
    assert rows["1.jpg"]["box"] == "7 5 63 45"
    assert main(command) == 1
    assert "3 skipped, 1 failed of 4" in capsys.readouterr().out
    assert _summary((out / "summary.csv").read_text())["1.jpg"]["score"] == rows["1.jpg"]["score"]
    first = {path.name: read_image(path).pixels().astype(int) for path in out.glob("*.png")}
    assert main([*command, "--overwrite"]) == 1
    for name, pixels in first.items():
        assert np.abs(read_image(out / name).pixels() - pixels).max() <= 1
    assert not list(out.rglob("*.tmp"))


def test_an_object_store_and_parquet(cluster: Any, bucket: tuple[Any, str], tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    client, where = bucket
    for index, name in enumerate(("a.png", "deep/b c.jpg", "deep/d#1%.webp")):
        form = {"png": "png", "jpg": "jpeg", "webp": "webp"}[name.rpartition(".")[2]]
        client.put_object(Bucket="shop", Key=f"photos/{name}", Body=encode_image(picture(40, 50 + index), form))
    client.put_object(Bucket="shop", Key="photos/bad.png", Body=b"no picture")
    client.put_object(Bucket="shop", Key="photos/read.me", Body=b"no picture")

    def keys(prefix: str) -> list[str]:
        return sorted(one["Key"][len(prefix):] for one in
                      client.list_objects_v2(Bucket="shop", Prefix=prefix).get("Contents", ()))

    command = ["batch", f"s3://shop/photos{where}", "-o", f"s3://shop/mattes{where}", "--engine", "ray", "--workers",
               "1", "--format", "parquet", "--output", "alpha", "--box", "10%,10%,90%,90%"]
    assert main(command) == 1
    assert "3 done, 1 failed of 4" in capsys.readouterr().out
    parts = [key for key in keys("mattes/") if key.endswith(".parquet")]
    assert len(parts) >= 1
    assert set(keys("mattes/")) == {*parts, "summary.csv", ".matting-anything/settings.json"}
    table = pa.concat_tables([pa.parquet.read_table(io.BytesIO(
        client.get_object(Bucket="shop", Key=f"mattes/{part}")["Body"].read())) for part in parts])
    assert set(table.column_names) >= {"path", "alpha", "box", "score", "status", "message", "seconds"}
    rows = {row["name"]: row for row in table.to_pylist()}
    assert set(rows) == {"a.png", "deep/b c.png", "deep/d#1%.png", "bad.png"}
    assert rows["deep/d#1%.png"]["box"] == pytest.approx([5.2, 4, 46.8, 36])
    assert read_image(rows["deep/d#1%.png"]["alpha"]).width == 52
    assert rows["bad.png"]["alpha"] is None
    assert main(command) == 0
    assert "0 done, 4 skipped" in capsys.readouterr().out
    for changed in ([*command[:-1], "0%,0%,50%,100%"], [*command, "--strip"]):
        assert main(changed) == 2
        assert "other settings" in capsys.readouterr().err

    data = io.BytesIO()
    pa.parquet.write_table(pa.table({
        "uri": [f"s3://shop/photos/{name}{where}" for name in ("a.png", "deep/b c.jpg", "bad.png")],
        "box": [[1.0, 1.0, 30.0, 30.0], None, None]}), data)
    client.put_object(Bucket="shop", Key="tables/photos.parquet", Body=data.getvalue())
    command = ["batch", f"s3://shop/tables/photos.parquet{where}", "-o", f"s3://shop/files{where}", "--engine", "ray",
               "--workers", "1"]
    assert main(command) == 1
    assert set(keys("files/")) == {"photos/a.png.png", "photos/deep/b c.jpg.png", "summary.csv",
                                   ".matting-anything/settings.json"}
    body = client.get_object(Bucket="shop", Key="files/summary.csv")["Body"].read().decode()
    ended = {name: row["status"] for name, row in _summary(body).items()}
    assert ended.pop("b c.jpg") in ("unsure", "empty")  # noise has no subject
    assert ended == {"a.png": "done", "bad.png": "failed"}
    assert read_image(client.get_object(Bucket="shop", Key="files/photos/a.png.png")["Body"].read()).alpha is not None


def test_a_killed_driver_goes_on(cluster: Any, tmp_path: Path) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for index in range(30):
        write_image(photos / f"{index:02}.png", picture(60, 80, seed=index))
    command = ["batch", str(photos), "-o", str(out), "--engine", "ray", "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "matting_anything_core", *command, "--address", cluster.address],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while len(list(out.glob("*.png"))) < 2:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert main(command) == 0
    rows = _summary((out / "summary.csv").read_text())
    assert sorted(rows) == sorted(path.name for path in photos.iterdir())
    assert {row["status"] for row in rows.values()} <= {"done", "unsure", "empty", "skipped"}
    assert sum(row["status"] == "skipped" for row in rows.values()) >= 2
    for path in photos.iterdir():
        assert read_image(out / path.name).width == 80


def test_a_node_that_is_lost(cluster: Any) -> None:
    """The last test here: afterwards the second node is gone."""
    import ray

    rows = [{"image": picture(50, 70, seed=index), "number": index} for index in range(60)]
    dataset = ray.data.from_items(rows, override_num_blocks=30)
    done: list[int] = []
    for row in matte_dataset(dataset, InShares(0.1, 0.1, 0.9, 0.9), workers=2, batch_size=2,
                             options=BatchOptions(output="alpha")).iter_rows():
        assert row["status"] == "done", row["message"]
        done.append(row["number"])
        if len(done) == 4:
            cluster.remove_node(cluster.extra, allow_graceful=False)
    assert sorted(done) == list(range(60))


# What needs no Ray to run


def test_an_image_that_was_in_hand_is_a_suspect() -> None:
    attempts = Attempts()
    assert not attempts.begin(["a", "b"])
    assert attempts.begin(["b", "c"])
    assert [attempts.alone("b") for _ in range(3)] == [0, 1, 2]
    attempts.end(["a", "b", "c"])
    assert not attempts.begin(["a", "b", "c"])
    assert attempts.alone("b") == 0


def test_rows_and_prompts(tmp_path: Path) -> None:
    assert row_fields({"box": [1, 2, 3, 4], "text": "", "other": 1, "points": None}) == {"box": [1, 2, 3, 4]}
    assert row_fields({"prompt": '{"text": "a dog"}', "box": [1, 2, 3, 4]}) == {"text": "a dog"}
    for text in ("[1]", "[" * 9999, "{"):
        with pytest.raises(PromptError, match="JSON"):
            row_fields({"prompt": text})
    assert image_column(["x", "path", "bytes"], None) == "bytes"
    assert image_column(["x", "path", "bytes"], "x") == "x"
    for columns, named in ((["x"], None), (["path"], "bytes")):
        with pytest.raises(MattingError, match="expected"):
            image_column(columns, named)
    for row in ({"box": "1,2,30,40"}, {"box": "10%,0%,50%,100%"}, {"points": "1,2;3,4", "labels": "1 0"},
                {"points": "10%,20%"}, {"text": "a dog", "box": [1, 2, 3, 4]}, {"mask": "m.png"}):
        prompt = prompt_of(row, tmp_path)
        assert prompt is not None
        fields = fields_of(prompt)
        assert fields is not None
        again = prompt_of(fields, Path("/elsewhere"))
        assert isinstance(again, RowRule) == isinstance(prompt, RowRule)
        assert described(again) == described(prompt)
    assert fields_of(lambda image: (1, 2, 3, 4)) is None
    assert fields_of({"mask": np.ones((4, 4), bool)}) is None


def test_names_of_results() -> None:
    names = [result_name(text, ".png") for text in (
        "s3://shop/a/b.jpg?x=1", "/data/a.jpg", "../../etc/passwd", "C:\\x\\a.jpg", "a.jpg")]
    assert names == ["a/b.jpg.png", "data/a.jpg.png", "etc/passwd.png", "x/a.jpg.png", "a.jpg.png"]
    assert result_name(b"data", ".png") == result_name(b"data", ".png") != result_name(b"other", ".png")


def test_what_needs_ray_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.png", picture(20, 20))
    for option in (["--gpus", "1"], ["--address", "auto"], ["--format", "parquet"]):
        assert main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), *option]) == 2
        assert "need --engine ray" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["batch", str(tmp_path), "-o", str(tmp_path / "out"), "--engine", "ray"]) == 6
    assert "matting-anything-core[ray]" in capsys.readouterr().err
    with pytest.raises(ImageError, match="address"):
        read_image("s3://shop/a.png")
