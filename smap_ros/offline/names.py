"""Names of the files that a run leaves, stated once: some write them, others must not read them."""

from __future__ import annotations

BODIES = "bodies.json"
SHEET = "contact_sheet.png"
PLOT = "poses_3d.png"
VIDEO = "annotated"
PICTURES = "annotated"

# Pictures beside a bodies.json that no camera took.
OWN_PICTURES = frozenset((SHEET, PLOT))
