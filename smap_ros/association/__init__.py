"""Depth-aware part association (SMAP, section 3.3): network maps to people in the image.

Three public steps, each a pure function over arrays, and one that runs them all::

    find_peaks(maps)                       -> Peaks        where joints are
    limb_scores(maps, peaks)               -> LimbScores   which two joints a limb connects
    assign(peaks, scores, root_depth)      -> people       who owns which joint, nearest first
    associate(maps, root_depth)            -> people       all of the above
    associate_both(maps, root_depth, neck_depth)           and those of whom only the neck is seen

This is the implementation for the CPU; one for another device keeps the contract of
:func:`associate`.
"""

from smap_ros.association.assign import assign
from smap_ros.association.both import associate_both
from smap_ros.association.config import AssociationConfig
from smap_ros.association.cpu import associate
from smap_ros.association.limbs import LimbScores, limb_scores
from smap_ros.association.peaks import Peaks, find_peaks

__all__ = [
    "AssociationConfig",
    "LimbScores",
    "Peaks",
    "assign",
    "associate",
    "associate_both",
    "find_peaks",
    "limb_scores",
]
