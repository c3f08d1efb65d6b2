"""Words to boxes, with a real (tiny) Grounding DINO that was trained for it (tiny_grounding.py)."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_grounding as tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matting_anything_core import Prompt, matte, read_image, write_image
from matting_anything_core.api import Words, all_matches
from matting_anything_core.cli import main
from matting_anything_core.errors import DeviceError, MissingExtraError, NothingFoundError, PromptError, WeightsError
from matting_anything_core.grounding import Match, ground, load_grounding, phrases_of
from matting_anything_core.grounding.detect import _matches, to_network
from matting_anything_core.grounding.load import published_config
from matting_anything_core.grounding.text import Caption, Vocabulary, read_vocabulary
from matting_anything_core.weights import catalogue

pytest.importorskip("transformers")

GOLDEN = Path(__file__).parent / "golden"
GRAY = 128
SAME, APART = 0.3, 0.2
"""Overlaps (IoU): with the true box, and above which two finds are one. So little training teaches no finer boxes; the
things in the pictures lie apart, so a box cannot overlap the wrong one by as much."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The trained tiny network in the published layout."""
    folder = tmp_path_factory.mktemp("grounding")
    tiny.write_trained(folder)
    return folder


@pytest.fixture(scope="session")
def grounding(folder):
    return load_grounding(folder, device="cpu")


@pytest.fixture
def offline(monkeypatch):
    """Whoever tries to reach anything fails the test."""

    def refuse(*_args, **_keywords):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def picture():
    """A red circle left above, a blue circle right above, a blue triangle right below, a green circle left below."""
    return paint(("circle", "red", (17, 18), 24), ("circle", "blue", (46, 16), 20), ("triangle", "blue", (46, 47), 24),
                 ("circle", "green", (16, 46), 20))


def paint(*shapes, side=tiny.SIDE):
    array = np.full((side, side, 3), GRAY, np.uint8)
    boxes = [tiny.draw(kind, colour, centre, size, array) for kind, colour, centre, size in shapes]
    return array, boxes


def iou(one, other):
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


# Text


@pytest.mark.parametrize(("text", "phrases"), [
    ("Dog", ["dog"]),
    ("  The RED   ball. ", ["the red ball"]),
    ("a dog. a cat.", ["a dog", "a cat"]),
    ("dog.cat", ["dog", "cat"]),
    ("where is it? dog", ["where is it", "dog"]),
    (["Dog", "a cat. dog"], ["dog", "a cat"]),
    ("a 1.5 l bottle", ["a 1 5 l bottle"]),
    ("狗。猫", ["狗", "猫"]),
    ("red\x00\n\tball\x7f", ["red ball"]),
    ("ÄPFEL", ["äpfel"]),
    ("...dog...", ["dog"]),
    ("the dog's ball, left-hand", ["the dog's ball, left-hand"]),
])
def test_phrases(text, phrases):
    assert phrases_of(text) == phrases


@pytest.mark.parametrize("text", ["", " ", "....", "? . ?", "\x00\x01", "-- !!", [], ["", "."], "a" * 10_001,
                                  ". ".join(f"a{n}" for n in range(300)), None, 3, ["dog", 4], b"dog"])
def test_text_that_names_nothing_is_refused(text):
    with pytest.raises(PromptError):
        phrases_of(text)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    tiny.write_vocabulary(folder / "vocab.txt")
    return read_vocabulary(folder)


def test_a_caption_says_which_tokens_are_whose(vocabulary):
    [caption] = vocabulary.captions(["red circle", "blue"], 48)
    red, green, blue, circle = range(200, 204)
    assert green not in caption.ids
    assert caption.ids == (101, red, circle, 1012, blue, 1012, 102)
    assert [caption.ids[first:last] for first, last in caption.spans] == [(red, circle), (blue,)]


def test_unknown_words_are_spelt_out_and_foreign_marks_refused(vocabulary):
    [caption] = vocabulary.captions(["elephant"], 48)
    assert caption.spans == ((1, 9),)
    with pytest.raises(PromptError, match="no word that the network knows"):
        vocabulary.captions(["🐘🐘"], 48)


def test_many_phrases_are_shared_out_over_captions(vocabulary):
    phrases = [f"{colour} {kind}" for colour in tiny.COLOURS for kind in tiny.SHAPES]
    captions = vocabulary.captions(phrases, 12)
    assert [phrase for caption in captions for phrase in caption.phrases] == phrases
    assert max(len(caption.ids) for caption in captions) <= 12
    assert [len(caption.phrases) for caption in captions] == [3, 3]  # 2 + 3 · (2 words and a stop) = 11 tokens each
    with pytest.raises(PromptError, match="at most 9"):
        vocabulary.captions(["elephants in a row"], 12)


