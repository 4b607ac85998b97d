"""The second look's recipe: its network is the shipped one, its crops are those of the robot."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.second_look.fusing import towards
from smap_ros.estimators.second_look.region import region_around
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.layouts.bodies import SEEN, X, Y
from smap_train.data.layouts.virtual import open_virtual
from smap_train.data.looked_at import (
    PhotoSubjects,
    Subject,
    VirtualSubjects,
    any_crop,
    covered,
    crop_of,
    limb_points,
    nobodys_crop,
    nobodys_region,
    person_crop,
)
from smap_train.data.people import PhotoPerson
from smap_train.engine.sampling import BadRecordError
from smap_train.engine.trainer import require_measures, train
from smap_train.export.second_look import (
    _difference,
    add_second_look,
    example,
    opened,
)
from smap_train.models.checkpoint import load_model
from smap_train.models.landmarks import MARGIN, SIZE, Landmarks, load_graph
from smap_train.recipes.second_look import tensors

from .tiny import shards, tiny


@pytest.fixture(scope="module")
def shipped() -> Landmarks:
    return opened(load_bundle("smap_lite").folder)


@pytest.fixture
def subject() -> Subject:
    """Somebody turned by a third in a picture, at its side; all joints but two can be seen."""
    camera = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
    random = np.random.default_rng(4)
    points = np.array([1.5, 0.3, 4.0]) + random.normal(0, 0.35, (15, 3))
    picture = random.integers(0, 256, (480, 640, 3), np.uint8)
    seen = np.ones(15)
    seen[[3, 9]] = 0
    relative = points - points[MPI15.root]
    return Subject(picture, camera.project(points), relative, seen, camera)


def test_the_network_is_the_shipped_one(shipped):
    bundle = load_bundle("smap_lite")
    session = onnxruntime.InferenceSession(bundle.folder / "second.onnx")
    for seed in range(3):
        picture = example(seed)
        with torch.inference_mode():
            got = shipped(torch.from_numpy(picture))
        names = [output.name for output in session.get_outputs()]
        for name, expected in zip(names, session.run(names, {"image": picture}), strict=True):
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(got[name], expected, atol=1e-4 * scale, err_msg=name)


def test_a_crop_is_what_the_robot_cuts_and_reads_its_answer_back(subject):
    """The pose of a crop, brought back as :class:`SecondLook` does, is the person's."""
    region = region_around(subject.pixels, MARGIN, SIZE)
    crop = crop_of(subject, region)
    np.testing.assert_array_equal(crop.image[..., ::-1], region.apply(subject.picture))
    np.testing.assert_allclose(region.to_image(crop.pixels), subject.pixels, atol=1e-9)
    pose = crop.pose.copy()
    pose[:, :2] = pose[:, :2] @ region.turn.T
    back = pose @ towards(subject.camera, np.array([region.x, region.y])).T
    np.testing.assert_allclose(back, subject.points, atol=1e-9)


def test_in_a_crop_people_are_upright_and_right_is_right(subject):
    """Seen along the ray through its middle, a pose's x and y are where its pixels are."""
    crop = crop_of(subject, region_around(subject.pixels, MARGIN, SIZE))
    from_pelvis = crop.pixels - crop.pixels[MPI15.root]
    for axis in (0, 1):
        assert np.corrcoef(from_pelvis[:, axis], crop.pose[:, axis])[0, 1] > 0.95
    shoulders = [MPI15.index("l_shoulder"), MPI15.index("r_shoulder")]
    up = from_pelvis[shoulders].mean(axis=0)
    assert abs(up[0]) < 1e-6 and up[1] < 0


def test_a_mirrored_crop_has_left_and_right_exchanged(subject):
    crop = crop_of(subject, region_around(subject.pixels, MARGIN, SIZE))
    other = crop.mirrored()
    left, right = MPI15.index("l_knee"), MPI15.index("r_knee")
    np.testing.assert_allclose(other.pixels[left], [SIZE, 0] + crop.pixels[right] * [-1, 1])
    np.testing.assert_allclose(other.pose[left], crop.pose[right] * [-1, 1, 1])
    np.testing.assert_array_equal(other.image[:, 0], crop.image[:, -1])
    again = other.mirrored()
    np.testing.assert_allclose(again.pixels, crop.pixels)
    np.testing.assert_array_equal(again.seen, crop.seen)


