"""Manifests as spreadsheets, scripts and people write them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import picture, tiny_model

from matting_anything_core import Prompt, PromptError, read_image, write_image
from matting_anything_core.batch import Item, clear_subject
from matting_anything_core.cli import main
from matting_anything_core.errors import MattingError
from matting_anything_core.manifest import load_manifest, read_manifest
from matting_anything_core.naming import distinct, key, names_of

IMAGE = read_image(picture(100, 200))


def asked(item: Item) -> Prompt:
    """The prompt of an item on an image of 200 x 100."""
    return Prompt.of(item.prompt(IMAGE) if callable(item.prompt) else item.prompt)


def items(folder: Path, text: str | bytes, name: str = "list.csv") -> list[Item]:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_manifest(folder / name, "out")


@pytest.mark.parametrize(("text", "name"), [
    ('path,box\na.png,"1,2,30,40"\n', "list.csv"), ("path,box\na.png,1,2,30,40\n", "list.csv"),
    ("path,box\r\na.png,1 2 30 40\r\n", "list.csv"), ("box,path\n1,2,30,40,a.png\n", "list.csv"),
    ("path;box\na.png;1,2,30,40\n", "list.csv"), ("path\tbox\na.png\t1,2,30,40\n", "list.csv"),
    ("path\tbox\na.png\t1,2,30,40\n", "list.tsv"), ("Path; BOX ;weather\na.png;1,2,30,40;rain\n", "list.csv"),
    ('"path","box"\n"a.png","1,2,30,40"\n', "list.csv"), ("path,box,text\na.png,1,2,30,40,\n", "list.csv"),
    ("path,box\n\na.png,1,2,30,40\n,\n".replace("\n,\n", "\n"), "list.csv"),
    ("a.png,1,2,30,40\n", "list.csv"), ("# mine\na.png;1;2;30;40\n", "list.csv"), ("a.png\t1,2,30,40", "list.txt"),
    ('a.png,"1,2,30,40"\n', "list.csv"), ("path,box\na.png,0.5%,2%,15%,40%\n", "list.csv"),
    ('path,box\na.png,"0.5%,2%,15%,40%"\n', "list.csv"),
    ('{"path": "a.png", "box": "0.5%,2%,15%,40%"}\n', "list.jsonl"),
    ('{"path": "a.png", "box": [1, 2, 30, 40], "id": 5}\n', "list.ndjson"),
    ("path,box\na.png,1,2,30,40\n".encode("utf-16"), "list.csv"),
    (b"\xef\xbb\xbfpath;box\na.png;1,2,30,40\n", "list.csv"),
])
def test_a_box_in_every_way(tmp_path: Path, text: str | bytes, name: str) -> None:
    [item] = items(tmp_path, text, name)
    assert Path(str(item.image)) == tmp_path / "a.png"
    assert str(item.out) == str(Path("out/a.png"))
    assert asked(item).box == pytest.approx((1, 2, 30, 40))


def test_shares_are_read_where_they_are_certain(tmp_path: Path) -> None:
    for text, name in (("path,box\na.png,0.2,0.1,0.9,0.4\n", "list.csv"),
                       ('{"path": "a.png", "box": "0.2,0.1,0.9,0.4"}', "list.jsonl")):
        [item] = items(tmp_path, text, name)
        assert asked(item).box == pytest.approx((40, 10, 180, 40))


def test_lists_without_a_header(tmp_path: Path) -> None:
    listed = items(tmp_path, "a.png\n\n  sub/b, c.jpg\n# no\nd.webp,\n", "list.txt")
    assert [str(Path(str(item.image)).relative_to(tmp_path)) for item in listed] == ["a.png", "sub/b, c.jpg", "d.webp"]
    assert all(item.prompt is clear_subject for item in listed)
    assert [str(item.image) for item in items(tmp_path, "x/one\nx/two\n", "l.txt")] == [
        str(tmp_path / "x/one"), str(tmp_path / "x/two")]


def test_points_in_per_cent_and_masks_beside(tmp_path: Path) -> None:
    mask = picture(100, 200, channels=1)[..., 0] * 0
    mask[20:40, 20:40] = 255
    write_image(tmp_path / "m.png", mask)
    text = ('path;points;labels;mask\na.png;50%,40%|10%,10%;1 0;\nb.png;3,4;;\nc.png;;;m.png\n'
            'd.png;5%,5%;;m.png\n')
    points, plain, masked, both = (asked(item) for item in items(tmp_path, text))
    assert (points.points, points.labels) == (((100, 40), (20, 10)), (1, 0))
    assert plain.points == ((3, 4),)
    assert masked.mask is not None
    assert masked.mask.sum() == 400
    assert both.mask is not None
    assert both.points == ((10, 5),)


def test_extra_columns_are_named_and_ignored(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,price,box,camera\na.png,5,\"1,2,30,40\",X\n")
    manifest = load_manifest(tmp_path / "l.csv", "out")
    assert manifest.ignored == ["price", "camera"]
    assert asked(manifest.items[0]).box == (1, 2, 30, 40)


@pytest.mark.parametrize(("text", "words"), [
    ("path,boxes\na.png,\n", "there is a column 'boxes', and none 'box'"),
    ("path,lables\na.png,\n", "and none 'labels'"), ("file,box\na.png,\n", "none that is called path"),
    ("path\nhttps://example.org/a.png\n", "line 2: 'https://example.org/a.png' is an address"),
    ("path\n\"data:image/png;base64,AAAA\"\n", "is an address"), ("s3://bucket/a.png\n", "is an address"),
    ("path,points\na.png,300,200\n", "need quotes"), ("a.png,1,2,3\n", "without a header; expected a path"),
    ("path,box\na.png,0.5,0.5,0.2,0.3\n", "centre form"), ("path,box\na.png,10%,0,90%,100%\n", "each with %"),
    ("path,box\na.png,30,2,1,40\n", "line 2: the box .* reversed"),
    ("path,box\na.png,\"1,2,3\"\n", "line 2: the box has 3 values"), ("path\n\0.png\n", "NUL"),
    ("path,mask,labels\na.png,m.png,1\n", "without points"),
])
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        items(tmp_path, text)


@given(st.text(max_size=80), st.sampled_from(["csv", "tsv", "txt", "jsonl"]))
def test_any_text_is_a_manifest_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    file = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_manifest(file, "out")
    except MattingError:
        return
    assert len({str(item.out) for item in found}) == len(found)
    assert all("out" in item.out.parts[:1] for item in found if item.out)


def test_a_list_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    import matting_anything_core.api as api

    monkeypatch.setattr(api, "load_model", lambda *_, **__: tiny_model())
    for name in "ab":
        write_image(tmp_path / f"{name}.png", picture(30, 40))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"./a.png\n./b.png\n"), isatty=lambda: False))
    assert main(["batch", "-", "-o", "out", "--box", "10%,10%,90%,90%"]) == 0
    assert "2 done of 2" in capsys.readouterr().out
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["a.png", "b.png"]


# Names


@pytest.mark.parametrize(("paths", "names"), [
    (["a.jpg", "sub/b.jpg"], ["a.png", "b.png"]), (["x/1.jpg", "y/1.jpg", "z.jpg"], ["x/1.png", "y/1.png", "z.png"]),
    (["p/x/1.jpg", "p/y/1.jpg"], ["x/1.png", "y/1.png"]), (["a.jpg", "a.png"], ["a.jpg.png", "a.png.png"]),
    (["a.jpg", "a.jpg", "b.jpg"], ["a-1.png", "a-2.png", "b.png"]), (["1.jpg", "x/1.jpg"], ["1.png", "x/1.png"]),
    (["a.jpg", "a.jpg", "a-1.tif"], ["a-1.png", "a-2.png", "a-1-2.png"]),
    (["x/1.jpg", "x/1.tif", "y/1.jpg"], ["x/1.jpg.png", "x/1.tif.png", "y/1.png"]),
    (["./a.jpg", "a.jpg"], ["a-1.png", "a-2.png"]), (["/v/x/1.jpg", "/w/1.jpg"], ["v/x/1.png", "w/1.png"]),
])
def test_names_of_results(paths: list[str], names: list[str]) -> None:
    assert [str(name) for name in names_of(paths, ".png")] == names


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a-1", "a-2", "a.png"]), min_size=1, max_size=3), max_size=12),
       st.sampled_from([".png", ".jpg"]))
def test_no_name_is_given_twice(parts: list[list[str]], suffix: str) -> None:
    paths = ["/".join(part) + ".jpg" for part in parts]
    names = names_of(paths, suffix)
    assert len({key(name) for name in names}) == len(paths)
    assert all(not name.is_absolute() and ".." not in name.parts for name in names)
    assert distinct(names) == names