def test_words_cannot_smuggle_in_the_networks_own_marks(vocabulary):
    [caption] = vocabulary.captions(phrases_of("red [SEP] circle [CLS]"), 48)
    assert caption.ids.count(101) == caption.ids.count(102) == 1


@given(st.text(max_size=60))
@settings(max_examples=150)
def test_any_text_gives_captions_or_a_prompt_error(vocabulary, text):
    try:
        captions = vocabulary.captions(phrases_of(text), 48)
    except PromptError:
        return
    for caption in captions:
        assert caption.ids[0] == 101
        assert caption.ids[-1] == 102
        assert len(caption.ids) <= 48
        assert all(0 < first < last < len(caption.ids) for first, last in caption.spans)
        inside = {place for first, last in caption.spans for place in range(first, last)}
        outside = {token for place, token in enumerate(caption.ids) if place not in inside}
        assert outside == {101, 102, 1012}


def test_tokens_are_those_of_transformers_own_tokenizer(tmp_path, vocabulary):
    from transformers import BertTokenizerFast

    tokens = tiny.write_vocabulary(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    theirs = BertTokenizerFast.from_pretrained(tmp_path, local_files_only=True)
    [ours] = vocabulary.captions(["the red circle", "a blue, old elephant", "crème brûlée"], 48)
    text = "the red circle. a blue, old elephant. crème brûlée."
    assert theirs(text)["input_ids"] == list(ours.ids), [tokens[token] for token in ours.ids]


def test_a_vocabulary_can_come_from_tokenizer_json(tmp_path):
    tokens = tiny.write_vocabulary(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").unlink()
    model = {"type": "WordPiece", "vocab": {token: place for place, token in enumerate(tokens)}}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    assert read_vocabulary(tmp_path).captions(["red"], 48)[0].ids == (101, 200, 1012, 102)


@pytest.mark.parametrize(("name", "content"), [
    ("vocab.txt", b"red\ngreen\n"), ("vocab.txt", b"\xff\xfe\x00"), ("vocab.txt", b""),
    ("tokenizer.json", b"{"), ("tokenizer.json", b"[]"), ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}}}'),
])
def test_a_wrong_vocabulary_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="vocabulary"):
        read_vocabulary(tmp_path)


# Scores to matches


def test_matches_follow_the_thresholds():
    caption = Caption((101, 7, 8, 1012, 9, 1012, 102), ("old dog", "cat"), ((1, 3), (4, 5)))
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [40, 40, 50, 50]], np.float32)
    scores = np.zeros((4, 7), np.float32)
    scores[0, 1:3] = 0.2, 0.9
    scores[1, 1:3] = 0.8, 0.1  # nearly the first box: suppressed
    scores[2, 2], scores[2, 4] = 0.3, 0.6  # both words
    scores[3, 4] = 0.24
    matches, best = _matches(boxes, scores, caption, 0.25, 0.25, 0.8)
    assert [(match.phrase, round(match.score, 2)) for match in matches] == [("old dog", 0.9), ("old dog", 0.3),
                                                                            ("cat", 0.6)]
    assert best == pytest.approx({"old dog": 0.9, "cat": 0.6})
    matches, _ = _matches(boxes, scores, caption, 0.5, 0.25, 0.8)
    assert len(matches) == 3  # the third box passes as a cat, and is a dog by the lower text threshold
    matches, _ = _matches(boxes, scores, caption, 0.25, 0.25, 0.95)
    assert len(matches) == 4
    matches, best = _matches(boxes[:0], scores[:0], caption, 0.25, 0.25, 0.8)
    assert matches == []
    assert best == {"old dog": 0, "cat": 0}


