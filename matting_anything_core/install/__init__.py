"""Putting the plug-ins that come with the package into the programs they are for."""
