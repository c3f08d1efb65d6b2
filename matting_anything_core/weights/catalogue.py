"""What is published, where, and under which licence: the only place that knows addresses and checksums.

A file without a known sha256 is listed so that it can be found, but it is fetched only with a checksum given by the
user or with their explicit trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

Role = Literal["sam", "m2m", "joint", "grounding", "head"]


@dataclass(frozen=True)
class Companion:
    """A small text file that a file of weights needs beside it."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True)
class WeightFile:
    """One published file. `size` is in bytes; `size` and `sha256` are None where nobody has published them.

    `companions` are small text files that it needs beside it.
    """

    name: str
    role: Role
    architecture: str
    url: str
    size: int | None
    sha256: str | None
    licence: str
    revision: str
    note: str
    companions: tuple[Companion, ...] = ()

    @property
    def published_name(self) -> str:
        """The file's name where it is published, under which users may already have it; an alpha head's, which is
        called `model.safetensors` or the like there, by the name of its repository."""
        parts = urlsplit(self.url).path.split("/")
        if self.role == "head":
            return f"{parts[2]}.{parts[-1].rsplit('.', 1)[-1]}"
        return parts[-1]

    @property
    def installed_name(self) -> str:
        """Where it stands in the weights folder once fetched, relative to it."""
        return f"{self.name}/{self.published_name}" if self.role == "grounding" else f"{self.name}.safetensors"


@dataclass(frozen=True)
class Model:
    """A name that `load_model` takes: the files it is made of, or none for the bundled one."""

    name: str
    files: tuple[str, ...]
    note: str

    @property
    def bundled(self) -> bool:
        """Shipped inside the package."""
        return not self.files


_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
_SAM2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
_HUB = "https://huggingface.co/"
_FROM_MASK = "alpha from the mask and the image's edges"
_TOOLKIT_NOTE = "copy of the authors' file (theirs is on Google Drive); checksum not published, optimiser state dropped"
_DINO_REVISION = "a2bb814dd30d776dcf7e30523b00659f4f141c71"
_MOBILE_REVISION = "f706ad9c4eb7f219c00d9050e46328518ffb65d2"
_BERT_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"

_VITMATTE_NOTE = "Distinctions-646; no checksum that two sources agree on"


def _vitmatte(name: str, size: str, data: str, revision: str, published: str, length: int | None, sha256: str | None,
              note: str) -> WeightFile:
    return WeightFile(
        name=name, role="head", architecture=f"vitmatte_{size[0]}", size=length, sha256=sha256, licence="Apache-2.0",
        revision=revision, note=f"ViTMatte {size}, {note}",
        url=_HUB + f"hustvl/vitmatte-{size}-{data}/resolve/{revision}/{published}")


def _hq(architecture: str, file: str, size: int | None, sha256: str | None) -> WeightFile:
    return WeightFile(name=f"sam_{architecture}", role="sam", architecture=architecture,
                      url=_HUB + f"lkeab/hq-sam/resolve/main/{file}", size=size, sha256=sha256, licence="Apache-2.0",
                      revision="main", note="HQ-SAM, with the SAM below it")


def _sam2(architecture: str, size_name: str, size: int, sha256: str) -> WeightFile:
    return WeightFile(name=architecture, role="sam", architecture=architecture,
                      url=_SAM2 + f"sam2.1_hiera_{size_name}.pt", size=size, sha256=sha256, licence="Apache-2.0",
                      revision="092824", note="Segment Anything 2.1; of it what single images need")


