"""Inside GIMP: the plug-in on every kind of image, layer, selection and result. test_outputs.py reads what it keeps."""

import os
import sys
import traceback

import numpy as np
from gi.repository import Gegl, Gimp
from inside import MATTE, call, keep, load, note, read, state, write

BOX = (60, 20, 340, 480)
"""x, y, width, height of the selection."""


def photo(precision=None, base=None, selection=True):
    """The picture as an image of a kind, its layer, and a rectangle selected in it."""
    image = load("photo.png")
    if precision is not None:
        image.convert_precision(precision)
    if base == "gray":
        image.convert_grayscale()
    if base == "indexed":
        image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 128, False, False, "")
    if selection:
        image.select_rectangle(Gimp.ChannelOps.REPLACE, *BOX)
    return image, image.get_layers()[0]


def colours(layer):
    """A layer's colours with as many bits as its image has, 8 or 16."""
    eight = (Gimp.Precision.U8_LINEAR, Gimp.Precision.U8_NON_LINEAR, Gimp.Precision.U8_PERCEPTUAL)
    return read(layer, "R'G'B' u8" if layer.get_image().get_precision() in eight else "R'G'B' u16", 3)


def kept_mask(name, image, layer, **arguments):
    """Matte one layer and keep its mask and the colours it was made of."""
    sent = colours(layer)
    _, x, y = layer.get_offsets()
    status, message = call(image, [layer], **arguments)
    mask = layer.get_mask()
    keep(name, sent=sent, mask=np.zeros(0) if mask is None else read(mask, "Y float"))
    note(name, status=status, message=message, offset=[x, y], editing=layer.get_edit_mask(), state=state(image),
         selected=[one.get_name() for one in image.get_selected_layers()])


def kinds():
    """Colour modes and precisions."""
    kept_mask("rgb", *photo())
    kept_mask("gray", *photo(base="gray"))
    kept_mask("indexed", *photo(base="indexed"))
    kept_mask("linear8", *photo(Gimp.Precision.U8_LINEAR))
    kept_mask("u16", *photo(Gimp.Precision.U16_NON_LINEAR))
    kept_mask("float", *photo(Gimp.Precision.FLOAT_LINEAR))


def places():
    """Layers that are not where the canvas is."""
    image, layer = photo()
    layer.set_offsets(37, -21)
    kept_mask("offset", image, layer)
    image, layer = photo()
    image.resize(380, 400, -50, -30)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 0, 340, 400)
    kept_mask("larger", image, layer)
    image, layer = photo()
    layer.resize(330, 400, -80, -60)
    kept_mask("smaller", image, layer)
    image, layer = photo()
    group = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(group, None, 0)
    image.reorder_item(layer, group, 0)
    kept_mask("group", image, group)
    kept_mask("in_group", image, layer)


def selections():
    """Shapes of selections, as a box and as an outline, and none."""
    image, layer = photo()
    image.select_ellipse(Gimp.ChannelOps.REPLACE, *BOX)
    keep("ellipse", selection=read(image.get_selection(), "Y u8"))
    kept_mask("ellipse_box", image, layer)
    kept_mask("ellipse_outline", image, layer, selection_is="outline")
    Gimp.Selection.feather(image, 30)
    _, _, x0, y0, x1, y1 = Gimp.Selection.bounds(image)
    keep("feather", selection=read(image.get_selection(), "Y u8"), bounds=np.array([x0, y0, x1, y1]))
    kept_mask("feather_box", image, layer)
    kept_mask("feather_outline", image, layer, selection_is="outline")
    kept_mask("rectangle_outline", *photo(), selection_is="outline")
    kept_mask("none", *photo(selection=False))


def path(image, numbers):
    """Select a path with these corners."""
    made = Gimp.Path.new(image, "clicks")
    image.insert_path(made, None, 0)
    controls = [value for x, y in numbers for value in (x, y) * 3]
    made.stroke_new_from_points(Gimp.PathStrokeType.BEZIER, controls, False)
    image.set_selected_paths([made])


