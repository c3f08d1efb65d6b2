"""The plug-in speaks GIMP's language, and English where it does not know that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .session import HERE, Session, results

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(("language", "label", "nick", "message"), [
    ("de", "Auswahl freistel_len …", "_Ergebnis", "berührt die Ebene „Background“ nicht"),
    ("fi:en", "Matte Se_lection...", "Resul_t", "does not touch the layer “Background”"),
])
def test_the_language(language: str, label: str, nick: str, message: str,
                      new_session: Callable[[str], Session]) -> None:
    session = new_session("language")
    finished = session.run(HERE / "language.py", LANGUAGE=language)
    texts = results(session)["texts"]
    assert (texts["label"], texts["nick"]) == (label, nick)
    assert message in texts["message"]
    assert finished.left == [], "what cannot be done starts no service"
