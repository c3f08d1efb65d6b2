"""Inside GIMP: one call, told by environment variables, that may fail. test_faults.py reads what it notes."""

import os

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp  # noqa: E402
from inside import call, load, note, state  # noqa: E402

image = load("photo.png")
image.select_rectangle(Gimp.ChannelOps.REPLACE, 60, 20, 340, 480)
layer = image.get_layers()[0]
side = int(os.environ.get("SIDE", "0"))
if side:
    image.scale(side, side)
before = state(image)
status, message = call(image, [layer], output=os.environ.get("OUTPUT", "mask"))
note("call", status=status, message=message, same=state(image) == before, mask=layer.get_mask() is not None)