def clicks():
    """Points of a path, alone and with a box."""
    image, layer = photo(selection=False)
    path(image, [(230, 120), (220, 400)])
    kept_mask("points", image, layer, path_is="subject")
    image, layer = photo()
    path(image, [(370, 450)])
    kept_mask("not_there", image, layer, path_is="background")
    image, layer = photo()
    path(image, [(370, 440), (370, 480)])
    kept_mask("line_there", image, layer, path_is="keep")


def masked(pixels):
    """The picture with a layer mask of these shares."""
    image, layer = photo(selection=False)
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    write(mask, "Y u8", pixels)
    return image, layer


def masks():
    """The layer's mask, and the Quick Mask, as prompts."""
    rough = np.zeros((512, 512), np.uint8)
    rough[60:480, 120:340] = 255
    kept_mask("mask_outline", *masked(rough), mask_is="outline")
    trimap = rough // 2
    trimap[150:400, 180:280] = 255
    kept_mask("mask_trimap", *masked(trimap), mask_is="trimap")
    image, layer = masked(rough)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 120, 60, 40, 40)
    kept_mask("mask_previous", image, layer, mask_is="previous", selection_is="drop")
    image, layer = photo(selection=False)
    quick = Gimp.Channel.new(image, "Qmask", 512, 512, 50.0, Gegl.Color.new("red"))
    image.insert_channel(quick, None, 0)
    x, y, width, height = BOX
    shape = np.zeros((512, 512), np.uint8)
    shape[y:y + height, x:x + width] = 255
    write(quick, "Y' u8", shape)
    image.set_selected_channels([quick])
    sent = colours(layer)
    status, message = call(image, [quick])
    keep("quick", sent=sent, mask=read(layer.get_mask(), "Y float"))
    note("quick", status=status, message=message, selected=[one.get_name() for one in image.get_selected_channels()])
    call(image, [quick], output="selection")
    keep("quick_selection", mask=read(quick, "Y' float"))


def combining():
    """Results that are put together with the selection that is there, and that end at it."""
    for operation in ("add", "subtract", "intersect"):
        image, layer = photo(selection=False)
        path(image, [(230, 120), (220, 400)])
        image.select_rectangle(Gimp.ChannelOps.REPLACE, 200, 200, 300, 300)
        call(image, [layer], output="selection", selection_is="unused", path_is="subject",
             existing_selection=operation)
        keep(f"selection_{operation}", sent=colours(layer), selection=read(image.get_selection(), "Y float"))
    image, layer = photo(selection=False)
    image.select_ellipse(Gimp.ChannelOps.REPLACE, 100, 60, 200, 300)
    keep("confined_by", selection=read(image.get_selection(), "Y float"))
    kept_mask("confined", image, layer, confine=True)


PARTS = ((90, 30, 250, 160), (60, 260, 280, 230))
"""Two parts of a selection: x, y, width, height."""


def objects():
    """Several boxes, as one result and as one each."""
    for name, arguments in (("one", {}), ("layers", {"output": "layer"}), ("each", {"output": "layer"}),
                            ("channels", {"output": "channel"})):
        image, layer = photo(selection=False)
        for part in PARTS:
            image.select_rectangle(Gimp.ChannelOps.ADD, *part)
        image.select_rectangle(Gimp.ChannelOps.ADD, 500, 500, 2, 2)  # a slip of the hand
        sent = colours(layer)
        status, message = call(image, [layer], selection_is="boxes", **arguments,
                               objects="each" if name in ("each", "channels") else "one")
        made = image.get_channels() if name == "channels" else image.get_layers()
        form, channels = ("Y' float", 1) if name == "channels" else ("R'G'B'A float", 4)
        mask = layer.get_mask()
        keep(f"objects_{name}", sent=sent, mask=[] if mask is None else read(mask, "Y float"),
             **{f"made{number}": read(one, form, channels) for number, one in enumerate(made)})
        note(f"objects_{name}", status=status, message=message, titles=[one.get_name() for one in made])