@pytest.mark.parametrize(("size", "full"), [
    ((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((1000, 3000), (444, 1333)), ((1, 1), (800, 800)),
    ((10, 1000), (334, 1333)), ((1000, 1), (1333, 334)),
])
def test_pictures_are_scaled_as_published(size, full):
    pixels, padded = to_network(np.full((*size, 3), 200, np.uint8), 800, 1333)
    assert pixels.shape == (1, 3, *full)
    height, width = round(full[0] / padded[0]), round(full[1] / padded[1])
    assert pixels[0, 0, :height, :width].mean() == pytest.approx((200 / 255 - 0.485) / 0.229, abs=1e-3)
    assert (pixels[..., height:, :] == 0).all()
    assert (pixels[..., :, width:] == 0).all()


# The trained network


def test_a_phrase_finds_its_thing(grounding, picture):
    array, boxes = picture
    [match] = grounding.find(array, "red circle")
    assert isinstance(match, Match)
    assert match.phrase == "red circle"
    assert 0.25 < match.score <= 1
    assert iou(match.box, boxes[0]) > SAME
    assert all(type(number) is float for number in match.box)


def test_all_matches_of_a_colour(grounding, picture):
    array, boxes = picture
    matches = grounding.find(array, "Blue", all_matches=True, nms=APART)
    assert [match.phrase for match in matches] == ["blue", "blue"]
    assert matches[0].score >= matches[1].score
    found = sorted(matches, key=lambda match: match.box[1])
    assert iou(found[0].box, boxes[1]) > SAME
    assert iou(found[1].box, boxes[2]) > SAME


def test_what_is_not_there_is_not_found(grounding, picture):
    array, _ = picture
    assert grounding.find(array, "elephant", all_matches=True) == []
    with pytest.raises(NothingFoundError, match=r"'elephant'.* best score is 0\.[01]\d.* more than 0\.25"):
        grounding.find(array, "Elephant")


def test_several_phrases_at_once(grounding, picture):
    array, boxes = picture
    for asked in ("green circle. red circle. elephant.", ["green circle", "red circle", "elephant"]):
        matches = grounding.find(array, asked)
        found = {match.phrase: match.box for match in matches}
        assert set(found) == {"green circle", "red circle"}
        assert iou(found["green circle"], boxes[3]) > SAME
        assert iou(found["red circle"], boxes[0]) > SAME
        assert [match.score for match in matches] == sorted((match.score for match in matches), reverse=True)


def test_boxes_are_in_the_pictures_pixels(grounding, picture):
    array, boxes = picture
    larger = array.repeat(5, 0).repeat(5, 1)
    [match] = grounding.find(larger, "red circle")
    assert iou([number / 5 for number in match.box], boxes[0]) > SAME


def test_same_input_same_output_and_inputs_stay(grounding, picture):
    array, _ = picture
    kept = array.copy()
    first, second = (grounding.find(array, "blue", all_matches=True) for _ in range(2))
    assert first == second
    assert (array == kept).all()


def test_a_box_restricts_the_search(grounding):
    array, boxes = paint(("circle", "red", (17, 18), 18), ("circle", "blue", (46, 16), 18),
                         ("triangle", "blue", (46, 47), 18))
    for half, wanted in (((32, 0, 64, 32), boxes[1]), ((32, 32, 64, 64), boxes[2])):
        [match] = grounding.find(array, "blue", within=half)
        x, y = (match.box[0] + match.box[2]) / 2, (match.box[1] + match.box[3]) / 2
        assert wanted[0] < x < wanted[2]
        assert wanted[1] < y < wanted[3]
        assert half[0] <= match.box[0] < match.box[2] <= half[2]
        assert half[1] <= match.box[1] < match.box[3] <= half[3]
    assert grounding.find(array, "red circle", within=(32, 0, 64, 64), all_matches=True, box_threshold=0.4) == []
    with pytest.raises(PromptError, match="outside the picture"):
        grounding.find(array, "blue", within=(70, 0, 90, 20))


def test_thresholds_only_take_away(grounding, picture):
    array, _ = picture
    counts = [len(grounding.find(array, "blue", all_matches=True, box_threshold=value, nms=1))
              for value in (0, 0.1, 0.25, 0.5, 1)]
    assert counts == sorted(counts, reverse=True)
    assert 2 <= counts[0] <= 12  # the queries of this network, if their boxes lie in the picture
    assert counts[-1] == 0
    counts = [len(grounding.find(array, "blue", all_matches=True, nms=value)) for value in (0, 0.5, 0.8, 1)]
    assert counts[0] <= counts[-1] == max(counts)
    for wrong in ({"box_threshold": 1.5}, {"text_threshold": -1}, {"nms": "a"}, {"nms": float("nan")}):
        with pytest.raises(PromptError, match="from 0 to 1"):
            grounding.find(array, "blue", **wrong)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 50), (40, 200)])
