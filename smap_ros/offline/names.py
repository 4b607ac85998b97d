"""Names of the files that a run leaves, stated once: some write them, others must not read them."""

from __future__ import annotations

BODIES = "bodies.json"
SHEET = "contact_sheet.png"
PLOT = "poses_3d.png"
VIDEO = "annotated"
PICTURES = "annotated"

# Pictures beside a bodies.json that no camera took.
OWN_PICTURES = frozenset((SHEET, PLOT))

# What a run may write directly to its folder: whatever its inputs are called.
WRITTEN = (BODIES, SHEET, PLOT, f"{VIDEO}.mp4", f"{VIDEO}_*.mp4")
