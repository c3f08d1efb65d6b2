"""Folders anywhere: what is put there is whole or not there, and nothing leads out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from matting_anything_core.errors import ImageError, MattingError

pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed: pip install 'matting-anything-core[ray]'")
from matting_anything_core.ray_steps import name_rows, write_part
from matting_anything_core.stores import Store, arrow_files, is_address, open_store


def test_a_folder_here(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    assert list(store.names()) == []
    store.put("deep/a.png", b"first")
    store.put("deep/a.png", b"second")
    store.put(".hidden/settings.json", b"{}")
    store.put("b.JPG", b"third")
    assert list(store.names()) == ["b.JPG", "deep/a.png"]
    assert list(store.names((".jpg",))) == ["b.JPG"]
    assert (store.get("deep/a.png"), store.get("nothing.png")) == (b"second", None)
    assert not list(tmp_path.rglob("*.tmp"))
    for name in ("../x", "/etc/x", "a/../../x", "", "a\\..\\..\\x", "a\0b"):
        with pytest.raises(MattingError, match="no name inside"):
            store.put(name, b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match="cannot be written"):
        open_store(str(tmp_path / "file")).put("a.png", b"")


def test_what_nobody_renamed_is_swept(tmp_path: Path) -> None:
    names = [".matting-mine-1.tmp", ".matting-other-2.tmp", "deep/.matting-mine-3.tmp", "matting-mine-.tmp"]
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    store = Store(arrow_files(None) or open_store(str(tmp_path)).files, str(tmp_path), "mine")
    store.sweep()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [names[1], names[3]]
    old = time.time() - 7200
    os.utime(tmp_path / names[1], (old, old))
    store.sweep(older_than=3600)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [names[3]]


def test_fsspec_and_what_nobody_opens(tmp_path: Path) -> None:
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    store = open_store("inner", DirFileSystem(str(tmp_path), LocalFileSystem()))
    store.put("a/b.png", b"data")
    assert (tmp_path / "inner" / "a" / "b.png").read_bytes() == b"data"
    assert [path.name for path in (tmp_path / "inner" / "a").iterdir()] == ["b.png"]
    assert list(store.names()) == ["a/b.png"]
    memory = open_store("memory://somewhere/photos")
    memory.put("x.png", b"kept")
    assert open_store("memory://somewhere/photos").get("x.png") == b"kept"
    with pytest.raises(MattingError, match="environment") as caught:
        open_store("s3://key:hush@shop/photos")
    assert "hush" not in str(caught.value)
    with pytest.raises(MattingError, match="cannot be opened"):
        open_store("nonsense://x/y")
    assert [is_address(text) for text in ("s3://a/b", "/a/b", "C:\\a", Path("a"), None)] == [True, *[False] * 4]


def test_an_object_store(bucket: tuple[Any, str]) -> None:
    client, where = bucket
    store = open_store(f"s3://shop/mattes{where}")
    assert list(store.names()) == []
    store.put("deep/a.png", b"data")
    assert client.get_object(Bucket="shop", Key="mattes/deep/a.png")["Body"].read() == b"data"
    keys = [one["Key"] for one in client.list_objects_v2(Bucket="shop")["Contents"]]
    assert keys == ["mattes/deep/a.png"]
    assert list(store.names((".png",))) == ["deep/a.png"]
    assert store.get("nothing.png") is None
    store.sweep()


def test_parts_of_parquet_take_the_place_of_themselves(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    store = open_store(str(tmp_path / "out"))
    table = pa.table({"name": ["b", "a"], "number": [1, 0], "prompt": ["", ""], "alpha": [b"1", None]})
    for rows in (table, table.take([1, 0]), table.slice(0, 1), table.slice(0, 0)):
        assert write_part(rows, out=store, picture="alpha").column_names == ["name", "number", "prompt"]
    parts = list(store.names())
    assert len(parts) == 2  # the same rows twice, some of them, none
    assert all(name.startswith("part-") and name.endswith(".parquet") for name in parts)
    stored = [pyarrow.parquet.read_table(tmp_path / "out" / name) for name in parts]
    assert all(one.column_names == ["name", "alpha"] for one in stored)
    assert sorted(one.num_rows for one in stored) == [1, 2]


def test_rows_are_named_and_those_that_are_done_left_out() -> None:
    import pyarrow as pa

    table = pa.table({"uri": ["s3://shop/a.jpg", "s3://shop/b/c.jpg"], "out": ["x", "y"]})
    named = name_rows(table, column="uri", key="out", suffix=".png", there=frozenset({"a.jpg.png"}))
    assert named.to_pylist() == [{"uri": "s3://shop/b/c.jpg", "out": "b/c.jpg.png"}]
    named = name_rows(pa.table({"bytes": [b"1", b"2", b"1"]}), column="bytes", key="name", suffix=".png",
                      there=frozenset())
    names = named["name"].to_pylist()
    assert names[0] == names[2] != names[1]
