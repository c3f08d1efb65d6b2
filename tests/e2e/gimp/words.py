"""Inside GIMP: words as prompts, on a picture of coloured shapes. test_words.py reads what it keeps."""

from inside import call, keep, load, note, read, state

image = load("shapes.png")
layer = image.get_layers()[0]
for name, words in (("found", "red circle"), ("nothing", "elephant")):
    before = state(image)
    status, message = call(image, [layer], words=words, output="channel")
    note(name, status=status, message=message, same=state(image) == before)
found = image.get_channels()[0]
status, message = call(image, [layer], words="red circle", output="channel", objects="each")
made = [channel for channel in image.get_channels() if channel != found]
note("each", status=status, message=message, alike=[bool((read(one, "Y' float") == read(found, "Y' float")).all())
                                                    for one in made])
keep("found", alpha=read(image.get_channels()[0], "Y' float"))
