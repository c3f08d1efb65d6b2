#!/usr/bin/env python3
"""Matte Selection: a soft mask of what is selected, for GIMP 3.

    procedures (this file) ──► dialog ──► work ──► subject   selection, mask, path and words as prompts
             │                              │ ───► service   finds or starts the local service; client speaks to it
             │                              └────► outcome   layer mask, new layer, selection or channel
             └──► workbench (the window) ──► asking, editing, marks, pointing, viewing: what needs no GTK
                             └─────────────► frame, drawing, edges: what is seen

GIMP's Python has no torch and every call is a new, short process, so the model lives in the service. This plug-in needs
nothing but Python's standard library and GIMP's own bindings.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import gi

for namespace, version in (("Babl", "0.1"), ("Gegl", "0.4"), ("Gimp", "3.0"), ("GimpUi", "3.0"), ("Gdk", "3.0"),
                           ("GdkPixbuf", "2.0"), ("Gtk", "3.0")):
    gi.require_version(namespace, version)

from gi.repository import Gimp, Gio, GLib, GObject  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import arguments  # noqa: E402
import work  # noqa: E402
from client import ClientError  # noqa: E402
from problem import Problem, told  # noqa: E402
from subject import Standing, layers_of  # noqa: E402
from translation import _  # noqa: E402

MATTE = "plug-in-matte-selection"
LAST = "plug-in-matte-selection-last"
CHECK = "plug-in-matte-selection-check"
WINDOW = "plug-in-matte-selection-window"
ICON = Path(__file__).resolve().parent / "matte_selection.svg"


def run_matte(procedure: Any, mode: Any, image: Any, drawables: Any, config: Any, _data: Any) -> Any:
    """The procedure plug-in-matte-selection, in every run mode."""
    def matte() -> list[str] | None:
        layers = layers_of(image, drawables)
        standings = [Standing.of(layer) for layer in layers]
        if mode == Gimp.RunMode.INTERACTIVE:
            import dialog

            if not dialog.ask(procedure, config, image, layers):
                return None
            for standing in standings:
                standing.check_there()
        warnings = work.matte_layers(image, layers, arguments.Asked.of(config))
        if image.get_base_type() == Gimp.ImageBaseType.INDEXED:
            warnings.append(_("This image is indexed: files of such images keep no soft edges. Change it to RGB "
                              "(Image > Mode > RGB) before you export it."))
        if warnings and mode != Gimp.RunMode.NONINTERACTIVE:
            Gimp.message("\n".join(warnings))
        return warnings

    return _guarded(procedure, matte)


def run_last(procedure: Any, mode: Any, image: Any, drawables: Any, _config: Any, _data: Any) -> Any:
    """The procedure plug-in-matte-selection-last: the first one with the values of its last use, without a dialog."""
    procedure.get_plug_in().set_pdb_error_handler(Gimp.PDBErrorHandler.PLUGIN)  # else an error is shown twice
    first = Gimp.get_pdb().lookup_procedure(MATTE)
    config = first.create_config()
    config.set_property("run-mode", Gimp.RunMode.WITH_LAST_VALS)
    config.set_property("image", image)
    config.set_core_object_array("drawables", drawables)
    result = first.run(config)
    status = result.index(0)
    if status in (Gimp.PDBStatusType.SUCCESS, Gimp.PDBStatusType.CANCEL):
        return procedure.new_return_values(status, None)
    return _failed(procedure, Gimp.get_pdb().get_last_error())


def run_window(procedure: Any, mode: Any, image: Any, drawables: Any, config: Any, _data: Any) -> Any:
    """The procedure plug-in-matte-selection-window: the window one works in."""
    def work_in_it() -> list[str] | None:
        layers = layers_of(image, drawables)
        if mode == Gimp.RunMode.NONINTERACTIVE:
            raise Problem(_("This procedure is a window to work in. Without one call {name}.").format(name=MATTE))
        if len(layers) != 1:
            raise Problem(_("The window is for one layer. Select one in the Layers dialog and try again."))
        from workbench import Workbench

        return [] if Workbench(procedure, config, image, layers[0]).run() else None

    return _guarded(procedure, work_in_it)


def run_check(procedure: Any, config: Any, _data: Any) -> Any:
    """The procedure plug-in-matte-selection-check: a report on everything a helper would ask for."""
    def check() -> str:
        import check_setup

        report = check_setup.report()
        if config.get_property("run-mode") == Gimp.RunMode.INTERACTIVE:
            import dialog

            dialog.show_report(report)
        return report

    try:
        report = check()
    except Exception as error:
        return _failed(procedure, _unforeseen(error))
    return _succeeded(procedure, report)


def _guarded(procedure: Any, task: Any) -> Any:
    """The return values of a procedure whose task gives warnings, or None when it was cancelled, or raises."""
    try:
        warnings = task()
    except ClientError as error:
        return _failed(procedure, told(error))
    except Exception as error:
        return _failed(procedure, _unforeseen(error))
    if warnings is None:
        return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, None)
    return _succeeded(procedure, "\n".join(warnings))


def _succeeded(procedure: Any, text: str) -> Any:
    """Return values with a text."""
    values = procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, None)
    values.remove(1)
    values.insert(1, GObject.Value(GObject.TYPE_STRING, text))
    return values


def _failed(procedure: Any, text: str) -> Any:
    error = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), text, 0)
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, error)


def _unforeseen(error: Exception) -> str:
    traceback.print_exc()
    return _("Something went wrong that was not foreseen: {error}. Please report this, with what “Check Setup” says.") \
        .format(error=f"{type(error).__name__}: {error}")


class MatteSelection(Gimp.PlugIn):  # type: ignore[misc]
    """What GIMP asks: which procedures there are, and what they look like."""

    def do_set_i18n(self, _name: str) -> bool:
        return False  # texts are translated here (translation.py)

    def do_query_procedures(self) -> list[str]:
        return [MATTE, LAST, WINDOW, CHECK]

    def do_create_procedure(self, name: str) -> Any:
        if name == CHECK:
            return self._create_check()
        run = {MATTE: run_matte, LAST: run_last, WINDOW: run_window}[name]
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        procedure.set_image_types("*")
        one, several = Gimp.ProcedureSensitivityMask.DRAWABLE, Gimp.ProcedureSensitivityMask.DRAWABLES
        procedure.set_sensitivity_mask(one if name == WINDOW else one | several)
        if name == MATTE:
            self._describe_matte(procedure)
        elif name == WINDOW:
            procedure.set_menu_label(_("Matte Selection _Window..."))
            procedure.set_documentation(
                _("A window to work in: boxes, clicks, brush strokes and words, with the matte over the picture"),
                _("Shows the layer with its matte over it. Boxes, clicks, brush strokes and words say what the subject "
                  "is, and each correction is seen at once; its edge can be shifted, softened and made harder. The "
                  "result becomes a layer mask, a new layer, the selection or a channel, and one step undoes it."),
                WINDOW)
            arguments.add_window(procedure)
            procedure.add_string_return_value("warnings", _("Warnings"),
                                              _("What is doubtful of the result; as a rule nothing"), "",
                                              GObject.ParamFlags.READWRITE)
        else:
            procedure.set_menu_label(_("Matte Selection (last _values)"))
            procedure.set_documentation(_("Matte Selection again, with the values of its last use"),
                                        _("Runs {name} with the values of its last use, without asking.")
                                        .format(name=MATTE), name)
        procedure.add_menu_path("<Image>/Select")
        procedure.add_menu_path("<Image>/Layer/Mask")
        return self._signed(procedure)

    def _describe_matte(self, procedure: Any) -> None:
        procedure.set_menu_label(_("Matte Se_lection..."))
        procedure.set_documentation(
            _("A soft mask of the subject in the selection: hair, fur and glass stay soft"),
            arguments.HELP, MATTE)
        arguments.add(procedure)
        procedure.add_string_return_value("warnings", _("Warnings"),
                                          _("What is doubtful of the result; as a rule nothing"), "",
                                          GObject.ParamFlags.READWRITE)

    def _create_check(self) -> Any:
        procedure = Gimp.Procedure.new(self, CHECK, Gimp.PDBProcType.PLUGIN, run_check, None)
        procedure.set_menu_label(_("Matte Selection: Check Set_up"))
        procedure.set_documentation(
            _("Is everything there that Matte Selection needs?"),
            _("Reports versions, folders, the interpreter, the service and its log, and tries to start the service "
              "when none is running. Returns the report as text; in interactive mode a window shows it."), CHECK)
        procedure.add_enum_argument("run-mode", _("Run mode"), _("The run mode"), Gimp.RunMode,
                                    Gimp.RunMode.NONINTERACTIVE, GObject.ParamFlags.READWRITE)
        procedure.add_string_return_value("report", _("Report"), _("What was found, as text of several lines"), "",
                                          GObject.ParamFlags.READWRITE)
        procedure.add_menu_path("<Image>/Select")
        procedure.add_menu_path("<Image>/Help")
        return self._signed(procedure)

    def _signed(self, procedure: Any) -> Any:
        procedure.set_attribution("The Matting Anything developers", "The Matting Anything developers, MIT licence",
                                  "2026")
        procedure.set_icon_file(Gio.File.new_for_path(str(ICON)))
        return procedure


Gimp.main(MatteSelection.__gtype__, sys.argv)