def test_joints_that_nobody_sees_count_less_and_unknown_ones_nothing(subject):
    crop = crop_of(subject, region_around(subject.pixels, MARGIN, SIZE))
    crop.pixels[5] = np.nan
    crop.pixels[7] = (-20.0, 100.0)
    weights = crop.weights()
    assert weights[5] == 0 and weights[7] == 0.25 and weights[3] == 0.5 and weights[1] == 1
    sample = tensors(crop, 1.0, 0.3)
    assert torch.isfinite(sample["pixels"]).all() and sample["pixels_weight"][5] == 0
    assert sample["pose_weight"].tolist() == pytest.approx([0.3] * 15)


def test_virtual_people_that_can_hardly_be_seen_are_left_out(tmp_path):
    scenes = open_virtual([shards(tmp_path)], tmp_path / "cache")
    subjects = VirtualSubjects(scenes)
    assert 0 < len(subjects) <= sum(len(scenes[k].bodies) for k in range(len(scenes)))
    for k in range(len(subjects)):
        assert (subjects[k].seen > 0).sum() >= 4


def test_photos_teach_joints_and_depths_where_they_are_known():
    pixels = np.column_stack([np.arange(15.0) * 4 + 20, np.arange(15.0) * 3 + 10])
    pixels[5] = np.nan
    encoded = cv2.imencode(".png", np.full((100, 120, 3), 90, np.uint8))[1].tobytes()
    depth = np.linspace(-0.2, 0.2, 15).astype(np.float32)
    known = PhotoPerson(encoded, None, pixels.astype(np.float32), depth, 0.01)
    lost = PhotoPerson(encoded, None, np.full((15, 2), np.nan, np.float32), depth, 0.01)
    subjects = PhotoSubjects([known, lost])
    assert len(subjects) == 1  # without a pelvis there is nothing to cut around
    subject = subjects[0]
    assert np.isnan(subject.seen[5]) and np.isnan(subject.points[5, :2]).all()
    np.testing.assert_allclose(subject.points[1, :2], (pixels[1] - pixels[2]) * 0.01, rtol=1e-5)


def test_squares_of_nobody_show_nobody(tmp_path):
    """Neither joints nor what is between them."""
    scenes = open_virtual([shards(tmp_path)], tmp_path / "cache")
    for seed in range(30):
        scene = scenes[seed % len(scenes)]
        region = nobodys_region(np.random.default_rng(seed), scene, SIZE)
        places = region.to_crop(limb_points(scene.bodies))
        assert not ((places > 0) & (places < SIZE)).all(axis=1).any()
    sample = tensors(nobodys_crop(np.random.default_rng(0), scenes[0], SIZE), 0.0, 0.0)
    assert sample["presence"] == 0 and not sample["pixels_weight"].any()


def test_limbs_are_between_joints(tmp_path):
    scene = open_virtual([shards(tmp_path)], tmp_path / "cache")[0]
    body = np.zeros((1, 15, scene.bodies.shape[-1]))
    hip, knee = MPI15.index("l_hip"), MPI15.index("l_knee")
    body[0, hip, [X, Y]], body[0, knee, [X, Y]] = (100, 50), (100, 150)
    body[0, [hip, knee], SEEN] = 2
    points = limb_points(body)  # of one limb only: the others' ends aren't known
    assert (points[:, 0] == 100).all() and len(points) == 6
    assert points[:, 1].min() == 50 and points[:, 1].max() == 150


def test_squares_of_nobody_are_small_where_people_are_everywhere(tmp_path):
    scene = open_virtual([shards(tmp_path)], tmp_path / "cache")[0]
    bodies = np.zeros((4, 15, scene.bodies.shape[-1]))
    grid = np.stack(np.meshgrid(*(np.linspace(0, s, n) for s, n in (
        (scene.width, 4), (scene.height, 15))), indexing="ij"), axis=-1)  # fmt: skip
    bodies[..., [X, Y]], bodies[..., SEEN] = grid, 2
    crowded = replace(scene, bodies=bodies)
    for seed in range(20):
        region = nobodys_region(np.random.default_rng(seed), crowded, SIZE)
        assert region.side < scene.width / 3


