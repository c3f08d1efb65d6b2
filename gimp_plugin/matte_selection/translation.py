"""The plug-in's texts in the language of GIMP: `_("…")`. The texts are in locale/LANGUAGE/LC_MESSAGES."""

from __future__ import annotations

import gettext
from pathlib import Path

DOMAIN = "matte_selection"
FOLDER = Path(__file__).resolve().parent / "locale"


def _languages() -> list[str] | None:
    """What GLib says, which knows the system's language on Windows and macOS too; None: what the environment says."""
    try:
        from gi.repository import GLib
    except ImportError:
        return None
    return list(GLib.get_language_names())


_ = gettext.translation(DOMAIN, FOLDER, languages=_languages(), fallback=True).gettext
