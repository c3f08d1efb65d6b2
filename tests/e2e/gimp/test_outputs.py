"""The plug-in in a real GIMP, through the real service with `lite`, against `matte()` on the same pixels."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from matting_anything_core import Prompt, load_model, write_image
from matting_anything_core.result import Matte

from .session import HERE, Finished, Session, results

pytestmark = pytest.mark.timeout(900)
BOX = (60.0, 20.0, 400.0, 500.0)
"""The selection of outputs.py as left, top, right, bottom."""
STEP = 1 / 255
Run = tuple[Session, Finished, dict[str, Any]]


@pytest.fixture(scope="module")
def run(new_session: Callable[[str], Session]) -> Run:
    session = new_session("outputs")
    y, x = np.mgrid[0:192, 0:192] % 38 - 20
    many = np.where((x ** 2 + y ** 2 < 144)[..., None], np.uint8([200, 60, 50]), np.uint8(120))
    write_image(session.folder / "many.png", many)
    finished = session.run(HERE / "outputs.py", limit=600)
    return session, finished, results(session)


@pytest.fixture(scope="module")
def expected() -> Callable[..., Matte]:
    """`matte()` with the bundled model: (pixels, prompt) -> Matte."""
    model = load_model("lite", device="cpu")
    made: dict[bytes, Matte] = {}

    def make(pixels: np.ndarray[Any, Any], **prompt: Any) -> Matte:
        key = pickle.dumps((pixels, sorted(prompt.items())))
        if key not in made:
            made[key] = model.matte(model.embed(pixels), [Prompt(**prompt)])[0]
        return made[key]

    return make


def arrays(run: Run, name: str) -> Any:
    return np.load(run[0].folder / f"{name}.npz")


def moved(box: tuple[float, ...], offset: tuple[int, int], size: tuple[int, ...]) -> tuple[float, ...]:
    """A box of the image in the pixels of a layer, cut off at its edges."""
    x, y = offset
    return (max(box[0] - x, 0), max(box[1] - y, 0), min(box[2] - x, size[1]), min(box[3] - y, size[0]))


def test_the_script_ran_to_its_end_and_only_the_service_is_left(run: Run) -> None:
    _, finished, noted = run
    assert finished.status == 0, finished.errors
    assert not [name for name in noted if name.endswith(" failed")], noted
    for complaint in ("CRITICAL", "Traceback", "crashed", "PyGIWarning", "Warning: g_", "catalog directory"):
        assert complaint not in finished.errors, finished.errors
    assert len(finished.left) == 1, finished.left
    assert "matting_anything_core.cli serve" in finished.left[0]


@pytest.mark.parametrize("name", ["rgb", "gray", "indexed", "linear8", "u16", "float", "group", "in_group", "offset",
                                  "smaller", "ellipse_box", "rectangle_outline"])
def test_a_mask_is_the_matte(name: str, run: Run, expected: Callable[..., Matte]) -> None:
    noted, kept = run[2][name], arrays(run, name)
    assert (noted["status"], noted["message"]) == ("success", "")
    box = moved(BOX, noted["offset"], kept["sent"].shape)
    wanted = expected(kept["sent"], box=box).alpha
    assert 0.1 < wanted.mean() < 0.9
    assert np.abs(kept["mask"] - wanted).max() <= STEP
    assert not noted["editing"], "the layer is to be painted on, not its mask"
    assert noted["selected"] == ["group" if "group" in name else "Background"]


def test_a_layer_larger_than_the_canvas_has_a_mask_of_its_own_size(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "larger")
    assert run[2]["larger"]["offset"] == [-50, -30]
    assert kept["mask"].shape == (512, 512)
    wanted = expected(kept["sent"], box=(60, 30, 400, 430)).alpha
    assert np.abs(kept["mask"] - wanted).max() <= STEP


def test_without_a_selection_the_clear_subject_is_found(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "none")
    assert np.abs(kept["mask"] - expected(kept["sent"], subject=True).alpha).max() <= STEP


def test_it_is_said_when_the_subject_is_not_certain(run: Run) -> None:
    noted = run[2]["doubts"]
    assert noted["photo.png"] == ["success", ""]
    assert noted["many.png"][0] == "success", noted
    assert noted["many.png"][1].startswith("It is not certain that what was found in “Background” is its subject")


def test_the_layers_mask_may_be_outline_trimap_or_matte_to_correct(run: Run, expected: Callable[..., Matte]) -> None:
    rough = np.zeros((512, 512), np.uint8)
    rough[60:480, 120:340] = 255
    trimap = np.where(rough > 0, np.uint8(128), np.uint8(0))
    trimap[150:400, 180:280] = 255
    drop = np.zeros((512, 512), np.uint8)
    drop[60:100, 120:160] = 255
    for name, prompt in (("outline", {"mask": rough}), ("trimap", {"trimap": trimap}),
                         ("previous", {"previous": rough, "drop": drop})):
        kept = arrays(run, f"mask_{name}")
        assert run[2][f"mask_{name}"]["message"] == ""
        assert np.abs(kept["mask"] - expected(kept["sent"], **prompt).alpha).max() <= STEP, name
    kept = arrays(run, "mask_previous")["mask"]
    assert kept[60:100, 120:160].max() < 0.5
    assert kept[200:300, 200:300].min() == 1


def test_the_quick_mask_is_the_selection_while_it_is_on(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "quick")
    wanted = expected(kept["sent"], box=BOX).alpha
    assert run[2]["quick"] == {"status": "success", "message": "", "selected": ["Qmask"]}
    assert np.abs(kept["mask"] - wanted).max() <= STEP
    assert np.abs(arrays(run, "quick_selection")["mask"] - wanted).max() <= 2 * STEP


def test_the_result_is_put_together_with_the_selection(run: Run, expected: Callable[..., Matte]) -> None:
    old = np.zeros((512, 512), np.float32)
    old[200:500, 200:500] = 1
    for name, wanted in (("add", lambda new: np.minimum(old + new, 1)), ("intersect", lambda new: np.minimum(old, new)),
                         ("subtract", lambda new: np.maximum(old - new, 0))):
        kept = arrays(run, f"selection_{name}")
        new = expected(kept["sent"], points=[(230, 120), (220, 400)]).alpha
        assert np.abs(kept["selection"] - wanted(new)).max() <= 2 * STEP, name


def test_the_result_may_end_at_the_selection(run: Run, expected: Callable[..., Matte]) -> None:
    kept, by = arrays(run, "confined"), arrays(run, "confined_by")["selection"]
    alpha = expected(kept["sent"], box=(100, 60, 300, 360)).alpha
    assert (alpha * (by == 0)).max() > 0.9, "something is to be cut off"
    assert np.abs(kept["mask"] - alpha * by).max() <= STEP


def test_several_boxes_give_one_result_or_one_each(run: Run, expected: Callable[..., Matte]) -> None:
    sent = arrays(run, "objects_one")["sent"]
    alphas = [expected(sent, box=(x, y, x + width, y + height)).alpha
              for x, y, width, height in ((90, 30, 250, 160), (60, 260, 280, 230))]
    together = 1 - (1 - alphas[0]) * (1 - alphas[1])
    assert np.abs(arrays(run, "objects_one")["mask"] - together).max() <= STEP
    noted = {name: run[2][f"objects_{name}"] for name in ("layers", "each", "channels")}
    assert {one["status"] for one in noted.values()} == {"success"}, noted
    assert noted["layers"]["titles"] == ["Background (matte)", "Background"]
    assert np.abs(arrays(run, "objects_layers")["made0"][..., 3] - together).max() <= STEP
    assert noted["each"]["titles"] == ["Background (matte 1)", "Background (matte 2)", "Background"]
    assert noted["channels"]["titles"] == ["Background (matte 2)", "Background (matte 1)"]
    for number, alpha in enumerate(alphas):
        assert np.abs(arrays(run, "objects_each")[f"made{number}"][..., 3] - alpha).max() <= STEP
        assert np.abs(arrays(run, "objects_channels")[f"made{1 - number}"] - alpha).max() <= STEP


@pytest.mark.parametrize(("name", "shape"), [("ellipse_outline", "ellipse"), ("feather_outline", "feather")])
def test_a_selection_may_be_an_outline(name: str, shape: str, run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, name)
    wanted = expected(kept["sent"], mask=arrays(run, shape)["selection"]).alpha
    assert np.abs(kept["mask"] - wanted).max() <= STEP
    assert np.abs(kept["mask"] - arrays(run, name.replace("outline", "box"))["mask"]).max() > 0.5


def test_a_feathered_selections_bounds_are_the_box(run: Run, expected: Callable[..., Matte]) -> None:
    bounds, kept = arrays(run, "feather")["bounds"], arrays(run, "feather_box")
    assert bounds[0] < BOX[0]
    assert np.abs(kept["mask"] - expected(kept["sent"], box=bounds).alpha).max() <= STEP


def test_points_of_a_path_are_clicks(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "points")
    wanted = expected(kept["sent"], points=[(230, 120), (220, 400)]).alpha
    assert np.abs(kept["mask"] - wanted).max() <= STEP
    kept = arrays(run, "not_there")
    wanted = expected(kept["sent"], box=BOX, points=[(370, 450)], labels=[0]).alpha
    assert np.abs(kept["mask"] - wanted).max() <= STEP
    assert arrays(run, "line_there")["mask"][440:480, 370].min() > 0.5, "what a line says holds"


@pytest.mark.parametrize("name", ["", "_float"])
def test_what_happens_to_an_old_mask(name: str, run: Run, expected: Callable[..., Matte]) -> None:
    new = arrays(run, f"mask_replace{name}")
    wanted = expected(new["sent"], box=BOX).alpha
    assert np.abs(new["mask"] - wanted).max() <= STEP
    old = arrays(run, f"old_multiply{name}")["old"]
    assert np.abs(arrays(run, f"mask_multiply{name}")["mask"] - wanted * old).max() <= STEP
    assert np.abs(arrays(run, f"mask_add{name}")["mask"] - np.minimum(wanted + old, 1)).max() <= STEP
    assert np.abs(arrays(run, f"mask_subtract{name}")["mask"] - np.maximum(old - wanted, 0)).max() <= STEP
    stopped = run[2][f"mask_stop{name}"]
    assert stopped["status"] == "execution-error"
    assert "has a mask already" in stopped["message"]
    np.testing.assert_array_equal(arrays(run, f"mask_stop{name}")["mask"], arrays(run, f"old_stop{name}")["old"])


def test_a_selected_mask_stands_for_its_layer(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "mask_itself")
    assert run[2]["mask_itself"]["status"] == "success"
    assert np.abs(kept["mask"] - expected(kept["sent"], box=BOX).alpha).max() <= STEP


def test_a_transparent_layer_keeps_its_alpha_and_is_not_multiplied_twice(
    run: Run, expected: Callable[..., Matte]
) -> None:
    kept = arrays(run, "holes_mask")
    own = kept["sent"][..., 3] / 255
    wanted = expected(kept["sent"], box=BOX).alpha  # holds the layer's own alpha
    seen = kept["mask"] * own
    assert np.abs(seen - wanted).max() <= STEP
    soft = (own > 0.3) & (own < 0.7) & (kept["mask"] > 0.95)
    assert soft.sum() > 1000, "inside the subject the mask is white, however transparent the layer is"
    made = arrays(run, "holes_layer")["made"][..., 3] / 255
    assert np.abs(made - wanted).max() <= STEP


@pytest.mark.parametrize("name", ["", "_float", "_gray"])
def test_a_new_layer_holds_the_clean_cut_out(name: str, run: Run, expected: Callable[..., Matte]) -> None:
    noted, kept = run[2][f"layer{name}"], arrays(run, f"layer{name}")
    assert (noted["status"], noted["layers"], noted["below"], noted["mask"]) == ("success", 2, False, False)
    assert (noted["title"], noted["offset"]) == ("Background (matte)", [20, 10])
    one = expected(kept["sent"], box=moved(BOX, (20, 10), (512, 512)))
    made = kept["made"]
    assert np.abs(made[..., 3] - one.alpha).max() <= STEP
    seen = one.alpha > 0.02
    colours = one.foreground @ np.float32([0.2126, 0.7152, 0.0722]) if name == "_gray" else one.foreground
    got = made[..., 0] if name == "_gray" else made[..., :3]
    assert np.abs(got - colours)[seen].max() <= (0.02 if name == "_gray" else STEP)


@pytest.mark.parametrize("name", ["u8", "float"])
def test_a_new_layer_is_like_its_own_and_keeps_colours_that_srgb_cannot_hold(name: str, run: Run) -> None:
    noted, kept = run[2][f"like_{name}"], arrays(run, f"like_{name}")
    assert (noted["status"], noted["message"], noted["layers"]) == ("success", "", 2)
    assert (noted["opacity"], noted["mode"], noted["visible"]) == (60, "multiply", True)
    assert np.abs(kept["mask"] - 0.5).max() < 0.01
    own, made = kept["own"], kept["made"]
    green, bright = (slice(300, 320), slice(220, 240)), own.min(axis=2) > (2.2 if name == "float" else 0.98)
    assert own[green][..., 0].max() < -0.1
    solid = made[..., 3] == 1
    assert solid[green].mean() > 0.9
    assert (solid & bright).sum() > 100
    assert np.abs(made[..., :3] - own)[solid].max() < 1e-5
    soft = (made[..., 3] > 0.1) & (made[..., 3] < 0.9)
    assert np.abs(made[..., :3] - own)[soft].max() > 0.1, "at soft edges the background is taken out"


def test_a_group_becomes_one_layer_with_its_opacity(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "like_group")
    assert run[2]["like_group"] == {"status": "success", "message": "", "opacity": 40, "group": False}
    assert np.abs(kept["made"][..., 3] - expected(kept["sent"], box=BOX).alpha).max() <= STEP


@pytest.mark.parametrize(("name", "told"), [("deleted", "was deleted meanwhile"), ("closed", "was deleted meanwhile"),
                                            ("resized", "300 × 300 pixels now")])
def test_a_layer_that_is_gone_or_resized_meanwhile_is_noticed(name: str, told: str, run: Run) -> None:
    noted = run[2][f"meanwhile_{name}"]
    assert (noted["changed"], noted["mask"]) == (1, False)
    assert told in noted["message"]


def test_a_layer_that_is_moved_meanwhile_takes_its_mask_along(run: Run, expected: Callable[..., Matte]) -> None:
    noted, kept = run[2]["meanwhile_moved"], arrays(run, "meanwhile_moved")
    assert (noted["message"], noted["changed"]) == ("", 1)
    assert np.abs(kept["mask"] - expected(kept["sent"], box=BOX).alpha).max() <= STEP


def test_an_indexed_image_gets_its_layer_too(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "layer_indexed")
    assert run[2]["layer_indexed"]["status"] == "success"
    wanted = expected(kept["sent"], box=moved(BOX, (20, 10), (512, 512))).alpha
    clear = (wanted < 0.1) | (wanted > 0.9)
    assert np.abs(kept["made"][..., 3] - wanted)[clear].max() <= 0.15


@pytest.mark.parametrize("name", ["", "_u16"])
def test_selection_and_channel_lie_where_the_layer_is(name: str, run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, f"channel{name}")
    alpha = expected(kept["sent"], box=moved(BOX, (20, -10), (512, 512))).alpha
    wanted = np.zeros((512, 512), np.float32)
    wanted[:502, 20:] = alpha[10:, :492]
    assert np.abs(kept["stored"] - wanted).max() <= STEP
    noted = run[2][f"channel{name}"]
    assert (noted["title"], noted["selected"]) == ("Matte of Background", ["Background"])
    # The selection was made of the same rectangle: the channel left it as it was.
    assert np.abs(arrays(run, f"selection{name}")["selection"] - wanted).max() <= STEP
    noted = run[2][f"selection{name}"]
    assert (noted["status"], noted["channels"], noted["selected"]) == ("success", 1, ["Background"])


def test_several_layers_get_a_mask_each(run: Run, expected: Callable[..., Matte]) -> None:
    kept = arrays(run, "several")
    assert run[2]["several"]["status"] == "success"
    assert np.abs(kept["first"] - expected(kept["sent"], box=BOX).alpha).max() <= STEP
    assert np.abs(kept["second"] - expected(kept["sent"], box=moved(BOX, (30, 0), (512, 512))).alpha).max() <= STEP


@pytest.mark.parametrize(("name", "remedy"), [
    ("beside", "select another layer"), ("channel_selected", "Select a layer"),
    ("no_model", "matting-anything weights fetch sam_vit_h"), ("no_words", "matting-anything weights fetch grounding"),
    ("no_path", "Paths tool"), ("nothing", "Select one"), ("thin", "take the selection as a box"),
    ("locked", "Unlock"), ("locked_below", "Unlock"), ("locked_above", "Unlock"), ("locked_above_layer", "Unlock"),
    ("floating", "Anchor"), ("invisible", "nothing was changed"),
    ("no_mask", "Add Layer Mask"), ("no_correction", "nothing says where"), ("black_mask", "shows nothing"),
    *((f"tiny_{output}", "too small") for output in ("mask", "layer", "selection", "channel")),
])
def test_what_cannot_be_done_is_told_and_changes_nothing(name: str, remedy: str, run: Run) -> None:
    noted = run[2][name]
    assert noted["status"] == "execution-error"
    assert remedy in noted["message"]
    assert noted["same"]


def test_a_locked_layer_can_become_all_that_leaves_it_as_it_is(run: Run) -> None:
    assert run[2]["locked_otherwise"]["calls"] == [["success", ""]] * 3


def test_the_procedures_are_in_the_menus_and_documented(run: Run) -> None:
    noted = run[2]
    for name in ("plug-in-matte-selection", "plug-in-matte-selection-last"):
        assert noted[name]["menus"] == ["<Image>/Select", "<Image>/Layer/Mask"]
        assert len(noted[name]["help"]) > 50
    assert noted["plug-in-matte-selection"]["arguments"] == [
        "run-mode", "image", "drawables", "output", "existing-mask", "existing-selection", "selection-is", "mask-is",
        "path-is", "objects", "confine", "words", "model"]
    assert noted["last"] == {"first": ["success", ""], "again": ["success", ""], "mask": True}


def test_check_setup_tells_what_a_helper_would_ask(run: Run) -> None:
    report = run[2]["report"]["report"]
    assert report.startswith("Everything is there")
    for part in ("GIMP", str(run[0].folder / "python"), str(run[0].runtime), "torch", "protocol 1", '"lite"'):
        assert part in report
    endpoint = (run[0].runtime / "server.json").read_text()
    assert endpoint.split('"token": "')[1].split('"')[0] not in report
