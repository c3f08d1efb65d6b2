"""What scripts start with that drive GIMP's window: a screen of its own (Xvfb), keys, clicks and screenshots."""

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

FOLDER = Path(os.environ["FOLDER"])
WIDTH, HEIGHT = 1280, 800
os.environ["NO_AT_BRIDGE"] = "1"


def tell(*command):
    """Run a tool; its output."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def until(what, look, patience=60.0):
    """The first truth that `look` gives."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    shot("stuck")
    raise SystemExit(f"waited {patience:.0f} s in vain for {what}; windows: {titles()}")


def titles():
    """The titles of all windows that are seen."""
    numbers = tell("xdotool", "search", "--onlyvisible", "--name", "..").split()
    return [title for title in (tell("xdotool", "getwindowname", number).strip() for number in numbers) if title]


def window(title, patience=60.0):
    """The number of the window whose title holds these words, once it is seen."""
    search = ("xdotool", "search", "--onlyvisible", "--name", re.escape(title))
    return until(f"a window titled {title!r}", lambda: tell(*search).split(), patience)[0]


def gone(title, patience=60.0):
    """Wait until no window bears that title."""
    until(f"the end of {title!r}", lambda: not any(title in one for one in titles()), patience)


def idle():
    """Wait until the plug-in's process has come and gone."""
    def processes():
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it may end while we look
                found += [int(file.parent.name)] if b"matte_selection.py" in file.read_bytes() else []
        return found

    time.sleep(1)
    until("the end of the plug-in", lambda: not processes())
    time.sleep(1)


def shot(name):
    """A screenshot, NAME.png in the session's folder."""
    tell("import", "-window", "root", str(FOLDER / f"{name}.png"))


def key(*names):
    """Press keys, one after the other."""
    for name in names:
        tell("xdotool", "key", name)
        time.sleep(0.4)


def type_text(text):
    """Type on the keyboard."""
    tell("xdotool", "type", "--delay", "40", text)
    time.sleep(0.4)


def start(picture, shortcuts=()):
    """Start GIMP with a picture, in a window over the whole screen; the process, and the window's number.

    shortcuts: (procedure, key as GTK writes it).
    """
    profile = Path(os.environ["HOME"]) / ".config/GIMP/3.0"
    with open(profile / "gimprc", "a", encoding="utf-8") as file:
        file.write("\n(show-welcome-dialog no)\n(check-updates no)\n(color-profile-policy keep)\n")
    lines = ["(file-version 1)", *(f'(action "{name}" "{keys}")' for name, keys in shortcuts)]
    (profile / "shortcutsrc").write_text("\n".join(lines) + "\n", encoding="utf-8")
    nothing = subprocess.DEVNULL
    screen = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"],
                              stdout=subprocess.PIPE, stderr=nothing, text=True)
    os.environ["DISPLAY"] = ":" + screen.stdout.readline().strip()  # it says its number when it is ready
    subprocess.Popen(["openbox"], stdout=nothing, stderr=nothing)
    until("the window manager", lambda: tell("xdotool", "get_num_desktops").strip())
    gimp = subprocess.Popen(["dbus-run-session", "--", "gimp-3.0", "--no-splash", "--new-instance",
                             str(FOLDER / picture)])
    main = window(Path(picture).stem, 120)
    tell("xdotool", "windowactivate", "--sync", main, "windowmove", main, "0", "0", "windowsize", main, str(WIDTH),
         str(HEIGHT - 22))
    time.sleep(2)
    return gimp, main


def focus(number):
    """Bring a window to the front."""
    tell("xdotool", "windowactivate", "--sync", number)
    time.sleep(0.4)


def click(x, y):
    """Click with the mouse, at a pixel of the screen."""
    tell("xdotool", "mousemove", str(x), str(y), "click", "1")
    time.sleep(0.4)


def drag(start_at, stop_at):
    """Drag with the mouse, in screen pixels."""
    points = [tuple(a + (b - a) * share for a, b in zip(start_at, stop_at, strict=True))
              for share in (0, 0.05, 0.3, 0.7, 1)]
    for number, (x, y) in enumerate(points):
        tell("xdotool", "mousemove", str(round(x)), str(round(y)))
        time.sleep(0.15)
        if number == 0:
            tell("xdotool", "mousedown", "1")
            time.sleep(0.15)
    tell("xdotool", "mouseup", "1")
    time.sleep(0.5)
