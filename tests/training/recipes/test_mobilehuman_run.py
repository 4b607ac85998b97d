"""MobileHumanPose's recipe: what it makes of records, its loss and its schedule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines import create_engine
from smap_ros.errors import InputError
from smap_ros.skeletons import H36M18
from smap_train.data.person_crop import View, cut, person_crop
from smap_train.engine.trainer import train
from smap_train.export import ExportOptions, export_topdown_kind
from smap_train.models import create
from smap_train.models.checkpoint import load_model, save_checkpoint
from smap_train.models.mobilehuman import coordinate_loss
from smap_train.recipes.registry import open_recipe

from ..data.test_people import h36m
from ..data.test_smap_sources import coco_file, coco_person
from .tiny import shards, tiny

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def test_a_sample_is_the_drawn_crop_as_official_weights_want_it(tmp_path):
    made = tiny("mobilehuman", tmp_path, pixel_range=255)
    record = made.dataset().groups[0][0].records[0]
    sample = made.sample(record, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    view = View.draw(rng)
    crop = cut(record.read(), record, person_crop(record, 256), view, rng)
    expected = (crop - np.array((0.485, 0.456, 0.406))) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(sample["image"], expected.transpose(2, 0, 1), atol=1e-2)
    assert sample["image"].max() > 300  # values of 0 to 255, normalised as if of 0 to 1
    assert sample["has_depth"].tolist() == [1.0]


def test_half_of_the_samples_have_no_depth(tmp_path):
    keypoints = np.array([[100 + k, 200 + k, 1] for k in range(16)])
    person = coco_person(1, 25, keypoints=keypoints.ravel().tolist())
    mpii = coco_file(tmp_path, person, {**person, "id": 2}, {**person, "id": 3})
    images = tmp_path / "images"
    made = tiny(
        "mobilehuman", tmp_path, virtual=[], joints=18,
        data_3d=[{"layout": "h36m", "annotations": h36m(tmp_path), "images": images}],
        data_2d=[{"layout": "mpii", "annotations": mpii, "images": images}],
    )  # fmt: skip
    mixture = made.dataset()
    assert [(g[0].name.split()[0], len(g[0].records)) for g in mixture.groups] == [
        ("h36m", 3), ("mpii", 3),
    ]  # fmt: skip
    assert mixture.counts.tolist() == [2048, 2048]
    assert mpii in made.files()
    assert tmp_path / "Human36M_subject1_joint_3d.json" in made.files()


def test_photos_teach_no_depth(tmp_path):
    made = tiny("mobilehuman", tmp_path)
    batch = torch.utils.data.default_collate([made.dataset()[k] for k in range(2)])
    batch["has_depth"] = torch.zeros(2, 1)
    network = made.network().eval()
    found = network(batch["image"])["coord"]
    terms = made.losses(network, batch, 0)
    flat = ((found - batch["cells"]).abs() * batch["visible"])[..., :2].sum(-1) / 3
    torch.testing.assert_close(terms["cells"], flat.mean())
    each = coordinate_loss(found, batch["cells"], batch["visible"], batch["has_depth"])
    torch.testing.assert_close(each, flat)


def test_the_official_schedule_and_start(tmp_path):
    made = open_recipe(CONFIGS / "mobilehuman.yaml", ["steps=2500"])  # 100 steps an epoch
    rates = [made.config.rate(step) for step in (0, 1699, 1700, 2099, 2100, 2499)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    optimizer = made.optimizer([torch.nn.Parameter(torch.zeros(2))])
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-3, 0)
    assert made.skeleton is H36M18 and made.options["pixel_range"] == 255
    torch.manual_seed(0)
    weights = made.network().backbone.final_layer
    assert weights.weight.std().item() == pytest.approx(1e-3, rel=0.05)
    assert not weights.bias.any()


def test_held_out_people_are_measured_as_on_a_robot(tmp_path):
    """A network that is right about every cell has no error, whatever the crop."""
    made = tiny("mobilehuman", tmp_path, steps=2, validate_every=2, held_out=[shards(tmp_path)])
    train(made)
    (line,) = (tmp_path / "run" / "measures.jsonl").read_text().splitlines()
    assert 10 < json.loads(line)["mpjpe_mm"] < 2000
    assert load_model(tmp_path / "run" / "best.pth").pixel_range == 1

    class Right(torch.nn.Module):
        """Knows the answers in the order they are asked for."""

        def __init__(self) -> None:
            super().__init__()
            self.own = torch.nn.Parameter(torch.zeros(1))
            people = made.dataset().groups[0][0].records
            rng = np.random.default_rng(0)
            some = [made.tensors(people[k], View(), rng) for k in range(len(people))]
            self.answers = torch.stack([sample["cells"] for sample in some])

        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"coord": self.answers[: len(images)]}

    assert made.evaluate(Right(), 100)["mpjpe_mm"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    "name", ["mobilehuman", "mobilehuman_tiny", "mobilehuman_virtual", "mobilehuman_lite"]
)
def test_the_configurations_are_accepted(name):
    config = open_recipe(CONFIGS / f"{name}.yaml").config
    assert config.data_3d or config.virtual


@pytest.mark.parametrize("backbone", ["LPRES", "LPWO"])
def test_the_other_backbones_have_cells_of_their_own(tmp_path, backbone):
    made = tiny("mobilehuman", tmp_path, backbone=backbone)
    sample = made.dataset()[0]
    assert 32 < sample["cells"][sample["visible"][:, 0] > 0].max() < 64


def test_smaller_crops_have_fewer_cells_and_show_the_same(tmp_path):
    """What a sample and an error are doesn't depend on the size of the crops."""
    samples = {}
    for size in (128, 256):
        made = tiny("mobilehuman", tmp_path, input_size=size)
        record = made.dataset().groups[0][0].records[0]
        samples[size] = made.tensors(record, View(), np.random.default_rng(0))
        assert samples[size]["image"].shape == (3, size, size)
        found = made.network().eval()(samples[size]["image"][None])["coord"]
        assert found.shape == (1, 15, 3) and found.min() >= 0 and found.max() <= size / 8 - 1
    halved = samples[256]["cells"] / 2
    torch.testing.assert_close(samples[128]["cells"], halved, atol=0.05, rtol=0)
    torch.testing.assert_close(samples[128]["visible"], samples[256]["visible"])


