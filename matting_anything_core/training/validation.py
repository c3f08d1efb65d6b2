"""Validation during a run: fixed pictures that are never trained on, prompted by the box of their subject."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Fit, fit_picture
from ..networks.m2m import MaskToMatte
from ..networks.sam import Sam
from ..opencv import cv2
from ..pipeline.mask_refinement import refine_mask
from ..pipeline.masks import of_candidates
from ..pipeline.prompting import DecoderPrompt, clip_to_box
from .augment import Array, Rng, blur, chance, placed, random_crop
from .layouts import Record, list_records
from .library import Bytes, Photo, cut_from, read_photo
from .prompting import box_of
from .recipe import Recipe
from .scene import beside

BAND = 10
"""Half the width in pixels of the transition band that is measured apart, besides all that is neither 0 nor 1."""


@dataclass(frozen=True)
class Item:
    """kind: the source's name; rgb H×W×3 and alpha H×W, uint8; hard: alpha is a mask."""

    kind: str
    rgb: Bytes
    alpha: Bytes
    hard: bool


def build_items(recipe: Recipe) -> list[Item]:
    """Pictures as they are (every second one cut closer), and cut-outs laid on those of the pictures that were held
    out; always the same ones for a recipe's `validation`."""
    listed = [(source, list_records(source, recipe.root)) for source in recipe.validation]
    if not listed:
        return []
    share = max(1, recipe.validate_pictures // len(listed))
    behind = [record for _, records in listed for record in records if record.role != "foreground"]
    items = []
    for number, (source, records) in enumerate(listed):
        rng = np.random.default_rng((2024, number))
        chosen = [records[i] for i in rng.permutation(len(records))[:share]]
        for index, record in enumerate(chosen):
            if record.role == "background":
                continue
            photo = read_photo(record)
            if record.role == "picture":
                items.append(_picture(rng, source.name, photo, closer=index % 2 == 1))
            elif behind:
                items.append(_composite(rng, source.name, photo, behind))
    return [item for item in items if (item.alpha > 127).mean() > 0.01]


def _picture(rng: Rng, kind: str, photo: Photo, *, closer: bool) -> Item:
    assert photo.alpha is not None
    rgb, alpha = photo.rgb, photo.alpha
    rows = np.flatnonzero(alpha.max(1) > 127)
    if closer and len(rows):
        length = (rows[-1] - rows[0]) * rng.uniform(0.35, 0.7)
        top = int(max(0, rows[0] - 10 + rng.uniform(0, rows[-1] - rows[0] - length) * 0.6))
        rgb, alpha = rgb[top:top + int(length) + 1], alpha[top:top + int(length) + 1]
    return Item(kind, np.ascontiguousarray(rgb), np.ascontiguousarray(alpha), photo.hard)


def _composite(rng: Rng, kind: str, photo: Photo, behind: list[Record]) -> Item:
    height, width = (int(v) for v in rng.integers(380, 640, 2))
    photo_behind = read_photo(behind[rng.integers(len(behind))])
    if photo_behind.alpha is not None and chance(rng, 0.8):
        photo_behind = beside(rng, photo_behind)
    back = photo_behind.rgb
    y0, x0, y1, x1 = random_crop(rng, back.shape[0], back.shape[1], height / width, 0.6)
    below = cv2.resize(back[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    if chance(rng, 0.5):
        below = blur(below, rng.uniform(1, 6))
    cut = cut_from(photo).astype(np.float32) / np.float32(255)
    layer = placed(cut, rng, height, width, extent=rng.uniform(0.5, 1.0), turn=8, warp=0.0)
    alpha = layer[..., 3:]
    rgb = layer[..., :3] * alpha + below * (1 - alpha)
    return Item(kind, np.round(rgb * 255).astype(np.uint8), np.round(alpha[..., 0] * 255).astype(np.uint8), photo.hard)


def network_input(sam: Sam, rgb: Bytes, side: int) -> tuple[Tensor, int, int]:
    """1×3×side×side, normalised and padded, and the height and width of the picture in it."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    small = cv2.resize(rgb, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    values = (small.astype(np.float32) - np.array(sam.mean, np.float32)) / np.array(sam.std, np.float32)
    padded = np.zeros((side, side, 3), np.float32)
    padded[:h, :w] = values
    return torch.from_numpy(padded.transpose(2, 0, 1).copy())[None], h, w


def to_picture(values: Tensor, height: int, width: int, shape: tuple[int, int]) -> Array:
    """A map over the padded square, 1×1×S×S, cropped to the picture in it and resized to the picture's own size."""
    result: Array = F.interpolate(values[:, :, :height, :width], shape, mode="bilinear",
                                  align_corners=False)[0, 0].numpy()
    return result


@torch.no_grad()
def predict(sam: Sam, m2m: MaskToMatte | None, item: Item, matte_square: int, *,
            snap: bool = False) -> tuple[Bytes, Array | None]:
    """The mask (bool) from the box of the subject, and the alpha merged from the three scales if there is a matte
    network: `mask` guidance from the mask outwards and inwards. snap: with the mask as the small
    model uses it, ended at the box and moved to the picture's edges."""
    device = next(sam.parameters()).device
    pixels, h, w = network_input(sam, item.rgb, sam.square)
    features = sam.encode(pixels.to(device))
    scale = torch.tensor([w / item.alpha.shape[1], h / item.alpha.shape[0]] * 2)
    box = torch.from_numpy(box_of(item.alpha.astype(np.float32) / 255))
    logits, iou = sam.decode(features, boxes=(box[None] * scale).to(device))
    low = of_candidates(logits, iou, blend=snap)[:, None]
    if snap:
        fit = Fit(item.alpha.shape[0], item.alpha.shape[1], sam.square)
        x0, y0, x1, y1 = box.tolist()
        ended = clip_to_box(low[0].cpu(), DecoderPrompt(box=(x0, y0, x1, y1)), fit)
        low = refine_mask(ended, fit_picture(item.rgb, fit), fit, whole=True)[None].to(device)
    full = F.interpolate(low, (sam.square, sam.square), mode="bilinear", align_corners=False).cpu()
    shape = item.alpha.shape[0], item.alpha.shape[1]
    mask = to_picture(full, h, w, shape) > 0
    if m2m is None:
        return mask, None
    side = matte_square or sam.square
    image, h, w = network_input(sam, item.rgb, side)
    if side != sam.square:
        features = F.interpolate(features, (side // 16, side // 16), mode="bilinear", align_corners=False)
    os8, os4, os1 = m2m(features, image.to(device), (low > 0).float())
    maps = [to_picture(x.float().cpu(), h, w, shape) for x in (os8, os4, os1)]
    return mask, merged(mask, *maps)


def merged(mask: Bytes, os8: Array, os4: Array, os1: Array) -> Array:
    """Section 3.3's refinement in its two-sided form, by the core's own functions."""
    from ..pipeline.merging import merge

    tensors = [torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None, None] for x in (mask, os8, os4, os1)]
    result: Array = merge(tensors[0] > 0.5, *tensors[1:], guidance="mask", sides="two",
                          postprocess=False)[0, 0].float().numpy()
    return result


def band_of(item: Item) -> Bytes:
    """Where alpha is neither 0 nor 1, widened by BAND pixels."""
    unknown = ((item.alpha > 3) & (item.alpha < 252)).astype(np.uint8)
    edge: Bytes = cv2.morphologyEx((item.alpha > 127).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    size = 2 * BAND + 1
    return cv2.dilate(unknown | edge, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))).astype(bool)


def evaluate(sam: Sam, m2m: MaskToMatte | None, items: Sequence[Item], matte_square: int = 0, *,
             snap: bool = False) -> dict[str, dict[str, float]]:
    """Means for each kind: iou of the mask, mad of the mask and, with a matte network, of the alpha; both also inside
    the transition band. Hard items count for the mask alone."""
    sums: dict[str, dict[str, list[float]]] = {}
    for item in items:
        mask, alpha = predict(sam, m2m, item, matte_square, snap=snap)
        truth, there = item.alpha.astype(np.float32) / 255, item.alpha > 127
        values = {"iou": float((mask & there).sum() / max(1, (mask | there).sum())),
                  "mask_mad": float(np.abs(mask - truth).mean())}
        if alpha is not None:
            band = band_of(item)
            values |= {"mad": float(np.abs(alpha - truth).mean()),
                       "mask_band": float(np.abs(mask - truth)[band].mean()),
                       "band": float(np.abs(alpha - truth)[band].mean())}
        for name, value in values.items():
            sums.setdefault(item.kind, {}).setdefault(name, []).append(value)
    return {kind: {name: float(np.mean(x)) for name, x in values.items()} for kind, values in sums.items()}


def draw(sam: Sam, m2m: MaskToMatte | None, items: Sequence[Item], matte_square: int = 0, side: int = 160, *,
         snap: bool = False) -> Bytes:
    """A sheet for the eye: one row an item with the picture and its box, the mask, and the alpha if there is one."""
    rows = []
    for item in items:
        mask, alpha = predict(sam, m2m, item, matte_square, snap=snap)
        boxed = item.rgb.copy()
        x0, y0, x1, y1 = (int(v) for v in box_of(item.alpha.astype(np.float32) / 255))
        cv2.rectangle(boxed, (x0, y0), (x1 - 1, y1 - 1), (255, 40, 40), 3)
        cells = [boxed, np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)]
        if alpha is not None:
            cells.append(np.repeat(np.round(alpha[..., None] * 255).astype(np.uint8), 3, axis=2))
        rows.append(np.hstack([_fitted(cell, side) for cell in cells]))
    return np.vstack(rows)


def _fitted(picture: Bytes, side: int) -> Bytes:
    scale = side / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    cell = np.full((side, side, 3), 255, np.uint8)
    cell[:size[1], :size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cell


def append_scores(path: Path, stage: int, step: int, seconds: float, scores: Mapping[str, Mapping[str, float]]) -> None:
    """One row for each kind and value: stage, step, seconds, kind, name, value."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["stage", "step", "seconds", "kind", "name", "value"])
        for kind, values in scores.items():
            for name, value in values.items():
                writer.writerow([stage, step, round(seconds), kind, name, f"{value:.5f}"])
