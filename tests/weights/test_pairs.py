"""Segmenter and alpha head, named together or apart: what goes together, what does not, and what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from types import MappingProxyType

import pytest
import tiny_vitmatte as tiny
import torch
from safetensors.torch import save_file
from tiny import picture

from matting_anything_core import WeightsError, load_model, matte
from matting_anything_core.cli import main
from matting_anything_core.weights import catalogue
from matting_anything_core.weights.convert import convert
from matting_anything_core.weights.store import bundled_path, files_behind, find, open_checkpoint
from matting_anything_core.weights.verify import verify_file

from .serving import ranged


@pytest.fixture
def own(tmp_path):
    """A file of ViTMatte as transformers saves it."""
    path = tmp_path / "own.safetensors"
    save_file(tiny.made_weights(tiny.shapes_of(tiny.tiny_config())), path, metadata={"format": "pt"})
    return path


def test_a_file_is_paired_with_a_segmenter_by_name_or_apart(home, own, files) -> None:
    for model in (load_model(f"lite+{own}", device="cpu"), load_model("lite", head=own, device="cpu")):
        assert (model.name, model.defaults.head) == ("lite+vitmatte_64", "vitmatte")
        assert model.defaults.crops  # the rest is lite's
    checkpoint = open_checkpoint(f"{files['model']}+{own}")
    assert checkpoint.architecture == "vit_tiny_test"
    assert checkpoint.head is not None
    assert checkpoint.metadata["m2m_file"] == str(own)
    assert open_checkpoint(files["sam"], head=own).head is not None  # SAM alone is enough
    assert files_behind(f"lite+{own}") == [bundled_path(), own]
    found = matte(picture(60, 80), (10, 10, 60, 50), model=f"lite+{own}", device="cpu")
    assert found.alpha.shape == (60, 80)
    embedding = load_model("lite", device="cpu").embed(picture(40, 40))
    assert embedding.model != load_model(f"lite+{own}", device="cpu").embed(picture(40, 40)).model


def test_a_name_is_found_in_the_weights_folder(home, own, tmp_path) -> None:
    home.mkdir()
    shutil.copy(own, home / "vitmatte_s.safetensors")
    assert find("lite+vitmatte_s") == [bundled_path(), home / "vitmatte_s.safetensors"]
    assert load_model("lite+vitmatte_s", device="cpu").defaults.head == "vitmatte"
    shutil.copy(own, tmp_path / "vitmatte-base-composition-1k.bin")  # as published, in a host's folder
    assert open_checkpoint("lite+vitmatte_b", folders=[tmp_path]).head is not None
    shutil.copy(own, home / "fur.safetensors")
    assert open_checkpoint("lite+fur").head is not None


def test_the_guided_head_goes_with_anything(home, files) -> None:
    model = load_model(files["sam"], head="guided", device="cpu")
    assert (model.name, model.defaults.head) == ("vit_tiny_test+guided", "guided")


def test_mask_to_matte_goes_with_its_own_segmenter_only(home, files, m2m, tmp_path) -> None:
    from matting_anything_core.weights.convert import write_model

    assert open_checkpoint(f"{files['sam']}+{files['m2m']}").head is None
    other = write_model(tmp_path / "other.safetensors", m2m=m2m, metadata={"architecture": "vit_h"})
    with pytest.raises(WeightsError, match=r"is the Mask-to-Matte of vit_h, but .*ViTMatte goes with any: "
                                           r"vit_tiny_test\+vitmatte_s"):
        open_checkpoint(f"{files['sam']}+{other}")


@pytest.mark.parametrize(("name", "said"), [
    ("lite+vitmatte_s", r"not installed .*matting-anything weights fetch vitmatte_s$"),
    ("vit_b+vitmatte_s", r"missing: sam_vit_b\); get it with: matting-anything weights fetch vit_b\+vitmatte_s$"),
    ("lite+vitmatte_s_d646", r"no checksum to hold it to, so get it from https://huggingface.co/hustvl/vitmatte-small-"
                             r"distinctions-646/.* give its path \(lite\+FILE\), or take vitmatte_s$"),
    ("lite+vitmate_s", r"no alpha head called 'vitmate_s'; known are vitmatte_s, vitmatte_b"),
    ("lite+vit_b", "vit_b is a model with a segmenter, and lite has one already"),
    ("lite+", r"nothing on one side of the \+; expected a segmenter and an alpha head"),
    ("+vitmatte_s", r"nothing on one side of the \+"),
    ("vitmatte_s", "vitmatte_s is not installed"),
    ("/no/such+file.safetensors", r"/no/such\+file\.safetensors does not exist"),
    ("nothing+vitmatte_s", "no model or file of weights called 'nothing'"),
])
def test_what_cannot_be_says_what_can(home, name: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        open_checkpoint(name)


def test_an_alpha_head_alone_is_no_model(home, own, files) -> None:
    with pytest.raises(WeightsError, match=r"own\.safetensors holds ViTMatte, an alpha head, which needs a segmenter "
                                           r"before it: lite\+"):
        load_model(own, device="cpu")
    with pytest.raises(WeightsError, match="an alpha head was named without a segmenter"):
        open_checkpoint(None, head=own)
    with pytest.raises(WeightsError, match="two alpha heads were named"):
        open_checkpoint(f"lite+{own}", head="guided")
    with pytest.raises(WeightsError, match="one takes the other's place"):
        open_checkpoint("lite", head=own, m2m=files["m2m"])
    with pytest.raises(WeightsError, match="holds a segmenter and no alpha head"):
        open_checkpoint(f"lite+{files['sam']}")
    with pytest.raises(WeightsError, match="holds ViTMatte, an alpha head"):
        open_checkpoint(f"{own}+{own}")


def test_a_plus_in_the_name_of_a_file_is_no_pair(home, files, tmp_path) -> None:
    path = tmp_path / "a+b.safetensors"
    shutil.copy(files["model"], path)
    assert open_checkpoint(str(path)).head is None
    home.mkdir()
    shutil.copy(files["model"], home / "mine+yours.safetensors")
    assert open_checkpoint("mine+yours").head is None


def test_it_is_converted_and_verified(home, own, tmp_path) -> None:
    theirs = tmp_path / "theirs.pth"
    torch.save({"model": tiny.made_weights(tiny.shapes_of(tiny.tiny_config()))}, theirs)
    path = convert([theirs], tmp_path / "half.safetensors", dtype="float16")
    assert verify_file(path).state == "ok"
    assert open_checkpoint(f"lite+{path}").metadata["m2m_architecture"] == "vitmatte_64"
    load_model(f"lite+{path}", device="cpu")
    with pytest.raises(WeightsError, match="goes into a file of its own"):
        convert([bundled_path(), own], tmp_path / "both.safetensors")


@pytest.fixture
def published(server, own, monkeypatch):
    """The catalogue's vitmatte_s as a small file on the test's server."""
    body = own.read_bytes()
    changed = dataclasses.replace(
        catalogue.FILES["vitmatte_s"], architecture="vitmatte_64", size=len(body),
        url=server.url.replace("/weights.pth", "/hustvl/vitmatte-small-composition-1k/resolve/x/model.safetensors"),
        sha256=hashlib.sha256(body).hexdigest())
    monkeypatch.setattr(catalogue, "FILES", MappingProxyType({**catalogue.FILES, "vitmatte_s": changed}))
    server.will(lambda handler: ranged(handler, body))


def test_a_pair_is_fetched_listed_verified_and_used(home, published, server, capsys, tmp_path) -> None:
    from matting_anything_core import write_image

    assert main(["weights", "fetch", "lite+vitmatte_s"]) == 0
    assert [path.name for path in home.iterdir() if path.suffix != ".lock"] == ["vitmatte_s.safetensors"]
    assert main(["weights", "fetch", "lite+vitmatte_s"]) == 0
    assert len(server.requests) == 1  # nothing is fetched twice
    capsys.readouterr()
    assert main(["weights", "verify", "lite+vitmatte_s"]) == 0
    assert "made from the published file" in capsys.readouterr().out
    assert main(["weights", "list"]) == 0
    listed = capsys.readouterr().out
    assert "lite+vitmatte_s" in listed
    assert next(line for line in listed.splitlines() if line.startswith("vitmatte_s ")).split()[1] == "yes"
    write_image(tmp_path / "in.png", picture(60, 80))
    assert main(["matte", str(tmp_path / "in.png"), "--box", "10,10,60,50", "--model", "lite+vitmatte_s",
                 "--transparent", "--band", "wide", "-o", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").is_file()


def test_the_service_offers_the_pairs_that_are_installed(home, own) -> None:
    from matting_anything_core.server.engine import Engine
    from matting_anything_core.server.settings import Settings

    engine = Engine(Settings(device="cpu"))
    assert engine.available() == ["lite"]
    home.mkdir()
    shutil.copy(own, home / "vitmatte_s.safetensors")
    assert engine.available() == ["lite", "lite+vitmatte_s"]
    assert engine.load("lite+vitmatte_s").defaults.head == "vitmatte"
    with pytest.raises(WeightsError, match="this service has lite, lite"):
        engine.load("lite+nothing")
