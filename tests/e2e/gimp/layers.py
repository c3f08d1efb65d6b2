"""Inside GIMP: opens files of layers that this project has written. test_layers.py reads what it keeps."""

from inside import keep, load, note, read

for name in ("cut.psd", "deep.psd", "cut.ora"):
    image = load(name)
    layers = image.get_layers()
    kept = {}
    for index, layer in enumerate(layers):
        kept[f"layer{index}"] = read(layer, "R'G'B'A float", 4)
        mask = layer.get_mask()
        if mask is not None:
            kept[f"mask{index}"] = read(mask, "Y float")
    note(name, names=[layer.get_name() for layer in layers], visible=[layer.get_visible() for layer in layers],
         masks=[layer.get_mask() is not None for layer in layers], precision=image.get_precision().value_nick)
    keep(name, **kept)