def test_crops_are_turned_darkened_and_smeared_in_their_shares(tmp_path):
    made = tiny("mobilehuman", tmp_path, covered=0.0)
    record = made.dataset().groups[0][0].records[0]
    plain = made.sample(record, np.random.default_rng(2))
    for name in ("turned", "dark", "smeared"):
        changed = tiny("mobilehuman", tmp_path, covered=0.0, **{name: 1.0})
        sample = changed.sample(record, np.random.default_rng(2))
        assert not torch.equal(sample["image"], plain["image"]), name
        assert torch.equal(sample["cells"], plain["cells"]) == (name != "turned")
    darkness = tiny("mobilehuman", tmp_path, covered=0.0, dark=1.0)
    images = [darkness.sample(record, np.random.default_rng(k))["image"] for k in range(5)]
    values = [float(i.mul(torch.tensor(STD)[:, None, None]).mean()) for i in images]
    assert max(values) + np.mean(MEAN) < 0.25  # of a range of 0 to 1


def test_what_is_held_stays_as_it_starts(tmp_path):
    longer = tiny("mobilehuman", tmp_path, freeze_blocks=3, steps=3, ema_decay=0.0)
    shorter = tiny("mobilehuman", tmp_path / "b", freeze_blocks=3, steps=1, ema_decay=0.0)
    one, other = (load_model(train(made)) for made in (longer, shorter))
    names = ("backbone.first_conv.", *(f"backbone.inv_residual.{k}." for k in range(3)))
    changed = {
        name for name, value in one.named_parameters()
        if not torch.equal(value, other.get_parameter(name))
    }  # fmt: skip
    assert not any(name.startswith(names) for name in changed)
    assert {"backbone.inv_residual.3.conv.0.0.weight", "backbone.final_layer.weight"} <= changed


def test_nothing_is_held_unless_asked_for(tmp_path):
    network = tiny("mobilehuman", tmp_path).network()
    assert all(weights.requires_grad for weights in network.parameters())


def test_the_encoders_norms_keep_what_they_measured_if_asked_to(tmp_path):
    made = tiny("mobilehuman", tmp_path, frozen_norms=True, steps=2)
    before, after = made.network().state_dict(), load_model(train(made)).state_dict()
    changed = {
        name for name, value in after.items()
        if name.endswith("running_mean") and not torch.equal(value, before[name])
    }  # fmt: skip
    norms = {name for name in after if name.endswith("running_mean")}
    encoder = {n for n in norms if n.startswith(("backbone.first_conv", "backbone.inv_residual"))}
    assert encoder and changed == norms - encoder


