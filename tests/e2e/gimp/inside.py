"""What scripts inside GIMP start with: pictures in, procedures called, pixels out."""

import json
import os

import gi

gi.require_version("Babl", "0.1")
gi.require_version("Gegl", "0.4")
gi.require_version("Gimp", "3.0")
import numpy as np  # noqa: E402
from gi.repository import Gegl, Gimp, Gio  # noqa: E402

FOLDER = os.environ["FOLDER"]
MATTE = "plug-in-matte-selection"
noted = {}


def note(name, **what):
    """Write something down for the test; at once, whatever happens next."""
    noted[name] = what
    path = f"{FOLDER}/{os.environ.get('RESULTS', 'results')}.json"
    with open(f"{path}.tmp", "w") as file:
        json.dump(noted, file)
    os.replace(f"{path}.tmp", path)


def load(name):
    """A picture of the session's folder."""
    return Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(f"{FOLDER}/{name}"))


def read(item, form, channels=1):
    """The pixels of a layer, mask, channel or selection, in a Babl format."""
    kind = np.float32 if form.endswith("float") else np.uint16 if form.endswith("u16") else np.uint8
    area = Gegl.Rectangle.new(0, 0, item.get_width(), item.get_height())
    pixels = np.frombuffer(item.get_buffer().get(area, 1.0, form, Gegl.AbyssPolicy.NONE), kind)
    return pixels.reshape(item.get_height(), item.get_width(), channels).squeeze()


def write(item, form, pixels):
    """Set all pixels of a layer, mask or channel."""
    area = Gegl.Rectangle.new(0, 0, item.get_width(), item.get_height())
    buffer = item.get_buffer()
    buffer.set(area, form, np.ascontiguousarray(pixels).tobytes())
    buffer.flush()
    item.update(0, 0, item.get_width(), item.get_height())


def keep(name, **arrays):
    """Keep arrays for the test."""
    np.savez(f"{FOLDER}/{name}.npz", **arrays)


def call(image, layers, name=MATTE, mode=Gimp.RunMode.NONINTERACTIVE, **arguments):
    """Call the plug-in as another plug-in would; returns its status and message."""
    procedure = Gimp.get_pdb().lookup_procedure(name)
    config = procedure.create_config()
    config.set_property("run-mode", mode)
    config.set_property("image", image)
    config.set_core_object_array("drawables", layers)
    for key, value in arguments.items():
        config.set_property(key.replace("_", "-"), value)
        assert config.get_property(key.replace("_", "-")) == value, f"GIMP did not take {key}={value!r}"
    result = procedure.run(config)
    status = result.index(0)
    done = status == Gimp.PDBStatusType.SUCCESS
    return status.value_nick, "" if done else Gimp.get_pdb().get_last_error()


def state(image):
    """All that a failed call must leave as it is."""
    _, *bounds = Gimp.Selection.bounds(image)
    layers = []
    for layer in image.get_layers():
        layers.append([layer.get_id(), layer.get_name(), layer.get_visible(), list(layer.get_offsets())[1:],
                       layer.get_mask() is not None])
    return [bounds, layers, [channel.get_id() for channel in image.get_channels()],
            sorted(layer.get_id() for layer in image.get_selected_layers()), image.is_dirty()]
