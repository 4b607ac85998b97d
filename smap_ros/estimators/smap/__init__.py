"""SMAP: all people of an image from the maps of one network."""
