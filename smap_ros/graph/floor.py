"""Who is told where the floor is: the viewer draws it, few models need it, others can use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators.options import NO_FLOOR
from smap_ros.geometry.transforms import WORLD_FRAME
from smap_ros.graph.node_types import MOUNTING, POSE3D_NODE

NEEDS_FLOOR = "virtualpose"  # the kind of model that searches people above it
TELLS = frozenset({WORLD_FRAME, *MOUNTING})  # parameters that say where it is
ON_FLOOR = "on_floor"  # what has other models put people on it


def check_floor(world_frame: str, bundle: Bundle, stated: Mapping[str, Any]) -> None:
    """Refuse a floor that is told to a model without use for it, or twice, or not at all.

    Args:
        world_frame: of TF, that tells it; empty: none.
        bundle: of the model.
        stated: settings of the model by name; those that aren't there, or None, aren't stated.

    Raises:
        InputError: saying what to state or to leave out.
    """
    on_floor, height = stated.get(ON_FLOOR) is True, stated.get("camera_height")
    if world_frame and not on_floor and bundle.kind != NEEDS_FLOOR:
        raise InputError(
            f"world_frame is {world_frame!r}, but bundle {bundle.name!r} is of kind "
            f"{bundle.kind!r}, which needs no floor; leave it empty, or put people on the floor "
            "with on_floor"
        )
    if world_frame and height is not None:
        raise InputError(
            f"camera_height is stated and world_frame is {world_frame!r}; expected one of the two"
        )
    if on_floor and not world_frame and height is None:
        raise InputError(NO_FLOOR)


def of_the_viewer_alone(stated: Mapping[str, Any]) -> frozenset[str]:
    """Which of the floor's parameters the model would refuse.

    Args:
        stated: parameters of the pose node.
    """
    from smap_ros.estimators.persons.second_stage import first_stage_bundle  # runtimes come with it

    choice = {
        name: POSE3D_NODE.parameter(name).accept(stated[name])
        for name in ("bundle", "first_stage", ON_FLOOR)
        if name in stated
    }
    if choice.get(ON_FLOOR) is True:
        return frozenset()
    try:
        bundle = load_bundle(str(choice.get("bundle", POSE3D_NODE.parameter("bundle").default)))
        # A mounting that a second stage is told goes on to its first.
        named, first = getattr(bundle.manifest, "first_stage", ""), choice.get("first_stage")
        finder = bundle
        if named:
            finder = first_stage_bundle(bundle, named, None if first is None else str(first))
    except BundleError:  # the pose node says what is wrong with it
        return frozenset()
    left = set() if bundle.kind == NEEDS_FLOOR else {WORLD_FRAME}
    return frozenset(left if finder.kind == NEEDS_FLOOR else left.union(MOUNTING))
