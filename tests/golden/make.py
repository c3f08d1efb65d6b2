"""Make the goldens' weights and inputs, and the numbers that a package can give; say how far the stored ones are off.

    python tests/golden/make.py --out folder                 # both pictures; ViT-B on the CPU, a minute or so for each
    python tests/golden/make.py --out folder --picture chelsea

Made with the package segment-anything alone, none of this project's networks:

    chelsea.webp, rocket.webp           scikit-image's pictures, without loss
    weights of SAM ViT-B                from the tensors' names: ../recipe.py
    sam_vit_b_keys.txt                  names and shapes of its tensors
    embedding_PICTURE.npz               what the encoder takes and gives, every 32nd pixel; 8th channel, 4th row, column
    recipe_PICTURE_CASE.npz             bbox, point, label: the prompts, in pixels of the 1024 × 1024 input;
                                        logits (every 8th row and column), iou and mask (packed bits)

What the rest of the stored numbers are of, the authors' released program (os8, os4, os1, final_…, w8_… of recipe_*.npz;
weight_maps.npz, losses*, metrics*), is published as code and not as a package. They were made by running it on a CPU in
float32 with these same weights and inputs, Mask-to-Matte's too (../recipe.py, m2m_keys.txt), and are kept as they came.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

PICTURES = ("chelsea", "rocket")
CASES = ("box", "point1", "points3", "boxes3_batch")


def picture(name: str) -> np.ndarray:
    """H×W×3 uint8."""
    from skimage import data

    return np.ascontiguousarray(getattr(data, name)()[..., :3])


def network() -> torch.nn.Module:
    """SAM with ViT-B and the recipe's weights."""
    from recipe import sam_weights
    from segment_anything import sam_model_registry

    sam = sam_model_registry["vit_b"]().eval()
    sam.load_state_dict(sam_weights(sam.state_dict()))
    return sam


def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(HERE / name) as file:
        return {key: file[key] for key in file.files}


def prompts(name: str, case: str) -> dict[str, torch.Tensor]:
    """bbox N×1×4, or point 1×n×2 and label 1×n, in pixels of the input. They are inputs, so they are read as stored."""
    return {key: torch.from_numpy(value) for key, value in stored(f"recipe_{name}_{case}.npz").items()
            if key in ("bbox", "point", "label")}


@torch.inference_mode()
def made(sam: torch.nn.Module, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Files and what is in them, for one picture."""
    from segment_anything.utils.transforms import ResizeLongestSide

    rgb = picture(name)
    scaled = ResizeLongestSide(1024).apply_image(rgb)
    pixels = sam.preprocess(torch.from_numpy(scaled).permute(2, 0, 1)[None].float())
    features = sam.image_encoder(pixels)
    files = {f"embedding_{name}.npz": {
        "embedding": features[:, ::8, ::4, ::4].numpy(), "mean": np.float32(features.mean()),
        "std": np.float32(features.std()), "input": pixels[..., ::32, ::32].numpy(),
    }}
    for case in CASES:
        given = prompts(name, case)
        rows = [decoded(sam, features, given, row) for row in range(len(given.get("bbox", given.get("point"))))]
        logits, iou = torch.cat([row[0] for row in rows]), torch.cat([row[1] for row in rows])
        best = logits[torch.arange(len(logits)), iou.argmax(1)][:, None]
        mask = sam.postprocess_masks(best, scaled.shape[:2], rgb.shape[:2]) > 0
        files[f"recipe_{name}_{case}.npz"] = {
            **{key: value.numpy() for key, value in given.items()}, "logits": logits[..., ::8, ::8].numpy(),
            "iou": iou.numpy(), "mask": np.packbits(mask.numpy(), axis=-1),
        }
    return files


def decoded(
    sam: torch.nn.Module, features: torch.Tensor, given: Mapping[str, torch.Tensor], row: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The three masks' logits 1×3×256×256 and their predicted IoU 1×3."""
    points = None if "point" not in given else (given["point"][row : row + 1], given["label"][row : row + 1])
    boxes = None if "bbox" not in given else given["bbox"][row]
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None)
    return sam.mask_decoder(image_embeddings=features, image_pe=sam.prompt_encoder.get_dense_pe(),
                            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True)


def distance(key: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    if key == "mask":
        return f"{np.unpackbits(ours ^ theirs).mean():.1e} of the pixels differ"
    return f"off by {np.abs(ours.astype(float) - theirs).max():.1e} at most"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write; stored files stay")
    parser.add_argument("--picture", choices=PICTURES, action="append", help="only this one")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sam = network()
    lines = (f"{name}\t{tuple(value.shape)}\t{value.numel()}" for name, value in sam.state_dict().items())
    (args.out / "sam_vit_b_keys.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    for name in args.picture or PICTURES:
        Image.fromarray(picture(name)).save(args.out / f"{name}.webp", lossless=True)
        same = np.array_equal(np.asarray(Image.open(HERE / f"{name}.webp").convert("RGB")), picture(name))
        print(f"{name}.webp: {'the stored pixels' if same else 'OTHER PIXELS than stored'}")
        for file, content in made(sam, name).items():
            np.savez_compressed(args.out / file, **content)
            before = stored(file)
            for key, value in content.items():
                print(f"{file} {key}: {distance(key, value, before[key])}", flush=True)


if __name__ == "__main__":
    main()
