"""Protocol ``mupots``: MuPoTS-3D."""
