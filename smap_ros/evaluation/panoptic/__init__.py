"""Protocol ``panoptic``: CMU Panoptic."""
