"""VirtualPose's two stages: what they make of pictures and of scenes, and their settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import InputError
from smap_train.cli import app
from smap_train.data.layouts.people import PeopleData
from smap_train.engine.sampling import BadRecordError
from smap_train.engine.trainer import train
from smap_train.models.virtualpose.config import ROOT
from smap_train.recipes.registry import open_recipe
from smap_train.targets.agr import box_sides, heatmaps

from ..data.bodies import SIZE
from ..data.test_smap_sources import coco_file, coco_person, muco_file
from .tiny import tiny

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def test_a_picture_and_its_people_in_the_inputs_cells(tmp_path):
    """160 x 120 pixels come to 128 x 96; a cell is four of those."""
    made = tiny("virtualpose_backbone", tmp_path)
    people = made.dataset().groups[0][0].records[1]
    assert len(people) == 2
    sample = made.tensors(people, mirrored=False)
    cells = np.array([record.joints[:, :2] for record in people]) * (128 / SIZE[0]) / 4
    expected = heatmaps(cells, (32, 24), ((cells >= 0) & (cells < (32, 24))).all(-1))
    np.testing.assert_allclose(sample["heatmaps"], expected, atol=1e-6)
    assert sample["labelled"].all() and sample["in_view"][:3].tolist() == [1, 1, 0]
    column, row = cells[0, ROOT].astype(int)
    assert sample["inds"][0] == row * 32 + column
    np.testing.assert_allclose(sample["sides"][:2], box_sides(cells, (32, 24)), rtol=1e-5)


def test_joints_that_nobody_labelled_are_in_no_box(tmp_path):
    """They are pixel (0, 0), the corner of the picture."""
    made = tiny("virtualpose_backbone", tmp_path)
    record = made.dataset().groups[0][0].records[1][0]
    assert record.joints[ROOT, :2].min() > 20
    joints, without = record.joints.copy(), [made.skeleton.index("head_top")]
    joints[without] = 0
    cells = joints[:, :2] * (128 / SIZE[0]) / 4
    cells[without] = cells[ROOT]  # inside of the others' box
    expected = box_sides(cells[None], (32, 24))
    for mirrored in (False, True):
        sides = made.tensors([replace(record, joints=joints)], mirrored=mirrored)["sides"][0]
        left, top, right, bottom = sides
        sides = torch.stack([right, top, left, bottom]) if mirrored else sides
        np.testing.assert_allclose(sides, expected[0], atol=0.3 if mirrored else 1e-4)
    nobody = made.tensors([replace(record, joints=0 * joints)], mirrored=False)
    assert nobody["sides"].isfinite().all() and not nobody["in_view"].any()


def test_a_mirrored_picture_has_mirrored_people(tmp_path):
    made = tiny("virtualpose_backbone", tmp_path)
    people = made.dataset().groups[0][0].records[0]
    plain, other = (made.tensors(people, mirrored=m) for m in (False, True))
    torch.testing.assert_close(other["image"], plain["image"].flip(-1))
    # A person's box reaches to the left as far as it did to the right, to within the pixel that
    # mirroring about the middle of pixels costs.
    left, top, right, bottom = plain["sides"][0]
    torch.testing.assert_close(
        other["sides"][0], torch.stack([right, top, left, bottom]), atol=0.3, rtol=0
    )
    knees = [made.skeleton.index(f"{side}_knee") for side in "lr"]
    for one, partner in zip(knees, knees[::-1], strict=True):
        x = plain["heatmaps"][one].amax(0).argmax()
        moved = other["heatmaps"][partner].amax(0).argmax()
        assert abs((31 - x) - moved) <= 3  # officially a peak may lie a cell to the left


def test_boxes_of_photos_are_labelled_ones_enlarged(tmp_path):
    path = coco_file(tmp_path, coco_person(1, 25))
    data = {"layout": "coco", "annotations": path, "images": tmp_path}
    made = tiny("virtualpose_backbone", tmp_path, virtual=[], data_2d=[data], width=640, height=448)
    (person,) = made.dataset().groups[0][0].records[0]
    (tmp_path / "000000000025.jpg").write_bytes(b"")
    with pytest.raises(BadRecordError, match="is no picture"):
        made.tensors([person], mirrored=False)
    picture = np.zeros((427, 640, 3), np.uint8)

    class Shown(type(person)):
        def read(self):
            return picture

    shown = Shown(**vars(person))
    sample = made.tensors([shown], mirrored=False)
    # 90, 40, 100 x 180 pixels, 1.25 times as large; the picture is moved down by 10.5.
    box = np.array([140 - 62.5, 130 - 112.5 + 10.5, 140 + 62.5, 130 + 112.5 + 10.5]) / 4
    hips = np.array([155 + 2.5, 160 + 5 + 10.5]) / 4
    np.testing.assert_allclose(
        sample["sides"][0], [*(hips - box[:2]), *(box[2:] - hips)], rtol=1e-5
    )
    assert not sample["labelled"][made.skeleton.index("head_top")]
    crowd = [replace(shown, place=f"annotation {k}") for k in range(21)]
    with pytest.raises(BadRecordError, match="annotation 0 and others: 21 people in a picture"):
        made.tensors(crowd, mirrored=False)


def test_whole_pictures_have_everybody_of_muco(tmp_path):
    path = muco_file(tmp_path)
    content = json.loads(path.read_text())
    (first,) = content["annotations"]
    near = np.array(first["keypoints_cam"]) + (200, 0, 100)
    content["annotations"].append({**first, "id": 1, "keypoints_cam": near.tolist()})
    path.write_text(json.dumps(content))
    data = PeopleData(layout="muco", annotations=path, images=tmp_path)
    assert len(data.open()) == 1
    (people,) = data.open_pictures()
    assert len(people) == 2


def test_the_official_weights_and_settings():
    backbone = open_recipe(CONFIGS / "virtualpose_backbone.yaml")
    assert backbone.loss_weights() == {"loss_2d": 10_000.0, "loss_bbox": 0.1}
    assert [backbone.config.rate(step) for step in (0, 79_999)] == [1.0, 1.0]
    synthetic = open_recipe(CONFIGS / "virtualpose_synthetic.yaml")
    assert synthetic.loss_weights() == {"loss_depth": 0.1, "loss_3d": 1000.0, "loss_cord": 1.0}
    assert synthetic.settings.joints == 17 and synthetic.settings.matched_threshold_mm == 500
    assert synthetic.config.strategy == "ddp_find_unused_parameters_true"


@pytest.mark.parametrize("stage", ["backbone", "synthetic"])
@pytest.mark.parametrize("kind", ["", "_tiny", "_virtual"])
def test_the_configurations_are_accepted(stage, kind):
    made = open_recipe(CONFIGS / f"virtualpose_{stage}{kind}.yaml")
    assert made.options["joints"] in (15, 17) if stage == "backbone" else made.settings


def test_joints_are_said_once(tmp_path):
    with pytest.raises(ValueError, match="set joints instead"):
        tiny("virtualpose_backbone", tmp_path, network={"joints": 15})
    with pytest.raises(InputError, match="names no source"):
        tiny("virtualpose_synthetic", tmp_path, virtual=[]).dataset()


def test_both_stages_make_a_bundle(tmp_path):
    """Each says what comes next. Takes some seconds: three networks are traced."""
    first = tiny("virtualpose_backbone", tmp_path, out=tmp_path / "first")
    weights = train(first, stop_after=1)
    second = tiny("virtualpose_synthetic", tmp_path, out=tmp_path / "second", backbone=weights)
    assert "fit" in type(second).next_step(
        second.config.model_copy(update={"backbone": tmp_path / "later.pth"}),
        CONFIGS / "virtualpose_synthetic.yaml",
    )
    train(second, stop_after=1)
    words = type(second).next_step(second.config, CONFIGS / "virtualpose_synthetic.yaml").split()
    assert words == ["smap-train", "export", str(tmp_path / "second"), "models/second"]
    result = CliRunner().invoke(app, [*words[1:3], str(tmp_path / "bundle")])
    if result.exception:
        raise result.exception
    assert load_bundle(tmp_path / "bundle").manifest.kind == "virtualpose"
