"""The steps between an image and its matte, each on values; model.py takes them in order."""
