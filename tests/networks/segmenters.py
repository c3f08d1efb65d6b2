"""What the tests of MobileSAM, HQ-SAM and SAM 2 share with benchmarks/segmenters.py: networks with made weights, those
of the published packages, prompts, pictures."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import torch
from recipe import segmenter_weights
from tiny import picture
from torch import Tensor, nn

from matting_anything_core.geometry import Fit, to_square
from matting_anything_core.networks.backbones import BACKBONES
from matting_anything_core.networks.sam import Sam, build_sam, load_state

SHAPES = ((100, 100), (60, 128), (128, 37), (9, 64))
"""Heights and widths of pictures."""
PREFIX = "image_encoder."
SAM2_SIZES = {  # by transformers' converter of the published checkpoints
    "sam2.1_t": {}, "sam2.1_s": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "sam2.1_b": {"hidden_size": 112, "embed_dim_per_stage": [112, 224, 448, 896],
                  "num_attention_heads_per_stage": [2, 4, 8, 16], "blocks_per_stage": [2, 3, 16, 3],
                  "global_attention_blocks": [12, 16, 20], "window_positional_embedding_background_size": [14, 14]},
    "sam2.1_l": {"hidden_size": 144, "embed_dim_per_stage": [144, 288, 576, 1152],
                 "num_attention_heads_per_stage": [2, 4, 8, 16], "blocks_per_stage": [2, 6, 36, 4],
                 "global_attention_blocks": [23, 33, 43], "window_size_per_stage": [8, 4, 16, 8]},
    "sam2_tiny_test": {"hidden_size": 16, "embed_dim_per_stage": [16, 32, 64, 128],
                       "num_attention_heads_per_stage": [1, 2, 4, 8], "blocks_per_stage": [1, 2, 3, 2],
                       "global_attention_blocks": [5], "window_size_per_stage": [4, 2, 6, 2]},
}
THEIRS = (  # a pattern of our names, and transformers'
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."), (r"^image_encoder\.neck\.(convs\.\d)\.conv",
                                                               r"vision_encoder.neck.\1"),
    (r"patch_embed\.proj", "patch_embed.projection"), (r"\.norm(\d|_final_attn)\.", r".layer_norm\1."),
    (r"(blocks\.\d+\.mlp)\.layers\.0", r"\1.proj_in"),
    (r"(blocks\.\d+\.mlp)\.layers\.1", r"\1.proj_out"), (r"mlp\.lin1", "mlp.proj_in"), (r"mlp\.lin2", "mlp.proj_out"),
    (r"out_proj", "o_proj"), (r"output_upscaling\.0", "upscale_conv1"), (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"), (r"(_head|_mlps\.\d)\.layers\.0", r"\1.proj_in"),
    (r"(_head|_mlps\.\d)\.layers\.1", r"\1.layers.0"), (r"(_head|_mlps\.\d)\.layers\.2", r"\1.proj_out"),
    (r"mask_downscaling\.0", "mask_embed.conv1"), (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"), (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"), (r"^no_mem_embed", "no_memory_embedding"),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
)


def made(architecture: str, square: int) -> Sam:
    """A network with weights made from names."""
    with torch.device("meta"):
        sam = build_sam(architecture, square)
    load_state(sam, segmenter_weights(sam.state_dict()), "the recipe")
    return sam


def pixels(sam: Sam, height: int, width: int) -> Tensor:
    """A picture as the encoder takes it, 1×3×S×S."""
    return to_square(picture(height, width), Fit(height, width, sam.square, sam.stretched), sam.mean, sam.std)


def prompts(sam: Sam, parts: str, count: int = 2) -> dict[str, Tensor]:
    """Of the mixture that is named: boxes, points with labels, masks."""
    rng = np.random.default_rng(1)
    found = {}
    if "box" in parts:
        boxes = np.sort(rng.uniform(0, sam.square, (count, 2, 2)), axis=1).reshape(count, 4)
        found["boxes"] = torch.tensor(boxes, dtype=torch.float32)
    if "points" in parts:
        found["points"] = torch.tensor(rng.uniform(0, sam.square, (count, 3, 2)), dtype=torch.float32)
        found["labels"] = torch.tensor([[1, 0, 1]] * count)
    if "mask" in parts:
        side = 4 * sam.grid
        found["masks"] = torch.tensor(rng.normal(0, 5, (count, 1, side, side)), dtype=torch.float32)
    return found


def published(square: int, state: dict[str, Tensor]) -> nn.Module:
    """The published encoder with these weights; what classes were told apart with gets some too."""
    from segment_anything_hq.modeling import TinyViT

    encoder = TinyViT(img_size=square, in_chans=3, num_classes=1000, embed_dims=[64, 128, 160, 320],
                      depths=[2, 2, 6, 2], num_heads=[2, 4, 5, 10], window_sizes=[7, 7, 14, 7], mlp_ratio=4.0,
                      drop_rate=0.0, drop_path_rate=0.0, use_checkpoint=False, mbconv_expand_ratio=4.0,
                      local_conv_size=3, layer_lr_decay=0.8)
    own = {name[len(PREFIX):]: value for name, value in state.items() if name.startswith(PREFIX)}
    missing, spare = encoder.load_state_dict(own, strict=False)
    assert {name.split(".")[0] for name in missing} == {"norm_head", "head"}
    assert not spare
    return encoder.eval()  # after the weights: it makes its table of biases then


@torch.inference_mode()
def reference(encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Its features, and the early ones that HQ-SAM takes; its own forward holds for 1024 pixels alone."""
    grid = x.shape[-1] // 16
    x = encoder.patch_embed(x)
    for index, layer in enumerate(encoder.layers):
        x = layer(x)
        if index == 1:
            early = x.view(len(x), grid, grid, -1)
    return encoder.neck(x.view(len(x), grid, grid, -1).permute(0, 3, 1, 2)), early


