"""Rigid geometry around a camera: mountings, trees of frames, the way a torso faces."""
