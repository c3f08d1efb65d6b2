"""The window one works in: the picture with its matte over it, marks by hand, a live result, and controls of its edge.

What it knows is elsewhere: marks (marks.py), undo (editing.py), places (viewing.py), the pointer (pointing.py),
requests (asking.py). Here are the widgets alone, and what passes between them. It does without cairo, which GIMP's
Python may not have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import arguments
import client
import drawing
import edges
import frame
import outcome
import pixels
import service
from arguments import Asked
from asking import Asker, Pixels
from client import ClientError
from editing import Editing, Result, State, mask_of, packed
from gi.repository import Gdk, GimpUi, GLib, GObject, Gtk
from marks import Mark
from pointing import Pointer
from problem import Problem, told
from subject import Selected, Standing, check, check_found, outline_of, points_of
from translation import _
from viewing import View
from work import STAGES

MODES = (("tint", _("Tint what is dropped")), ("checks", _("On a checkerboard")), ("white", _("On white")),
         ("black", _("On black")), ("alone", _("The matte alone")))
SIZE = 1120, 760
PERIOD = 100
"""Milliseconds between two steps of the bar while something goes on."""


class Source:
    """The layer as it was when the window opened, in a buffer of this process, which any thread may read."""

    def __init__(self, layer: Any) -> None:
        self.width, self.height = layer.get_width(), layer.get_height()
        self.form, self.channels = pixels.picture_format(layer)
        digest = hashlib.sha256()
        self.buffer = pixels.kept(self.width, self.height, self.form, _digested(self._of(layer), digest))
        self.digest = digest.digest()

    def _of(self, layer: Any) -> Any:
        return pixels.strips(layer.get_buffer(), 0, 0, self.width, self.height, self.form)

    def pixels(self) -> Pixels:
        """As the service gets it."""
        return Pixels(lambda: pixels.strips(self.buffer, 0, 0, self.width, self.height, self.form), self.width,
                      self.height, self.channels, pixels.dtype(self.form))

    def check(self, layer: Any) -> None:
        """Raise Problem when the layer's pixels are others now."""
        digest = hashlib.sha256()
        for strip in self._of(layer):
            digest.update(strip)
        if digest.digest() != self.digest:
            raise Problem(_("The layer “{name}” was changed while this window was open, so its matte does not fit any "
                            "more. Close the window and open it again.").format(name=layer.get_name()))


def _digested(strips: Any, digest: Any) -> Any:
    for strip in strips:
        digest.update(strip)
        yield strip