def test_pictures_of_any_shape(grounding, size):
    array = np.full((*size, 3), 90, np.uint8)
    for match in grounding.find(array, "red", all_matches=True, box_threshold=0, text_threshold=0):
        x0, y0, x1, y1 = match.box
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]


def test_half_precision(folder, picture):
    array, boxes = picture
    [match] = load_grounding(folder, device="cpu", dtype="bfloat16").find(array, "red circle")
    assert iou(match.box, boxes[0]) > SAME


def test_long_lists_go_through_in_several_passes(grounding, picture):
    array, boxes = picture
    others = [f"{word} thing" for word in ("aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj", "kk", "ll")]
    found = grounding.search(array, [*others, "red circle"])
    assert set(found.best) == {*others, "red circle"}
    assert iou(next(match for match in found.matches if match.phrase == "red circle").box, boxes[0]) > SAME


# Prompts


def test_words_become_boxes(grounding, picture):
    array, boxes = picture
    plain = Prompt(box=(1, 2, 3, 4))
    result = ground([plain, Prompt(text="Red circle"), Prompt(text="green circle")], array, grounding)
    assert result[0] == (plain, None, None, 0)
    assert [item.source for item in result] == [0, 1, 2]
    assert [item.phrase for item in result] == [None, "red circle", "green circle"]
    assert all(item.prompt.text is None for item in result)
    assert iou(result[1].prompt.box, boxes[0]) > SAME
    assert iou(result[2].prompt.box, boxes[3]) > SAME
    assert result[1].score == grounding.find(array, "red circle")[0].score


def test_all_matches_give_one_prompt_each(grounding, picture):
    array, _ = picture
    prompts = [Prompt(text="blue"), Prompt(text="elephant"), Prompt(points=[(5, 5)])]
    result = ground(prompts, array, grounding, all_matches=True, nms=APART)
    assert [item.source for item in result] == [0, 0, 2]
    with pytest.raises(NothingFoundError, match="elephant"):
        ground(prompts, array, grounding)


def test_points_choose_and_stay(grounding, picture):
    array, boxes = picture
    for box in boxes[1:3]:
        point = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2 + 2)
        [result] = ground([Prompt(text="blue", points=[point, (1, 1)], labels=[1, 0])], array, grounding)
        assert iou(result.prompt.box, box) > SAME
        assert result.prompt.points == (point, (1, 1))
        assert result.prompt.labels == (1, 0)
    results = ground([Prompt(text="blue", points=[point])], array, grounding, all_matches=True, nms=APART)
    assert sorted(result.prompt.points is None for result in results) == [False, True]
    [far] = ground([Prompt(text="red circle", points=[(60, 60)])], array, grounding)
    assert iou(far.prompt.box, boxes[0]) > SAME  # no match holds the point: the most confident one it is
    with pytest.raises(PromptError):
        ground([Prompt(text="blue", points=[(500, 5)])], array, grounding)


def test_a_mask_restricts_and_stays(grounding, picture):
    array, boxes = picture
    mask = np.zeros(array.shape[:2], bool)
    mask[32:, 32:] = True
    [result] = ground([Prompt(text="blue", mask=mask)], array, grounding)
    assert iou(result.prompt.box, boxes[2]) > SAME
    assert (result.prompt.mask == mask).all()
    with pytest.raises(PromptError, match="nothing in common"):
        ground([Prompt(text="blue", mask=mask, box=(0, 0, 20, 20))], array, grounding)
    with pytest.raises(PromptError, match="expected a mask of the picture's size"):
        ground([Prompt(text="blue", mask=mask[:-1])], array, grounding)


@pytest.fixture(scope="module")
def scene():
    """256 pixels: a red circle left above, a blue circle right above, a blue triangle right below."""
    return paint(("circle", "red", (70, 70), 96), ("circle", "blue", (186, 70), 84),
                 ("triangle", "blue", (180, 186), 92), side=256)


def test_words_to_mattes_with_the_bundled_model(grounding, scene):
    array, boxes = scene
    words = Words(grounding=grounding)
    result = matte(array, "Red circle", device="cpu", words=words)
    assert result.phrase == "red circle"
    assert 0.25 < result.phrase_score <= 1
    assert iou(result.box, boxes[0]) > SAME
    rows, columns = np.mgrid[:256, :256] + 0.5
    truth = np.hypot(columns - 70, rows - 70) < 48
    assert (truth & result.mask).sum() / (truth | result.mask).sum() > 0.85
    assert abs(result.alpha - truth).mean() < 0.05
    with pytest.raises(NothingFoundError, match="elephant"):
        matte(array, "elephant", device="cpu", words=words)


