"""Reading Grounding DINO from its files: weights by this library's own reader, the network from transformers.

Nothing is downloaded and nothing can run code: weights are safetensors (or tensors only, weights_only), the other
files are JSON and plain text. The published file's names are those of transformers 4; transformers 5 has renamed some
modules, and its `from_pretrained` translates, which is why the tensors go through it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, WeightsError
from ..weights import catalogue, store
from ..weights.files import read_file
from .text import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    import torch

    from ..weights.store import Source

OLDEST, NEWEST_MAJOR = (4, 57), 5
_INSTALL = "pip install 'matting-anything-core[text]'"


@dataclass(frozen=True, eq=False)
class Network:
    """A Grounding DINO as read: the module (eval mode, float32, on the CPU), its vocabulary and its picture sizes.

    shortest, longest: pixels that the picture's shorter side is scaled to, unless its longer one would pass `longest`.
    text_limit: tokens in one caption.
    """

    module: torch.nn.Module
    vocabulary: Vocabulary
    shortest: int
    longest: int
    text_limit: int
    name: str


def need_transformers() -> Any:
    """The package transformers, in a version this library works with. Raises MissingExtraError otherwise."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(f"words as prompts need the package transformers ({error}); install it with: "
                                f"{_INSTALL}") from error
    version = str(transformers.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST or numbers[:1] > (NEWEST_MAJOR,):
        raise MissingExtraError(f"transformers {version} is installed; words as prompts work with {OLDEST[0]}."
                                f"{OLDEST[1]} and later, and with {NEWEST_MAJOR}; install one with: {_INSTALL}")
    return transformers


def published_config() -> Any:
    """The configuration of the published IDEA-Research/grounding-dino-tiny (transformers' GroundingDinoConfig).

    Swin-T (windows of 7, depths 2, 2, 6, 2, three stages used) and BERT base, uncased; 900 queries, 6 + 6 layers.
    With it the published file's 990 tensors come out, to the byte (tests/test_grounding.py).
    """
    transformers = need_transformers()
    swin = transformers.SwinConfig(
        image_size=224, patch_size=4, embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7,
        drop_path_rate=0.1, out_indices=[2, 3, 4],
    )
    bert = transformers.BertConfig(vocab_size=30522)
    return transformers.GroundingDinoConfig(
        backbone_config=swin, text_config=bert, num_queries=900, d_model=256, encoder_layers=6, decoder_layers=6,
        encoder_ffn_dim=2048, decoder_ffn_dim=2048, max_text_len=256, disable_custom_kernels=True,
    )


def read_network(path_or_name: Source, *, folders: Sequence[Source] = ()) -> Network:
    """Read a catalogue name, a folder (transformers' layout) or a file of weights with its vocabulary beside it.

    folders: where else to look for a catalogue name. Without config.json the published configuration is used. Raises
    WeightsError: not installed (with the command that fetches it), damaged, or not a Grounding DINO; MissingExtraError
    without transformers.
    """
    transformers = need_transformers()
    path = _weights_path(path_or_name, folders)
    folder = path.parent
    config = _config(transformers, folder)
    vocabulary = read_vocabulary(folder)
    if vocabulary.size > config.text_config.vocab_size:
        raise WeightsError(f"{folder}: the vocabulary has {vocabulary.size} tokens, the network "
                           f"{config.text_config.vocab_size}; they do not belong together")
    shortest, longest = _sizes(folder)
    return Network(
        module=_module(transformers, config, path), vocabulary=vocabulary, shortest=shortest, longest=longest,
        text_limit=min(int(config.max_text_len), int(config.text_config.max_position_embeddings)),
        name=path_or_name if isinstance(path_or_name, str) and path_or_name in catalogue.FILES else str(path),
    )


def files_of(path_or_name: Source) -> list[Path]:
    """The files that `read_network` reads, of which those beside the weights need not exist.

    Raises WeightsError; MissingExtraError without transformers, before anybody fetches weights for nothing.
    """
    need_transformers()
    path = _weights_path(path_or_name, ()).absolute()
    beside = ("vocab.txt", "config.json", "preprocessor_config.json", "tokenizer.json")
    return [path, *(path.parent / name for name in beside)]


def _weights_path(source: Source, folders: Sequence[Source]) -> Path:
    if isinstance(source, str) and source in catalogue.FILES and not os.path.exists(source):
        if catalogue.FILES[source].role != "grounding":
            raise WeightsError(f"{source} finds nothing by words; expected grounding-dino-tiny or the path of one")
        return store.find(source, folders)[0]
    try:
        path = Path(os.fsdecode(source)).expanduser()
        if path.is_dir():
            path = path / "model.safetensors"
        there = path.is_file()
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise WeightsError(f"{str(source)[:200]!r} is no path: {error}") from None
    if not there:
        raise WeightsError(f"{path} does not exist; expected grounding-dino-tiny, a folder with model.safetensors and "
                           "vocab.txt, or such a file. Nothing is downloaded by itself; get the published one with: "
                           "matting-anything weights fetch grounding-dino-tiny")
    return path


def _read_json(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no JSON object")
    return content


def _config(transformers: Any, folder: Path) -> Any:
    content = _read_json(folder / "config.json")
    if content is None:
        return published_config()
    if content.get("model_type") != "grounding-dino":
        raise WeightsError(f"{folder / 'config.json'} is for {content.get('model_type')!r}, expected grounding-dino")
    try:
        # No compiled kernels: torch's own grid_sample is what is tested, and it runs everywhere.
        return transformers.GroundingDinoConfig.from_dict({**content, "disable_custom_kernels": True})
    except Exception as error:  # transformers checks values in its own ways, each with its own error type
        raise WeightsError(f"{folder / 'config.json'} does not describe a Grounding DINO: {error}") from error


def _sizes(folder: Path) -> tuple[int, int]:
    """Shorter and longer side of the picture: preprocessor_config.json's, else the published 800 and 1333."""
    content = _read_json(folder / "preprocessor_config.json") or {}
    size = content.get("size", {})
    try:
        shortest, longest = int(size.get("shortest_edge", 800)), int(size.get("longest_edge", 1333))
    except (AttributeError, TypeError, ValueError):
        raise WeightsError(f"{folder / 'preprocessor_config.json'} has the size {size!r}; expected shortest_edge and "
                           "longest_edge in pixels") from None
    if not 16 <= shortest <= longest <= 8192:
        raise WeightsError(f"{folder / 'preprocessor_config.json'} has the sides {shortest} and {longest}; expected "
                           "16 to 8192 pixels, the shorter one first")
    return shortest, longest


def _module(transformers: Any, config: Any, path: Path) -> torch.nn.Module:
    tensors = read_file(path).tensors
    with _quiet(transformers):
        try:
            module, report = transformers.GroundingDinoForObjectDetection.from_pretrained(
                None, config=config, state_dict=tensors, output_loading_info=True
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise WeightsError(f"{path} does not fit a Grounding DINO: {str(error).strip()[:300]}") from error
    wrong = [*report["missing_keys"], *(str(item) for item in report["mismatched_keys"]), *report["unexpected_keys"]]
    if wrong:
        raise WeightsError(f"{path} does not fit a Grounding DINO of its configuration: {len(wrong)} tensors are "
                           f"missing, unknown or of another shape, such as {sorted(map(str, wrong))[0]}")
    result: torch.nn.Module = module.float().eval().requires_grad_(False)
    return result


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without transformers' bars and hints on the console; what it finds wrong is reported as an error instead."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