def doubts():
    """What is said when it is not certain which is the subject."""
    said = {}
    for name in ("photo.png", "many.png"):
        image = load(name)
        procedure = Gimp.get_pdb().lookup_procedure(MATTE)
        config = procedure.create_config()
        config.set_property("image", image)
        config.set_core_object_array("drawables", image.get_layers())
        result = procedure.run(config)
        done = result.index(0) == Gimp.PDBStatusType.SUCCESS
        said[name] = [result.index(0).value_nick, result.index(1) if done else Gimp.get_pdb().get_last_error()]
    note("doubts", **said)


def old_masks():
    """A layer that has a mask already."""
    ramp = np.tile(np.linspace(0, 1, 512, dtype=np.float32), (512, 1))
    for policy in ("replace", "multiply", "add", "subtract", "stop"):
        for name, precision in (("", None), ("_float", Gimp.Precision.FLOAT_LINEAR)):
            image, layer = photo(precision)
            mask = layer.create_mask(Gimp.AddMaskType.WHITE)
            layer.add_mask(mask)
            write(mask, "Y float", ramp)
            keep(f"old_{policy}{name}", old=read(mask, "Y float"))
            kept_mask(f"mask_{policy}{name}", image, layer, existing_mask=policy)
    image, layer = photo()
    mask = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(mask)
    sent = colours(layer)
    status, message = call(image, [mask])
    keep("mask_itself", sent=sent, mask=read(layer.get_mask(), "Y float"))
    note("mask_itself", status=status, message=message)


def holes():
    """A layer that is transparent in parts."""
    alpha = np.full((512, 512), 255, np.uint8)
    alpha[:, :100] = 0
    alpha[:, 100:200] = np.linspace(0, 255, 100).astype(np.uint8)
    for output in ("mask", "layer"):
        image, layer = photo()
        layer.add_alpha()
        pixels = read(layer, "R'G'B'A u8", 4).copy()
        pixels[..., 3] = alpha
        write(layer, "R'G'B'A u8", pixels)
        status, message = call(image, [layer], output=output)
        made = image.get_layers()[0]
        keep(f"holes_{output}", sent=pixels, mask=read(layer.get_mask(), "Y float") if output == "mask" else [],
             made=read(made, "R'G'B'A u8", 4))
        note(f"holes_{output}", status=status, message=message)


def results():
    """The other kinds of result."""
    for name, arguments in (("", {}), ("_float", {"precision": Gimp.Precision.FLOAT_LINEAR}),
                            ("_indexed", {"base": "indexed"}), ("_gray", {"base": "gray"})):
        image, layer = photo(**arguments)
        layer.set_offsets(20, 10)
        sent = colours(layer)
        status, message = call(image, [layer], output="layer")
        made = image.get_layers()[0]
        keep(f"layer{name}", sent=sent, made=read(made, "R'G'B'A float", 4))
        note(f"layer{name}", status=status, message=message, title=made.get_name(), offset=list(made.get_offsets())[1:],
             layers=len(image.get_layers()), below=layer.get_visible(), mask=made.get_mask() is not None)
    for name, precision in (("", None), ("_u16", Gimp.Precision.U16_NON_LINEAR)):
        image, layer = photo(precision)
        layer.set_offsets(20, -10)
        sent = colours(layer)
        status, message = call(image, [layer], output="channel")
        channel = image.get_channels()[0]
        keep(f"channel{name}", sent=sent, stored=read(channel, "Y float" if precision else "Y' float"))
        note(f"channel{name}", status=status, message=message, title=channel.get_name(),
             selected=[one.get_name() for one in image.get_selected_layers()])
        status, message = call(image, [layer], output="selection")
        keep(f"selection{name}", sent=sent, selection=read(image.get_selection(), "Y float"))
        note(f"selection{name}", status=status, message=message, channels=len(image.get_channels()),
             selected=[one.get_name() for one in image.get_selected_layers()])