def test_what_is_covered_or_outside_cannot_be_seen(subject):
    crop = crop_of(subject, region_around(subject.pixels, MARGIN, SIZE))
    columns, rows = crop.pixels.astype(int).T
    most = 0
    for seed in range(20):
        hidden = covered(np.random.default_rng(seed), crop)
        behind = (hidden.image != crop.image).any(axis=-1)[rows, columns]
        np.testing.assert_array_equal(hidden.seen, np.where(behind, 0, crop.seen))
        most = max(most, int(behind.sum()))
    assert 2 < most < 15
    region = region_around(subject.pixels, 0.6, SIZE)  # too small for the person
    cut = crop_of(subject, region)
    outside = ((cut.pixels < 0) | (cut.pixels > SIZE)).any(axis=1)
    assert outside.any() and not cut.seen[outside].any()
    np.testing.assert_array_equal(cut.seen[~outside], subject.seen[~outside])


def test_bad_scenes_are_left_out_if_they_may_be(tmp_path):
    scenes = open_virtual([shards(tmp_path)], tmp_path / "cache")

    class WithBad:
        def __len__(self) -> int:
            return len(scenes)

        def __getitem__(self, number: int):
            if number == 1:
                raise BadRecordError("shard.tar, sample 1: labels are malformed")
            return scenes[number]

    with pytest.raises(BadRecordError, match="labels are malformed"):
        VirtualSubjects(WithBad())
    listed = tmp_path / "skipped.jsonl"
    subjects = VirtualSubjects(WithBad(), "skip", listed)
    assert len(subjects) == sum(n != 1 for n, _ in VirtualSubjects(scenes).places)
    assert "malformed" in listed.read_text()


def test_people_whose_pelvis_is_beside_the_camera_are_left_out(tmp_path):
    scenes = open_virtual([shards(tmp_path)], tmp_path / "cache")
    number, row = VirtualSubjects(scenes).places[0]
    bodies = scenes[number].bodies.copy()
    bodies[row, MPI15.root, [X, Y]], bodies[row, MPI15.root, SEEN] = 0, 0
    beside = [replace(scenes[number], bodies=bodies)]
    assert row not in [place for _, place in VirtualSubjects(beside).places]


def test_first_looks_are_a_little_wrong(subject):
    """Crops of somebody differ, and most still show the person."""
    crops = [person_crop(np.random.default_rng(k), subject, SIZE, MARGIN) for k in range(40)]
    middles = np.array([crop.pixels[MPI15.root] for crop in crops])
    assert 3 < np.linalg.norm(middles - SIZE / 2, axis=1).mean() < 40
    inside = [((c.pixels > 0) & (c.pixels < SIZE)).all(axis=1).mean() for c in crops]
    assert np.mean(inside) > 0.9


def test_on_photos_the_teachers_word_counts(tmp_path, shipped, subject):
    """A network that is its own teacher has nothing to learn of them but its own doubt."""
    folder = load_bundle("smap_lite").folder
    recipe = tiny("second_look", tmp_path, teacher=folder)
    untaught = tiny("second_look", tmp_path)
    random = np.random.default_rng(0)
    real = [tensors(any_crop(random, subject, SIZE), 0.0, 0.0, real=True) for _ in range(3)]
    virtual = [tensors(person_crop(random, subject, SIZE, MARGIN), 0.0, 1.0)]
    batch = {key: torch.stack([one[key] for one in real + virtual]) for key in real[0]}
    batch["presence"][:3] = 1.0  # as if a label were wrong
    with torch.no_grad():
        taught, labelled = (r.losses(shipped, batch, 0) for r in (recipe, untaught))
        told = shipped(batch["image"])
    own = torch.special.entr(p := told["presence"]) + torch.special.entr(1 - p)
    own[3] = -torch.log1p(-told["presence"][3])  # the virtual one keeps its label
    torch.testing.assert_close(taught["presence"], own.mean(), rtol=1e-3, atol=1e-5)
    assert taught["presence"] < 0.5 * labelled["presence"]
    for name in ("pixels", "pose"):  # places are the labels' in any case
        torch.testing.assert_close(taught[name], labelled[name])


def test_held_out_people_are_measured(tmp_path, shipped):
    recipe = tiny("second_look", tmp_path, held_out=[shards(tmp_path)])
    with torch.no_grad():
        measures = recipe.evaluate(shipped, 6)
    assert 50 < measures["mpjpe_mm"] < 1000 and 0 <= measures["pck_percent"] <= 100


