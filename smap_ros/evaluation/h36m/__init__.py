"""Protocols ``h36m-p1`` and ``h36m-p2``: Human3.6M."""
