"""Inside GIMP, on a screen of its own: the window's own object, driven without mouse. test_workbench.py reads what it
keeps."""

import os
import subprocess
import sys
import time
import traceback

screen = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
os.environ["DISPLAY"] = ":" + screen.stdout.readline().strip()
os.environ["NO_AT_BRIDGE"] = "1"

import gi  # noqa: E402

gi.require_version("GimpUi", "3.0")
gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
import numpy as np  # noqa: E402
from gi.repository import Gimp, Gtk  # noqa: E402
from inside import keep, load, note, read, write  # noqa: E402

sys.path.insert(0, os.path.expanduser("~/.config/GIMP/3.0/plug-ins/matte_selection"))
import client  # noqa: E402
import edges  # noqa: E402
from marks import Mark  # noqa: E402
from workbench import Workbench  # noqa: E402

BOX = Mark("box", ((60, 20), (400, 500)))
procedure = Gimp.get_pdb().lookup_procedure("plug-in-matte-selection-window")


class Bench(Workbench):
    """The window, whose `run` is this script."""

    def __init__(self, image, **values):
        self.image, self.layer = image, image.get_layers()[0]
        config = procedure.create_config()
        for name, value in values.items():
            config.set_property(name.replace("_", "-"), value)
        super().__init__(procedure, config, image, self.layer)
        self._open = True
        self._window.show_all()
        self._take_selection()

    def marked(self, *marks):
        for mark in marks:
            self._make(mark)
            self.settle()
        return self

    def settle(self):
        end = time.monotonic() + 120
        while (self._editing.state.prompt() is not None or self._painting) and not self._error:
            assert time.monotonic() < end, "no answer"
            Gtk.main_iteration_do(False)
            time.sleep(0.005)
        assert not self._error, self._error

    def apply(self):
        try:
            return ["done", ""] if self._apply() else ["not done", self._error]
        except client.ClientError as error:
            return ["refused", str(error)]
        finally:
            self._open = False
            self._asker.stop()
            self._window.destroy()


def read_result(bench):
    """The matte that is shown, H×W in 0..1."""
    rows = b"".join(bench._editing.state.shown.rows())
    return np.frombuffer(rows, "<u2").reshape(512, 512).astype(np.float32) / 65535


def ways():
    bench = Bench(load("photo.png")).marked(BOX, Mark("point", ((215, 380),), 0))
    first = bench._editing.state
    bench._step(back=True)
    bench.settle()
    bench._step(back=False)
    assert bench._editing.state is first
    told = bench._status.get_text()
    applied = bench.apply()
    keep("bench_mask", sent=read(bench.layer, "R'G'B' u8", 3), mask=read(bench.layer.get_mask(), "Y float"))
    note("bench_mask", applied=applied, told=told, undo=bench._editing.can_undo)

    image = load("photo.png")
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 60, 20, 340, 480)
    bench = Bench(image, shift=4.0, contrast=90.0, output="channel")
    bench.settle()
    note("bench_edge", applied=bench.apply())
    keep("bench_edge", mask=read(image.get_channels()[0], "Y' float"))

    for name, values in (("clean", {}), ("half", {"amount": 50.0}), ("raw", {"clean": False})):
        bench = Bench(load("photo.png"), output="layer", **values).marked(BOX)
        note(f"bench_{name}", applied=bench.apply())
        keep(f"bench_{name}", made=read(bench.image.get_layers()[0], "R'G'B'A float", 4),
             own=read(bench.layer, "R'G'B' float", 3))

    bench = Bench(load("photo.png"), output="channel", band=12.0).marked(BOX)
    trimap = b"".join(edges.trimap(bench._buffer(), 512, 512, 12.0))
    before = read_result(bench)
    bench._refine()
    bench.settle()
    keep("bench_refined", trimap=np.frombuffer(trimap, np.uint8).reshape(512, 512), before=before,
         after=read_result(bench))
    note("bench_refined", applied=bench.apply())

    image = load("photo.png")
    layer = image.get_layers()[0]
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    rough = np.zeros((512, 512), np.uint8)
    rough[60:480, 120:340] = 255
    write(mask, "Y u8", rough)
    bench = Bench(image)
    bench._take_mask()
    bench.marked(Mark("stroke", ((130, 70), (130, 110)), 0, 12))
    note("bench_previous", applied=bench.apply())
    keep("bench_previous", mask=read(layer.get_mask(), "Y float"))

    bench = Bench(load("photo.png"))
    hint = bench._status.get_text() or bench._told()
    bench.marked(Mark("subject"))
    write(bench.layer, "R'G'B' u8", np.zeros((512, 512, 3), np.uint8))
    note("bench_changed", applied=bench.apply(), hint=hint, mask=bench.layer.get_mask() is not None)


try:
    ways()
except Exception:
    note("failed", error=traceback.format_exc())
screen.kill()