def test_everything_the_words_name_with_the_bundled_model(grounding, scene):
    array, boxes = scene
    words = Words(grounding=grounding, nms=APART)
    results = all_matches(array, "blue", device="cpu", words=words)
    assert [result.phrase for result in results] == ["blue", "blue"]
    for result, box in zip(sorted(results, key=lambda result: result.box[1]), boxes[1:], strict=True):
        assert iou(result.box, box) > SAME
        truth = (array == tiny.COLOURS["blue"]).all(-1)
        truth[: box[1]], truth[box[3] :], truth[:, : box[0]], truth[:, box[2] :] = False, False, False, False
        assert (truth & result.mask).sum() / (truth | result.mask).sum() > 0.8
    assert all_matches(array, "elephant", device="cpu", words=words) == []


def test_words_of_a_benchmark_are_measured_like_any_prompt(folder, scene, tmp_path, monkeypatch):
    """RefMatte-RW100 as published: a picture with two expressions, of which the index chooses one, and one that the
    detector does not find."""
    array, boxes = scene
    home = tmp_path / "home"
    shutil.copytree(folder, home / "grounding-dino-tiny")
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(home))
    root = tmp_path / "RefMatte_RW_100"
    circle = (array == tiny.COLOURS["red"]).all(-1)
    for name in ("shapes", "strange"):
        for path, values in (("image_all", array), ("mask", circle.astype(np.uint8) * 255)):
            (root / path).mkdir(parents=True, exist_ok=True)
            write_image(root / path / f"{name}.png", values)
    said = {"shapes": {"0": "blue triangle", "1": "red circle"}, "strange": {"0": "elephant"}}
    (root / "refmatte_rw100_label.json").write_text(json.dumps(
        {name: {"image_name": name, "expressions": texts} for name, texts in said.items()}))
    (root / "eval_index_expression.json").write_text(json.dumps({"shapes": "1", "strange": "0"}))
    output = tmp_path / "out"
    assert main(["evaluate", "refmatte_rw100", "--data", str(root), "--prompt", "text", "--device", "cpu", "--output",
                 str(output), "--keep"]) == 0
    kept = read_image(output / "predictions" / "lite" / "shapes.png").rgb[..., 0] / 255
    words = Words(grounding=load_grounding(folder, device="cpu"))
    wanted = matte(array, "red circle", device="cpu", words=words, guidance="mask", sides="one")
    assert np.abs(kept - wanted.alpha).max() <= 1 / 255
    assert iou(wanted.box, boxes[0]) > SAME
    pictures = json.loads((output / "report.json").read_text())["pictures"]
    found, missed = (pictures[name]["lite"]["errors"][0]["whole"]["mad"] for name in ("shapes", "strange"))
    assert missed == pytest.approx(1000 * circle.mean(), rel=1e-4)  # nothing found: an empty matte
    assert found < missed / 2


# Files


def test_the_published_file_loads(tmp_path, offline, monkeypatch):
    """Its 990 tensors by name and shape, in a sparse file whose size is the published one to the byte."""
    file = catalogue.FILES["grounding-dino-tiny"]
    home = tmp_path / "home"
    path = home / file.installed_name
    path.parent.mkdir(parents=True)
    shapes = json.loads((GOLDEN / "grounding_dino_tiny.json").read_text())
    write_sparse(path, shapes)
    assert path.stat().st_size == file.size
    tokens = [f"[unused{place}]" for place in range(30522)]
    tokens[100], tokens[101], tokens[102], tokens[1012], tokens[1029] = "[UNK]", "[CLS]", "[SEP]", ".", "?"
    tokens[2000] = "dog"
    (path.parent / "vocab.txt").write_text("\n".join(tokens) + "\n")
    monkeypatch.setenv("MATTING_ANYTHING_HOME", str(home))
    grounding = load_grounding(device="cpu")
    assert grounding.network.name == "grounding-dino-tiny"
    assert (grounding.network.shortest, grounding.network.longest, grounding.network.text_limit) == (800, 1333, 256)
    weights = dict(grounding.network.module.named_parameters())
    assert weights["model.query_position_embeddings.weight"].shape == (900, 256)
    assert not any(parameter.is_meta for parameter in weights.values())


