"""Who is told where the floor is."""

from __future__ import annotations

import json

import pytest

from smap_ros.graph.plan import LIVE, plan

FLOOR = {"world_frame": "map", "camera_height": 1.4, "camera_pitch_deg": 9.0}


@pytest.mark.parametrize(
    ("bundle", "kept"),
    [
        ({}, ()),
        ({"bundle": "smap_lite_free"}, ()),
        ({"bundle": "mobilehuman_lite"}, ()),
        ({"bundle": "mobilehuman_lite", "first_stage": "virtualpose_lite"}, [*FLOOR][1:]),
        ({"bundle": "virtualpose_lite"}, FLOOR),
        ({"bundle": "nowhere"}, FLOOR),  # the pose node says what is wrong with it
    ],
)
def test_a_floor_for_the_viewer_stops_no_model_that_needs_none(tmp_path, bundle, kept):
    def told(**given):
        processes = plan(LIVE, {**FLOOR, **given}).processes
        return {node: set(p.parameters[node]) & {*FLOOR} for p in processes for node in p.nodes}

    with_viewer = told(view=True, **bundle)
    assert with_viewer["view_node"] == {*FLOOR} and with_viewer["pose3d_node"] == {*kept}
    assert told(**bundle)["pose3d_node"] == {*FLOOR}  # without a viewer the node may refuse them
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({"pose3d_node": {"ros__parameters": bundle}}))
    assert told(view=True, params_file=str(file))["pose3d_node"] == {*kept}


@pytest.mark.parametrize("stated", [True, "true"])
def test_models_that_put_people_on_the_floor_are_told_of_it_beside_a_viewer(tmp_path, stated):
    values = {**FLOOR, "on_floor": stated, "view": True}
    for process in plan(LIVE, values).processes:
        for node in {"pose3d_node", "view_node"} & {*process.nodes}:
            assert {*FLOOR} <= {*process.parameters[node]}
    file = tmp_path / "mine.yaml"
    file.write_text("pose3d_node:\n  ros__parameters:\n    on_floor: true\n")
    of_file = plan(LIVE, {**FLOOR, "view": True, "params_file": str(file)}).processes
    (pose,) = (p.parameters["pose3d_node"] for p in of_file if "pose3d_node" in p.nodes)
    assert {*FLOOR} <= {*pose}
