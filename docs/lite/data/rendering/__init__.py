"""What render.py renders: colours.py and strands.py need NumPy alone, the others Blender's Python module."""
