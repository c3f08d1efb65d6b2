"""Words in the plug-in, through a tiny Grounding DINO that is trained here to know coloured shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from matting_anything_core import write_image

from .session import HERE, Session, results

pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_words_name_the_subject_and_nothing_found_is_told(new_session: Callable[[str], Session]) -> None:
    import tiny_grounding as tiny

    session = new_session("words")
    folder = session.folder / "weights" / "grounding-dino-tiny"
    folder.mkdir(parents=True)
    tiny.write_trained(folder)
    picture = np.full((tiny.SIDE, tiny.SIDE, 3), 128, np.uint8)
    x0, y0, x1, y1 = tiny.draw("circle", "red", (17.0, 18.0), 24.0, picture)
    tiny.draw("triangle", "blue", (46.0, 47.0), 24.0, picture)
    write_image(session.folder / "shapes.png", picture)

    finished = session.run(HERE / "words.py", MATTING_ANYTHING_HOME=str(session.folder / "weights"))
    noted = results(session)
    assert finished.status == 0, finished.errors
    assert (noted["found"]["status"], noted["found"]["message"]) == ("success", "")
    alpha = np.load(session.folder / "found.npz")["alpha"]
    assert alpha[y0:y1, x0:x1].mean() > 4 * alpha[35:, 34:].mean()
    assert alpha[y0:y1, x0:x1].mean() > 0.3
    assert noted["each"]["status"] == "success", noted["each"]["message"]
    assert True in noted["each"]["alike"], "the best match is one of all"
    assert noted["nothing"]["status"] == "execution-error"
    assert noted["nothing"]["same"]
    for part in ("Nothing was found", "elephant", "other words"):
        assert part in noted["nothing"]["message"]
