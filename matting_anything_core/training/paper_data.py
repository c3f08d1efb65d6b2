"""Samples as in section 4.1 of the paper: half of them composites of one foreground or two on a background, half whole
pictures with their mattes; cropped about the unknown region and resized to the square."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import MattingError
from ..opencv import cv2
from .augment import Array, Rng, chance
from .library import Library, Photo, Pool
from .matte_data import Example, matte_sample
from .recipe import Stage
from .trimap import UNKNOWN, random_trimap

PICTURES = 0.5
"""The share of whole pictures (RefMatte), where a recipe has any."""
TWO = 0.5
"""How often a second foreground is merged into the first."""
TURN, SCALES, SHEAR = 30.0, (0.8, 1.5), 10.0
"""Affine augmentation: degrees either way, the range of scales, degrees of shear either way."""


class PaperMattes(Dataset[dict[str, Tensor]]):
    """Item i is always the same sample."""

    def __init__(self, library: Library, stage: Stage, seed: int, length: int) -> None:
        if not library.cutouts and not library.photos:
            raise MattingError("the paper's samples need foregrounds or pictures with mattes; the recipe has neither")
        if library.cutouts and not library.backgrounds:
            raise MattingError("composites need backgrounds; add a source with a layout such as coco or bg20k")
        self.library, self.stage, self.seed, self.length = library, stage, seed, length
        self.foregrounds = Pool((record, 1.0) for part in library.cutouts for record in part.records)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        cv2.setNumThreads(1)
        rng, side = np.random.default_rng((self.seed, index)), self.stage.matte_square or self.stage.square
        while True:
            if self.library.photos and (not self.foregrounds or chance(rng, PICTURES)):
                example = self._picture(rng, side)
            else:
                example = self._composite(rng, side)
            if (example.alpha > 0.5).sum() >= 16:
                return matte_sample(rng, example, self.stage)

    def _picture(self, rng: Rng, side: int) -> Example:
        photo = self.library.draw(rng, self.library.photos)
        rgb, alpha = _floats(photo)
        rgb, alpha = _about_unknown(rng, rgb, alpha, side)
        if chance(rng, 0.5):
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
        return Example(_hsv(rng, np.ascontiguousarray(rgb)), np.ascontiguousarray(alpha), not photo.hard)

    def _composite(self, rng: Rng, side: int) -> Example:
        photo = self.library.draw(rng, self.foregrounds)
        hard = photo.hard
        foreground, alpha = _affine(rng, *_floats(photo))
        if chance(rng, TWO):
            other = self.library.draw(rng, self.foregrounds)
            hard |= other.hard
            second, above = _affine(rng, *_floats(other))
            foreground, alpha = _merged(foreground, alpha, second, above)
        foreground, alpha = _about_unknown(rng, foreground, alpha, side)
        foreground = _hsv(rng, foreground)
        back = self.library.draw(rng, self.library.backgrounds).rgb
        below = _covering(rng, back, alpha.shape[0], alpha.shape[1])
        veil = alpha[..., None]
        return Example(np.clip(foreground * veil + below * (1 - veil), 0, 1), alpha, not hard)


def _floats(photo: Photo) -> tuple[Array, Array]:
    assert photo.alpha is not None
    return photo.rgb.astype(np.float32) / np.float32(255), photo.alpha.astype(np.float32) / np.float32(255)


def _affine(rng: Rng, rgb: Array, alpha: Array) -> tuple[Array, Array]:
    """Turned, scaled, sheared and mirrored about the middle; unchanged when nothing of the object would be left."""
    height, width = alpha.shape
    angle, scale = np.deg2rad(rng.uniform(-TURN, TURN)), rng.uniform(*SCALES)
    shear = np.tan(np.deg2rad(rng.uniform(-SHEAR, SHEAR)))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ [[1, shear], [0, 1]]
    if chance(rng, 0.5):
        linear[:, 0] *= -1
    middle = np.array([width / 2, height / 2])
    matrix = np.column_stack([linear, middle - linear @ middle])
    size = (width, height)
    turned = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR)
    if turned.sum() < 0.2 * alpha.sum():
        return rgb, alpha
    return cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), turned


def _merged(rgb: Array, alpha: Array, second: Array, above: Array) -> tuple[Array, Array]:
    """A second foreground in front of the first: alpha = 1 - (1 - a)(1 - b), unless that covers everything."""
    size = (alpha.shape[1], alpha.shape[0])
    second = cv2.resize(second, size, interpolation=cv2.INTER_LINEAR)
    above = cv2.resize(above, size, interpolation=cv2.INTER_LINEAR)
    both = 1 - (1 - alpha) * (1 - above)
    if both.min() > 0.98 or above.max() <= 0:
        return rgb, alpha
    mixed = second * above[..., None] + rgb * (alpha * (1 - above))[..., None]
    return np.clip(mixed / np.maximum(both, 1e-3)[..., None], 0, 1), both


def _about_unknown(rng: Rng, rgb: Array, alpha: Array, side: int) -> tuple[Array, Array]:
    """A square about a pixel of the unknown region, side to twice the side wide, resized to the side; what is smaller
    than the side is enlarged first."""
    height, width = alpha.shape
    if min(height, width) < side:
        scale = side / min(height, width)
        size = (max(side, round(width * scale)), max(side, round(height * scale)))
        rgb, alpha = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), cv2.resize(alpha, size)
        height, width = alpha.shape
    unknown = np.flatnonzero(random_trimap(rng, alpha) == UNKNOWN)
    length = min(height, width, int(side * rng.choice([1.0, 1.0, 1.25, 1.5, 2.0])))
    if len(unknown):
        y, x = divmod(int(unknown[rng.integers(len(unknown))]), width)
    else:
        y, x = height // 2, width // 2
    top, left = min(max(0, y - length // 2), height - length), min(max(0, x - length // 2), width - length)
    rgb, alpha = rgb[top:top + length, left:left + length], alpha[top:top + length, left:left + length]
    if length != side:
        rgb = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    return np.clip(rgb, 0, 1), np.clip(alpha, 0, 1)


def _hsv(rng: Rng, rgb: Array) -> Array:
    """Hue moved by up to 40 degrees, saturation and value scaled, as for foregrounds in the paper."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-40, 40)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] + rng.uniform(-0.1, 0.1), 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] + rng.uniform(-0.1, 0.1), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _covering(rng: Rng, back: np.ndarray, height: int, width: int) -> Array:
    """A background scaled so that it covers the size, and cropped at random."""
    scale = max(height / back.shape[0], width / back.shape[1])
    size = (max(width, round(back.shape[1] * scale)), max(height, round(back.shape[0] * scale)))
    scaled = cv2.resize(back, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    y, x = int(rng.integers(0, size[1] - height + 1)), int(rng.integers(0, size[0] - width + 1))
    return scaled[y:y + height, x:x + width].astype(np.float32) / np.float32(255)
