"""The windows: what is asked before matting, and the report of "Check Setup".

While the dialog is open the service is found or started, so that it is warm when the answer comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import arguments
import client
import service
from gi.repository import GimpUi, GLib, GObject, Gtk
from problem import told
from subject import Selected
from translation import _

FOLLOW = 400
"""Milliseconds between two looks at what is selected."""
FIELDS = [name for name in arguments.NAMES if name != "model"]


def ask(procedure: Any, config: Any, image: Any, layers: list[Any]) -> bool:
    """Show the dialog; False when it was cancelled. The answers are in `config`."""
    GimpUi.init("matte_selection")
    window = GimpUi.ProcedureDialog.new(procedure, config, _("Matte Selection"))
    window.set_ok_label(_("_Matte"))
    _own_help(window)
    area = window.get_content_area()
    subject = _label(_subject(image, layers))
    area.pack_start(subject, False, False, 6)
    window.fill(FIELDS)
    models = _model_box(window, config)
    area.pack_start(models, False, False, 0)
    told = _label("")
    area.pack_start(told, False, False, 6)
    update = _sensitivity(window, config, layers)
    area.show_all()
    following = GLib.timeout_add(FOLLOW, _follow, image, layers, subject, update)
    waiting = _Waiting(window, config, models, told)
    try:
        return bool(window.run())
    finally:
        GLib.source_remove(following)
        waiting.stop()
        window.destroy()
        while Gtk.events_pending():
            Gtk.main_iteration()


def _follow(image: Any, layers: list[Any], subject: Any, update: Callable[[], None]) -> bool:
    """GIMP's windows work while the dialog is open: what it says is true of the selection that is there now."""
    if image.is_valid() and all(layer.is_valid() for layer in layers):
        text = _subject(image, layers)
        if text != subject.get_text():
            subject.set_text(text)
        update()
    return bool(GLib.SOURCE_CONTINUE)


def _label(text: str) -> Any:
    return Gtk.Label(label=text, xalign=0.0, wrap=True, max_width_chars=52)


def _subject(image: Any, layers: list[Any]) -> str:
    """What will be matted, in words."""
    names = ", ".join(f"“{layer.get_name()}”" for layer in layers)
    selected = Selected.of(image)
    if selected is None:
        return _("No selection: the one clear subject of {names} is looked for. What counts as that is not always "
                 "certain; a selection around it is.").format(names=names)
    x0, y0, x1, y1 = selected.bounds
    return _("Layer {names}, selection of {width} × {height} pixels at {x}, {y}.").format(
        names=names, width=x1 - x0, height=y1 - y0, x=x0, y=y0)


def _model_box(window: Any, config: Any) -> Any:
    """The field for the model's name: a list once the service has said which it has."""
    row = Gtk.Box(orientation=Gtk.Orientation.HORIZONTAL, spacing=6)
    label = Gtk.Label.new_with_mnemonic(_("M_odel"))
    label.set_xalign(0.0)
    row.combo = Gtk.ComboBoxText()
    row.combo.append(config.get_property("model"), config.get_property("model"))
    row.combo.set_active(0)
    row.combo.connect("changed", lambda combo: config.set_property("model", combo.get_active_id() or "lite"))
    config.connect("notify::model", lambda *_: row.combo.set_active_id(config.get_property("model")))
    label.set_mnemonic_widget(row.combo)
    row.pack_start(label, False, False, 0)
    row.pack_start(row.combo, True, True, 0)
    row.labels = Gtk.SizeGroup(mode=Gtk.SizeGroupMode.HORIZONTAL)
    row.labels.add_widget(label)
    row.labels.add_widget(_field(window, "output").get_label())
    return row


def _field(window: Any, name: str) -> Any:
    """GIMP's own widget for an argument."""
    return window.get_widget(name, GObject.TYPE_NONE)


def _own_help(window: Any) -> None:
    """Help of this plug-in's own in the place of GIMP's, which would look into GIMP's manual."""
    theirs = window.get_widget_for_response(Gtk.ResponseType.HELP)
    if theirs is not None:
        theirs.hide()
        theirs.set_no_show_all(True)
    ours = Gtk.Button.new_with_mnemonic(_("_Help"))  # without a response, which would end the dialog
    ours.connect("clicked", lambda _button: show_text(_("Matte Selection: Help"), arguments.help_text()))
    place = window.get_widget_for_response(Gtk.ResponseType.CANCEL).get_parent()
    place.add(ours)
    place.set_child_secondary(ours, True)


