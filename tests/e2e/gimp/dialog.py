"""Beside GIMP's window: dialog, result, undo, last values and cancel. test_window.py looks at the screenshots."""

import json
import os
import signal
import time

from window import FOLDER, click, drag, focus, gone, idle, key, shot, start, until, window

MATTE = "plug-in-matte-selection"
CANCEL = (998, 780)
"""The button beside the progress bar, on this screen."""

gimp, main = start("photo.png", [(MATTE, "<Primary><Alt>m"), (f"{MATTE}-last", "<Primary><Alt>l"),
                                 (f"{MATTE}-check", "<Primary><Alt>k")])


def service_is_ready():
    """Whether the dialog has found or started a service."""
    return (FOLDER / "runtime" / "server.json").exists()


focus(main)
key("r")
drag((368, 182), (765, 682))
shot("before")
key("ctrl+alt+m")
window("Matte Selection")
until("the service", service_is_ready)
key("alt+h")
window("Matte Selection: Help")
shot("help")
key("Escape")
gone("Matte Selection: Help")
shot("dialog")
key("alt+m")
gone("Matte Selection")
idle()
shot("after")
key("ctrl+z")
shot("undone")
key("ctrl+alt+l")
idle()
shot("again")
key("ctrl+z")
service = json.loads((FOLDER / "runtime" / "server.json").read_text())["pid"]
os.kill(service, signal.SIGSTOP)
key("ctrl+alt+l")
time.sleep(3)
shot("working")
click(*CANCEL)
idle()
os.kill(service, signal.SIGCONT)
shot("cancelled")
key("ctrl+alt+k")
window("Matte Selection: Check Setup")
shot("check")
key("Escape")
gone("Matte Selection: Check Setup")
(FOLDER / "python").unlink()
os.kill(service, signal.SIGKILL)
key("ctrl+alt+l")
window("GIMP Message")
time.sleep(1)
shot("message")