def likeness():
    """What a new layer takes over: opacity, mode, mask and effects of its layer, and colours that sRGB cannot hold."""
    for name, precision in (("u8", None), ("float", Gimp.Precision.FLOAT_LINEAR)):
        image, layer = photo(precision)
        image.convert_color_profile(Gimp.ColorProfile.new_rgb_adobe(), Gimp.ColorRenderingIntent.PERCEPTUAL, True)
        pixels = read(layer, "R'G'B' float", 3).copy()
        pixels[300:320, 220:240] = (-0.6, 1.0, -0.2)  # AdobeRGB's green in sRGB's numbers, about
        pixels[(pixels.min(axis=2) > 0.85) & (np.arange(512)[:, None] > 200)] = 2.28  # where it is nearly white
        write(layer, "R'G'B' float", pixels)
        layer.set_opacity(60)
        layer.set_mode(Gimp.LayerMode.MULTIPLY)
        mask = layer.create_mask(Gimp.AddMaskType.WHITE)
        layer.add_mask(mask)
        write(mask, "Y float", np.full((512, 512), 0.5, np.float32))
        own = read(layer, "R'G'B' float", 3)
        status, message = call(image, [layer], output="layer")
        made = image.get_layers()[0]
        keep(f"like_{name}", own=own, made=read(made, "R'G'B'A float", 4), mask=read(made.get_mask(), "Y float"))
        note(f"like_{name}", status=status, message=message, opacity=made.get_opacity(),
             mode=made.get_mode().value_nick, visible=made.get_visible(), layers=len(image.get_layers()))
    image, layer = photo()
    group = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(group, None, 0)
    image.reorder_item(layer, group, 0)
    group.set_opacity(40)
    sent = colours(group)
    status, message = call(image, [group], output="layer")
    made = image.get_layers()[0]
    keep("like_group", sent=sent, made=read(made, "R'G'B'A float", 4))
    note("like_group", status=status, message=message, opacity=made.get_opacity(), group=made.is_group())


def meanwhile():
    """A layer that is changed while its matte is made: the plug-in's own modules, in this process."""
    sys.path.insert(0, os.path.expanduser("~/.config/GIMP/3.0/plug-ins/matte_selection"))
    import arguments
    import client
    import work

    procedure = Gimp.get_pdb().lookup_procedure(MATTE)
    honest = work.Bar
    for name, change in (
        ("deleted", lambda image, layer: image.remove_layer(layer)),
        ("resized", lambda image, layer: layer.resize(300, 300, 0, 0)),
        ("moved", lambda image, layer: layer.set_offsets(15, 0)),
        ("closed", lambda image, layer: image.delete()),
    ):
        image, layer = photo()
        sent, done = colours(layer), []

        class Meddling(honest):
            def say(self, text, image=image, layer=layer, change=change, done=done):
                super().say(text)
                if "Fetching" in text:
                    change(image, layer)
                    done.append(True)

        work.Bar = Meddling
        message = ""
        try:
            work.matte_layers(image, [layer], arguments.Asked.of(procedure.create_config()))
        except client.ClientError as error:
            message = str(error)
        finally:
            work.Bar = honest
        mask = layer.get_mask() if layer.is_valid() else None
        keep(f"meanwhile_{name}", sent=sent, mask=np.zeros(0) if mask is None else read(mask, "Y float"))
        note(f"meanwhile_{name}", message=message, changed=len(done), mask=mask is not None)


