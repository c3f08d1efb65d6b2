"""A Grounding DINO small enough to be trained in minutes: its configuration, its vocabulary, its pictures, its loss.

It is the published network's own class with everything made small (0.4 M parameters, pictures of 64 pixels), saved in
the published layout, and it has learned to find red, green and blue circles and triangles by their names. Its weights
are kept in golden/grounding_tiny.safetensors, since how well a short training ends depends on the processor's
arithmetic. `python tests/tiny_grounding.py` trains them anew, in about five minutes on one core.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

WEIGHTS = Path(__file__).parent / "golden" / "grounding_tiny.safetensors"
SIDE = 64
COLOURS = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (45, 70, 215)}
SHAPES = ("circle", "triangle")
ABSENT = ("dog", "horse", "yellow car", "kite", "white bird", "old house", "flower")
"""Words that are never in a picture, so that the network learns to find nothing. The tests ask for another one."""


def write_vocabulary(path: Path) -> list[str]:
    """vocab.txt with BERT's special tokens at their places, the words of the pictures and letters for all others."""
    tokens = [f"[unused{place}]" for place in range(1040)]
    tokens[0], tokens[100], tokens[101], tokens[102] = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
    tokens[1012], tokens[1029] = ".", "?"
    letters = [chr(ord("a") + place) for place in range(26)]
    words = [*COLOURS, "circle", "square", "triangle", *letters, *(f"##{letter}" for letter in letters)]
    tokens[200 : 200 + len(words)] = words
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return tokens


def tiny_config():
    """The configuration: Swin with two stages, BERT with two layers, one encoder and two decoder layers."""
    from transformers import BertConfig, GroundingDinoConfig, SwinConfig

    swin = SwinConfig(image_size=SIDE, patch_size=8, embed_dim=32, depths=[1, 1], num_heads=[2, 4], window_size=4,
                      drop_path_rate=0.0, out_indices=[1, 2])
    bert = BertConfig(vocab_size=1040, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                      intermediate_size=64, max_position_embeddings=64, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0)
    return GroundingDinoConfig(
        backbone_config=swin, text_config=bert, num_queries=12, d_model=64, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=128, decoder_ffn_dim=128, encoder_attention_heads=4, decoder_attention_heads=4,
        num_feature_levels=2, max_text_len=48, dropout=0.0, fusion_droppath=0.0, text_enhancer_dropout=0.0,
        disable_custom_kernels=True,
    )


def draw(kind: str, colour: str, centre: tuple[float, float], size: float, picture: np.ndarray) -> tuple[int, ...]:
    """Draw a shape into H×W×3 uint8 and return its box, x0, y0, x1, y1 in pixels."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    x, y = (columns - centre[0]) / (size / 2), (rows - centre[1]) / (size / 2)
    inside = {
        "circle": x**2 + y**2 < 1,
        "square": np.maximum(abs(x), abs(y)) < 0.9,
        "triangle": (y < 0.9) & (y > -0.9) & (abs(x) < (y + 0.95) / 1.9),
    }[kind]
    picture[inside] = COLOURS[colour]
    places = inside.nonzero()
    return (int(places[1].min()), int(places[0].min()), int(places[1].max()) + 1, int(places[0].max()) + 1)


def scene(random: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, str, tuple[int, ...]]]]:
    """A picture SIDE×SIDE×3 uint8 with one to three shapes that do not touch: colour, kind and box of each."""
    picture = np.full((SIDE, SIDE, 3), random.uniform(60, 200), np.float32)
    picture += random.normal(0, 6, picture.shape)
    picture = picture.clip(0, 255).astype(np.uint8)
    things: list[tuple[str, str, tuple[int, ...]]] = []
    circles: list[tuple[float, float, float]] = []
    for _ in range(random.integers(1, 4)):
        for _ in range(20):
            size = random.uniform(16, 36)
            x, y = random.uniform(size / 2 + 1, SIDE - size / 2 - 1, 2)
            if all(math.hypot(x - a, y - b) > (size + c) * 0.6 for a, b, c in circles):
                colour, kind = str(random.choice(list(COLOURS))), str(random.choice(SHAPES))
                things.append((colour, kind, draw(kind, colour, (x, y), size, picture)))
                circles.append((x, y, size))
                break
    return picture, things


def phrases_for(things: list, random: np.random.Generator) -> list[str]:
    """One to three phrases, some of which name something in the picture."""
    phrases = []
    for _ in range(random.integers(1, 4)):
        if random.random() < 0.2:
            phrases.append(str(random.choice(ABSENT)))
            continue
        if random.random() < 0.6:
            colour, kind, _ = things[random.integers(len(things))]
        else:
            colour, kind = str(random.choice(list(COLOURS))), str(random.choice(SHAPES))
        phrases.append(f"{colour} {kind}" if random.random() < 0.6 else colour)
    return list(dict.fromkeys(phrases))


def named(phrase: str, colour: str, kind: str) -> bool:
    """Whether a phrase names a thing of this colour and kind."""
    return all(word in (colour, kind) for word in phrase.split())


def batch(random: np.random.Generator, vocabulary, count: int) -> dict:
    """Pictures, captions, and for each picture its boxes (centre and size, 0..1) and tokens that name each box."""
    from matting_anything_core.grounding.detect import to_network

    pictures, captions, boxes, tokens = [], [], [], []
    for _ in range(count):
        picture, things = scene(random)
        [caption] = vocabulary.captions(phrases_for(things, random), 48)
        pictures.append(to_network(picture, SIDE, 2 * SIDE)[0])
        captions.append(caption.ids)
        wanted, places = [], []
        for colour, kind, (x0, y0, x1, y1) in things:
            target = np.zeros(48, np.float32)
            for phrase, (first, last) in zip(caption.phrases, caption.spans, strict=True):
                target[first:last] = named(phrase, colour, kind)
            if target.any():
                wanted.append(target)
                places.append([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
        boxes.append(torch.tensor(places, dtype=torch.float32).reshape(-1, 4) / SIDE)
        tokens.append(torch.from_numpy(np.array(wanted, np.float32).reshape(-1, 48)))
    longest = max(map(len, captions))
    ids = torch.tensor([[*caption, *[0] * (longest - len(caption))] for caption in captions])
    return {"pixel_values": torch.cat(pictures), "input_ids": ids, "attention_mask": (ids != 0).long(),
            "boxes": boxes, "tokens": tokens}


def overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Generalised IoU of every box of N×4 with every one of M×4 (centre and size)."""
    a0, a1 = one[:, None, :2] - one[:, None, 2:] / 2, one[:, None, :2] + one[:, None, 2:] / 2
    b0, b1 = other[None, :, :2] - other[None, :, 2:] / 2, other[None, :, :2] + other[None, :, 2:] / 2
    shared = (torch.minimum(a1, b1) - torch.maximum(a0, b0)).clamp(min=0).prod(-1)
    union = (a1 - a0).prod(-1) + (b1 - b0).prod(-1) - shared
    hull = (torch.maximum(a1, b1) - torch.minimum(a0, b0)).prod(-1)
    return shared / union - (hull - union) / hull


