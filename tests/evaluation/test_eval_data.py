from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from matting_anything_core.evaluation.data import LAYOUTS, DataError, Sample, read_alpha, read_benchmark, read_picture
from matting_anything_core.evaluation.protocol import PROTOCOLS, PUBLISHED


def write(path, size=(24, 16), mode="L", value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path)
    return path


def make_layout(root, benchmark, names=("a", "b.1", "ç d")):
    """A made-up copy of a benchmark's published layout; returns its root."""
    image_suffix = ".jpg"
    layouts = {
        "ppm100": ("PPM-100", "image", "matte/{}.jpg", None),
        "am2k": ("AM-2k", "validation/original", "validation/mask/{}.png", "validation/trimap/{}.png"),
        "pm10k": ("P3M-10k", "validation/P3M-500-NP/original_image", "validation/P3M-500-NP/mask/{}.png",
                  "validation/P3M-500-NP/trimap/{}.png"),
        "rwp636": ("RealWorldPortrait-636", "image", "alpha/{}.png", None),
        "him2k": ("HIM2K", "images/natural", "alphas/natural/{}/{}.png", None),
        "him2k_comp": ("HIM2K", "images/comp", "alphas/comp/{}/{}.png", None),
        "refmatte_rw100": ("RefMatte_RW_100", "image_all", "mask/{}.png", None),
        "folder": ("", "images", "alphas/{}.png", None),
    }
    top, images, alphas, trimaps = layouts[benchmark]
    base = root / top
    for name in names:
        write(base / images / f"{name}{image_suffix}", mode="RGB")
        for instance in ("00", "01") if alphas.count("{}") == 2 else ("",):
            write(base / alphas.format(name, instance))
        if trimaps:
            write(base / trimaps.format(name), value=128)
    if benchmark == "refmatte_rw100":
        labels = {name: {"image_name": f"img_{name}", "expressions": {"0": "a thing", "1": f"the {name}"}}
                  for name in names}
        (base / "refmatte_rw100_label.json").write_text(json.dumps(labels))
        (base / "eval_index_expression.json").write_text(json.dumps({f"img_{name}": "1" for name in names}))
    return base


@pytest.mark.parametrize("benchmark", list(LAYOUTS))
@pytest.mark.parametrize("given", ["root", "parent"])
def test_each_published_layout_is_read(tmp_path, benchmark, given):
    base = make_layout(tmp_path, benchmark)
    dataset = read_benchmark(benchmark, base if given == "root" else tmp_path)
    assert dataset.problems == ()
    assert [sample.name for sample in dataset.samples] == ["a", "b.1", "ç d"]
    for sample in dataset.samples:
        picture = read_picture(sample)
        assert picture.image.shape == (16, 24, 3)
        assert picture.image.dtype == np.uint8
        assert len(picture.alphas) == (2 if benchmark.startswith("him2k") else 1)
        assert all(alpha.dtype == np.float32 and alpha.shape == (16, 24) for alpha in picture.alphas)
        assert (picture.trimap is not None) == (benchmark in ("am2k", "pm10k"))
        assert (sample.texts is not None) == (benchmark == "refmatte_rw100")
    if benchmark == "refmatte_rw100":
        assert dataset.samples[1].texts == ("the b.1",)


def test_every_benchmark_has_a_protocol():
    assert set(PROTOCOLS) == set(LAYOUTS)
    assert set(PUBLISHED) <= set(LAYOUTS)
    for benchmark in ("ppm100", "am2k", "pm10k", "rwp636"):
        assert (PROTOCOLS[benchmark].guidance, PROTOCOLS[benchmark].postprocess) == ("alpha", True)
    for benchmark in ("him2k", "him2k_comp", "refmatte_rw100"):
        assert PROTOCOLS[benchmark].guidance == "mask"
    assert [name for name, protocol in PROTOCOLS.items() if protocol.instances] == ["rwp636", "him2k", "him2k_comp"]


def test_folder_with_instances_trimaps_and_words(tmp_path):
    write(tmp_path / "image" / "one.png", mode="RGB")
    write(tmp_path / "image" / "two.webp", mode="RGB")
    write(tmp_path / "alpha" / "one" / "left.png")
    write(tmp_path / "alpha" / "one" / "right.png")
    write(tmp_path / "alpha" / "two.png")
    write(tmp_path / "trimap" / "one.png", value=0)
    write(tmp_path / "trimap" / "two.png", value=255)
    (tmp_path / "texts.json").write_text(json.dumps({"one": ["left dog", "right dog"], "two": "a cat"}))
    one, two = read_benchmark("folder", tmp_path).samples
    assert [path.stem for path in one.alphas] == ["left", "right"]
    assert one.texts == ("left dog", "right dog")
    assert two.texts == ("a cat",)
    assert (read_picture(two).trimap == 255).all()


