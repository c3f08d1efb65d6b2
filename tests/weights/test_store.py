"""From names and paths to checkpoints, conversion, verification: with real files, in a folder of the test's own."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from matting_anything_core import DeviceError, WeightsError, load_model
from matting_anything_core.weights import catalogue
from matting_anything_core.weights import files as weight_files
from matting_anything_core.weights.convert import convert, write_model
from matting_anything_core.weights.files import read_file
from matting_anything_core.weights.metadata import share
from matting_anything_core.weights.recognise import recognise
from matting_anything_core.weights.store import bundled_path, find, locate, open_checkpoint, open_sam
from matting_anything_core.weights.verify import installed, verify_file
from matting_anything_core.weights.write import file_sha256, write_safetensors


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_the_bundled_model_opens_and_is_sound():
    checkpoint = open_checkpoint("lite")
    assert checkpoint.architecture == "lite"
    assert checkpoint.square % 32 == 0
    assert checkpoint.matte_square >= checkpoint.square
    assert len(checkpoint.m2m) == 184
    assert checkpoint.metadata["licence"]
    assert verify_file(bundled_path()).state != "damaged"


def test_what_is_not_installed_names_its_command(home):
    with pytest.raises(WeightsError, match=r"missing: sam_vit_b, m2m_vit_b.*matting-anything weights fetch vit_b$"):
        open_checkpoint("vit_b")
    with pytest.raises(WeightsError, match=r"'vitb'; did you mean vit_b\?"):
        open_checkpoint("vitb")
    assert not home.exists()


def test_what_is_missing_in_part_is_fetched_in_part(home, files):
    """The rest may be in a folder that `fetch` does not look into, and may be what it refuses."""
    folder = files["sam"].parent / "sams"
    folder.mkdir(exist_ok=True)
    shutil.copy(files["sam"], folder / "sam_hq_vit_b.pth")
    with pytest.raises(WeightsError, match=r"missing: m2m_vit_b\); get it with: .* weights fetch m2m_vit_b$"):
        find("hq_vit_b", [folder])


@pytest.mark.parametrize("name", ["vit_h", "m2m_vit_h", "hq_vit_b"])
def test_what_has_no_published_checksum_is_not_named_as_the_remedy(home, name):
    with pytest.raises(WeightsError, match="has no published checksum") as caught:
        open_checkpoint(name, sam=bundled_path() if name.startswith("m2m") else None)
    commands = re.findall(r"weights fetch (\S+?)[;,]", str(caught.value) + ";")
    assert all(catalogue.FILES[one].sha256 for one in commands)
    assert ("sam_vit_h" in commands) == (name == "vit_h")
    offered = str(caught.value).rpartition("another model: ")[2].split(", ")
    assert {"lite", "vit_b", "mobile_sam"} <= set(offered)
    assert not {"vit_h", "hq_vit_b"} & set(offered)
    assert not home.exists()


@pytest.mark.parametrize("name", ["", "\0", "a" * 5000, "no/such.pth", "~nobody-here/a.pth", 5, "\udcff", b"lite\0"])
def test_names_that_are_none(home, name):
    with pytest.raises(WeightsError):
        open_checkpoint(name)


def test_one_file_holds_a_model(files, sam, m2m):
    checkpoint = open_checkpoint(str(files["model"]))
    assert (checkpoint.architecture, checkpoint.square, checkpoint.matte_square) == ("vit_tiny_test", 128, 128)
    assert set(checkpoint.sam) == set(sam)
    assert set(checkpoint.m2m) == set(m2m)
    assert torch.equal(checkpoint.m2m["conv1.module.weight_bar"], m2m["conv1.module.weight_bar"].half())
    assert checkpoint.metadata["licence"] == "MIT"


def test_two_files_make_a_model(files, sam):
    checkpoint = open_checkpoint(None, sam=files["sam"], m2m=files["m2m"])
    assert (checkpoint.architecture, len(checkpoint.m2m)) == ("vit_tiny_test", 184)
    mixed = open_checkpoint(files["model"], sam=files["sam"])
    assert mixed.sam["mask_decoder.iou_token.weight"].dtype == torch.float32
    assert mixed.m2m["conv1.module.weight_bar"].dtype == torch.float16
    assert mixed.metadata["m2m_file"] == str(files["model"])
    assert set(open_sam(files["sam"]).sam) == set(sam)
    with pytest.raises(WeightsError, match=r"sam\.pth holds only SAM; name its Mask-to-Matte too"):
        open_checkpoint(files["sam"])
    with pytest.raises(WeightsError, match=r"m2m\.pth holds no SAM"):
        open_checkpoint(files["m2m"])
    with pytest.raises(WeightsError, match="no weights were named for m2m"):
        open_checkpoint(None, sam=files["sam"])


def test_parts_that_do_not_belong_together_are_refused(tmp_path, files, m2m):
    other = write_model(tmp_path / "other.safetensors", m2m=m2m, metadata={"architecture": "vit_h"})
    with pytest.raises(WeightsError, match=r"other\.safetensors is the Mask-to-Matte of vit_h, but .*vit_tiny_test"):
        open_checkpoint(None, sam=files["sam"], m2m=other)
    with pytest.raises(WeightsError, match="vit_h"):
        convert([files["sam"], other], tmp_path / "both.safetensors")


def mapped(path, tensors):
    """Whether all tensors stand where the file is mapped into this process."""
    maps = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()
            if line.endswith(str(path))]
    return [any(int(start, 16) <= tensor.data_ptr() < int(end, 16) for start, end in maps) for tensor in tensors]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the process's maps, which are here")
@pytest.mark.parametrize("name", ["model", "m2m"])
def test_large_files_are_mapped_and_small_ones_read(files, name, monkeypatch):
    """Changing a tensor changes no file either way."""
    before = files[name].read_bytes()
    read = read_file(files[name])
    assert not any(mapped(files[name], read.tensors.values()))
    monkeypatch.setattr(weight_files, "WHOLE", 1000)
    large = read_file(files[name])
    assert all(mapped(files[name], large.tensors.values()))
    assert large.metadata == read.metadata
    for key, tensor in large.tensors.items():
        assert torch.equal(tensor, read.tensors[key])
    next(iter(large.tensors.values())).zero_()
    assert files[name].read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="files in use cannot be truncated there")
@pytest.mark.parametrize("name", ["model", "pth"])
def test_a_file_that_is_truncated_while_in_use_does_no_harm(tmp_path, files, name):
    """Of a mapped file reading a tensor would end this process, so it is tried in another one."""
    if name == "model":
        path = Path(shutil.copy(files["model"], tmp_path))
    else:
        path = tmp_path / "joint.pth"
        parts = {f"module.{part}.": torch.load(files[name], weights_only=True)
                 for part, name in (("m2m", "m2m"), ("seg_model", "sam"))}
        joint = {prefix + key: value for prefix, part in parts.items() for key, value in part.items()}
        torch.save({"state_dict": joint}, path)
    code = ("import os, sys\nfrom matting_anything_core import load_model\n"
            "from matting_anything_core.weights import open_checkpoint\n"
            "checkpoint, model = open_checkpoint(sys.argv[1]), load_model(sys.argv[1], device='cpu')\n"
            "os.truncate(sys.argv[1], 100)\n"
            "tensors = [*checkpoint.sam.values(), *checkpoint.m2m.values()]\n"
            "print(sum(float(one.double().sum()) for one in tensors) > 0)\n"
            "import numpy\nmodel.matte(model.embed(numpy.zeros((40, 50, 3), numpy.uint8)), [(5, 5, 40, 30)])")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_published_names_are_found_in_the_folder_and_in_added_ones(home, tmp_path):
    file = catalogue.FILES["sam_vit_b"]
    sams = tmp_path / "models" / "sams"
    sams.mkdir(parents=True)
    assert locate(file, [sams]) is None
    (sams / "sam_vit_b_01ec64.pth").write_bytes(b"x")
    assert locate(file, [sams]) == sams / "sam_vit_b_01ec64.pth"
    home.mkdir()
    (home / "sam_vit_b.safetensors").write_bytes(b"x")
    assert locate(file, [sams]) == home / "sam_vit_b.safetensors"
    (home / "mam_sam_vitb.pth").write_bytes(b"x")
    assert find("vit_b") == [home / "mam_sam_vitb.pth"]  # the joint file stands in for the two
    (home / "m2m_vit_b.safetensors").write_bytes(b"x")
    assert [path.name for path in find("vit_b")] == ["sam_vit_b.safetensors", "m2m_vit_b.safetensors"]
    with pytest.raises(WeightsError, match=r"sam_vit_b\.safetensors is neither"):
        open_checkpoint("vit_b")


def test_own_models_in_the_folder_go_by_their_name(home, files):
    home.mkdir()
    shutil.copy(files["model"], home / "mine.safetensors")
    assert open_checkpoint("mine").architecture == "vit_tiny_test"


@pytest.mark.parametrize(("key", "value"), [
    ("matte_square", "100"), ("matte_square", "many"), ("square", "0"), ("square", "-128"), ("square", "nan"),
    ("square", "1e3"), ("matte_square", "9" * 400), ("square", "٣"), ("share", "nan"), ("share", "-1"),
    ("share", "inf"), ("share", "-inf"), ("share", "1.0001"), ("share", "much"), ("share", ""), ("share", "1e999"),
])
def test_metadata_that_cannot_be_is_refused(tmp_path, sam, m2m, key, value):
    path = write_model(tmp_path / "odd.safetensors", sam=sam, m2m=m2m, metadata={key: value})
    with pytest.raises(WeightsError, match=rf"odd\.safetensors says {key} = "):
        open_checkpoint(path)
    with pytest.raises(WeightsError, match=rf"odd\.safetensors says {key} = "):
        load_model(path, device="cpu")


@pytest.mark.parametrize(("text", "value"), [(None, 1.0), ("0", 0.0), ("0.25", 0.25), ("1", 1.0), ("1e-3", 0.001)])
def test_shares_that_can_be(text, value):
    assert share(Path("a"), {} if text is None else {"share": text}) == value


@pytest.mark.parametrize("key", ["square", "matte_square"])
def test_inputs_beyond_all_memory_are_refused_with_numbers(tmp_path, key):
    lite = open_checkpoint("lite")
    path = write_model(tmp_path / "huge.safetensors", sam=lite.sam, m2m=lite.m2m,
                       metadata={**lite.metadata, key: "99968"})
    with pytest.raises(DeviceError, match=rf"huge\.safetensors says {key} = 99968: .* at least 639\.6 GB .* GB in all"):
        load_model(path, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["conv1.module.weight_bar", "refine_OS1.3.bias", "layer2.0.conv1.module.weight_bar"])
@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_values_that_are_not_finite_are_refused(tmp_path, m2m, value, name, kind):
    """One value among thousands is enough to make every alpha NaN."""
    changed = m2m[name].clone()
    changed.view(-1)[-1] = value
    path = tmp_path / f"odd.{kind}"
    (torch.save if kind == "pth" else save_file)({**m2m, name: changed}, path)
    with pytest.raises(WeightsError, match=rf"odd\.{kind} holds NaN or infinite values in {name}"):
        recognise(read_file(path))


def test_large_finite_values_are_taken(tmp_path, m2m):
    """Their sum is infinite, they are not."""
    huge = {**m2m, "conv1.module.weight_bar": torch.full_like(m2m["conv1.module.weight_bar"], 3e38)}
    save_file(huge, tmp_path / "huge.safetensors")
    assert recognise(read_file(tmp_path / "huge.safetensors")).m2m


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool])
@pytest.mark.parametrize("name", ["refine_OS1.0.weight", "bn1.running_var"])
def test_whole_numbers_are_no_weights(tmp_path, m2m, dtype, name):
    save_file({**m2m, name: m2m[name].to(dtype)}, tmp_path / "whole.safetensors")
    with pytest.raises(WeightsError, match=rf"whole\.safetensors .*{name}"):
        recognise(read_file(tmp_path / "whole.safetensors"))


def test_conversion_notes_where_it_came_from(tmp_path, files):
    target = convert([files["sam"], files["m2m"]], tmp_path / "both.safetensors", metadata={"data_card": "none"})
    said = metadata(target)
    assert said["architecture"] == "vit_tiny_test"
    assert said["square"] == "128"
    assert said["source"] == "sam.pth; m2m.pth"
    assert said["sam_source_sha256"] == file_sha256(files["sam"])
    assert said["m2m_source_sha256"] == file_sha256(files["m2m"])
    assert said["data_card"] == "none"
    assert said["converter"].startswith("matting-anything-core")
    checkpoint = open_checkpoint(target)
    for name, tensor in torch.load(files["m2m"], weights_only=True).items():
        assert torch.equal(checkpoint.m2m[name], tensor)
    again = metadata(convert([target], tmp_path / "again.safetensors", dtype="float16"))
    assert again["m2m_source_sha256"] == said["m2m_source_sha256"]
    assert again["source"] == said["source"]
    assert again["data_sha256"] != said["data_sha256"]


def test_the_joint_file_is_converted_without_its_optimiser(tmp_path, sam, m2m):
    joint = {**{"module.m2m." + name: tensor for name, tensor in m2m.items()},
             **{"module.seg_model." + name: tensor for name, tensor in sam.items()}}
    torch.save({"state_dict": joint, "opt_state_dict": {"state": {0: torch.zeros(100)}}}, tmp_path / "joint.pth")
    target = convert([tmp_path / "joint.pth"], tmp_path / "model.safetensors", dtype="float16")
    assert metadata(target)["part"] == "both"
    checkpoint = open_checkpoint(target)
    assert torch.equal(checkpoint.sam["image_encoder.pos_embed"], sam["image_encoder.pos_embed"].half())
    assert checkpoint.m2m["bn1.num_batches_tracked"] == 20000


def test_the_licence_of_a_known_file_is_noted(tmp_path, files, monkeypatch):
    known = dataclasses.replace(catalogue.FILES["m2m_vit_b"], sha256=file_sha256(files["m2m"]))
    monkeypatch.setattr(catalogue, "FILES", MappingProxyType({known.name: known}))
    target = convert([files["m2m"]], tmp_path / "m2m.safetensors")
    said = metadata(target)
    assert (said["licence"], said["source"], said["architecture"]) == ("MIT", known.url, "vit_b")
    assert set(read_file(target).tensors) == set(read_file(files["m2m"]).tensors)  # one part keeps the published names
    assert verify_file(target, file=known).detail == "checksum matches; made from the published file"


def test_conversions_that_cannot_be(tmp_path, files, m2m):
    with pytest.raises(WeightsError, match="both hold Mask-to-Matte"):
        convert([files["m2m"], files["model"]], tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"must end in \.safetensors"):
        convert([files["m2m"]], tmp_path / "a.pth")
    (tmp_path / "there.safetensors").write_text("precious")
    with pytest.raises(WeightsError, match="exists already"):
        convert([files["m2m"]], tmp_path / "there.safetensors")
    assert (tmp_path / "there.safetensors").read_text() == "precious"
    name = "layer2.0.conv1.module.weight_bar"
    for value, dtype, says in ((1e6, "float16", "beyond the range"), (float("nan"), "keep", "NaN")):
        torch.save({**m2m, name: torch.full_like(m2m[name], value)}, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match=f"{name}.*{says}|{says}"):
            convert([tmp_path / "odd.pth"], tmp_path / "odd.safetensors", dtype=dtype)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.pth", "there.safetensors"]
    with pytest.raises(WeightsError, match="cannot be written"):
        convert([files["m2m"]], tmp_path / "odd.pth" / "a.safetensors")


def test_what_is_written_is_safetensors_as_the_library_reads_it(tmp_path):
    tensors = {"b": torch.arange(6).reshape(2, 3), "a": torch.rand(3, 1, dtype=torch.float64), "c": torch.zeros(0, 4),
               "d": torch.rand(5, 2).t(), "e": torch.rand(7).bfloat16(), "f": torch.tensor(1.5)}
    shares = []
    path = write_safetensors(tmp_path / "a.safetensors", tensors, {"key": "tëxt"}, progress=shares.append)
    with safe_open(path, "pt") as file:
        assert file.metadata()["key"] == "tëxt"
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor.float() if name == "a" else tensor)
    assert shares[-1] == 1


def test_verification_reads_every_byte(tmp_path, files, m2m):
    assert verify_file(files["model"]).state == "ok"
    content = bytearray(files["model"].read_bytes())
    content[-3_000_000] ^= 1
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(content)
    assert open_checkpoint(broken)  # sound as far as opening looks
    found = verify_file(broken)
    assert (found.state, "does not match the checksum" in found.detail) == ("damaged", True)
    broken.write_bytes(content[:-10])
    assert verify_file(broken).state == "damaged"
    save_file(m2m, broken)
    assert verify_file(broken).state == "unverified"
    assert verify_file(files["m2m"]).detail.endswith(file_sha256(files["m2m"]))
    assert verify_file(files["m2m"], file=catalogue.FILES["m2m_vit_b"]).state == "damaged"
    assert verify_file(tmp_path / "none.pth").state == "damaged"


def test_everything_installed_is_listed_for_verification(home, files):
    home.mkdir()
    shutil.copy(files["m2m"], home / "mam.pth")
    shutil.copy(files["model"], home / "mine.safetensors")
    assert installed() == [(bundled_path(), None), (home / "mam.pth", catalogue.FILES["m2m_vit_b"]),
                           (home / "mine.safetensors", None)]


def test_importing_the_weights_is_light():
    code = ("import sys, matting_anything_core.weights, matting_anything_core.device\n"
            "assert not {'torch', 'requests', 'safetensors', 'tqdm', 'numpy'} & set(sys.modules), sys.modules.keys()")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_catalogue_is_whole():
    for model in catalogue.MODELS.values():
        assert all(name in catalogue.FILES for name in model.files)
    for file in catalogue.FILES.values():
        assert file.url.startswith("https://")
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
        assert file.licence
        assert file.revision


def test_a_model_is_loaded_by_name_from_a_hosts_folder(home, tmp_path, files):
    shutil.copy(files["model"], tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError, match="no model or file of weights called 'mine'"):
        load_model("mine", device="cpu")
    assert load_model("mine", device="cpu", folders=[tmp_path]).name == "vit_tiny_test"
