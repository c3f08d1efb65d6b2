"""What can be asked: the arguments of the procedure plug-in-matte-selection, its dialog's fields and its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gi.repository import Gimp, GObject
from translation import _

HELP = _(
    "Cuts out the subject that the selection is around. The selection's bounds are the box; without a selection the "
    "whole layer is. Instead, a selection may be a rough outline of the subject, points of a path may be clicks on it, "
    "and words may name it. The result is a layer mask, a new layer with clean colours, the selection or a channel; "
    "one step undoes it. When it fails, nothing has changed. Several layers are matted one after the other. Works "
    "through the local service of Matting Anything, which is started when none is running.")

CHOICES = (
    ("output", _("Resul_t"), _("What the matte becomes"), (
        ("mask", _("Layer mask"), _("A mask on the selected layer; its pixels stay as they are")),
        ("layer", _("New layer"), _("The subject alone, with clean edge colours; the layer it comes from is hidden")),
        ("selection", _("Selection"), _("The matte becomes the selection")),
        ("channel", _("Channel"), _("The matte becomes a channel")),
    )),
    ("existing-mask", _("E_xisting mask"), _("What happens to a mask that the layer has already"), (
        ("replace", _("Replace"), _("The new mask takes its place")),
        ("multiply", _("Multiply"), _("Only what both show remains visible")),
        ("stop", _("Stop"), _("Nothing is done")),
    )),
    ("selection-is", _("Selection _is"), _("How the selection is understood"), (
        ("box", _("A box around the subject"), _("Only its bounds count")),
        ("outline", _("A rough outline of it"), _("Its shape counts, when it is not a rectangle")),
    )),
    ("path-is", _("_Path's points are"), _("Whether the points of the selected path are clicks"), (
        ("unused", _("Not used"), _("Paths do not matter")),
        ("subject", _("On the subject"), _("Each point is on the subject")),
        ("background", _("On the background"), _("Each point is on something else")),
    )),
)
"""(name, label, meaning, options); the first option is the default."""

TEXTS = (
    ("words", _("_Words"), _("What the subject is, for example “the dog on the left”; a selection restricts where it "
                             "is looked for"), ""),
    ("model", _("M_odel"), _("The model's name: lite comes with the package; vit_b, vit_l and vit_h when their weights "
                             "were fetched"), "lite"),
)
"""(name, label, meaning, default)."""

NAMES = [name for name, *_rest in (*CHOICES, *TEXTS)]


@dataclass(frozen=True)
class Asked:
    """What was asked for in the dialog or by the caller."""

    output: str
    existing_mask: str
    selection_is: str
    path_is: str
    words: str
    model: str

    @classmethod
    def of(cls, config: Any) -> Asked:
        """The values of a procedure's configuration."""
        return cls(*((config.get_property(name) or "").strip() for name in NAMES))


def add(procedure: Any) -> None:
    """Give a procedure these arguments."""
    for name, label, meaning, options in CHOICES:
        choice = Gimp.Choice.new()
        for number, option in enumerate(options):
            nick, text, blurb = option
            choice.add(nick, number, text, blurb)
        procedure.add_choice_argument(name, label, meaning, choice, options[0][0], GObject.ParamFlags.READWRITE)
    for name, label, meaning, default in TEXTS:
        procedure.add_string_argument(name, label, meaning, default, GObject.ParamFlags.READWRITE)


def help_text() -> str:
    """What the procedure does, and what each of its arguments means."""
    lines = [HELP]
    for name, label, meaning, options in CHOICES:
        lines += ["", f"{label.replace('_', '')} ({name}): {meaning}"]
        lines += [f"    {text} ({nick}): {blurb}" for nick, text, blurb in options]
    for name, label, meaning, _default in TEXTS:
        lines += ["", f"{label.replace('_', '')} ({name}): {meaning}"]
    return "\n".join(lines)