class Workbench:
    """The window for one layer. `run` shows it until the result is in the image, or it is cancelled."""

    def __init__(self, procedure: Any, config: Any, image: Any, layer: Any) -> None:
        GimpUi.init("matte_selection")
        self._config, self._image, self._layer = config, image, layer
        self._standing = Standing.of(layer)
        check([layer], Asked(output="channel"))
        self._source = Source(layer)
        size = self._source.width, self._source.height
        self._editing = Editing()
        self._pointer = Pointer(brush=max(3.0, round(max(size) / 40)))
        self._view = View.fit(size, SIZE)
        self._share: Any = None
        self._shared: Result | None = None
        self._ground: Any = None
        self._hover: tuple[float, float] | None = None
        self._space = self._painting = self._open = self._ending = False
        self._error, self._stage, self._pulses = "", _("Matting…"), 0
        self._asker = Asker(lambda wait: service.find(wait), self._source.pixels(), _later, self._found)
        self._build(procedure)

    def run(self) -> bool:
        """Whether something was done."""
        self._open = True
        self._window.show_all()
        self._asker.warm(lambda found: self._fail(told(found)) if isinstance(found, ClientError) else None)
        self._take_selection()
        if not self._editing.state.marks:
            self._say()
        pulse = GLib.timeout_add(PERIOD, self._pulse)
        try:
            while self._window.run() == Gtk.ResponseType.OK:
                try:
                    if self._apply():
                        return True
                except ClientError as error:
                    self._fail(told(error))
            return False
        finally:
            self._open = False
            GLib.source_remove(pulse)
            self._asker.stop()
            self._window.destroy()
            while Gtk.events_pending():
                Gtk.main_iteration()

    # What is seen

    def _build(self, procedure: Any) -> None:
        self._window = GimpUi.Dialog(title=_("Matte Selection: Window"), role="matte-selection-window")
        self._window.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
        self._apply_button = self._window.add_button(_("_Apply"), Gtk.ResponseType.OK)
        self._window.set_default_size(*SIZE)
        self._window.connect("key-press-event", self._key)
        self._window.connect("key-release-event", self._key_up)
        both = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=8, border_width=8)
        left = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        left.pack_start(self._tools(), False, False, 0)
        left.pack_start(self._canvas(), True, True, 0)
        left.pack_start(self._footer(), False, False, 0)
        both.pack_start(left, True, True, 0)
        both.pack_start(self._controls(procedure), False, False, 0)
        self._window.get_content_area().pack_start(both, True, True, 0)

    def _tools(self) -> Any:
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=4)
        self._mark_tool = Gtk.RadioButton(label=_("Box and points"), draw_indicator=False)
        self._mark_tool.set_tooltip_text(_("Drag a box around the subject, or click on it; with Shift, Alt or the "
                                           "right button click on what does not belong to it (B)"))
        self._brush_tool = Gtk.RadioButton(label=_("Brush"), draw_indicator=False, group=self._mark_tool)
        self._brush_tool.set_tooltip_text(_("Paint on what belongs to the subject; with Shift, Alt or the right button "
                                            "on what does not (P; [ and ] change its size)"))
        self._brush_tool.connect("toggled", self._tool)
        for button in (self._mark_tool, self._brush_tool):
            row.pack_start(button, False, False, 0)
        self._brush = self._scale(row, _("Brush size"), 1, max(self._view.picture) / 4, self._pointer.brush, self._size)
        self._undo = _button(row, "edit-undo", _("Take the last step back (Ctrl+Z)"), lambda: self._step(back=True))
        self._redo = _button(row, "edit-redo", _("Do it again (Ctrl+Shift+Z)"), lambda: self._step(back=False))
        _button(row, "edit-clear", _("Take all marks away"), self._clear)
        _button(row, "−", _("Smaller (−, or the wheel)"), lambda: self._zoom(-1))
        _button(row, "+", _("Larger (+, or the wheel)"), lambda: self._zoom(1))
        _button(row, _("Fit"), _("All of the picture (0); drag it with the middle button, or with the space bar held"),
                self._fit)
        _button(row, "1:1", _("One pixel for one of the picture (1)"), lambda: self._look(self._view.zoomed(1.0)))
        return row

    def _canvas(self) -> Any:
        self._area = Gtk.Layout(can_focus=True, hexpand=True, vexpand=True, width_request=320, height_request=240)
        self._shown = Gtk.Image()
        self._area.put(self._shown, 0, 0)
        masks = Gdk.EventMask
        self._area.add_events(masks.BUTTON_PRESS_MASK | masks.BUTTON_RELEASE_MASK | masks.POINTER_MOTION_MASK
                              | masks.SCROLL_MASK | masks.LEAVE_NOTIFY_MASK)
        for signal, handler in (("button-press-event", self._press), ("button-release-event", self._release),
                                ("motion-notify-event", self._move), ("leave-notify-event", self._leave),
                                ("scroll-event", self._scroll), ("size-allocate", self._allocated)):
            self._area.connect(signal, handler)
        around = Gtk.Frame()
        around.add(self._area)
        return around

    def _footer(self) -> Any:
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=8)
        self._status = Gtk.Label(label="", xalign=0.0, wrap=True, max_width_chars=60)
        self._bar = Gtk.ProgressBar(valign=Gtk.Align.CENTER)
        row.pack_start(self._status, True, True, 0)
        row.pack_start(self._bar, False, False, 0)
        return row

    def _controls(self, procedure: Any) -> Any:
        column = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6)
        _heading(column, _("Begin with"))
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=4)
        _button(row, _("Subject"), _("What is most likely the picture's subject"), self._take_subject)
        self._takes: list[tuple[Any, Callable[[], bool]]] = [
            (_button(row, _("Selection"), _("The selection: a rectangle as a box, another shape as an outline"),
                     self._take_selection), lambda: Selected.there(self._image)),
            (_button(row, _("Mask"), _("The layer's mask, which marks then correct"), self._take_mask),
             lambda: self._layer.get_mask() is not None),
            (_button(row, _("Path"), _("The points of the selected path, as clicks on the subject"), self._take_path),
             lambda: bool(self._image.get_selected_paths())),
        ]
        column.pack_start(row, False, False, 0)
        self._words = Gtk.Entry(placeholder_text=_("Words, for example “the dog”"), sensitive=False)
        self._words.connect("activate", self._take_words)
        column.pack_start(self._words, False, False, 0)
        self._mode = Gtk.ComboBoxText()
        for name, text in MODES:
            self._mode.append(name, text)
        self._mode.set_active_id("tint")
        self._mode.connect("changed", lambda _combo: self._repaint())
        _row(column, _("View"), self._mode)
        self._model = Gtk.ComboBoxText()
        self._model.append(self._config.get_property("model"), self._config.get_property("model"))
        self._model.set_active(0)
        self._model.connect("changed", self._other_model)
        _row(column, _("Model"), self._model)
        _heading(column, _("Edge"))
        for name, label, _meaning, low, high, _default in arguments.EDGES:
            self._number(column, name, label, low, high)
        name, label, _meaning, low, high, _default = arguments.BAND
        self._number(column, name, label, low, high)
        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL)
        self._refine_button = _button(row, _("Refine the edge"), _(
            "Find out anew what is within the band about the edge, as for hair and fur"), self._refine)
        column.pack_start(row, False, False, 0)
        self._clean = Gtk.CheckButton.new_with_label(_("Clean colours in a new layer"))
        self._config.bind_property("clean", self._clean, "active",
                                   GObject.BindingFlags.BIDIRECTIONAL | GObject.BindingFlags.SYNC_CREATE)
        column.pack_start(self._clean, False, False, 0)
        name, label, _meaning, low, high, _default = arguments.AMOUNT
        self._number(column, name, label, low, high)
        _heading(column, _("Result"))
        for name, label, _meaning, options in arguments.CHOICES:
            if name in arguments.WINDOW:
                self._choice(column, name, label.replace("_", ""), options)
        scrolled = Gtk.ScrolledWindow(hscrollbar_policy=Gtk.PolicyType.NEVER)
        scrolled.add(column)
        return scrolled

    def _scale(self, box: Any, text: str, low: float, high: float, value: float,
               changed: Callable[[float], None]) -> Any:
        scale = Gtk.Scale.new_with_range(Gtk.Orientation.HORIZONTAL, low, max(high, low + 1), 1)
        scale.set_value(value)
        scale.set_size_request(160, -1)
        scale.set_value_pos(Gtk.PositionType.RIGHT)
        scale.set_digits(0)
        scale.set_tooltip_text(text)
        scale.connect("value-changed", lambda one: changed(one.get_value()))
        box.pack_start(scale, False, False, 0)
        return scale

    def _number(self, column: Any, name: str, label: str, low: float, high: float) -> None:
        def changed(value: float) -> None:
            self._config.set_property(name, value)
            self._repaint()

        row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=6)
        row.pack_start(Gtk.Label(label=label.replace("_", ""), xalign=0.0), True, True, 0)
        self._scale(row, label.replace("_", ""), low, high, self._config.get_property(name), changed)
        column.pack_start(row, False, False, 0)

    def _choice(self, column: Any, name: str, label: str, options: Any) -> None:
        combo = Gtk.ComboBoxText()
        for nick, text, _blurb in options:
            combo.append(nick, text)
        combo.set_active_id(self._config.get_property(name))
        combo.connect("changed", lambda one: self._config.set_property(name, one.get_active_id()))
        _row(column, label, combo)

    # The picture

    def _edge(self) -> edges.Edge:
        return edges.Edge(*(self._config.get_property(name) for name, *_rest in arguments.EDGES))

    def _repaint(self, *, ground: bool = True) -> None:
        """Paint soon: many events in a row are painted once."""
        if ground:
            self._ground = None
        if not self._painting and self._open:
            self._painting = True
            GLib.idle_add(self._paint)

    def _paint(self) -> bool:
        self._painting = False
        if not self._open:
            return bool(GLib.SOURCE_REMOVE)
        if self._ground is None:
            self._ground = frame.ground(self._source.buffer, self._buffer(), self._view, self._edge(),
                                        self._mode.get_active_id())
        made = self._pointer.mark(self._view)
        marks = self._editing.state.marks if made is None else (*self._editing.state.marks, made)
        brush = None
        if self._pointer.tool == "brush" and self._hover is not None:
            brush = self._hover, self._pointer.brush * self._view.scale / 2
        picture = self._ground.copy()
        if marks or brush is not None:
            frame.over(picture, drawing.draw(marks, self._view, brush))
        self._shown.set_from_pixbuf(picture)
        return bool(GLib.SOURCE_REMOVE)

    def _buffer(self) -> Any:
        """The matte that is shown, as a buffer; None when there is none."""
        result = self._editing.state.shown
        if result is not self._shared:
            self._shared = result
            self._share = None if result is None else pixels.kept(*result.size, "Y u16", result.rows())
        return self._share

    def _look(self, view: View) -> None:
        if view != self._view:
            self._view = view
            self._repaint()

    def _zoom(self, steps: int, at: tuple[float, float] | None = None) -> None:
        self._look(self._view.zoomed(self._view.step(steps), at))

    def _fit(self) -> None:
        self._look(View.fit(self._view.picture, self._view.window))

    def _allocated(self, area: Any, _allocation: Any) -> None:
        size = max(area.get_allocated_width(), 1), max(area.get_allocated_height(), 1)
        if size != self._view.window:
            self._look(self._view.resized(size))

    # The pointer and the keys

    def _press(self, area: Any, event: Any) -> bool:
        area.grab_focus()
        if event.type != Gdk.EventType.BUTTON_PRESS or self._pointer.active or event.button not in (1, 2, 3):
            return True
        masks = Gdk.ModifierType
        negative = event.button == 3 or bool(event.state & (masks.SHIFT_MASK | masks.MOD1_MASK))
        pan = event.button == 2 or self._space or bool(event.state & masks.CONTROL_MASK)
        self._pointer.press((event.x, event.y), negative=negative, pan=pan)
        self._repaint(ground=False)
        return True

    def _move(self, _area: Any, event: Any) -> bool:
        self._hover = event.x, event.y
        self._look(self._pointer.move(self._view, self._hover))
        if self._pointer.active or self._pointer.tool == "brush":
            self._repaint(ground=False)
        return True

    def _release(self, _area: Any, event: Any) -> bool:
        if self._pointer.active:
            self._look(self._pointer.move(self._view, (event.x, event.y)))
            self._make(self._pointer.release(self._view))
        return True

    def _leave(self, _area: Any, _event: Any) -> bool:
        self._hover = None
        self._repaint(ground=False)
        return False

    def _scroll(self, _area: Any, event: Any) -> bool:
        steps = {Gdk.ScrollDirection.UP: 1, Gdk.ScrollDirection.DOWN: -1}.get(event.direction, 0)
        if steps:
            self._zoom(steps, (event.x, event.y))
        return True

    def _key(self, window: Any, event: Any) -> bool:
        if isinstance(window.get_focus(), Gtk.Entry):
            return False
        control = bool(event.state & Gdk.ModifierType.CONTROL_MASK)
        name = Gdk.keyval_name(event.keyval) or ""
        if name == "Escape" and self._pointer.active:
            self._pointer.cancel()
            self._repaint(ground=False)
        elif control and name in ("z", "Z", "y"):
            self._step(back=name == "z")
        elif control or event.state & Gdk.ModifierType.MOD1_MASK:
            return False
        elif name == "space":
            self._space = True
        elif name in ("b", "p"):
            (self._mark_tool if name == "b" else self._brush_tool).set_active(True)
        elif name in ("bracketleft", "bracketright"):
            self._brush.set_value(self._brush.get_value() * (1.25 if name == "bracketright" else 0.8))
        elif name in ("plus", "equal", "KP_Add", "minus", "KP_Subtract"):
            self._zoom(-1 if "inus" in name or "Sub" in name else 1)
        elif name in ("0", "KP_0"):
            self._fit()
        elif name in ("1", "KP_1"):
            self._look(self._view.zoomed(1.0))
        else:
            return False
        return True

    def _key_up(self, _window: Any, event: Any) -> bool:
        if Gdk.keyval_name(event.keyval) == "space":
            self._space = False
        return False

    def _tool(self, button: Any) -> None:
        self._pointer.tool = "brush" if button.get_active() else "mark"
        self._repaint(ground=False)

    def _size(self, value: float) -> None:
        self._pointer.brush = value
        self._repaint(ground=False)

    # Marks

    def _make(self, mark: Mark | None) -> None:
        if mark is not None:
            self._editing.mark(mark)
            self._changed()
        else:
            self._repaint(ground=False)

    def _step(self, *, back: bool) -> None:
        if self._editing.undo() if back else self._editing.redo():
            self._changed()

    def _clear(self) -> None:
        self._editing.clear()
        self._changed()

    def _take_subject(self) -> None:
        self._make(Mark("subject"))

    def _take_selection(self) -> None:
        selected = Selected.of(self._image)
        if selected is None:
            return
        _ok, left, top = self._layer.get_offsets()
        x0, y0, x1, y1 = selected.bounds
        width, height = self._view.picture
        box = max(x0 - left, 0), max(y0 - top, 0), min(x1 - left, width), min(y1 - top, height)
        if min(box[2] - box[0], box[3] - box[1]) < 4:
            self._fail(_("The selection does not touch the layer “{name}”. Select around the subject, or select "
                         "another layer.").format(name=self._standing.name))
        elif selected.is_rectangle():
            self._make(Mark("box", (box[:2], box[2:])))
        else:
            self._guarded(lambda: self._make(Mark("outline", mask=outline_of(selected, self._layer))))

    def _take_mask(self) -> None:
        mask = self._layer.get_mask()
        if mask is not None:
            size, buffer = self._view.picture, mask.get_buffer()
            if self._source.channels == 4:  # as the service's mattes hold the layer's own alpha
                buffer = pixels.combine("gegl:multiply", buffer, pixels.own_alpha(self._layer), *size)
            data, visible = packed(pixels.strips(buffer, 0, 0, *size, "Y u16"))
            self._editing.go_on_from(Result("", data, size, visible=visible))
            self._changed()

    def _take_path(self) -> None:
        _ok, left, top = self._layer.get_offsets()
        for point in points_of(self._image, left, top):
            self._editing.mark(Mark("point", (point,)))
        self._changed()

    def _refine(self) -> None:
        share, size = self._buffer(), self._view.picture
        if share is not None:
            strips = edges.trimap(share, *size, self._config.get_property("band"))
            self._make(Mark("trimap", mask=mask_of(strips, size)))

    def _take_words(self, entry: Any) -> None:
        if entry.get_text().strip():
            self._make(Mark("words", words=entry.get_text().strip()))
            self._area.grab_focus()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ClientError as error:
            self._fail(told(error))

    # The service

    def _changed(self) -> None:
        """Something else is marked: ask for it, unless that was done."""
        self._error, self._stage = "", _("Matting…")
        state = self._editing.state
        if state.prompt() is not None:
            self._asker.ask(state, self._model.get_active_id() or "lite", self._heard, self._answered)
        else:
            self._asker.cancel()
        self._say()
        self._repaint()

    def _other_model(self, combo: Any) -> None:
        name = combo.get_active_id()
        if name and name != self._config.get_property("model"):
            self._config.set_property("model", name)
            state = self._editing.state
            if state.marks:
                self._editing.replace(State(state.marks, None if state.base and state.base.matte else state.base))
                self._changed()

    def _found(self, found: client.Service) -> None:
        """The service is there: it says which models it has, and whether it knows words."""
        self._words.set_sensitive(bool(found.status.get("text")))
        chosen = self._config.get_property("model")
        for name in (found.status.get("models") or {}).get("available") or []:
            if name != chosen:
                self._model.append(str(name), str(name))

    def _heard(self, event: dict[str, Any]) -> None:
        if self._open and event.get("event") == "progress":
            self._stage = STAGES.get(str(event.get("stage")), (_("Matting…"), 0.0, 0.0))[0]
            self._say()

    def _answered(self, state: State, result: Result | ClientError) -> None:
        if isinstance(result, ClientError):
            if state is self._editing.state:
                self._fail(told(result))
            return
        if self._editing.answered(state, result):
            self._say()
            self._repaint()

    def _pulse(self) -> bool:
        if self._asker.busy:
            self._bar.pulse()
        else:
            self._bar.set_fraction(0.0)
        self._pulses += 1
        if self._pulses % 5 == 1:  # GIMP is asked, which takes a while
            for button, usable in self._takes:
                button.set_sensitive(self._layer.is_valid() and usable())
        self._undo.set_sensitive(self._editing.can_undo)
        self._redo.set_sensitive(self._editing.can_redo)
        there = self._editing.state.shown is not None and not self._ending
        self._apply_button.set_sensitive(there)
        self._refine_button.set_sensitive(there)
        return bool(GLib.SOURCE_CONTINUE)

    def _fail(self, text: str) -> None:
        self._error = text
        self._say()
        self._repaint()

    def _say(self) -> None:
        self._status.set_text(self._told())

    def _told(self) -> str:
        state = self._editing.state
        if self._error:
            return self._error
        if state.prompt() is not None:
            return self._stage
        if state.result is not None:
            if state.result.visible is not None and state.result.visible < 16:
                return _("Nothing was found there. Mark the subject otherwise.")
            if any(mark.kind == "subject" for mark in state.marks) and state.result.warnings:
                return _("It is not certain that this is the subject. A click or a stroke corrects it, a box asks "
                         "anew.")
            return "; ".join(state.result.warnings) or _("Clicks and strokes correct it; a new box asks anew.")
        if state.base is not None:
            return _("Mark what is to be corrected.")
        if state.marks:
            return _("These marks say only what does not belong to the subject. Mark something of the subject as well.")
        return _("Drag a box around the subject, click on it, or begin with the subject of the picture.")

    # The end

    def _apply(self) -> bool:
        """Put the matte into the image. Raises ClientError, with the window as it was."""
        if not self._until(lambda: self._error or self._editing.state.prompt() is None):
            return False
        result = self._editing.state.shown
        if result is None or self._error:
            return False
        asked = replace(Asked(), **{name.replace("-", "_"): self._config.get_property(name)
                                    for name in arguments.WINDOW})
        self._standing.check()
        check([self._layer], asked)
        self._source.check(self._layer)
        size = self._view.picture
        share = edges.adjusted(pixels.kept(*size, "Y u16", result.rows()), *size, self._edge())
        data, visible = packed(pixels.strips(share, 0, 0, *size, "Y u16"))
        check_found(self._layer, {}, visible)
        colours = None
        amount = self._config.get_property("amount") / 100 if self._config.get_property("clean") else 0.0
        if asked.output == "layer" and amount > 0:
            colours = self._colours(Result("", data, size))
            if colours is None:
                return False
            self._standing.check()
        if self._source.channels == 4:
            share = pixels.combine("gegl:divide", share, pixels.own_alpha(self._layer), *size)
        title = (_("{name} (matte)") if asked.output == "layer" else _("Matte of {name}")).format(
            name=self._standing.name)
        outcome.put(self._image, [outcome.Found(self._layer, share, title, colours, amount)], asked)
        return True

    def _until(self, ready: Callable[[], object]) -> bool:
        """Let the window work until something is ready; False when it is cancelled or closed before."""
        cancelled: list[bool] = []

        def cancel(*_: object) -> bool:
            cancelled.append(True)
            return True

        handlers = [self._window.connect(signal, cancel) for signal in ("response", "delete-event")]
        self._ending = True
        while not ready() and not cancelled:
            Gtk.main_iteration()
        self._ending = False
        for handler in handlers:
            self._window.disconnect(handler)
        return not cancelled

    def _colours(self, result: Result) -> Any:
        """Clean colours as a buffer; None when it was cancelled. Raises ClientError."""
        got: list[list[bytes] | ClientError] = []
        form = f"R'G'B' {pixels.depth(self._image)}"
        self._asker.colours(result, pixels.dtype(form), got.append)
        self._status.set_text(_("Cleaning the colours…"))
        if not self._until(lambda: got):
            self._asker.cancel()
            return None
        if isinstance(got[0], ClientError):
            raise got[0]
        return pixels.kept(*result.size, form, got[0])


def _later(work: Callable[..., object], *values: object) -> None:
    """Have something called in the window's own thread."""
    def once() -> bool:
        work(*values)
        return bool(GLib.SOURCE_REMOVE)

    GLib.idle_add(once)


def _button(box: Any, text: str, meaning: str, clicked: Callable[[], None]) -> Any:
    """A button with a text, or with an icon where the text is the name of one."""
    icon = text.startswith("edit-")
    button = Gtk.Button.new_from_icon_name(text, Gtk.IconSize.BUTTON) if icon else Gtk.Button(label=text)
    button.set_tooltip_text(meaning)
    button.get_accessible().set_name(meaning if icon else text)
    button.connect("clicked", lambda _button: clicked())
    box.pack_start(button, False, False, 0)
    return button


def _heading(column: Any, text: str) -> None:
    label = Gtk.Label(xalign=0.0, margin_top=8)
    label.set_markup(f"<b>{GLib.markup_escape_text(text)}</b>")
    column.pack_start(label, False, False, 0)


def _row(column: Any, text: str, widget: Any) -> None:
    row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=6)
    row.pack_start(Gtk.Label(label=text, xalign=0.0), False, False, 0)
    row.pack_start(widget, True, True, 0)
    column.pack_start(row, False, False, 0)