def test_the_configuration_in_code_is_transformers_default():
    from transformers import GroundingDinoConfig

    ours, default = published_config().to_dict(), GroundingDinoConfig().to_dict()
    for key in ("backbone_config", "text_config"):
        assert ours.pop(key).items() >= {name: value for name, value in default.pop(key).items()
                                         if name not in ("out_features", "stage_names")}.items()
    assert ours.pop("disable_custom_kernels")
    default.pop("disable_custom_kernels")
    assert ours == default


def write_sparse(path, shapes):
    """A safetensors file of zeros that takes no room on the disk."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    sizes = {"I64": 8, "F32": 4}
    kinds = {name: "I64" if name.endswith("relative_position_index") else "F32" for name in shapes}
    for name in sorted(shapes, key=lambda name: (-sizes[kinds[name]], name)):
        end = offset + sizes[kinds[name]] * int(np.prod(shapes[name]))
        header[name] = {"dtype": kinds[name], "shape": shapes[name], "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)


def test_missing_weights_name_the_command(offline, tmp_path):
    command = "matting-anything weights fetch grounding-dino-tiny"
    for source in ("grounding-dino-tiny", "IDEA-Research/grounding-dino-tiny", tmp_path, tmp_path / "no.safetensors"):
        with pytest.raises(WeightsError, match=command):
            load_grounding(source, device="cpu")
    with pytest.raises(WeightsError, match="finds nothing by words"):
        load_grounding("sam_vit_b", device="cpu")
    with pytest.raises(WeightsError, match="is no path"):
        load_grounding(3, device="cpu")
    with pytest.raises(WeightsError):
        load_grounding("\0", device="cpu")


def test_damaged_and_foreign_files(folder, tmp_path):
    def copy(name, change=lambda data: data):
        (tmp_path / name).write_bytes(change((folder / name).read_bytes()))

    names = ("model.safetensors", "config.json", "preprocessor_config.json", "vocab.txt")
    for name, change, says in (
        ("model.safetensors", lambda data: data[:-100], "truncated"),
        ("model.safetensors", lambda data: b"<html>", "web page"),
        ("config.json", lambda data: b"{", "JSON"),
        ("config.json", lambda data: b"[1]", "JSON object"),
        ("config.json", lambda data: b'{"model_type": "bert"}', "expected grounding-dino"),
        ("config.json", lambda data: data.replace(b'"d_model": 64', b'"d_model": 128'), "does not fit"),
        ("config.json", lambda data: data.replace(b'"encoder_layers": 1', b'"encoder_layers": 2'), "does not fit"),
        ("config.json", lambda data: data.replace(b'"d_model": 64', b'"d_model": "x"'), "does not"),
        ("preprocessor_config.json", lambda data: b'{"size": {"shortest_edge": 0}}', "16 to 8192"),
        ("preprocessor_config.json", lambda data: b'{"size": 3}', "shortest_edge"),
        ("vocab.txt", lambda data: data + b"x\n" * 100, "do not belong together"),
    ):
        for each in names:
            copy(each)
        copy(name, change)
        with pytest.raises(WeightsError, match=says):
            load_grounding(tmp_path, device="cpu")
    for each in names:
        copy(each)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        load_grounding(tmp_path, device="cpu")


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'matting-anything-core\[text\]'"):
        load_grounding("grounding-dino-tiny", device="cpu")


@pytest.mark.parametrize("version", ["4.30.2", "6.0.0"])
def test_versions_that_were_not_tried_are_refused(monkeypatch, version):
    import transformers

    monkeypatch.setattr(transformers, "__version__", version)
    with pytest.raises(MissingExtraError, match=version):
        load_grounding("grounding-dino-tiny", device="cpu")


def test_devices_and_types_are_checked_first():
    with pytest.raises(DeviceError):
        load_grounding("grounding-dino-tiny", device="tpu")
    with pytest.raises(DeviceError):
        load_grounding("grounding-dino-tiny", device="cpu", dtype="float16")


def test_loading_is_silent_and_leaves_transformers_as_it_was(folder, capfd):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_grounding(folder / "model.safetensors", device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_vocabulary_of_a_mapping_wants_its_marks():
    with pytest.raises(WeightsError, match=r"\[SEP\]"):
        Vocabulary({"[CLS]": 101, "[UNK]": 100, ".": 1012, "?": 1029})


def test_training_is_reproducible_and_leaves_the_generator_alone(vocabulary):
    state = torch.get_rng_state()
    one, other = (tiny.train(vocabulary, steps=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
