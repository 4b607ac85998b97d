"""Protocol ``3dpw``: 3D Poses in the Wild."""