_FILES = (
    WeightFile(
        name="sam_vit_b", role="sam", architecture="vit_b", url=_SAM + "sam_vit_b_01ec64.pth", size=375042383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", licence="Apache-2.0",
        revision="01ec64", note="Segment Anything, ViT-B",
    ),
    WeightFile(
        name="sam_vit_l", role="sam", architecture="vit_l", url=_SAM + "sam_vit_l_0b3195.pth", size=1249524607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", licence="Apache-2.0",
        revision="0b3195", note="Segment Anything, ViT-L",
    ),
    WeightFile(
        name="sam_vit_h", role="sam", architecture="vit_h", url=_SAM + "sam_vit_h_4b8939.pth", size=2564550879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", licence="Apache-2.0",
        revision="4b8939", note="Segment Anything, ViT-H",
    ),
    WeightFile(
        name="m2m_vit_b", role="m2m", architecture="vit_b",
        url=_HUB + "conrevo/Segment-Anything-A1111/resolve/main/mam.pth", size=11007593,
        sha256="23e9190ea994c18863e54d0185101870c4800aa43bf1629023015de7e659a8ef", licence="MIT",
        revision="57e36b8", note="Mask-to-Matte for ViT-B, extracted from the authors' joint file",
    ),
    WeightFile(
        name="m2m_vit_l", role="m2m", architecture="vit_l",
        url=_HUB + "zhengchong/Human-Toolkit/resolve/main/MAM/mam_vitl.pth", size=None, sha256=None, licence="MIT",
        revision="7e725a0", note="Mask-to-Matte for ViT-L: " + _TOOLKIT_NOTE,
    ),
    WeightFile(
        name="m2m_vit_h", role="m2m", architecture="vit_h",
        url=_HUB + "zhengchong/Human-Toolkit/resolve/main/MAM/mam_vith.pth", size=None, sha256=None, licence="MIT",
        revision="7e725a0", note="Mask-to-Matte for ViT-H: " + _TOOLKIT_NOTE,
    ),
    WeightFile(
        name="mam_vit_b", role="joint", architecture="vit_b",
        url=_HUB + "shi-labs/Matting-Anything/resolve/main/checkpoints/mam_sam_vitb.pth", size=None,
        sha256="b7d0781aa6edeab7b0d8195edf5b894402f9fa5b7220759825ff750c75450f08", licence="MIT",
        revision="c22773e", note="the authors' joint file: SAM ViT-B (Apache-2.0) and Mask-to-Matte; about 408 MB",
    ),
    # The checksums that follow are in public repositories by several hands, which agree; two for each are named. Those
    # of MobileSAM: Intel's geti-instant-learn ("sha_sum"), LibreYOLO's mirror ("upstream_checkpoint_sha256", bytes).
    WeightFile(
        name="mobile_sam", role="sam", architecture="mobile_sam",
        url=f"https://github.com/ChaoningZhang/MobileSAM/raw/{_MOBILE_REVISION}/weights/mobile_sam.pt", size=40728226,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f", licence="Apache-2.0",
        revision=_MOBILE_REVISION, note="MobileSAM: TinyViT under SAM's prompt encoder and mask decoder",
    ),
    # geti-instant-learn, and a sports project that freezes its "light HQ-SAM checkpoint"; its bytes stand nowhere.
    _hq("hq_light", "sam_hq_vit_tiny.pth", None, "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196"),
    _hq("hq_vit_b", "sam_hq_vit_b.pth", None, None),
    _hq("hq_vit_l", "sam_hq_vit_l.pth", None, None),
    # finegrain-ai/refiners ("expected_sha256"), geti-instant-learn.
    _hq("hq_vit_h", "sam_hq_vit_h.pth", 2570940653, "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35"),
    # micro-sam (its table for "sam2.1"), geti-instant-learn; bytes from a manifest of each file's own.
    _sam2("sam2.1_t", "tiny", 156008466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    _sam2("sam2.1_s", "small", 184416285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    _sam2("sam2.1_b", "base_plus", 323606802, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    _sam2("sam2.1_l", "large", 898083611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
    WeightFile(
        name="grounding-dino-tiny", role="grounding", architecture="grounding-dino-tiny",
        url=_HUB + f"IDEA-Research/grounding-dino-tiny/resolve/{_DINO_REVISION}/model.safetensors", size=689359096,
        sha256="1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3", licence="Apache-2.0",
        revision=_DINO_REVISION, note="words to boxes, for text prompts (extra `text`)",
        # Configuration and picture sizes stand in grounding/load.py; the vocabulary is BERT's.
        companions=(Companion("vocab.txt", _HUB + f"google-bert/bert-base-uncased/resolve/{_BERT_REVISION}/vocab.txt",
                              "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),),
    ),
    # Bytes and checksum as pinned by LayerStyle's and QuickPlayer's installers and others for this
    # revision, each for itself.
    _vitmatte("vitmatte_s", "small", "composition-1k", "6a58ad7646403c1df626fbd746900aec7361ea1d", "model.safetensors",
              103294572, "bda9289db1bb6762d978b42d1c62ae3f34daf7497171a347a1d09657efd788cb", "Composition-1k"),
    # The same installers' checksum (skiagrafia's from the hub's own answer); its bytes are not published with it.
    _vitmatte("vitmatte_b", "base", "composition-1k", "bf486d01a7d9e3dbcc8400f7942835caf0eaf76e", "pytorch_model.bin",
              None, "b2521bcc4b719fb24611c39605b6642162fd7502e69b3cc846506ca921757b41", "Composition-1k; about 390 MB"),
    _vitmatte("vitmatte_s_d646", "small", "distinctions-646", "6a0e75d7214b01f4d1163ede0f15b23afbbd480b",
              "model.safetensors", None, None, _VITMATTE_NOTE),
    _vitmatte("vitmatte_b_d646", "base", "distinctions-646", "b58373f8dbbfbeb58157456e2e4949f9f872aa18",
              "model.safetensors", None, None, _VITMATTE_NOTE),
)

FILES: Mapping[str, WeightFile] = MappingProxyType({file.name: file for file in _FILES})
"""Every published file by its name."""

MODELS: Mapping[str, Model] = MappingProxyType({
    model.name: model
    for model in (
        Model("lite", (), "small, bundled with the package: works offline from the start"),
        Model("vit_b", ("sam_vit_b", "m2m_vit_b"), "the paper's main model"),
        Model("vit_l", ("sam_vit_l", "m2m_vit_l"), "larger SAM; its Mask-to-Matte has no published checksum"),
        Model("vit_h", ("sam_vit_h", "m2m_vit_h"), "largest SAM; its Mask-to-Matte has no published checksum"),
        Model("mobile_sam", ("mobile_sam",), "MobileSAM: small and quick on the CPU; " + _FROM_MASK),
        Model("hq_light", ("sam_hq_light",), "HQ-SAM over MobileSAM's encoder: thin structures; " + _FROM_MASK),
        Model("hq_vit_b", ("sam_hq_vit_b", "m2m_vit_b"), "HQ-SAM, ViT-B: thin structures; no published checksum"),
        Model("hq_vit_l", ("sam_hq_vit_l", "m2m_vit_l"), "HQ-SAM, ViT-L; no published checksum"),
        Model("hq_vit_h", ("sam_hq_vit_h",), "HQ-SAM, ViT-H; " + _FROM_MASK),
        Model("sam2.1_t", ("sam2.1_t",), "SAM 2.1 tiny; " + _FROM_MASK),
        Model("sam2.1_s", ("sam2.1_s",), "SAM 2.1 small; " + _FROM_MASK),
        Model("sam2.1_b", ("sam2.1_b",), "SAM 2.1 base+; " + _FROM_MASK),
        Model("sam2.1_l", ("sam2.1_l",), "SAM 2.1 large; " + _FROM_MASK),
    )
})
"""Every model by the name `load_model` takes; with an alpha head behind a "+" there are more, see `models`."""

HEADS: tuple[str, ...] = tuple(file.name for file in _FILES if file.role == "head")
"""The published alpha heads that go with any segmenter."""


def models() -> tuple[str, ...]:
    """The names of all models: `MODELS`, and each of them with each of the `HEADS` ("lite+vitmatte_s")."""
    return (*MODELS, *(f"{model}+{head}" for model in MODELS for head in HEADS))


def pair_of(name: str) -> tuple[str, str] | None:
    """The model and the head of a name like "vit_b+vitmatte_s"; None for another name."""
    model, _, head = name.partition("+")
    return (model, head) if model in MODELS and head in HEADS else None


def by_sha256(digest: str) -> WeightFile | None:
    """The published file with this checksum, if it is a known one."""
    return next((file for file in FILES.values() if file.sha256 == digest), None)


def files_of(name: str) -> tuple[WeightFile, ...] | None:
    """The files behind the name of a model, of a pair ("vit_b+vitmatte_s") or of a file; empty for the bundled model,
    None for an unknown name."""
    if name in MODELS:
        return tuple(FILES[file] for file in MODELS[name].files)
    if (pair := pair_of(name)) is not None:
        return (*segmenter_of(pair[0]), FILES[pair[1]])
    return (FILES[name],) if name in FILES else None


def fetchable() -> tuple[str, ...]:
    """The models whose files all have a published checksum, and those that need none."""
    return tuple(name for name, model in MODELS.items() if all(FILES[file].sha256 for file in model.files))


def segmenter_of(name: str) -> tuple[WeightFile, ...]:
    """The files of a model without its alpha head."""
    return tuple(FILES[file] for file in MODELS[name].files if FILES[file].role != "m2m")
