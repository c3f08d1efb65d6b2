"""What can be asked: the arguments of the procedure plug-in-matte-selection, its dialog's fields and its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gi.repository import Gimp, GObject
from translation import _

HELP = _(
    "Cuts out the subject that the selection is around. The selection's bounds are the box; without a selection the "
    "layer's one clear subject is looked for. Instead, a selection may be a rough outline of the subject or strokes "
    "on it, points of a path may be clicks on it, words may name it, and the layer's mask may be gone on from. The "
    "result is a layer mask, a new layer with clean colours, the selection or a channel; one step undoes it. When it "
    "fails, or next to nothing is found, nothing has changed. Several layers are matted one after the other. Works "
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
        ("add", _("Add"), _("What either of them shows is visible")),
        ("subtract", _("Subtract"), _("What the matte shows is taken out of the mask")),
        ("multiply", _("Intersect"), _("Only what both show remains visible")),
        ("stop", _("Stop"), _("Nothing is done")),
    )),
    ("existing-selection", _("Existin_g selection"), _("What happens to the selection when the result is one"), (
        ("replace", _("Replace"), _("The matte takes its place")),
        ("add", _("Add"), _("What is in either of them is selected")),
        ("subtract", _("Subtract"), _("The matte is taken out of the selection")),
        ("intersect", _("Intersect"), _("Only what is in both is selected")),
    )),
    ("selection-is", _("Selection _is"), _("How the selection, or the Quick Mask, is understood"), (
        ("box", _("A box around the subject"), _("Only its bounds count")),
        ("boxes", _("A box in each of its parts"), _("Each separate part is around a subject of its own")),
        ("outline", _("A rough outline of it"), _("Its shape counts, when it is not a rectangle")),
        ("keep", _("Painted on the subject"), _("What is selected belongs to the subject, which may be larger")),
        ("drop", _("Painted on the background"), _("What is selected does not belong to the subject")),
        ("unused", _("Not used"), _("The selection does not matter")),
    )),
    ("mask-is", _("M_ask is"), _("How a mask that the layer has already is understood"), (
        ("unused", _("Not used"), _("The mask does not matter")),
        ("outline", _("A rough outline of the subject"), _("What it shows is the subject, about")),
        ("trimap", _("A trimap"), _("White is the subject, black is not, and what is gray is found out")),
        ("previous", _("A matte to correct"), _("It stays as it is but for what points and strokes say")),
    )),
    ("path-is", _("_Path is"), _("Whether the points of the selected path are clicks, or its lines strokes"), (
        ("unused", _("Not used"), _("Paths do not matter")),
        ("subject", _("Points on the subject"), _("Each of its points is on the subject")),
        ("background", _("Points on the background"), _("Each of its points is on something else")),
        ("keep", _("A line on the subject"), _("All along, it is on the subject")),
        ("drop", _("A line on the background"), _("All along, it is on something else")),
    )),
    ("objects", _("O_bjects"), _("What becomes of several objects, found by words or in several boxes"), (
        ("one", _("One result for all"), _("The best match of the words, and all boxes together")),
        ("each", _("A layer or channel for each"), _("Every match of the words, and every box, by itself")),
    )),
)
"""(name, label, meaning, options); the first option is the default."""

SWITCHES = (
    ("confine", _("En_d at the selection"), _("Nothing outside of the selection is taken, whatever was found")),
)
"""(name, label, meaning); off by default."""

TEXTS = (
    ("words", _("_Words"), _("What the subject is, for example “the dog on the left”; a selection restricts where it "
                             "is looked for"), ""),
    ("model", _("M_odel"), _("The model's name: lite comes with the package; vit_b, vit_l and vit_h when their weights "
                             "were fetched"), "lite"),
)
"""(name, label, meaning, default)."""

EDGES = (
    ("shift", _("Shift edge"), _("Pixels by which the subject gets larger; smaller when negative"), -30.0, 30.0, 0.0),
    ("feather", _("Feather"), _("Pixels over which its edge gets softer, to either side"), 0.0, 50.0, 0.0),
    ("contrast", _("Contrast"), _("How hard its edge gets, in per cent"), 0.0, 100.0, 0.0),
)
"""Numbers of the window: (name, label, meaning, lowest, highest, default)."""
AMOUNT = ("amount", _("Decontamination"),
          _("How far the old background is taken out of the colours at the edge, in per cent"), 0.0, 100.0, 100.0)
BAND = ("band", _("Band"), _("Pixels to either side of the edge that are looked at anew"), 1.0, 100.0, 10.0)
CLEAN = ("clean", _("Clean colours"), _("Take the old background out of the colours of a new layer"))
WINDOW = ("output", "existing-mask", "existing-selection")
"""Names of CHOICES that the window has as well."""

NAMES = [name for name, *_rest in (*CHOICES, *SWITCHES, *TEXTS)]


@dataclass(frozen=True)
class Asked:
    """What was asked for in the dialog or by the caller."""

    output: str = "mask"
    existing_mask: str = "replace"
    existing_selection: str = "replace"
    selection_is: str = "box"
    mask_is: str = "unused"
    path_is: str = "unused"
    objects: str = "one"
    confine: bool = False
    words: str = ""
    model: str = "lite"

    @property
    def separate(self) -> bool:
        """Whether each object becomes a result of its own: a mask and the selection are one for all."""
        return self.objects == "each" and self.output in ("layer", "channel")

    @classmethod
    def of(cls, config: Any) -> Asked:
        """The values of a procedure's configuration."""
        values: list[Any] = [config.get_property(name) for name in NAMES]
        cleaned: list[Any] = [value if isinstance(value, bool) else (value or "").strip() for value in values]
        return cls(*cleaned)


def add(procedure: Any) -> None:
    """Give a procedure these arguments."""
    for name, label, meaning, options in CHOICES:
        choice = Gimp.Choice.new()
        for number, option in enumerate(options):
            nick, text, blurb = option
            choice.add(nick, number, text, blurb)
        procedure.add_choice_argument(name, label, meaning, choice, options[0][0], GObject.ParamFlags.READWRITE)
    for name, label, meaning in SWITCHES:
        procedure.add_boolean_argument(name, label, meaning, False, GObject.ParamFlags.READWRITE)
    for name, label, meaning, default in TEXTS:
        procedure.add_string_argument(name, label, meaning, default, GObject.ParamFlags.READWRITE)


def add_window(procedure: Any) -> None:
    """Give the window's procedure its arguments."""
    flags = GObject.ParamFlags.READWRITE
    for name, label, meaning, options in CHOICES:
        if name in WINDOW:
            choice = Gimp.Choice.new()
            for number, (nick, text, blurb) in enumerate(options):
                choice.add(nick, number, text, blurb)
            procedure.add_choice_argument(name, label, meaning, choice, options[0][0], flags)
    for name, label, meaning, low, high, default in (*EDGES, AMOUNT, BAND):
        procedure.add_double_argument(name, label, meaning, low, high, default, flags)
    procedure.add_boolean_argument(*CLEAN, True, flags)
    procedure.add_string_argument(*TEXTS[-1], flags)


def help_text() -> str:
    """What the procedure does, and what each of its arguments means."""
    lines = [HELP]
    for name, label, meaning, options in CHOICES:
        lines += ["", f"{label.replace('_', '')} ({name}): {meaning}"]
        lines += [f"    {text} ({nick}): {blurb}" for nick, text, blurb in options]
    for name, label, meaning, *_default in (*SWITCHES, *TEXTS):
        lines += ["", f"{label.replace('_', '')} ({name}): {meaning}"]
    return "\n".join(lines)
