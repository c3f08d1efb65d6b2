"""The subject of a whole image: the one thing that it is a picture of, found from the encoder's features.

A small convolutional network over the features of the whole view says for each cell how likely it belongs to the
subject. What it finds becomes a box, and is matted as any box is.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..geometry import mask_bounds

if TYPE_CHECKING:
    import numpy as np

    from ..geometry import Fit
    from ..types import Box

    Array = np.ndarray[Any, Any]

GRID = 48
"""Side of the map over the padded input."""
WIDTH = 48


class SubjectNetwork(nn.Module):
    """B×256×g×g features of padded inputs, and the size h, w of each image on the map's grid -> B×GRID×GRID logits."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(256, WIDTH, 1)
        self.places = nn.Conv2d(4, WIDTH, 1)
        self.depthwise = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH) for _ in range(4))
        self.pointwise = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(4))
        self.overall = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(4))
        self.leave = nn.Conv2d(WIDTH, 4, 3, padding=1)

    def forward(self, features: Tensor, sizes: Tensor) -> Tensor:
        """See the class."""
        grid = features.shape[-1]
        shown, places = _places(sizes.to(features.device, torch.float32) / GRID, grid)
        x = F.relu(self.enter(features) + self.places(places)) * shown
        count = shown.sum((2, 3)).clamp(min=1)
        for depthwise, pointwise, overall in zip(self.depthwise, self.pointwise, self.overall, strict=True):
            mean, most = x.sum((2, 3)) / count, x.amax((2, 3))
            whole = overall(torch.cat([mean, most], 1))[:, :, None, None]
            x = (x + F.relu(pointwise(F.relu(depthwise(x))) + whole)) * shown
        logits = F.pixel_shuffle(self.leave(x), 2)
        return F.interpolate(logits, (GRID, GRID), mode="bilinear", align_corners=False)[:, 0]


def _places(shares: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Which cells show the image (B×1×g×g), and where in it they are (B×4×g×g): -1..1 across and down, the distance
    to the border, and how much of the cell is shown."""
    edge = torch.arange(grid, device=shares.device)[None] / grid
    down, across = (((shares[:, axis, None] - edge) * grid).clamp(0, 1) for axis in (0, 1))
    shown = down[:, :, None] * across[:, None, :]
    centre = edge + 0.5 / grid
    y, x = (2 * (centre / shares[:, axis, None]).clamp(max=1) - 1 for axis in (0, 1))
    y, x = y[:, :, None].expand_as(shown), x[:, None, :].expand_as(shown)
    border = 1 - torch.maximum(x.abs(), y.abs())
    return shown[:, None], torch.stack([x, y, border, shown], 1) * shown[:, None]


class Subject(NamedTuple):
    """The subject of an image: its box in the image's pixels, None where nothing was found, and how sure that is, 0..1:
    the IoU that its cells are expected to have with the true ones."""

    box: Box | None
    score: float


LIKELY = 0.5
"""A cell belongs to the subject when it is likelier than this, or than …"""
RELATIVE = 0.6
"""… this share of the likeliest one, where none is so likely …"""
NOTHING = 0.12
"""… and nothing is found where none is likelier than this."""
PART = 0.08
"""Connected cells belong to the subject when their sum is at least this share of the largest sum."""
WHOLE = 0.97
"""A box is the whole image when it has at least this share of its width and of its height."""


def is_whole(box: Box, width: int, height: int) -> bool:
    """Whether a box says nothing but that the object is in the image."""
    x0, y0, x1, y1 = box
    return x1 - x0 >= WHOLE * width and y1 - y0 >= WHOLE * height


def find_subject(features: Tensor, fit: Fit) -> Subject:
    """The subject of an image from the bundled encoder's features of all of it.

    Parameters
    ----------
    features : Tensor
        1×256×g×g, see `View.features`.
    fit : Fit
        How the image lies in the encoder's input.
    """
    likely = subject_map(features, fit)
    return Subject(box_of(likely, fit.height, fit.width), expected_iou(likely))


def subject_map(features: Tensor, fit: Fit) -> Array:
    """How likely each cell of an image belongs to its subject: h×w float32, the longer side GRID cells."""
    height, width = fit.at(GRID).scaled
    with torch.inference_mode():
        logits = _network()(features.detach().float().cpu(), torch.tensor([[height, width]]))
    result: Array = logits[0, :height, :width].sigmoid().numpy()
    return result


def expected_iou(likely: Array) -> float:
    """Of the cells that are more likely than not, or the likeliest ones: the IoU with the true ones to be expected."""
    inside = likely > _threshold(likely)
    if not inside.any():
        return 0.0
    return float(likely[inside].sum() / (inside.sum() + likely[~inside].sum()))


def _threshold(likely: Array) -> float:
    most = float(likely.max(initial=0))
    return min(LIKELY, RELATIVE * most) if most > NOTHING else 1.0


def box_of(likely: Array, height: int, width: int) -> Box | None:
    """The box around the subject in an image of height × width; None when nothing is likely enough."""
    import numpy as np

    from ..opencv import cv2

    threshold = _threshold(likely)
    fine = cv2.resize(likely, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    _, labels = cv2.connectedComponents((fine > threshold).astype(np.uint8), connectivity=8)
    sums = np.bincount(labels.ravel(), fine.ravel())
    sums[0] = 0
    if len(sums) < 2 or not sums.any():
        return None
    inside = (sums >= PART * sums.max())[labels] & (labels > 0)
    x0, y0, x1, y1 = mask_bounds(inside)
    down, across = height / fine.shape[0], width / fine.shape[1]
    return x0 * across, y0 * down, x1 * across, y1 * down


def knows(encoder: nn.Module) -> bool:
    """Whether an encoder is the one that the network was trained on."""
    return checksum(encoder) == _kept()[1]


def checksum(encoder: nn.Module) -> int:
    """Of an encoder's last layers, which differ from one training to the next."""
    last = list(encoder.state_dict().values())[-4:]
    return zlib.crc32(b"".join(tensor.detach().float().cpu().numpy().tobytes() for tensor in last))


def _network() -> SubjectNetwork:
    return _kept()[0]


@functools.lru_cache(maxsize=1)
def _kept() -> tuple[SubjectNetwork, int]:
    """The trained network, and the checksum of the encoder that it was trained on."""
    import importlib.resources

    import numpy as np

    path = importlib.resources.files("matting_anything_core.assets") / "subject.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        encoder = int(arrays["encoder"])
        state = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files if name != "encoder"}
    with torch.random.fork_rng(devices=()):
        network = SubjectNetwork()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False), encoder
