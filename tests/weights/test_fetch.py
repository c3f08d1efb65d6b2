"""`matting-anything weights`, from the command line down to a real server and real files."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from types import MappingProxyType

import pytest

from matting_anything_core import WeightsError
from matting_anything_core.cli import weights as cli
from matting_anything_core.weights import catalogue
from matting_anything_core.weights.fetch import fetch
from matting_anything_core.weights.store import bundled_path, open_checkpoint

from .serving import ranged, status


def command(*words):
    parser = argparse.ArgumentParser("matting-anything")
    cli.add(parser.add_subparsers())
    args = parser.parse_args(["weights", *words])
    return args.run(args)


@pytest.fixture
def published(server, files, monkeypatch):
    """The catalogue's sam_vit_b and m2m_vit_b as small files on the test's server; m2m_vit_l without a checksum."""
    bodies = {"/sam.pth": files["sam"].read_bytes(), "/m2m.pth": files["m2m"].read_bytes()}
    changed = {}
    for name, path in (("sam_vit_b", "/sam.pth"), ("m2m_vit_b", "/m2m.pth"), ("m2m_vit_l", "/m2m.pth")):
        known = name != "m2m_vit_l"
        changed[name] = dataclasses.replace(
            catalogue.FILES[name], architecture="vit_tiny_test", url=server.url.replace("/weights.pth", path),
            size=len(bodies[path]) if known else None,
            sha256=hashlib.sha256(bodies[path]).hexdigest() if known else None,
        )
    monkeypatch.setattr(catalogue, "FILES", MappingProxyType({**catalogue.FILES, **changed}))
    server.will(lambda handler: ranged(handler, bodies[handler.path]))
    return changed


def test_a_model_is_fetched_converted_checked_and_opened(home, published, server, capsys):
    assert command("fetch", "vit_b") == 0
    assert sorted(path.name for path in home.iterdir() if path.suffix != ".lock") == [
        "m2m_vit_b.safetensors", "sam_vit_b.safetensors"]
    checkpoint = open_checkpoint("vit_b")
    assert checkpoint.metadata["licence"] == "Apache-2.0; MIT"
    assert checkpoint.metadata["sam_source_sha256"] == published["sam_vit_b"].sha256
    assert command("fetch", "vit_b") == 0
    assert len(server.requests) == 2  # nothing is fetched twice
    capsys.readouterr()
    assert command("verify") == 0
    assert capsys.readouterr().out.count("made from the published file") == 2
    assert command("path", "vit_b") == 0
    assert capsys.readouterr().out.split() == [str(home / "sam_vit_b.safetensors"), str(home / "m2m_vit_b.safetensors")]
    assert command("list") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "yes" in rows["vit_b"].split()
    assert "no" in rows["vit_h"].split()
    assert "bundled" in rows["lite"]
    assert rows["mam_vit_b"].split()[2] == "?"


def test_damage_is_found_and_named(home, published, capsys):
    command("fetch", "m2m_vit_b")
    path = home / "m2m_vit_b.safetensors"
    content = bytearray(path.read_bytes())
    content[-5_000_000] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert command("verify", "m2m_vit_b", str(bundled_path())) == 1
    assert f"damaged     {path}" in capsys.readouterr().out


def test_without_a_checksum_only_with_one_or_with_trust(home, published, server, files):
    with pytest.raises(WeightsError, match=r"no published checksum.*--sha256 HEX.*--trust"):
        command("fetch", "m2m_vit_l")
    with pytest.raises(WeightsError, match="no published checksum"):
        command("fetch", "vit_l")
    with pytest.raises(WeightsError, match="64 hexadecimal"):
        command("fetch", "m2m_vit_l", "--sha256", "12")
    assert server.requests == []
    with pytest.raises(WeightsError, match="another file than expected"):
        command("fetch", "m2m_vit_l", "--sha256", "0" * 64)
    assert command("fetch", "m2m_vit_l", "--sha256", hashlib.sha256(files["m2m"].read_bytes()).hexdigest().upper()) == 0
    (home / "m2m_vit_l.safetensors").unlink()
    assert command("fetch", "m2m_vit_l", "--trust", "--keep") == 0
    assert (home / "m2m.pth").read_bytes() == files["m2m"].read_bytes()


def test_a_given_checksum_does_not_replace_the_published_one(home, published):
    with pytest.raises(WeightsError, match="not the one given"):
        command("fetch", "m2m_vit_b", "--sha256", "0" * 64)


def test_a_mirror_is_held_to_the_same_checksum(home, published, server):
    mirror = server.url.replace("/weights.pth", "/sam.pth")
    with pytest.raises(WeightsError, match="another file than expected"):
        command("fetch", "m2m_vit_b", "--url", mirror)
    with pytest.raises(WeightsError, match="one by one"):
        command("fetch", "vit_b", "--url", mirror)
    assert command("fetch", "sam_vit_b", "--url", mirror) == 0


def test_a_sound_file_of_the_other_part_is_not_installed(home, published, server):
    with pytest.raises(WeightsError, match="not m2m_vit_l"):
        fetch("m2m_vit_l", trust=True, url=server.url.replace("/weights.pth", "/sam.pth"))
    assert not (home / "m2m_vit_l.safetensors").exists()


@pytest.fixture
def words(monkeypatch, server):
    """A published detector with its vocabulary, each under its own address and checksum."""
    bodies = {"model.safetensors": b"weights of another library", "vocab.txt": b"[PAD]\ndog\n"}
    sums = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
    address = server.url.replace("weights.pth", "bert/vocab.txt")
    vocabulary = catalogue.Companion("vocab.txt", address, sums["vocab.txt"])
    file = dataclasses.replace(
        catalogue.FILES["grounding-dino-tiny"], url=server.url.replace("weights.pth", "abc/model.safetensors"),
        size=len(bodies["model.safetensors"]), sha256=sums["model.safetensors"], companions=(vocabulary,),
    )
    monkeypatch.setattr(catalogue, "FILES", MappingProxyType({file.name: file}))
    server.will(lambda handler: ranged(handler, bodies[handler.path.rsplit("/", 1)[1]]))
    return bodies


def test_grounding_comes_with_its_vocabulary(home, server, words):
    folder = home / "grounding-dino-tiny"
    assert fetch("grounding-dino-tiny") == [folder / "model.safetensors"]
    assert {path.name for path in folder.iterdir() if path.suffix != ".lock"} == {"model.safetensors", "vocab.txt"}
    assert (folder / "vocab.txt").read_bytes() == words["vocab.txt"]
    assert [path for path, _ in server.requests] == ["/bert/vocab.txt", "/abc/model.safetensors"]
    assert command("verify", "grounding-dino-tiny") == 0
    (folder / "vocab.txt").write_bytes(b"[PAD]\ncat\n")
    assert command("verify", "grounding-dino-tiny") == 1
    (folder / "vocab.txt").unlink()
    assert command("verify", "grounding-dino-tiny") == 1
    server.will(status(404))
    with pytest.raises(WeightsError, match=r"vocab\.txt.*404"):
        fetch("grounding-dino-tiny")


def test_another_vocabulary_is_refused(home, words):
    words["vocab.txt"] = b"[PAD]\nwolf\n"
    with pytest.raises(WeightsError, match="another file than expected"):
        fetch("grounding-dino-tiny")
    assert not (home / "grounding-dino-tiny" / "vocab.txt").exists()
    assert not (home / "grounding-dino-tiny" / "model.safetensors").exists()


def test_a_mirror_of_the_detector_has_its_vocabulary_beside_it(home, server, words):
    mirror = server.url.replace("weights.pth", "m/model.safetensors")
    assert command("fetch", "grounding-dino-tiny", "--url", mirror) == 0
    assert [path for path, _ in server.requests] == ["/m/vocab.txt", "/m/model.safetensors"]


def test_the_vocabulary_is_pinned():
    [text] = catalogue.FILES["grounding-dino-tiny"].companions
    assert text.sha256 == "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
    assert "/resolve/86b5e093" in text.url


def test_converting_from_the_command_line(home, files, tmp_path, capsys):
    target = tmp_path / "mine.safetensors"
    words = ("convert", str(files["sam"]), str(files["m2m"]), "-o", str(target), "--dtype", "float16")
    assert command(*words, "--meta", "licence=MIT") == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert open_checkpoint(target).metadata["licence"] == "MIT"
    with pytest.raises(WeightsError, match="exists already"):
        command(*words)
    assert command(*words, "--overwrite") == 0
    with pytest.raises(WeightsError, match="KEY=TEXT"):
        command(*words, "--meta", "licence")


def test_names_that_are_not_there(home):
    with pytest.raises(WeightsError, match="nothing called 'vit_x'"):
        command("fetch", "vit_x")
    with pytest.raises(WeightsError, match="weights fetch vit_b"):
        command("path", "vit_b")
    assert command("fetch", "lite") == 0
