"""Weights made from nothing but the tensors' names, so that any process can build the very same network.

Every tensor is normal noise from NumPy's Philox generator keyed by the CRC-32 of its name, scaled so that signals
neither die nor explode and no path is idle. The goldens in tests/golden were made with these weights.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

POWER_ITERATIONS = 30


def _noise(key: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=zlib.crc32(key.encode())))
    return generator.standard_normal(shape or (1,), dtype=np.float32).reshape(shape)


def _sam_scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """(offset, factor) of the noise in a tensor of SAM."""
    if name.endswith("positional_encoding_gaussian_matrix"):
        return 0, 1
    if "rel_pos" in name:
        return 0, 0.2
    if name.endswith("pos_embed"):
        return 0, 0.3
    if re.search(r"(point_embeddings\.\d|not_a_point_embed|no_mask_embed|iou_token|mask_tokens)\.weight$", name):
        return 0, 0.7
    if len(shape) == 1:
        norm = r"(norm\d?|norm_final_attn|neck\.[13]|output_upscaling\.1|mask_downscaling\.[14])\.weight$"
        return (1, 0.1) if re.search(norm, name) else (0, 0.05)
    upscaling = "output_upscaling" in name
    inputs = shape[0] if upscaling and len(shape) == 4 else int(np.prod(shape[1:]))
    gain = 1.8 if "output_hypernetworks_mlps" in name else 1.5 if upscaling else 1.0
    if name.endswith("qkv.weight") or "q_proj" in name or "k_proj" in name:
        gain = 1.2
    return 0, gain / np.sqrt(inputs)


def _m2m_scale(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """(offset, factor) of the noise in a tensor of Mask-to-Matte."""
    if name.endswith("running_mean"):
        return 0, 0.1
    if len(shape) == 1:
        return (1, 0.1) if name.endswith(".weight") else (0, 0.05)
    gain = 2.5 if re.match(r"refine_OS\d\.3\.weight", name) else 1.0
    return 0, gain / np.sqrt(np.prod(shape[1:]))


def sam_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for every name and shape of a Sam's state (which may be on the meta device)."""
    result = {}
    for name, value in state.items():
        shape = tuple(value.shape)
        offset, factor = _sam_scale(name, shape)
        result[name] = torch.from_numpy(np.float32(offset) + _noise("sam." + name, shape) * np.float32(factor))
    return result


def m2m_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for every name and shape of a MaskToMatte's state; u and v by power iterations in float64."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        shape = tuple(value.shape)
        if name.endswith("num_batches_tracked"):
            result[name] = torch.tensor(20000)
        elif name.endswith("running_var"):
            noise = _noise("m2m." + name, shape)
            result[name] = torch.from_numpy(np.float32(0.6) + np.float32(0.1) * np.abs(noise))
        elif not name.endswith(("weight_u", "weight_v")):
            offset, factor = _m2m_scale(name, shape)
            result[name] = torch.from_numpy(np.float32(offset) + _noise("m2m." + name, shape) * np.float32(factor))
    for name, value in state.items():
        if name.endswith("weight_u"):
            matrix = result[name[:-1] + "bar"].flatten(1).double()
            u = torch.from_numpy(_noise("m2m." + name, tuple(value.shape))).double()
            u /= u.norm()
            for _ in range(POWER_ITERATIONS):
                v = matrix.t() @ u
                v /= v.norm()
                u = matrix @ v
                u /= u.norm()
            result[name], result[name[:-1] + "v"] = u.float(), v.float()
    return {name: result[name] for name in state}


def segmenter_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for every name and shape of a network that is SAM in part (MobileSAM, HQ-SAM, SAM 2)."""
    result = {}
    for name, value in state.items():
        shape = tuple(value.shape)
        noise = _noise("segmenter." + name, shape)
        if not value.is_floating_point():
            result[name] = torch.full_like(value, 100, device="cpu")
            continue
        if name.endswith("running_var"):
            offset, factor, noise = 0.6, 0.1, np.abs(noise)
        elif name.endswith("attention_biases"):
            offset, factor = 0, 1
        elif "pos_embed" in name:
            offset, factor = 0, 0.3
        elif len(shape) == 1 and name.endswith(".weight"):
            offset, factor = 1, 0.1
        else:
            offset, factor = _sam_scale(name, shape)
        result[name] = torch.from_numpy(np.float32(offset) + noise * np.float32(factor))
    return result
