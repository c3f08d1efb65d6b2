"""Open Image Denoise, by the library that comes with Blender's Python module.

Blender denoises premultiplied light, which smears hair's colours into what is beside them. Here straight colours that
are continued over the whole picture are denoised instead, so that there is no edge to smear over; alpha is left alone.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import bpy
import numpy as np

from .colours import Array

FLOAT3 = 3  # OIDN_FORMAT_FLOAT3


def denoised(rgb: Array) -> Array:
    """Linear light H×W×3 without a renderer's noise; as it is where the library is not to be found."""
    found = sorted(Path(bpy.utils.resource_path("LOCAL")).parent.rglob("libOpenImageDenoise.so*"))
    if not found:
        return rgb
    oidn = ctypes.CDLL(str(found[0]))
    pointer = ctypes.c_void_p
    for name in ("oidnNewDevice", "oidnNewFilter"):
        getattr(oidn, name).restype = pointer
    source, result = np.ascontiguousarray(rgb, np.float32), np.empty(rgb.shape, np.float32)
    device = pointer(oidn.oidnNewDevice(1))  # 1: the CPU
    oidn.oidnSetDeviceInt(device, b"numThreads", 1)
    oidn.oidnSetDeviceBool(device, b"setAffinity", False)
    oidn.oidnCommitDevice(device)
    job = pointer(oidn.oidnNewFilter(device, b"RT"))
    height, width = rgb.shape[:2]
    size = [ctypes.c_size_t(number) for number in (width, height, 0, 0, 0)]
    for name, pixels in ((b"color", source), (b"output", result)):
        oidn.oidnSetSharedFilterImage(job, name, pixels.ctypes.data_as(pointer), FLOAT3, *size)
    oidn.oidnSetFilterBool(job, b"hdr", True)
    oidn.oidnCommitFilter(job)
    oidn.oidnExecuteFilter(job)
    message = ctypes.c_char_p()
    failed = oidn.oidnGetDeviceError(device, ctypes.byref(message))
    oidn.oidnReleaseFilter(job)
    oidn.oidnReleaseDevice(device)
    if failed:
        raise RuntimeError(f"Open Image Denoise: {(message.value or b'').decode()}")
    return result