def set_loss(logits, boxes, mask, wanted_boxes, wanted_tokens) -> torch.Tensor:
    """DETR's loss: one prediction for each thing (Hungarian matching), focal loss on tokens, L1 and GIoU on boxes."""
    total = logits.new_zeros(())
    count = max(sum(map(len, wanted_boxes)), 1)
    for row in range(len(logits)):
        length = int(mask[row].sum())
        scores, target = logits[row, :, :length], torch.zeros_like(logits[row, :, :length])
        if len(wanted_boxes[row]):
            wanted = wanted_tokens[row][:, :length]
            share = wanted / wanted.sum(1, keepdim=True)
            with torch.no_grad():
                probability = scores.sigmoid()
                cost = 5 * torch.cdist(boxes[row], wanted_boxes[row], p=1) - 2 * overlap(boxes[row], wanted_boxes[row])
                cost = cost - 2 * probability @ share.T
                queries, things = linear_sum_assignment(cost.numpy())
            queries, things = torch.as_tensor(queries), torch.as_tensor(things)
            target[queries] = wanted[things]
            picked, true = boxes[row][queries], wanted_boxes[row][things]
            total = total + 5 * (picked - true).abs().sum() + 2 * (1 - overlap(picked, true).diagonal()).sum()
        probability = scores.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        sure = probability * target + (1 - probability) * (1 - target)
        total = total + 2 * ((1 - sure) * entropy).sum()
    return total / count


def start_modestly(module) -> None:
    """Logits are products of two normalised vectors of 64 numbers, as wide as 8 at first, far too sure. Here they
    start near -4 (few tokens fit few places), as detectors with a bias of their own do."""
    model = module.model
    text = model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    text.weight.data.mul_(0.1)
    text.bias.data.fill_(-0.25)
    for norm in (model.enc_output_norm, model.decoder.layer_norm):
        norm.bias.data.fill_(0.25)


def train(vocabulary, *, steps: int, count: int = 8, rate: float = 2e-3, seed: int = 0, report=None):
    """A network trained from nothing on generated pictures."""
    from transformers import GroundingDinoForObjectDetection

    random = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = GroundingDinoForObjectDetection(tiny_config()).train()
        start_modestly(module)
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        data = batch(random, vocabulary, count)
        output = module(**{key: data[key] for key in ("pixel_values", "input_ids", "attention_mask")},
                        token_type_ids=torch.zeros_like(data["input_ids"]))
        wanted = data["attention_mask"], data["boxes"], data["tokens"]
        base = output.enc_outputs_coord_logits.sigmoid()
        loss = set_loss(output.logits, output.pred_boxes, *wanted) + set_loss(output.enc_outputs_class, base, *wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None:
            report(step, loss.item())
    return module.eval()


def tensors_of(module) -> dict[str, torch.Tensor]:
    """A network's tensors, each once, as the published file holds them."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in module.state_dict().items():
        if name.startswith("model.decoder.bbox_embed") or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        tensors[name] = tensor.contiguous()
    return tensors


def write_trained(folder: Path) -> None:
    """The trained network in the published layout: model.safetensors, config.json, preprocessor_config.json and
    vocab.txt."""
    from safetensors.torch import load_file, save_file

    write_vocabulary(folder / "vocab.txt")
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor
               for name, tensor in load_file(WEIGHTS).items()}
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(tiny_config().to_json_string(), encoding="utf-8")
    size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}), encoding="utf-8")


def main() -> None:
    """Train the kept weights anew."""
    import tempfile

    from safetensors.torch import save_file

    from matting_anything_core.grounding.text import read_vocabulary

    with tempfile.TemporaryDirectory() as folder:
        write_vocabulary(Path(folder) / "vocab.txt")
        module = train(read_vocabulary(Path(folder)), steps=2400,
                       report=lambda step, loss: print(step, round(loss, 2)) if step % 100 == 0 else None)
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor
               for name, tensor in tensors_of(module).items()}, str(WEIGHTS), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
