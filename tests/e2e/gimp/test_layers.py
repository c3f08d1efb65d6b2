"""PSD and OpenRaster files of mattes, opened by a real GIMP: layers, mask and pixels are what was written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from matting_anything_core import Image, Prompt
from matting_anything_core.result import Matte

from .session import HERE, Session, results

pytest.importorskip("psd_tools")
pytestmark = pytest.mark.timeout(300)


def test_gimp_opens_files_of_layers(new_session: Callable[[str], Session]) -> None:
    session = new_session("layers")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :60]
    alpha = np.clip((15 - np.hypot(rows - 20, columns - 25)) / 6 + 0.5, 0, 1).astype(np.float32)
    mattes = {bits: Matte(alpha, alpha > 0.5, 0.9, Prompt(box=(5, 2, 45, 38)),
                          Image(rng.integers(0, 2**bits, (40, 60, 3)).astype(f"uint{bits}"))) for bits in (8, 16)}
    files = {"cut.psd": mattes[8], "deep.psd": mattes[16], "cut.ora": mattes[8]}
    for name, matte in files.items():
        matte.save(session.folder / name)
    finished = session.run(HERE / "layers.py")
    assert finished.status == 0, finished.errors
    noted = results(session)
    for name, matte in files.items():
        cut, told = matte.cutout(), noted[name]
        top = float(2**cut.bits - 1)
        pixels = np.load(session.folder / f"{name}.npz")
        assert cut.alpha is not None
        at = told["names"].index("object")
        below = told["names"].index("picture")
        assert told["visible"][at]
        assert not told["visible"][below]
        assert np.abs(pixels[f"layer{below}"][..., :3] * top - matte.image.rgb).max() <= 1
        assert ("16" in told["precision"]) == (cut.bits == 16)
        if name == "cut.ora":
            assert told["names"] == ["object mask", "object", "picture"]
            assert np.abs(pixels[f"layer{at}"][..., 3] * top - cut.alpha).max() <= 1
            seen = cut.alpha > 0
            assert np.abs(pixels[f"layer{at}"][..., :3] * top - cut.rgb)[seen].max() <= 1
        else:
            assert told["masks"][at]
            assert np.abs(pixels[f"mask{at}"].reshape(cut.alpha.shape) * top - cut.alpha).max() <= 1
            assert np.abs(pixels[f"layer{at}"][..., :3] * top - cut.rgb).max() <= 1
