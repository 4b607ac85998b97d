"""MAED: SMPL bodies from video.

Wan et al., "Encoder-decoder with Multi-level Attention for 3D Human Shape and Pose Estimation",
ICCV 2021: a spatio-temporal encoder (``encoder``, ``attention``), a kinematic-tree decoder or
SPIN's iterative one (``decoder``), and the body they describe (``body``).
"""

from smap_train.models.maed.network import Maed

__all__ = ["Maed"]
