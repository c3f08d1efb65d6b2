"""Files of several layers: Photoshop's PSD, which psd-tools writes, and OpenRaster, which is a zip of PNGs.

    layers (the lowest first) ──► encode_layers ──► the bytes of a .psd or an .ora, with the merged picture in it

OpenRaster (openraster.org) has no layer masks: there a masked layer is one with transparency, whose colours go on under
it, and the mask lies above it as a hidden layer of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np
import PIL.Image

from ..errors import ImageError, MissingExtraError
from .arrays import Array, quantise
from .exif import block
from .icc import srgb_profile
from .metadata import PLAIN, Metadata

LayeredFormat = Literal["psd", "ora"]
LAYERED: tuple[LayeredFormat, ...] = ("psd", "ora")
LARGEST_SIDE = {"psd": 30_000, "ora": 2**31 - 1}
_THUMBNAIL = 256  # pixels on the longer side, as OpenRaster has it


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a file, as large as the picture.

    Parameters
    ----------
    name
        As programs show it; ASCII.
    pixels
        H×W×1 (gray), H×W×3 or H×W×4 (straight alpha) of uint8 or uint16.
    mask
        H×W of the same type, how much of the layer is seen in each pixel; None for a layer without a mask.
    visible
        Whether it is seen when the file is opened.
    """

    name: str
    pixels: Array
    mask: Array | None = None
    visible: bool = True


def check_layered(form: LayeredFormat) -> None:
    """Raises MissingExtraError when what writes this format is not installed."""
    if form == "psd" and importlib.util.find_spec("psd_tools") is None:
        raise MissingExtraError("PSD files are written by psd-tools, which is not installed; install it with: pip "
                                "install 'matting-anything-core[layers]', or write OpenRaster (.ora), which needs "
                                "nothing and opens in GIMP and Krita")


def encode_layers(
    layers: Sequence[Layer], form: LayeredFormat, *, bits: int = 8, png_level: int | None = None,
    profile: bytes | None = None, metadata: Metadata = PLAIN,
) -> bytes:
    """The bytes of a file of layers, the same for the same layers.

    Parameters
    ----------
    layers
        The lowest first, all of one size.
    form
        `psd` or `ora`.
    bits
        8 or 16 a channel.
    png_level
        As for `encode_image`, of OpenRaster's PNGs.
    profile
        The ICC profile of the colours, None for sRGB.
    metadata
        What is written besides pixels.

    Raises
    ------
    ImageError
        For what the format cannot hold.
    MissingExtraError
        When psd-tools is not installed.
    """
    check_layered(form)
    height, width = layers[0].pixels.shape[:2]
    if max(height, width) > LARGEST_SIDE[form]:
        raise ImageError(f"a {form.upper()} has at most {LARGEST_SIDE[form]} pixels a side, the picture has "
                         f"{width} x {height}; write OpenRaster (.ora), or a TIFF or PNG")
    ready = [Layer(layer.name, quantise(layer.pixels, bits), None if layer.mask is None else quantise(layer.mask, bits),
                   layer.visible) for layer in layers]
    if form == "ora":
        return _openraster(ready, png_level, profile, metadata)
    return _photoshop(ready, profile, metadata)


def merged(layers: Sequence[Layer]) -> Array:
    """What is seen of layers of one type, drawn over one another: H×W×4 of that type, straight alpha (gray: H×W×2)."""
    top, seen = float(np.iinfo(layers[0].pixels.dtype).max), [layer for layer in layers if layer.visible]
    if not seen:
        shape = layers[0].pixels.shape
        return np.zeros((*shape[:2], _colours(layers[0].pixels) + 1), layers[0].pixels.dtype)
    if len(seen) == 1:
        return np.dstack(_parts(seen[0]))
    colours, alpha = None, None
    for layer in seen:
        own, share = _parts(layer)
        opacity = np.multiply(share, np.float32(1 / top), dtype=np.float32)[..., None]
        if colours is None or alpha is None:
            colours, alpha = own.astype(np.float32), opacity
            continue
        below = alpha * (1 - opacity)
        alpha = opacity + below
        colours = (own * opacity + colours * below) / np.maximum(alpha, 1e-6)
    assert colours is not None
    assert alpha is not None
    result: Array = np.rint(np.concatenate([colours, alpha * np.float32(top)], 2)).astype(layers[0].pixels.dtype)
    return result