def test_what_is_missing_is_listed_all_at_once(tmp_path):
    base = make_layout(tmp_path, "am2k", names=("a", "b", "c", "d"))
    (base / "validation/mask/b.png").unlink()
    (base / "validation/trimap/c.png").unlink()
    dataset = read_benchmark("am2k", tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a", "d"]
    assert len(dataset.problems) == 2
    assert "no true matte" in dataset.problems[0]
    assert "b.png" in dataset.problems[0]
    assert "no trimap" in dataset.problems[1]
    assert "c.png" in dataset.problems[1]


def test_a_layout_that_is_not_there_names_the_folders_wanted(tmp_path):
    with pytest.raises(DataError, match=r"validation/original.*validation/mask"):
        read_benchmark("am2k", tmp_path)
    (tmp_path / "validation/original").mkdir(parents=True)
    with pytest.raises(DataError, match="not the other one"):
        read_benchmark("am2k", tmp_path)
    with pytest.raises(DataError, match="no folder"):
        read_benchmark("ppm100", tmp_path / "nowhere")
    (tmp_path / "validation/mask").mkdir(parents=True)
    write(tmp_path / "validation/original/x.jpg", mode="RGB")
    with pytest.raises(DataError, match=r"no picture that can be evaluated\n.*x\.jpg: no true matte"):
        read_benchmark("am2k", tmp_path)


def test_two_pictures_of_one_name_are_told(tmp_path):
    make_layout(tmp_path, "folder", names=("a",))
    write(tmp_path / "images" / "a.png", mode="RGB")
    write(tmp_path / "images" / "notes.txt.png", mode="RGB")
    problems = read_benchmark("folder", tmp_path).problems
    assert len(problems) == 2
    assert "same name" in problems[0]
    assert "notes.txt" in problems[1]


@pytest.mark.parametrize("content", ["{", "[1, 2]", b"\xff\xfe\x00"])
def test_damaged_words_are_refused(tmp_path, content):
    make_layout(tmp_path, "folder", names=("a",))
    path = tmp_path / "texts.json"
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
    with pytest.raises(DataError, match=r"texts\.json"):
        read_benchmark("folder", tmp_path)


def test_unusable_words_are_listed(tmp_path):
    make_layout(tmp_path, "folder", names=("a", "b"))
    (tmp_path / "texts.json").write_text(json.dumps({"a": ["one", "too many"], "b": 7}))
    dataset = read_benchmark("folder", tmp_path)
    assert [sample.name for sample in dataset.samples] == ["b"]
    assert any("7" in problem for problem in dataset.problems)
    assert any("2 texts for 1 mattes" in problem for problem in dataset.problems)


def test_refmatte_without_or_with_odd_labels(tmp_path):
    base = make_layout(tmp_path, "refmatte_rw100", names=("a", "b"))
    labels = {"a": {"image_name": "a", "expressions": ["first", "second"]}, "b": {"nothing": 1}}
    (base / "refmatte_rw100_label.json").write_text(json.dumps(labels))
    (base / "eval_index_expression.json").write_text(json.dumps({"a": 1}))
    dataset = read_benchmark("refmatte_rw100", base)
    assert [sample.texts for sample in dataset.samples] == [("second",), None]
    assert any("entry b" in problem for problem in dataset.problems)
    (base / "eval_index_expression.json").unlink()
    assert read_benchmark("refmatte_rw100", base).samples[0].texts == ("first",)
    (base / "refmatte_rw100_label.json").unlink()
    dataset = read_benchmark("refmatte_rw100", base)
    assert [sample.texts for sample in dataset.samples] == [None, None]
    assert "--prompt text only" in dataset.problems[0]


# Matte files


def test_mattes_of_all_kinds_of_files(tmp_path):
    gray = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (4, 1))
    wanted = gray.astype(np.float32) / 255
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.repeat(gray[..., None], 3, 2)).save(tmp_path / "rgb.png")
    rgba = np.dstack([np.full((*gray.shape, 3), 90, np.uint8), gray])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    opaque = np.dstack([np.repeat(gray[..., None], 3, 2), np.full(gray.shape, 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    for name in ("gray", "rgb", "rgba", "opaque", "sixteen"):
        np.testing.assert_allclose(read_alpha(tmp_path / f"{name}.png"), wanted, atol=1e-6, err_msg=name)
    Image.fromarray(gray > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_alpha(tmp_path / "bits.png"), gray > 100)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_damaged_mattes_are_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png"):
        read_alpha(path)


def test_truncated_mattes_and_wrong_sizes_are_refused(tmp_path):
    image = write(tmp_path / "a.jpg", mode="RGB")
    good = write(tmp_path / "a.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.png"):
        read_alpha(tmp_path / "cut.png")
    other = write(tmp_path / "other.png", size=(25, 16))
    with pytest.raises(DataError, match=r"other\.png is 25x16 .*a\.jpg is 24x16"):
        read_picture(Sample("a", image, (good, other)))
    with pytest.raises(DataError, match=r"other\.png is 25x16"):
        read_picture(Sample("a", image, (good,), trimap=other))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(DataError, match=r"broken\.jpg cannot be read"):
        read_picture(Sample("a", tmp_path / "broken.jpg", (good,)))
