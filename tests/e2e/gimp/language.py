"""Inside GIMP: what the plug-in says in the language of this session. test_language.py reads it."""

import gi

gi.require_version("Gimp", "3.0")
from gi.repository import Gimp  # noqa: E402
from inside import MATTE, call, load, note  # noqa: E402

procedure = Gimp.get_pdb().lookup_procedure(MATTE)
image = load("photo.png")
image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 10, 10)
image.get_layers()[0].set_offsets(100, 100)
note("texts", label=procedure.get_menu_label(), blurb=procedure.get_blurb(),
     nick=procedure.find_argument("output").get_nick(), message=call(image, image.get_layers())[1])