def _colours(pixels: Array) -> int:
    return 1 if pixels.shape[2] == 1 else 3


def _parts(layer: Layer) -> tuple[Array, Array]:
    """A layer's colours H×W×1 or 3, and its own alpha times its mask, H×W."""
    count, top = _colours(layer.pixels), np.iinfo(layer.pixels.dtype).max
    share = layer.pixels[..., 3] if layer.pixels.shape[2] == 4 else np.full(layer.pixels.shape[:2], top,
                                                                              layer.pixels.dtype)
    if layer.mask is not None:
        product = share.astype(np.uint64) * layer.mask
        share = ((product + top // 2) // top).astype(layer.pixels.dtype)
    return layer.pixels[..., :count], share


# --- OpenRaster -----------------------------------------------------------------------------------------------------


def _openraster(layers: Sequence[Layer], level: int | None, profile: bytes | None, metadata: Metadata) -> bytes:
    """A file as of OpenRaster 0.0.3."""
    from .encode import encode_pixels

    height, width = layers[0].pixels.shape[:2]
    bits = 8 * layers[0].pixels.itemsize

    def png(pixels: Array, bits: int = bits, about: Metadata = PLAIN) -> bytes:
        return encode_pixels(pixels, "png", bits=bits, png_level=level, profile=profile, metadata=about)

    found = merged(layers)
    if found.shape[2] == 2:  # a gray picture is opaque
        found = found[..., :1]
    whole = quantise(found, 8)
    small = PIL.Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    entries: list[str] = []
    files: dict[str, bytes] = {}

    def add(name: str, visible: bool, pixels: Array) -> None:
        source = f"data/layer{len(files)}.png"
        files[source] = png(pixels)
        entries.append(f'<layer name={quoteattr(name)} src="{source}" x="0" y="0" opacity="1.0" '
                       f'visibility="{"visible" if visible else "hidden"}" composite-op="svg:src-over"/>')

    for layer in layers:
        own, share = _parts(layer)
        add(layer.name, layer.visible, layer.pixels if layer.mask is None else np.dstack([own, share]))
        if layer.mask is not None:
            add(f"{layer.name} mask", False, np.repeat(layer.mask[..., None], 3, 2))
    density = "" if metadata.dpi is None else f' xres="{round(metadata.dpi[0])}" yres="{round(metadata.dpi[1])}"'
    stack = f'<?xml version="1.0" encoding="UTF-8"?>\n<image version="0.0.3" w="{width}" h="{height}"{density}>\n' \
            f"<stack>\n{chr(10).join(reversed(entries))}\n</stack>\n</image>\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {"mimetype": b"image/openraster", "stack.xml": stack.encode(), **files,
                           "mergedimage.png": png(whole, 8, metadata),
                           "Thumbnails/thumbnail.png": png(np.asarray(small), 8)}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # neither compressed again nor dated
    return buffer.getvalue()


# --- Photoshop ------------------------------------------------------------------------------------------------------


def _photoshop(layers: Sequence[Layer], profile: bytes | None, metadata: Metadata) -> bytes:
    """A PSD of psd-tools' structures, which hold 16 bits and masks exactly and draw nothing by themselves."""
    from psd_tools.constants import ChannelID, ColorMode, Compression, Resource, Tag
    from psd_tools.psd import PSD
    from psd_tools.psd.header import FileHeader
    from psd_tools.psd.image_data import ImageData
    from psd_tools.psd.image_resources import ImageResource, ImageResources
    from psd_tools.psd.tagged_blocks import TaggedBlock, TaggedBlocks

    parts: Any = importlib.import_module("psd_tools.psd.layer_and_mask")  # whose lists have no types to be filled by
    blocks: Any = TaggedBlocks
    height, width = layers[0].pixels.shape[:2]
    depth, colours = 8 * layers[0].pixels.itemsize, _colours(layers[0].pixels)
    # Run lengths are what every reader knows; of 16 bits Photoshop itself writes differences.
    packing = Compression.RLE if depth == 8 else Compression.ZIP_WITH_PREDICTION

    def channel(plane: Array) -> Any:
        data = parts.ChannelData(packing)
        data.set_data(_big_endian(plane), width, height, depth, 1)
        return data

    records: list[Any] = []
    planes: list[Any] = []
    for layer in layers:
        opaque = np.full((height, width), np.iinfo(layer.pixels.dtype).max, layer.pixels.dtype)
        there = {ChannelID.TRANSPARENCY_MASK: layer.pixels[..., 3] if layer.pixels.shape[2] == 4 else opaque}
        there |= {ChannelID(index): layer.pixels[..., index] for index in range(colours)}
        mask = None
        if layer.mask is not None:
            there[ChannelID.USER_LAYER_MASK] = layer.mask
            mask = parts.MaskData(top=0, left=0, bottom=height, right=width, background_color=0)
        written = [channel(plane) for plane in there.values()]
        planes.append(parts.ChannelDataList(written))
        records.append(parts.LayerRecord(
            top=0, left=0, bottom=height, right=width, name=layer.name, mask_data=mask,
            flags=parts.LayerFlags(visible=layer.visible),
            channel_info=[parts.ChannelInfo(kind, len(data.data) + 2)
                          for kind, data in zip(there, written, strict=True)]))
    # A negative count says that the merged picture's further channel is its transparency.
    kind = parts.LayerInfo if depth == 8 else parts.LayerInfoBlock
    info = kind(layer_count=-len(layers), layer_records=parts.LayerRecords(records),
                channel_image_data=parts.ChannelImageData(planes))
    # What overlays look like, here nothing, stands between the layers and the blocks that hold those of 16 bits.
    between = parts.GlobalLayerMaskInfo()
    if depth == 8:
        body = parts.LayerAndMaskInformation(info, between)
    else:
        deep = blocks([(Tag.LAYER_16, TaggedBlock(key=Tag.LAYER_16, data=info))])
        body = parts.LayerAndMaskInformation(parts.LayerInfo(), between, deep)
    header = FileHeader(channels=colours + 1, height=height, width=width, depth=depth,
                        color_mode=ColorMode.GRAYSCALE if colours == 1 else ColorMode.RGB)
    whole = ImageData(Compression.RLE)
    whole.set_data([_big_endian(plane) for plane in _on_white(merged(layers))], header)
    resources = ImageResources.new()
    for key, data in _resources(colours, profile, metadata).items():
        resources[Resource(key)] = ImageResource(key=Resource(key), data=data)
    buffer = io.BytesIO()
    PSD(header=header, image_resources=resources, layer_and_mask_information=body, image_data=whole).write(buffer)
    return buffer.getvalue()


def _big_endian(plane: Array) -> bytes:
    return np.ascontiguousarray(plane, plane.dtype.newbyteorder(">")).tobytes()


def _on_white(pixels: Array) -> Iterator[Array]:
    """The planes of a merged picture as a PSD has them: colours mixed with white where it is transparent, and alpha."""
    top, alpha = int(np.iinfo(pixels.dtype).max), pixels[..., -1]
    weight = alpha.astype(np.uint64 if pixels.itemsize > 1 else np.uint32)
    for index in range(pixels.shape[2] - 1):
        yield ((pixels[..., index] * weight + top * (top - weight) + top // 2) // top).astype(pixels.dtype)
    yield alpha


def _resources(colours: int, profile: bytes | None, metadata: Metadata) -> dict[int, bytes]:
    """Numbers and contents of the image resources ("Adobe Photoshop File Formats Specification")."""
    found: dict[int, bytes] = {}
    if metadata.dpi is not None:
        across, down = (round(value * 65536) for value in metadata.dpi)
        found[1005] = struct.pack(">IHHIHH", across, 1, 1, down, 1, 1)  # 16.16 pixels an inch, shown in inches
    if colours == 3:
        found[1039] = profile or srgb_profile()
    if metadata.exif is not None:
        found[1058] = block(metadata.exif, metadata.dpi)
    if metadata.xmp:
        found[1060] = metadata.xmp
    return found
