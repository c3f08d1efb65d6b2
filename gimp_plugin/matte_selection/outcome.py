"""Putting mattes into the image: as a layer mask, a new layer, the selection or a channel; one undo step in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pixels
from arguments import Asked
from gi.repository import Gegl, Gimp
from translation import _

ALPHA_TYPES = {
    Gimp.ImageBaseType.RGB: Gimp.ImageType.RGBA_IMAGE,
    Gimp.ImageBaseType.GRAY: Gimp.ImageType.GRAYA_IMAGE,
    Gimp.ImageBaseType.INDEXED: Gimp.ImageType.INDEXEDA_IMAGE,
}


@dataclass(frozen=True)
class Found:
    """A layer's matte: buffers of its size.

    share: "Y u16", the subject's in what the layer shows. colours: clean ones in sRGB, for a new layer.
    """

    layer: Any
    share: Any
    colours: Any = None


def put(image: Any, mattes: list[Found], asked: Asked) -> None:
    """Put each layer's matte into the image."""
    if asked.output == "mask":  # the product is made before anything is changed
        mattes = [replace(found, share=_over_old(found, asked.existing_mask)) for found in mattes]
    with _one_step(image):
        for index, found in enumerate(mattes):
            if asked.output == "mask":
                _put_mask(found.layer, found.share)
            elif asked.output == "layer":
                _put_layer(image, found)
            elif asked.output == "selection":
                _put_selection(image, found, add=index > 0)
            else:
                _put_channel(image, found)


@contextmanager
def _one_step(image: Any) -> Iterator[None]:
    """One undo step, after which the same layers are selected as before, or what was put above them."""
    selected = image.get_selected_layers()
    image.undo_group_start()
    try:
        yield
    finally:
        image.set_selected_layers(selected)
        image.undo_group_end()
        Gimp.displays_flush()


def _over_old(found: Found, policy: str) -> Any:
    layer, old = found.layer, found.layer.get_mask()
    if old is None or policy != "multiply":
        return found.share
    return pixels.combine("gegl:multiply", old.get_buffer(), found.share, layer.get_width(), layer.get_height())


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
    sent = pixels.sent_colours(layer)
    new = _twin(image, layer)
    new.set_name(_("{name} (matte)").format(name=layer.get_name()))
    image.insert_layer(new, layer.get_parent(), image.get_item_position(layer))
    new.set_lock_content(False)  # GIMP ends a process that writes into a locked one
    new.set_visible(True)
    if not new.has_alpha():
        new.add_alpha()
    buffer = new.get_buffer()
    pixels.put_clean(layer.get_buffer(), sent, found.colours, found.share, buffer)
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
    name = _("Matte of {name}").format(name=found.layer.get_name())
    channel = Gimp.Channel.new(image, name, image.get_width(), image.get_height(), 50.0, Gegl.Color.new("black"))
    image.insert_channel(channel, None, 0)
    channel.set_visible(False)
    _ok, left, top = found.layer.get_offsets()
    pixels.paste(found.share, channel, left, top)
    return channel


def _put_selection(image: Any, found: Found, *, add: bool) -> None:
    channel = _put_channel(image, found)
    image.select_item(Gimp.ChannelOps.ADD if add else Gimp.ChannelOps.REPLACE, channel)
    image.remove_channel(channel)
