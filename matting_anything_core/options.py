"""How a matte is made: the options that a caller may set, as one value.

Each option is written here once, with its choices and its help; the command line, batches, the service, the benchmark
and the nodes take both from here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypedDict, get_args

from .errors import PromptError

Guidance = Literal["mask", "alpha"]
Sides = Literal["one", "two"]
Band = Literal["auto", "narrow", "wide"]


class OptionKeywords(TypedDict, total=False):
    """The same options as keywords of `matte`."""

    guidance: Guidance | Literal["auto"]
    sides: Sides | Literal["auto"]
    postprocess: bool
    detail: bool
    reference: bool
    band: Band
    transparent: bool


@dataclass(frozen=True)
class MatteOptions:
    """How a matte is made from a mask.

    Parameters
    ----------
    guidance : {"auto", "mask", "alpha"}
        What merging starts from (section 3.3 of the paper): the mask, for images with several objects, or the coarsest
        alpha, for one clear subject. "auto" is what suits the model.
    sides : {"auto", "one", "two"}
        Whether merging may change only the outside of the mask's edge or its inside as well.
    postprocess : bool
        With alpha guidance: outside of the mask's bounds, the mask itself.
    detail : bool
        Take the edges of images larger than the network's input from their own pixels and, with models whose encoder is
        quick, look at a crop around the object.
    reference : bool
        Exactly what the authors' released program does where it departs from the paper: no detail, no corrections.
    band : {"auto", "narrow", "wide"}
        With ViTMatte: how wide the part along the mask's edge is whose alpha is found. "auto" goes by the decoder's
        doubts and the image's structure (wide in hair, narrow along a table's edge).
    transparent : bool
        With ViTMatte: the object is seen through (glass, water, a veil), so alpha is found inside of it as well.

    Raises
    ------
    PromptError
        For a value that an option does not have.
    """

    guidance: Guidance | Literal["auto"] = field(
        default="auto", metadata={"help": "what merging starts from: mask (several objects in the image) or alpha "
                                          "(one clear subject); auto is what suits the model"})
    sides: Sides | Literal["auto"] = field(
        default="auto", metadata={"help": "change the mask's edge on its outer side only (one) or on both (two)"})
    postprocess: bool = field(
        default=False, metadata={"help": "with alpha guidance: nothing outside of the mask's bounds"})
    detail: bool = field(
        default=True, metadata={"help": "edges from the image's own pixels, and a crop around the object where the "
                                        "model's encoder is quick"})
    reference: bool = field(
        default=False, metadata={"help": "follow the authors' released program, mistakes included"})
    band: Band = field(
        default="auto", metadata={"help": "with ViTMatte: how wide the band along the mask's edge is whose alpha is "
                                          "found; auto is wide in hair and narrow along hard edges"})
    transparent: bool = field(
        default=False, metadata={"help": "with ViTMatte: the object is seen through (glass, a veil), so alpha is found "
                                         "inside of it as well"})

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise PromptError(f"{name} was given as {value!r}; expected {', '.join(known[:-1])} or {known[-1]}")
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise PromptError(f"{name} was given as {getattr(self, name)!r}; expected True or False")

    @classmethod
    def of(cls, options: MatteOptions | None, keywords: OptionKeywords) -> MatteOptions:
        """Options with keywords in the place of their fields.

        Raises
        ------
        PromptError
            For a keyword or a value that is not known.
        """
        unknown = sorted(set(keywords) - {one.name for one in fields(cls)})
        if unknown:
            raise PromptError(f"unknown option {', '.join(unknown)}; expected {', '.join(OPTION_HELP)}")
        return replace(options or cls(), **keywords)


CHOICES: dict[str, tuple[str, ...]] = {
    "guidance": ("auto", *get_args(Guidance)), "sides": ("auto", *get_args(Sides)),
    "band": get_args(Band),
}
"""The values of the options that have a choice of words."""
SWITCHES: dict[str, bool] = {one.name: one.default for one in fields(MatteOptions) if isinstance(one.default, bool)}
"""The options that are on or off, and what they are unless something is said."""
OPTION_HELP: dict[str, str] = {one.name: str(one.metadata["help"]) for one in fields(MatteOptions)}
"""A line of help for each option."""
USUAL = MatteOptions()
"""What a matte is made with unless something is said."""


def chosen(value: str, default: Any) -> Any:
    """An option's value, or the model's own where it is "auto"."""
    return default if value == "auto" else value
