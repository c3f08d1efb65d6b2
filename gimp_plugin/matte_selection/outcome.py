"""Putting mattes into the image: as a layer mask, a new layer, the selection or a channel; one undo step in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pixels
from arguments import Asked
from gi.repository import Gegl, Gimp
from subject import QUICK_MASK

ALPHA_TYPES = {
    Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE,
    Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE,
    Gimp.ImageBaseType.INDEXED: Gimp.ImageType.INDEXEDA_IMAGE,
}


@dataclass(frozen=True)
class Found:
    """A layer's matte: buffers of its size.

    share: "Y u16", the subject's in what the layer shows. title: what a new layer or channel is called. colours: clean
    ones in sRGB for a new layer, None for its layer's own. amount: how far they are cleaned, 0..1.
    """

    layer: Any
    share: Any
    title: str
    colours: Any = None
    amount: float = 1.0


OVER = {"add": "gegl:add", "subtract": "gegl:subtract", "multiply": "gegl:multiply"}
"""What is done to an old mask with a new one; "replace" does nothing to it."""
OPERATIONS = {"replace": Gimp.ChannelOps.REPLACE, "add": Gimp.ChannelOps.ADD, "subtract": Gimp.ChannelOps.SUBTRACT,
              "intersect": Gimp.ChannelOps.INTERSECT}


def put(image: Any, mattes: list[Found], asked: Asked) -> None:
    """Put each layer's matte into the image."""
    if asked.output == "mask":  # the product is made before anything is changed
        mattes = [replace(found, share=_over_old(found, asked.existing_mask)) for found in mattes]
    with _one_step(image):
        if asked.output == "selection":
            _put_selection(image, mattes, OPERATIONS[asked.existing_selection])
            return
        for found in mattes:
            if asked.output == "mask":
                _put_mask(found.layer, found.share)
            elif asked.output == "layer":
                _put_layer(image, found)
            else:
                _put_channel(image, found)


@contextmanager
def _one_step(image: Any) -> Iterator[None]:
    """One undo step, after which the same layers are selected as before, or the Quick Mask."""
    selected = image.get_selected_layers()
    channels = image.get_selected_channels()
    image.undo_group_start()
    try:
        yield
    finally:
        if selected or not channels:
            image.set_selected_layers(selected)
        else:
            image.set_selected_channels(channels)
        image.undo_group_end()
        Gimp.displays_flush()


def _over_old(found: Found, policy: str) -> Any:
    layer, old = found.layer, found.layer.get_mask()
    if old is None or policy not in OVER:
        return found.share
    return pixels.combine(OVER[policy], old.get_buffer(), found.share, layer.get_width(), layer.get_height())


def _put_mask(layer: Any, share: Any) -> None:
    if layer.get_mask() is not None:  # writing into the old mask could not be undone
        layer.remove_mask(Gimp.MaskApplyMode.DISCARD)
    mask = layer.create_mask(Gimp.AddMaskType.BLACK)
    layer.add_mask(mask)
    pixels.paste(share, mask, 0, 0)
    layer.set_edit_mask(False)


def _put_layer(image: Any, found: Found) -> None:
    """The subject alone, above its layer, which is hidden: else nothing of it would be seen."""
    layer = found.layer
    sent = None if found.colours is None else pixels.sent_colours(layer)
    new = _twin(image, layer)
    new.set_name(found.title)
    image.insert_layer(new, layer.get_parent(), image.get_item_position(layer))
    new.set_lock_content(False)  # GIMP ends a process that writes into a locked one
    new.set_visible(True)
    if not new.has_alpha():
        new.add_alpha()
    buffer = new.get_buffer()
    pixels.put_clean(layer.get_buffer(), sent, found.colours, found.share, buffer, found.amount)
    buffer.flush()
    new.update(0, 0, layer.get_width(), layer.get_height())
    new.set_edit_mask(False)
    layer.set_visible(False)


def _twin(image: Any, layer: Any) -> Any:
    """A layer of pixels like another one: opacity, mode, mask, effects, place. Groups and texts become pixels."""
    if not layer.is_group() and not layer.is_text_layer():
        return layer.copy()
    new = Gimp.Layer.new(image, layer.get_name(), layer.get_width(), layer.get_height(),
                         ALPHA_TYPES[image.get_base_type()], layer.get_opacity(), layer.get_mode())
    for name in ("blend_space", "composite_space", "composite_mode", "color_tag"):
        getattr(new, f"set_{name}")(getattr(layer, f"get_{name}")())
    _ok, left, top = layer.get_offsets()
    new.set_offsets(left, top)
    old = layer.get_mask()
    if old is not None:
        mask = new.create_mask(Gimp.AddMaskType.WHITE)
        new.add_mask(mask)
        area = Gegl.Rectangle.new(0, 0, layer.get_width(), layer.get_height())
        old.get_buffer().copy(area, Gegl.AbyssPolicy.NONE, mask.get_buffer(), area)
        mask.get_buffer().flush()
        new.set_apply_mask(layer.get_apply_mask())
    return new


def _put_channel(image: Any, found: Found) -> Any:
    channel = Gimp.Channel.new(image, found.title, image.get_width(), image.get_height(), 50.0,
                               Gegl.Color.new("black"))
    image.insert_channel(channel, None, 0)
    channel.set_visible(False)
    _ok, left, top = found.layer.get_offsets()
    pixels.paste(found.share, channel, left, top)
    return channel


def _put_selection(image: Any, mattes: list[Found], operation: Any) -> None:
    """All of them together as the selection, or as the Quick Mask when that is on, which is to become the selection."""
    together, *others = [_put_channel(image, found) for found in mattes]
    for channel in others:
        together.combine_masks(channel, Gimp.ChannelOps.ADD, 0, 0)
    quick = image.get_channel_by_name(QUICK_MASK)
    if quick is not None:
        quick.combine_masks(together, operation, 0, 0)
    else:
        image.select_item(operation, together)
    for channel in (together, *others):
        image.remove_channel(channel)
