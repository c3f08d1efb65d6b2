"""Putting mattes into the image: as a layer mask, a new layer, the selection or a channel; one undo step in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def put(image: Any, mattes: list[tuple[Any, Any]], asked: Asked) -> None:
    """Put each layer's matte into the image. mattes: (layer, buffer of its size: "Y u16", or colours for a layer)."""
    if asked.output == "mask":  # the product is made before anything is changed
        mattes = [(layer, _over_old(layer, share, asked.existing_mask)) for layer, share in mattes]
    with _one_step(image):
        for index, (layer, buffer) in enumerate(mattes):
            if asked.output == "mask":
                _put_mask(layer, buffer)
            elif asked.output == "layer":
                _put_layer(image, layer, buffer)
            elif asked.output == "selection":
                _put_selection(image, layer, buffer, add=index > 0)
            else:
                _put_channel(image, layer, buffer)


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


def _over_old(layer: Any, share: Any, policy: str) -> Any:
    old = layer.get_mask()
    if old is None or policy != "multiply":
        return share
    return pixels.combine("gegl:multiply", old.get_buffer(), share, layer.get_width(), layer.get_height())


def _put_mask(layer: Any, share: Any) -> None:
    if layer.get_mask() is not None:  # writing into the old mask could not be undone
        layer.remove_mask(Gimp.MaskApplyMode.DISCARD)
    mask = layer.create_mask(Gimp.AddMaskType.BLACK)
    layer.add_mask(mask)
    pixels.paste(share, mask, 0, 0)
    layer.set_edit_mask(False)


def _put_layer(image: Any, layer: Any, colours: Any) -> None:
    """The subject alone, above its layer, which is hidden: else nothing of it would be seen."""
    width, height = layer.get_width(), layer.get_height()
    name = _("{name} (matte)").format(name=layer.get_name())
    new = Gimp.Layer.new(image, name, width, height, ALPHA_TYPES[image.get_base_type()], 100.0, layer.get_mode())
    image.insert_layer(new, layer.get_parent(), image.get_item_position(layer))
    _ok, left, top = layer.get_offsets()
    new.set_offsets(left, top)
    buffer = new.get_buffer()
    area = Gegl.Rectangle.new(0, 0, width, height)
    colours.copy(area, Gegl.AbyssPolicy.NONE, buffer, area)
    buffer.flush()
    new.update(0, 0, width, height)
    layer.set_visible(False)


def _put_channel(image: Any, layer: Any, share: Any) -> Any:
    name = _("Matte of {name}").format(name=layer.get_name())
    channel = Gimp.Channel.new(image, name, image.get_width(), image.get_height(), 50.0, Gegl.Color.new("black"))
    image.insert_channel(channel, None, 0)
    channel.set_visible(False)
    _ok, left, top = layer.get_offsets()
    pixels.paste(share, channel, left, top)
    return channel


def _put_selection(image: Any, layer: Any, share: Any, *, add: bool) -> None:
    channel = _put_channel(image, layer, share)
    image.select_item(Gimp.ChannelOps.ADD if add else Gimp.ChannelOps.REPLACE, channel)
    image.remove_channel(channel)