def several():
    """Two layers at once."""
    image, layer = photo()
    other = layer.copy()
    image.insert_layer(other, None, 0)
    other.set_offsets(30, 0)
    sent = colours(layer)
    status, message = call(image, [layer, other])
    keep("several", sent=sent, first=read(layer.get_mask(), "Y float"), second=read(other.get_mask(), "Y float"))
    note("several", status=status, message=message)


def refusals():
    """What cannot be done, and leaves everything as it is."""
    def refused(name, image, drawables, **arguments):
        before = state(image)
        status, message = call(image, drawables if isinstance(drawables, list) else [drawables], **arguments)
        note(name, status=status, message=message, same=state(image) == before)

    image, layer = photo()
    layer.set_offsets(600, 0)
    refused("beside", image, [layer])
    image, layer = photo()
    channel = Gimp.Channel.new(image, "spot", 512, 512, 50.0, Gegl.Color.new("red"))
    image.insert_channel(channel, None, 0)
    refused("channel_selected", image, [channel])
    refused("no_model", image, [layer], model="vit_h")
    refused("no_words", image, [layer], words="the astronaut")
    refused("no_path", image, [layer], path_is="subject")
    refused("nothing", image, [])
    image, layer = photo()
    layer.set_lock_content(True)
    refused("locked", image, [layer])
    others = ("layer", "selection", "channel")
    note("locked_otherwise", calls=[call(image, [layer], output=output) for output in others])
    image, layer = photo()
    group = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(group, None, 0)
    image.reorder_item(layer, group, 0)
    layer.set_lock_content(True)
    refused("locked_below", image, [group])
    layer.set_lock_content(False)
    group.set_lock_content(True)
    refused("locked_above", image, [layer])
    refused("locked_above_layer", image, [layer], output="layer")
    image, layer = photo()
    floating = Gimp.Selection.float(image, [layer], 5, 5)
    refused("floating", image, [floating])
    image, layer = photo()
    image.select_ellipse(Gimp.ChannelOps.REPLACE, 60, 60, 8, 8)
    Gimp.Selection.feather(image, 60)
    refused("thin", image, [layer], selection_is="outline")
    image, layer = photo()
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 200, 200, 1, 1)
    for output in ("mask", "layer", "selection", "channel"):
        refused(f"tiny_{output}", image, [layer], output=output)
    image, layer = photo()
    layer.add_alpha()
    write(layer, "R'G'B'A u8", np.zeros((512, 512, 4), np.uint8))
    refused("invisible", image, [layer])
    image, layer = photo()
    refused("no_mask", image, [layer], mask_is="outline")
    refused("no_correction", *masked(np.full((512, 512), 255, np.uint8)), mask_is="previous")
    refused("black_mask", *masked(np.zeros((512, 512), np.uint8)), mask_is="outline")


def procedures():
    """What GIMP tells others about the plug-in."""
    for name in (MATTE, f"{MATTE}-last", f"{MATTE}-check"):
        procedure = Gimp.get_pdb().lookup_procedure(name)
        note(name, menus=procedure.get_menu_paths(), label=procedure.get_menu_label(), blurb=procedure.get_blurb(),
             help=procedure.get_help(), arguments=[one.get_name() for one in procedure.get_arguments()])
    image, layer = photo()
    note("last", first=call(image, [layer], mode=Gimp.RunMode.WITH_LAST_VALS, output="mask"),
         again=call(image, [layer], name=f"{MATTE}-last"), mask=layer.get_mask() is not None)
    check = Gimp.get_pdb().lookup_procedure(f"{MATTE}-check")
    result = check.run(check.create_config())
    note("report", status=result.index(0).value_nick, report=result.index(1))


for part in (kinds, places, selections, clicks, masks, combining, objects, doubts, old_masks, holes,
             results, likeness, several, refusals, procedures, meanwhile):
    try:
        part()
    except Exception:
        traceback.print_exc()
        note(f"{part.__name__} failed", error=traceback.format_exc())
    for left in Gimp.get_images():
        left.delete()
sys.stdout.flush()
