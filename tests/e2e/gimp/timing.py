"""Inside GIMP: the same call again and again, and one on another picture. test_timing.py compares the times."""

import time

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp  # noqa: E402
from inside import call, load, note  # noqa: E402


def timed(image):
    """Seconds of one call."""
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 60, 20, 340, 480)
    start = time.monotonic()
    status, message = call(image, image.get_layers())
    assert status == "success", message
    return time.monotonic() - start


image = load("photo.png")
times = [timed(image) for _ in range(6)]
other = load("photo.png")
other.flip(Gimp.OrientationType.HORIZONTAL)
note("seconds", first=times[0], again=times[1:], other=timed(other))
