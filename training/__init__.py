"""Offline half of smap_ros: networks, targets, losses, training, conversion and export.

Needs torch, which the robot does not: ``smap_ros`` never imports this package.
"""

import smap_ros  # noqa: F401  before any runtime: it keeps what they would report to themselves
