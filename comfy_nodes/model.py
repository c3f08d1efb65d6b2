"""Load Matting Model, and what it hands on: a model whose weights ComfyUI moves, and the last pictures' embeddings.

ComfyUI decides what is on the graphics card: the frozen SAM, which has nearly all weights, and Grounding DINO are in
a ModelPatcher each, and `load_models_gpu` makes room for them when they are needed. What is kept between runs hangs on
the MattingModel, which ComfyUI keeps as long as its loader node is in the graph; nothing is kept anywhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import comfy.model_management as mm
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from matting_anything_core import Embedding, Image, MatteOptions, MattingAnything, Prompt, WeightsError, load_model
from matting_anything_core.grounding import Grounding, load_grounding
from matting_anything_core.networks.backbones import BACKBONES
from matting_anything_core.types import FIELDS, ProgressCallback
from matting_anything_core.weights import catalogue, store

from .results import Result
from .schema import MattingModelType, schema, setting
from .weights import HEAD_NAMES, missing, remedy

FOLDER = "matting_anything"
SAMS = ("sams", "sam2")
HEADS = "vitmatte"
FOLDERS = (FOLDER, *SAMS, HEADS, "grounding-dino")
"""Keys of ComfyUI's model folders in which weights are looked for: this pack's own, and those of other packs (that of
alpha heads is LayerStyle's too)."""
NAMES = tuple(catalogue.MODELS)
AUTO = "auto"
EMBEDDING_BYTES = 512 << 20
"""Memory for embeddings of the last pictures, on the CPU; about 25 pictures of a megapixel."""
RESULT_BYTES = 512 << 20
"""Memory for the last mattes and their clean colours; about 25 pictures of a megapixel."""
DETECTOR = "grounding-dino-tiny"
DETECTOR_BYTES = 3 << 30


def register_folders() -> None:
    """Make models/matting_anything, and the folders of other packs, known to ComfyUI, beside those of
    extra_model_paths.yaml."""
    for key in FOLDERS:
        folder_paths.add_model_folder_path(key, os.path.join(folder_paths.models_dir, key), is_default=key == FOLDER)


def weight_folders() -> list[str]:
    """Where weights are looked for by name, ComfyUI's order kept."""
    return [folder for key in FOLDERS for folder in folder_paths.get_folder_paths(key)]


def weight_files(key: str) -> list[str]:
    """The files of weights in one of ComfyUI's model folders, relative to it."""
    names = folder_paths.get_filename_list(key)
    return sorted(name for name in names if name.endswith((".safetensors", ".pth", ".pt", ".bin")))


def sam_files() -> list[str]:
    """The files in the folders that other packs keep their Segment Anything in; which one it is their tensors tell."""
    return list(dict.fromkeys(name for key in SAMS for name in weight_files(key)))


def weight_path(name: str | None, *keys: str) -> str | None:
    """The path of a chosen file, in the first folder that has it; None for "auto"."""
    if name in (None, "", AUTO):
        return None
    found = (folder_paths.get_full_path(key, name) for key in keys[:-1])
    return next((path for path in found if path), None) or folder_paths.get_full_path_or_raise(keys[-1], name)


class _Weights(torch.nn.ModuleList):
    """A network as ComfyUI moves it: ModelPatcher writes attributes, and not every network takes them."""


class _Managed:
    """A network under ComfyUI's memory management."""

    def __init__(self, module: torch.nn.Module, device: torch.device, working_bytes: int) -> None:
        self._patcher = ModelPatcher(_Weights([module]), load_device=device, offload_device=mm.unet_offload_device())
        self._working_bytes = working_bytes
        self.device = device

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """While the weights are on the device. ComfyUI may move them away afterwards, when others need the room."""
        mm.load_models_gpu([self._patcher], memory_required=self._working_bytes, force_full_load=True)
        try:
            yield
        finally:
            if self._patcher.loaded_size() == 0:  # --novram: they went there only to be used
                self._patcher.model.to(self._patcher.offload_device)


class MattingModel:
    """What the nodes hand on: the model, words to boxes when words are used, and the last pictures' embeddings."""

    def __init__(self, model: MattingAnything, device: torch.device) -> None:
        """model: on the CPU. device: where it is to compute."""
        self._model = model
        self._managed = _Managed(model.sam, device, working_bytes(model.name))
        self._detector: tuple[Grounding, _Managed] | None = None
        self._embeddings: OrderedDict[bytes, Embedding] = OrderedDict()
        self._results: OrderedDict[bytes, list[Result]] = OrderedDict()

    @contextlib.contextmanager
    def ready(self) -> Iterator[MattingAnything]:
        """The model, on its device for as long as the block lasts."""
        with self._managed.loaded():
            yield self._model.to(self._managed.device)

    @contextlib.contextmanager
    def detector(self) -> Iterator[Grounding]:
        """Grounding DINO, on the device for as long as the block lasts; read when words are first used.

        Raises WeightsError, with the command, when it is not installed.
        """
        if self._detector is None:
            try:
                read = load_grounding(device="cpu", folders=weight_folders())
            except WeightsError as error:
                raise WeightsError(remedy(DETECTOR, error)) from None
            self._detector = read, _Managed(read.network.module, self._managed.device, DETECTOR_BYTES)
        grounding, managed = self._detector
        with managed.loaded():
            yield Grounding(grounding.network, device=managed.device)

    def embed(self, model: MattingAnything, picture: Image, progress: ProgressCallback) -> Embedding:
        """The picture's embedding, made by `model` (this one, ready) or kept from an earlier run."""
        key = _digest(picture)
        if key in self._embeddings:
            self._embeddings.move_to_end(key)
            progress("encode", 1.0)
            return self._embeddings[key].to(model.device)
        return model.embed(picture, progress=progress)

    def keep(self, embedding: Embedding) -> None:
        """Keep an embedding as it is now, with the crops that prompts asked for, off the device."""
        key = _digest(embedding.image)
        self._embeddings[key] = embedding.to("cpu")
        self._embeddings.move_to_end(key)
        while sum(kept.nbytes for kept in self._embeddings.values()) > EMBEDDING_BYTES:
            self._embeddings.popitem(last=False)

    def results(self, key: bytes) -> list[Result] | None:
        """The mattes of an earlier run (see `result_key`), None when they are not kept."""
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
        return found

    def keep_results(self, key: bytes, results: list[Result]) -> None:
        """Keep mattes, so that other wires or an undone prompt cost nothing; the oldest ones go when room ends."""
        self._results[key] = results
        while sum(one.nbytes for kept in self._results.values() for one in kept) > RESULT_BYTES:
            self._results.popitem(last=False)


def working_bytes(name: str) -> int:
    """Memory that a model of this backbone needs beside its weights, which ComfyUI is asked to keep free."""
    if name in BACKBONES:
        return BACKBONES[name].working_bytes
    return max(backbone.working_bytes for backbone in BACKBONES.values())


def result_key(picture: Image, prompts: Sequence[Prompt], options: MatteOptions, together: bool) -> bytes:
    """What a picture's mattes depend on, beside the model."""
    digest = hashlib.blake2b(_digest(picture), digest_size=32)
    digest.update(repr((options, together)).encode())
    for prompt in prompts:
        for name in FIELDS:
            value = prompt.former if name == "previous" else getattr(prompt, name)
            if hasattr(value, "tobytes"):
                digest.update(f"{name} {value.shape} {value.dtype}".encode() + value.tobytes())
            else:
                digest.update(f"{name} {value!r}".encode())
    return digest.digest()


def _digest(picture: Image) -> bytes:
    digest = hashlib.blake2b(repr((picture.rgb.shape, picture.rgb.dtype.str)).encode(), digest_size=32)
    for plane in (picture.rgb, picture.alpha):
        digest.update(b"-" if plane is None else plane.tobytes())
    return digest.digest()


class LoadMattingModel(io.ComfyNode):
    """A model by its name, or from files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        own = [name for name in weight_files(FOLDER) if name.endswith(".safetensors")]
        absent = [name for name in missing(NAMES) if not _found(name)]
        names = sorted(NAMES, key=absent.__contains__)  # what is there comes first
        return schema(
            node_id="MattingAnythingLoadModel",
            display_name="Load Matting Model",
            description="The model that mattes: lite comes with the pack; others are read from models/sams and "
                        "models/matting_anything, or from where Get Weights puts them.",
            search_aliases=["matting anything", "segment anything", "sam loader", "background removal", "rembg",
                            "remove background"],
            inputs=[
                io.Combo.Input("model", options=[*names, *own], default=NAMES[0], tooltip=(
                    f"{NAMES[0]} is bundled; others need their files (models/sams and models/matting_anything), or Get "
                    "Weights"),
                    extra_dict={"matting_anything_missing": absent}),
                setting(io.Combo, "device", options=[AUTO, "cpu"], default=AUTO, optional=True,
                        tooltip="auto: where ComfyUI computes"),
                setting(io.Combo, "sam", options=[AUTO, *sam_files()], default=AUTO, optional=True,
                        tooltip="A Segment Anything file in the place of the model's own"),
                setting(io.Combo, "mask_to_matte", options=[AUTO, *weight_files(FOLDER)], default=AUTO, optional=True,
                        tooltip="A Mask-to-Matte file in the place of the model's own"),
                setting(io.Combo, "alpha_head", options=[AUTO, *HEAD_NAMES, *weight_files(HEADS)], default=AUTO,
                        optional=True, extra_dict={"matting_anything_missing": [
                            name for name in missing(HEAD_NAMES) if not _found(name)]},
                        tooltip="ViTMatte for hair, fur and glass, in the place of the model's own alpha head; from "
                                "models/vitmatte, or Get Weights"),
            ],
            outputs=[MattingModelType.Output("MODEL", display_name="model")],
        )

    @classmethod
    def execute(
        cls, model: str, device: str = AUTO, sam: str = AUTO, mask_to_matte: str = AUTO, alpha_head: str = AUTO
    ) -> io.NodeOutput:
        source = model if model in NAMES else folder_paths.get_full_path_or_raise(FOLDER, model)
        try:
            network = load_model(source, device="cpu", sam=weight_path(sam, *SAMS),
                                 m2m=weight_path(mask_to_matte, FOLDER), head=_head(alpha_head),
                                 folders=weight_folders())
        except WeightsError as error:
            if alpha_head in HEAD_NAMES and not _found(alpha_head):
                raise WeightsError(remedy(alpha_head, error)) from None
            raise WeightsError(remedy(model, error) if missing([model]) and not _found(model) else str(error)) from None
        chosen = torch.device("cpu") if device == "cpu" else mm.get_torch_device()
        return io.NodeOutput(MattingModel(network, chosen))

    @classmethod
    def fingerprint_inputs(
        cls, model: str, device: str = AUTO, sam: str = AUTO, mask_to_matte: str = AUTO, alpha_head: str = AUTO
    ) -> list[tuple[str, int, int]]:
        """Load again when one of the files was exchanged."""
        return [(str(path), status.st_mtime_ns, status.st_size)
                for path, status in _statuses(model, weight_path(sam, *SAMS), weight_path(mask_to_matte, FOLDER),
                                              _head_file(alpha_head))]


def _head(name: str) -> str | None:
    """What the core calls a chosen alpha head: its name, or the path of a file."""
    return name if name in HEAD_NAMES else weight_path(name, HEADS)


def _head_file(name: str) -> str | None:
    """The file of a chosen alpha head that is there."""
    if name not in HEAD_NAMES:
        return weight_path(name, HEADS)
    return str(store.find(name, weight_folders())[0]) if _found(name) else None


def _found(name: str) -> bool:
    """Whether the files of a model are there, in the weights folder or in ComfyUI's."""
    try:
        return bool(store.find(name, weight_folders()))
    except WeightsError:
        return False


def _statuses(model: str, *chosen: str | None) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that a model is read from, as they are now; without those that are missing."""
    paths = [Path(path) for path in chosen if path is not None]
    with contextlib.suppress(WeightsError, OSError):
        paths += store.find(model, weight_folders()) if model in NAMES else [Path(weight_path(model, FOLDER) or "")]
    for path in paths:
        with contextlib.suppress(OSError):
            yield path, path.stat()