def their_hq_sam(encoder: nn.Module, early: int, square: int, width: int = 2048) -> nn.Module:
    """The authors' Sam over an encoder."""
    from segment_anything_hq.modeling import MaskDecoderHQ, PromptEncoder, Sam, TwoWayTransformer

    grid = square // 16
    return Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(embed_dim=256, image_embedding_size=(grid, grid),
                                     input_image_size=(square, square), mask_in_chans=16),
        mask_decoder=MaskDecoderHQ(
            num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256, vit_dim=early,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=width, num_heads=8)),
    ).eval()


def their_vit(width: int, depth: int, heads: int, everywhere: tuple[int, ...], square: int, window: int) -> nn.Module:
    from segment_anything_hq.modeling import ImageEncoderViT

    return ImageEncoderViT(
        img_size=square, patch_size=16, embed_dim=width, depth=depth, num_heads=heads, out_chans=256, mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True, use_rel_pos=True, window_size=window,
        global_attn_indexes=everywhere)


def their_sam2_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under transformers' names."""
    found = {}
    for name, value in state.items():
        if "point_embeddings" not in name:
            for ours, theirs in THEIRS:
                name = re.sub(ours, theirs, name)
            found[name] = value
    points = [state[f"prompt_encoder.point_embeddings.{index}.weight"] for index in range(4)]
    found["prompt_encoder.point_embed.weight"] = torch.cat(points)
    found["shared_image_embedding.positional_embedding"] = found["prompt_encoder.shared_embedding.positional_embedding"]
    return found


def their_sam2(name: str, square: int) -> nn.Module:
    from transformers import Sam2Config, Sam2Model
    from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig

    trunk = Sam2HieraDetConfig(image_size=[square, square], **SAM2_SIZES[name])
    sides = [[square // step, square // step] for step in (4, 8, 16)]
    config = Sam2Config(
        vision_config={"backbone_config": trunk.to_dict(), "backbone_feature_sizes": sides,
                       "backbone_channel_list": trunk.embed_dim_per_stage[::-1]},
        prompt_encoder_config={"image_size": square},
        mask_decoder_config={"mlp_dim": BACKBONES[name].decoder_width},
    )
    return Sam2Model(config).eval()
