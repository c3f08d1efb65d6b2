"""Beside GIMP's window: the window one works in, with mouse and keys. test_workbench.py looks at the screenshots."""

import time

from window import FOLDER, drag, focus, gone, idle, key, shot, start, tell, until, window

WINDOW = "plug-in-matte-selection-window"
TITLE = "Matte Selection: Window"

gimp, main = start("photo.png", [(WINDOW, "<Primary><Alt>w")])


def geometry(number):
    """Where a window is on the screen: x, y, width, height."""
    lines = dict(line.split("=") for line in tell("xdotool", "getwindowgeometry", "--shell", number).split())
    return [int(lines[name]) for name in ("X", "Y", "WIDTH", "HEIGHT")]


def settled(seconds=1.0):
    """Wait until what was asked for is there: the screen does not change any more, for a while."""
    def screen():
        return tell("sh", "-c", "import -window root rgb:- | md5sum")

    last = [screen(), time.monotonic()]

    def still():
        now = screen()
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        return time.monotonic() - last[1] > seconds

    until("a screen that is at rest", still)


def place(x, y):
    """A place of the picture, in shares of it, on the screen: it is shown whole, in the middle of its area."""
    left, top, width, height = AREA
    side = min(width, height)
    return (round(left + (width - side) / 2 + x * side), round(top + (height - side) / 2 + y * side))


focus(main)
key("ctrl+alt+w")
bench = window(TITLE)
tell("xdotool", "windowmove", bench, "20", "20", "windowsize", bench, "1120", "730")
until("the service", lambda: (FOLDER / "runtime" / "server.json").exists())
settled()
shot("bench")
left, top, width, height = geometry(bench)
AREA = (left + 10, top + 48, width - 338, height - 160)
(FOLDER / "area.txt").write_text(" ".join(map(str, AREA)))
drag(place(0.12, 0.05), place(0.8, 0.97))
settled()
shot("boxed")
x, y = place(0.42, 0.75)
tell("xdotool", "mousemove", str(x), str(y), "click", "3")
settled()
shot("dropped")
key("ctrl+z")
settled()
shot("undone")
key("ctrl+shift+z")
settled()
shot("redone")
key("ctrl+z", "p")
drag(place(0.88, 0.3), place(0.88, 0.6))
settled()
shot("painted")
key("ctrl+z", "b")
x, y = place(0.5, 0.3)
for _ in range(4):
    tell("xdotool", "mousemove", str(x), str(y), "click", "4")
settled()
shot("zoomed")
key("0")
settled()
shot("fitted")
key("alt+a")
gone(TITLE)
idle()
shot("applied")
key("ctrl+z")
shot("taken_back")
