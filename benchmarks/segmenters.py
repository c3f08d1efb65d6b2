"""First prompt of MobileSAM, HQ-SAM and SAM 2.1 on the CPU: our time beside that of the published code, alternating.

    python benchmarks/segmenters.py [--models mobile_sam hq_light hq_vit_b sam2.1_t] [--rounds 3] [--threads 1]

Published code: the packages segment-anything-hq (MobileSAM's encoder is in it as well) and transformers, with SAM's own
prompt encoder and mask decoder (segment-anything) for MobileSAM. Weights made from names, the same for both; a picture
of 1024 × 683 pixels, normalised and padded or stretched beforehand, and one box. A first prompt is encoding and
decoding; what the masks differ by is told, as a share of the largest logit. Of each the smallest of the rounds counts.
Wall time, and processor time, which holds on a machine that does other work as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "networks")]

from segmenters import (  # noqa: E402
    made,
    pixels,
    published,
    their_hq_sam,
    their_sam2,
    their_sam2_state,
    their_vit,
)

VITS = {"hq_vit_b": (768, 12, 12, (2, 5, 8, 11)), "hq_vit_l": (1024, 24, 16, (5, 11, 17, 23)),
        "hq_vit_h": (1280, 32, 16, (7, 15, 23, 31))}
MODELS = ("mobile_sam", "hq_light", *VITS, "sam2.1_t", "sam2.1_s", "sam2.1_b", "sam2.1_l")
DEFAULT = ("mobile_sam", "hq_light", "hq_vit_b", "sam2.1_t", "sam2.1_s")
BOX = torch.tensor([[200.0, 100.0, 800.0, 600.0]])
First = Callable[[], Tensor]


def both(name: str) -> tuple[First, First]:
    """The published code's first prompt, and ours."""
    sam = made(name, 1024)
    given = pixels(sam, 683, 1024)

    def ours() -> Tensor:
        features, fine = sam.look(given)
        return sam.decode(features, BOX, fine=fine)[0]

    state = sam.state_dict()
    if name.startswith("sam2"):
        other = their_sam2(name, 1024)
        other.load_state_dict(their_sam2_state(state))
        return lambda: other(pixel_values=given, input_boxes=BOX[None]).pred_masks[0], ours
    if name == "mobile_sam":
        encoder = published(1024, state)

        def theirs() -> Tensor:
            sparse, dense = sam.prompt_encoder(None, BOX, None)
            return sam.mask_decoder(encoder(given)[0], sam.prompt_encoder.get_dense_pe(), sparse, dense, True)[0]

        return theirs, ours
    if name == "hq_light":
        hq = their_hq_sam(published(1024, state), 160, 1024)
    else:
        width, depth, heads, everywhere = VITS[name]
        hq = their_hq_sam(their_vit(width, depth, heads, everywhere, 1024, 14), width, 1024)
    hq.load_state_dict(state, strict=False)
    hq.eval()

    def theirs_hq() -> Tensor:
        features, early = hq.image_encoder(given)
        sparse, dense = hq.prompt_encoder(points=None, boxes=BOX, masks=None)
        return hq.mask_decoder(
            image_embeddings=features, image_pe=hq.prompt_encoder.get_dense_pe(), sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense, multimask_output=False, hq_token_only=False, interm_embeddings=early)[0]

    return theirs_hq, ours


def measured(first: First) -> tuple[float, float, Tensor]:
    """Wall and processor seconds, and the masks."""
    wall, processor = time.perf_counter(), time.process_time()
    masks = first()
    return time.perf_counter() - wall, time.process_time() - processor, masks


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=DEFAULT, metavar="NAME",
                        help=f"of {', '.join(MODELS)} (default: {' '.join(DEFAULT)})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'first prompt':<14}{'published':>12}{'ours':>10}{'ratio':>8}{'processor':>24}{'ratio':>8}{'off by':>10}")
    for name in arguments.models:
        ways = both(name)
        best = [(float("inf"), float("inf"))] * 2
        masks: list[Tensor] = [torch.empty(0)] * 2
        for _ in range(arguments.rounds):
            for way, first in enumerate(ways):
                wall, processor, masks[way] = measured(first)
                best[way] = min(best[way][0], wall), min(best[way][1], processor)
        (wall, processor), (our_wall, our_processor) = best
        off = float((masks[0] - masks[1]).abs().max() / masks[0].abs().max())
        print(f"{name:<14}{wall:>10.2f} s{our_wall:>8.2f} s{our_wall / wall:>8.2f}"
              f"{processor:>13.2f} s{our_processor:>7.2f} s{our_processor / processor:>8.2f}{off:>10.1e}", flush=True)


if __name__ == "__main__":
    main()