def test_the_encoder_learns_at_a_rate_of_its_own(tmp_path):
    made = tiny("mobilehuman", tmp_path, encoder_rate=0.1, freeze_blocks=1)
    network = made.network()
    optimizer = made.optimizer(made.parameter_groups(network))
    encoder, others = optimizer.param_groups
    assert encoder["lr"] == pytest.approx(0.1 * made.config.learning_rate)
    assert others["lr"] == made.config.learning_rate
    names = {id(p): name for name, p in network.named_parameters()}
    slow = {names[id(p)].split(".")[1] for p in encoder["params"]}
    rest = {names[id(p)].split(".")[1] for p in others["params"]}
    assert slow == {"inv_residual"}  # the stem is held
    assert rest == {"last_conv", "deconv0", "deconv1", "deconv2", "final_layer"}
    trained = [p for p in network.parameters() if p.requires_grad]
    assert len(encoder["params"]) + len(others["params"]) == len(trained)


def test_axes_are_a_term_of_their_own_if_asked_for(tmp_path):
    made = tiny("mobilehuman", tmp_path, axes=0.5)
    batch = torch.utils.data.default_collate([made.dataset()[k] for k in range(2)])
    terms = made.losses(made.network().eval(), batch, 0)
    assert set(terms) == {"cells", "axes"} and made.loss_weights()["axes"] == 0.5
    # Volumes of random weights are flat: the surprise is that of any of 32 cells.
    assert terms["axes"].item() == pytest.approx(np.log(32) * 0.9, rel=0.25)


def test_the_shipped_bundle_is_trained_on(tmp_path):
    """Its network computes what it did, and its batch norms have statistics to go on with."""
    started = {"initial": Path("mobilehuman_lite"), "channels": 1.0, "pixel_range": 1}
    network = tiny("mobilehuman", tmp_path, **started).network().eval()
    shipped = load_bundle("mobilehuman_lite")
    engine = create_engine(shipped, "onnxruntime", threads=1)
    image = np.random.default_rng(0).normal(size=(1, 3, 256, 256)).astype(np.float32)
    expected = engine.run({engine.inputs[0].name: image})["coord"]
    with torch.no_grad():
        got = network(torch.from_numpy(image))["coord"].numpy()
    assert got.shape == expected.shape and np.abs(got - expected).max() < 5e-3  # of 32 cells
    norm = network.backbone.last_conv[1]
    assert norm.running_mean.abs().max() > 0.1
    with pytest.raises(InputError, match="set pixel_range=1"):
        tiny("mobilehuman", tmp_path, **{**started, "pixel_range": 255}).network()
    with pytest.raises(InputError, match=r"start from smap_lite: .* and \d+ more have no"):
        tiny("mobilehuman", tmp_path, initial=Path("smap_lite")).network()


def test_the_bundle_has_the_crops_of_the_run(tmp_path):
    made = tiny("mobilehuman", tmp_path, margin=1.6)
    options = made.export_options(made.config)
    save_checkpoint(tmp_path / "m.pth", "mobilehuman", made.network().state_dict(), **made.options)
    bundle, _ = export_topdown_kind(tmp_path / "m.pth", tmp_path / "mine", ExportOptions(**options))
    assert bundle.manifest.box_margin == 1.6


@pytest.mark.parametrize("stated", [True, False])
def test_weights_that_saw_pixels_of_another_range_are_no_start(tmp_path, stated):
    made = tiny("mobilehuman", tmp_path, pixel_range=1)
    given = 1 if stated else 255  # as official ones, where nothing is said
    options = {k: v for k, v in made.options.items() if stated or k != "pixel_range"}
    save_checkpoint(tmp_path / "m.pth", "mobilehuman", made.network().state_dict(), **options)
    start = {"initial": tmp_path / "m.pth"}
    tiny("mobilehuman", tmp_path, **start, pixel_range=given).network()
    with pytest.raises(InputError, match=rf"m.pth saw pixels of 0 to {given}, .*_range={given}"):
        tiny("mobilehuman", tmp_path, **start, pixel_range=256 - given).network()


def test_weights_of_another_network_are_told_as_such(tmp_path):
    """Not that they saw other pixels, which setting pixel_range wouldn't mend."""
    save_checkpoint(tmp_path / "o.pth", "refinenet", create("refinenet").state_dict())
    with pytest.raises(InputError, match=r"o.pth doesn't fit this network"):
        tiny("mobilehuman", tmp_path, pixel_range=1, initial=tmp_path / "o.pth").network()