def _sensitivity(window: Any, config: Any, layers: list[Any]) -> Callable[[], None]:
    """Fields that mean nothing now are gray; what is returned looks again."""
    image = layers[0].get_image()

    def update(*_: object) -> None:
        masked = any(layer.get_mask() is not None for layer in layers)
        _field(window, "existing-mask").set_sensitive(masked and config.get_property("output") == "mask")
        _field(window, "mask-is").set_sensitive(masked or config.get_property("mask-is") != "unused")
        selected = Selected.of(image) is not None
        result = config.get_property("output")
        for name, useful in (("selection-is", True), ("confine", True), ("existing-selection", result == "selection")):
            _field(window, name).set_sensitive(selected and useful)
        _field(window, "objects").set_sensitive(result in ("layer", "channel"))
        paths = bool(image.get_selected_paths())
        _field(window, "path-is").set_sensitive(paths or config.get_property("path-is") != "unused")

    config.connect("notify::output", update)
    update()
    return update


class _Waiting:
    """Finds or starts the service in a thread and tells the open dialog what it is."""

    def __init__(self, window: Any, config: Any, models: Any, told: Any) -> None:
        self._window, self._config, self._models, self._told = window, config, models, told
        self._open = True
        self._words(False, _("Words can be used once the service runs."))
        told.set_text(_("The matting service is starting…"))
        threading.Thread(target=self._find, daemon=True).start()

    def stop(self) -> None:
        """The dialog is closed; the start goes on, for who asks next."""
        self._open = False

    def _find(self) -> None:
        try:
            found: client.Service | client.ClientError = service.find(lambda: None)
        except client.ClientError as error:
            found = error
        GLib.idle_add(self._tell, found)

    def _tell(self, found: client.Service | client.ClientError) -> bool:
        if self._open and isinstance(found, client.ClientError):
            self._told.set_text(told(found))
        elif self._open and isinstance(found, client.Service):
            status = found.status
            self._told.set_text(_("The matting service is ready ({device}).").format(device=status.get("device")))
            self._words(bool(status.get("text")), _(
                "Words need the extra “text” and the weights of Grounding DINO: run “{install}” and “{fetch}”.").format(
                    install="pip install 'matting-anything-core[text]'",
                    fetch="matting-anything weights fetch grounding-dino-tiny"))
            self._list(status.get("models") or {})
        return bool(GLib.SOURCE_REMOVE)

    def _words(self, usable: bool, why: str) -> None:
        widget = _field(self._window, "words")
        widget.set_sensitive(usable)
        widget.set_tooltip_text(None if usable else why)

    def _list(self, models: dict[str, Any]) -> None:
        chosen = self._config.get_property("model")
        names = [str(name) for name in models.get("available") or []]
        if chosen not in names:
            names.append(chosen)
        combo = self._models.combo
        combo.remove_all()
        for name in names:
            combo.append(name, name)
        self._config.set_property("model", chosen)
        combo.set_active_id(chosen)


def show_report(report: str) -> None:
    """A window with the report of "Check Setup", to be read and copied."""
    GimpUi.init("matte_selection")
    show_text(_("Matte Selection: Check Setup"), report, monospace=True)


def show_text(title: str, content: str, *, monospace: bool = False) -> None:
    """A window with text of several lines."""
    window = GimpUi.Dialog(title=title, role="matte-selection-text")
    window.add_button(_("_Copy"), Gtk.ResponseType.APPLY)
    window.add_button(_("_Close"), Gtk.ResponseType.CLOSE)
    window.set_default_size(800, 560)
    text = Gtk.TextView(editable=False, monospace=monospace, wrap_mode=Gtk.WrapMode.WORD_CHAR)
    text.set_border_width(12)
    text.get_buffer().set_text(content)
    scrolled = Gtk.ScrolledWindow()
    scrolled.add(text)
    window.get_content_area().pack_start(scrolled, True, True, 0)
    window.show_all()
    while window.run() == Gtk.ResponseType.APPLY:
        clipboard = Gtk.Clipboard.get_default(window.get_display())
        clipboard.set_text(content, -1)
        clipboard.store()
    window.destroy()
