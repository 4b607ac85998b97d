"""Protocol ``pck2d``: joints in labelled photos."""