def test_held_out_people_that_are_learned_from_are_told(tmp_path, caplog):
    own = shards(tmp_path)
    recipe = tiny("second_look", tmp_path, held_out=[own], virtual=[own], validate_every=5)
    assert recipe.also_learned() == sorted(own.resolve().glob("*.tar"))
    require_measures(recipe)
    assert "of the files of held_out are learned from as well" in caplog.text
    elsewhere = shutil.copytree(own, tmp_path / "elsewhere")
    recipe = tiny("second_look", tmp_path, held_out=[elsewhere], virtual=[own], validate_every=5)
    assert recipe.also_learned() == []


def test_a_source_without_a_share_is_named(tmp_path):
    with pytest.raises(InputError, match="shares lacks nobody; state one for each source"):
        tiny("second_look", tmp_path, shares={"virtual": 1.0}).dataset()


def test_held_out_without_people_is_refused_before_the_first_step(tmp_path):
    recipe = tiny("second_look", tmp_path, held_out=[tmp_path / "nowhere"])
    with pytest.raises(InputError, match="nowhere"):
        recipe.dataset()


def test_a_bundle_like_itself_is_refused(tmp_path):
    mine = shutil.copytree(load_bundle("smap_lite").folder, tmp_path / "mine")
    with pytest.raises(InputError, match="leave --like out for that"):
        add_second_look(tmp_path / "any.pth", mine, str(mine))


def test_another_network_is_refused_in_words(tmp_path):
    bundle = shutil.copytree(load_bundle("smap_lite").folder, tmp_path / "other")
    graph = onnx.load(bundle / "second.onnx")
    convolution = next(node for node in graph.graph.node if node.op_type == "Conv")
    del convolution.input[2]
    with pytest.raises(InputError, match="has no stored kernel and bias; expected MediaPipe's"):
        load_graph(Landmarks(), graph.graph)
    del graph.graph.node[-20:]
    with pytest.raises(InputError, match=r"has no stored|convolutions; expected"):
        load_graph(Landmarks(), graph.graph)


def test_scores_that_differ_are_a_difference():
    answer = {
        "joints": np.full((1, 15, 3), 200.0), "pose": np.ones((1, 15, 3)),
        "presence": np.ones((1, 1)),
    }  # fmt: skip
    other = {name: value.copy() for name, value in answer.items()}
    answer["joints"][..., 2], other["joints"][..., 2] = 0.9, 0.7
    assert _difference(answer, other) == pytest.approx(0.2)


def test_it_learns_and_becomes_a_second_look(tmp_path):
    """From what is shipped: 30 steps on a few people leave less of the loss, and it exports."""
    recipe = tiny("second_look", tmp_path)
    dataset = recipe.dataset()
    samples = [dataset[k] for k in range(8)]
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def loss(network: torch.nn.Module) -> float:
        terms, weights = recipe.losses(network, batch, 0), recipe.loss_weights()
        assert terms.keys() == weights.keys()
        return sum(weights[key] * float(terms[key].detach()) for key in terms)

    before = loss(recipe.network())
    weights = train(recipe)
    assert loss(load_model(weights)) < 0.85 * before
    bundle, error = add_second_look(weights, tmp_path / "mine", "smap_lite")
    assert bundle.name == "mine" and "refine" in bundle.manifest.files.entries
    assert error < 2e-2
    # What has learned from another second look doesn't go with it, there or in place.
    assert "fuse" in load_bundle("smap_lite").manifest.files.entries
    place = shutil.copytree(load_bundle("smap_lite").folder, tmp_path / "in_place")
    words = ["second-look", str(weights), str(place)]
    told = CliRunner().invoke(app, words)
    assert not told.exception and "left out: fuse.onnx" in told.stdout
    for folder in (bundle.folder, place):
        assert "fuse" not in load_bundle(folder).manifest.files.entries
        assert not (folder / "fuse.onnx").exists()
        # Numbers measured with another second look don't, either.
        assert not load_bundle(folder).manifest.provenance.metrics
    session = onnxruntime.InferenceSession(bundle.folder / "second.onnx")
    again = opened(bundle.folder)  # a bundle's second look can be taught on
    picture = example(2)
    joints = session.run(["joints"], {"image": picture})[0]
    with torch.inference_mode():
        got = again(torch.from_numpy(picture))["joints"]
    np.testing.assert_allclose(got, joints, atol=0.05)


def test_a_start_without_a_second_look_says_what_is_expected(tmp_path):
    with pytest.raises(InputError, match="has no second look to start from; expected one that has"):
        opened(load_bundle("virtualpose_lite").folder)
