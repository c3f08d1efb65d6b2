"""What a program may write and a checker must accept: `mypy --strict tests/typed.py`, in CI. It is not run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
from typing_extensions import assert_type

from matting_anything_core import Image, Matte, Prompt, Stroke, load_model, matte, read_image, write_image
from matting_anything_core.batch import Outcome, items_in, matte_batch

boxes: list[tuple[int, int, int, int]] = [(1, 2, 3, 4), (5, 6, 7, 8)]
floats: list[list[float]] = [[1.0, 2.0, 3.0, 4.0]]
words: list[str] = ["the dog", "the cat"]
array = np.zeros((40, 60), np.uint8)

# One prompt gives one matte …
assert_type(matte("photo.jpg"), Matte)
assert_type(matte(Path("photo.jpg"), (1, 2, 3, 4)), Matte)
assert_type(matte(io.BytesIO(b""), [1, 2, 3, 4.5]), Matte)
assert_type(matte(array, "the dog"), Matte)
assert_type(matte(array, array), Matte)
assert_type(matte(PIL.Image.new("RGB", (4, 4)), {"box": (1, 2, 3, 4), "points": [(1, 2)], "labels": [1]}), Matte)
assert_type(matte(array, Prompt(box=boxes[0], keep=[Stroke([(1, 2)], 3)]), guidance="alpha"), Matte)
# … and several give several.
assert_type(matte(array, boxes), list[Matte])
assert_type(matte(array, tuple(boxes)), list[Matte])
assert_type(matte(array, floats), list[Matte])
assert_type(matte(array, words), list[Matte])
assert_type(matte(array, [array, array > 3]), list[Matte])
assert_type(matte(array, [Prompt(box=boxes[0]), boxes[1], "the dog", array]), list[Matte])

model = load_model("lite", device="cpu", threads=2)
embedding = model.embed("photo.jpg")
for prompts in (boxes, floats, words, (1, 2, 3, 4), None, Prompt(subject=True), [Prompt(points=[(1, 2)])]):
    assert_type(model.matte(embedding, prompts), list[Matte])

found = matte("photo.jpg", model=model)
assert_type(found.corrected(points=[(1, 2)], labels=[0]), Matte)
assert_type(found.cutout(), Image)
assert_type(found.composite("white"), Image)
assert_type(found.composite((255, 255, 255)), Image)
assert_type(found.composite([0.5, 0.5, 0.5]), Image)
assert_type(found.to_pil(), PIL.Image.Image)
assert_type(found.encode("ora"), bytes)
found.save("cut.psd")
found.save(io.BytesIO(), form="webp", quality=80)
write_image("alpha.png", found.alpha, bits=16)
assert_type(read_image(array, bgr=True), Image)
assert np.asarray(found.cutout()).any()
for outcome in matte_batch(items_in("photos", "cuts", (1, 2, 3, 4)), background="white"):
    assert_type(outcome, Outcome)
