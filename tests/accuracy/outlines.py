"""Outlines that were drawn by hand on enlarged pictures: what the accuracy gate calls the object.

Each picture has one object or more. A pixel counts as object inside of a polygon of `inside` and outside of `holes`;
polygons of `ignored` are left out, and so is a band about every outline, because a hand draws no better.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path

import numpy as np
import numpy.typing as npt

Polygon = tuple[tuple[float, float], ...]

PICTURES = Path(__file__).parent
BAND = 2
"""Pixels on either side of an outline that are not judged."""
OBJECT, GROUND, IGNORED = 255, 0, 128


@dataclass(frozen=True)
class Drawn:
    """An object of a picture.

    Parameters
    ----------
    picture : str
        Its file, beside this one or among the package's assets.
    box : tuple of float
        x0, y0, x1, y1 in pixels: what a user would drag around it.
    iou : float
        What the mask's IoU must not fall below.
    error : float
        What alpha's error, summed and in shares of the object's area, must not exceed.
    inside, holes, ignored : tuple of polygons
        x, y in pixels.
    """

    picture: str
    box: tuple[float, float, float, float]
    iou: float
    error: float
    inside: tuple[Polygon, ...]
    holes: tuple[Polygon, ...] = ()
    ignored: tuple[Polygon, ...] = ()


def ellipse(left: float, top: float, right: float, bottom: float) -> Polygon:
    turns = [2 * pi * step / 64 for step in range(64)]
    x, y, across, down = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    return tuple((x + across * cos(turn), y + down * sin(turn)) for turn in turns)


def judged(drawn: Drawn, height: int, width: int) -> npt.NDArray[np.uint8]:
    """OBJECT, GROUND or IGNORED for each pixel of the picture."""
    import cv2

    def filled(polygons: tuple[Polygon, ...]) -> npt.NDArray[np.uint8]:
        canvas = np.zeros((height, width), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(canvas, [np.round(np.array(polygon) * 16 - 8).astype(np.int32)], 1, shift=4)
        return canvas

    inside = filled(drawn.inside) & ~filled(drawn.holes) & 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    edge = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    result = np.where(inside == 1, OBJECT, GROUND).astype(np.uint8)
    result[edge | (filled(drawn.ignored) == 1)] = IGNORED
    return result


DRAWN: dict[str, Drawn] = {
    "cameraman": Drawn(
        "camera.webp", (0, 60, 334, 512), iou=0.96, error=0.03,
        inside=((
            (196, 68), (210, 64), (232, 73), (254, 89), (268, 107), (270, 120), (267, 127), (261, 140), (323, 139),
            (324, 156), (319, 163), (328, 169), (331, 192), (321, 205), (303, 258), (304, 274), (285, 287), (268, 303),
            (245, 312), (223, 303), (207, 293), (196, 312), (170, 352), (142, 380), (147, 419), (152, 520), (-8, 520),
            (-8, 260), (0, 258), (20, 232), (33, 200), (58, 160), (80, 138), (107, 127), (132, 124), (154, 106),
            (163, 102), (172, 89), (187, 73),
        ),),
        holes=(((99, 447), (91, 520), (139, 520), (120, 470)),),
        ignored=(((238, 130), (340, 130), (340, 300), (238, 300)), ((225, 290), (420, 290), (420, 512), (225, 512))),
    ),
    "tower": Drawn(
        "camera.webp", (410, 118, 434, 197), iou=0.93, error=0.06,
        inside=(((412.5, 131), (421, 130), (424, 119), (431, 121), (432, 130), (432, 190), (412.5, 195)),),
        ignored=(((410, 115), (424, 115), (424, 131), (412, 131)), ((405, 186), (438, 186), (438, 202), (405, 202))),
    ),
    "cup and saucer": Drawn(
        "coffee.webp", (62, 12, 412, 336), iou=0.89, error=0.12,
        inside=(ellipse(65, 48, 409, 332), ellipse(147, 15, 349, 178),
                ((340, 58), (352, 57), (362, 64), (360, 76), (352, 98), (345, 90))),
    ),
    "spoon": Drawn(
        "coffee.webp", (277, 199, 349, 279), iou=0.87, error=0.14,
        inside=((
            (278.5, 240), (280, 228), (286, 217), (295, 211), (305, 207), (318, 200), (325, 202), (332, 210),
            (341, 218), (345, 226), (346.5, 238), (345, 250), (340, 260), (331, 268), (320, 274), (308, 277),
            (300, 276), (292, 272), (285, 264), (280, 252),
        ),),
        ignored=(((310, 180), (335, 180), (335, 208), (310, 208)),),
    ),
    "handle": Drawn(
        "coffee.webp", (165, 198, 222, 264), iou=0.84, error=0.19,
        inside=((
            (187, 200), (200, 202), (213, 206), (219, 208), (210, 219), (204, 231), (199, 245), (196, 256), (190, 262),
            (184, 261), (174, 255), (168, 247), (167, 238), (170, 228), (178, 216),
        ),),
        ignored=(((180, 190), (225, 190), (225, 210), (186, 203)),),
    ),
    "badge": Drawn("astronaut.jpg", (132, 346, 209, 425), iou=0.98, error=0.02, inside=(ellipse(134, 348, 207, 423),)),
    "cat": Drawn(
        "cat.jpg", (0, 0, 451, 300), iou=0.96, error=0.04,
        inside=((
            (40, -8), (32, 67), (32, 84), (20, 114), (-8, 128), (-8, 308), (264, 308), (268, 281), (288, 278),
            (306, 258), (315, 228), (325, 214), (340, 197), (351, 174), (360, 151), (365, 130), (366, 107), (365, 87),
            (360, 72), (375, 47), (385, 23), (400, -8),
        ),),
        ignored=(((255, 270), (325, 225), (340, 300), (250, 300)),),
    ),
    "eye": Drawn(
        "cat.jpg", (136, 83, 204, 145), iou=0.92, error=0.09, inside=(ellipse(139, 86, 202, 143),),
        ignored=(((128, 82), (156, 82), (140, 102), (132, 112)),
                 ((203, 98), (214, 110), (214, 152), (178, 150), (195, 138), (203, 125))),
    ),
    "right eye": Drawn(
        "cat.jpg", (293, 108, 343, 163), iou=0.93, error=0.07,
        inside=((
            (297, 133), (300, 124), (308, 117), (318, 112), (327, 110), (335, 112), (339, 120), (340, 130), (338, 140),
            (333, 149), (324, 157), (312, 161), (302, 159), (296, 151), (295, 142),
        ),),
    ),
    "nose": Drawn(
        "cat.jpg", (236, 225, 292, 266), iou=0.85, error=0.19,
        inside=((
            (239, 232), (245, 228), (252, 228), (262, 230), (275, 232), (287, 231), (291, 235), (286, 243), (276, 250),
            (270, 256), (262, 261), (258, 264), (254, 258), (251, 250), (246, 244), (240, 239),
        ),),
    ),
    "coin": Drawn("coins.webp", (303, 14, 367, 74), iou=0.98, error=0.02, inside=(ellipse(305, 16, 365, 72),)),
}
