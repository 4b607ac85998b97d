"""SMAP's recipe: what it makes of records, that it learns, resumes, and stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.data.whole_image import View, view_of
from smap_train.engine.sampling import BadRecordError
from smap_train.engine.trainer import train
from smap_train.losses.smap import smap_loss
from smap_train.recipes.registry import RECIPES, open_recipe
from smap_train.recipes.smap import SmapConfig, SmapRecipe, tensors
from smap_train.targets.smap import label_maps, root_depth_rows

from ..data.bodies import body, entry, picture, scene, write_set, write_shard

GOLDEN = Path(__file__).with_name("smap_step.json")
CONFIGS = Path(__file__).parents[3] / "training" / "configs"
SMALL = {"stages": 2, "width": 16, "blocks": [1, 1, 1, 1], "encoder": 16}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recipe(folder: Path, **settings) -> SmapRecipe:
    data = folder / "data"
    if not data.exists():
        write_set(data)
    return SmapRecipe(
        SmapConfig(**{
            "out": folder / "run", "steps": 30, "batch_size": 2, "workers": 0, "threads": 1,
            "data": [{"annotations": data / "annotations.json", "images": data}],
            "width": 160, "height": 128, "network": SMALL, "warmup": 3,
            **settings,
        })
    )  # fmt: skip


def batch_of(made: SmapRecipe, *numbers: int) -> dict[str, torch.Tensor]:
    return torch.utils.data.default_collate([made.dataset()[k] for k in numbers])


def test_a_sample_is_the_view_and_its_official_labels(tmp_path):
    made = recipe(tmp_path)
    record = made.dataset().groups[0][0].records[1]
    sample = made.sample(record, np.random.default_rng(5))
    view = View.draw(np.random.default_rng(5), scaled=False)
    seen = view_of(record.read(), record.bodies, view, (160, 128))
    np.testing.assert_array_equal(sample["labels"], label_maps(seen.people(), (32, 40)))
    # Root depth: cm over the focal length in pixels of the network's input.
    np.testing.assert_array_equal(
        sample["roots"], root_depth_rows(seen.people(), 180 * seen.scale, (32, 40))
    )
    mean, std = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)
    expected = ((seen.image / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(sample["image"], expected, atol=1e-5)
    assert sample["valid"].all() and sample["valid"].shape == (57,)


def test_head_top_and_depths_of_coco_are_not_valid():
    bodies = body()[None]
    seen = view_of(picture(bodies), bodies, View(), (160, 128))
    zeros = torch.nonzero(tensors(seen, coco=True)["valid"] == 0)[:, 0].tolist()
    assert zeros == [1, 15, 16, *range(43, 57)]


@pytest.mark.parametrize(
    ("columns", "zeros"),
    [(range(7), [1, 15, 16, 43]), ([3], []), ([0, 1, 3], []), ([0, 1, 2, 3, 4, 5], [])],
)
def test_head_tops_that_nobody_has_teach_nothing(tmp_path, columns, zeros):
    """As of Panoptic and 3DPW; one that is outside of the picture has a place."""
    bodies = np.stack([body(-0.5), body(0.5)])
    bodies[:, 1, columns] = 0
    folder = tmp_path / "cmup"
    records = [entry(bodies, dataset="CMUP", img_paths="a.png")]
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), picture(body()[None]))
    (folder / "a.json").write_text(json.dumps({"root": records}))
    settings = [f"data=[{{annotations: {folder / 'a.json'}, images: {folder}}}]"]
    made = open_recipe(CONFIGS / "smap.yaml", [*settings, "width=160", "height=128"])
    valid = made.dataset()[0]["valid"]
    assert torch.nonzero(valid == 0)[:, 0].tolist() == zeros


def untaught(folder: Path, bodies: np.ndarray, *, flip: bool = False) -> list[int]:
    """Numbers of the maps that teach nothing, of a picture with depths."""
    write_set(folder / "data", 1)
    path = folder / "data" / "annotations.json"
    path.write_text(json.dumps({"root": [entry(bodies, img_paths="images/000000.png")]}))
    made = recipe(folder)
    seed = next(k for k in range(99) if drawn_view(k).flip == flip)
    record = made.dataset().groups[0][0].records[0]
    valid = made.sample(record, np.random.default_rng(seed))["valid"]
    return torch.nonzero(valid == 0)[:, 0].tolist()


def drawn_view(seed: int) -> View:
    return View.draw(np.random.default_rng(seed), scaled=False)


@pytest.mark.parametrize("flip", [False, True])
def test_a_joint_that_nobody_has_teaches_nothing_on_its_own_side(tmp_path, flip):
    bodies = np.stack([body(-0.5), body(0.5)])
    wrist = MPI15.index("l_wrist")
    bodies[:, wrist, :7] = 0
    side = MPI15.flip[wrist] if flip else wrist
    limb = next(k for k, limb in enumerate(MPI15.limbs) if side in limb)
    expected = [side, 15 + 2 * limb, 16 + 2 * limb, 43 + limb]
    assert untaught(tmp_path, bodies, flip=flip) == expected


def test_depths_are_not_taught_where_somebody_drawn_has_none(tmp_path):
    """A depth of 0 is none; the maps of the picture's plane are true all the same."""
    deep, flat = body(-0.3), body(0.3)
    flat[:, [2, 4, 5, 6]] = 0
    assert untaught(tmp_path / "a", np.stack([deep, flat])) == [*range(43, 57)]
    half = body(0.3)
    half[MPI15.index("head_top"), [2, 4, 5, 6]] = 0
    assert untaught(tmp_path / "b", np.stack([deep, half])) == [43]
    flat[:, 3] = 0  # whose limbs aren't drawn
    assert untaught(tmp_path / "c", np.stack([deep, flat])) == []


def test_a_scene_without_anybody_teaches_that_nobody_is_there(tmp_path):
    labels = scene(body()[None])
    write_shard(tmp_path / "shards", [({**labels, "people": []}, picture(body()[None]))])
    sample = recipe(tmp_path, data=[], virtual=[tmp_path / "shards"]).dataset()[0]
    assert sample["valid"].all() and not sample["labels"].any()


def test_only_pictures_of_coco_are_scaled(tmp_path, monkeypatch):
    drawn = []
    draw = View.draw
    monkeypatch.setattr(
        View, "draw", lambda rng, *, scaled: drawn.append(scaled) or draw(rng, scaled=scaled)
    )
    for name in ("coco", "MuCo"):
        write_set(tmp_path / name / "data", 1, name)
        batch_of(recipe(tmp_path / name), 0)
    assert drawn == [True, False]


def test_the_loss_is_the_official_one_of_the_samples(tmp_path):
    made = recipe(tmp_path)
    network, batch = made.network(), batch_of(made, 0, 1)
    terms = made.losses(network, batch, 0)
    expected = smap_loss(
        network.forward_stages(batch["image"]), batch["labels"], batch["valid"], batch["roots"]
    )
    assert terms.keys() == made.loss_weights().keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    assert {n for n, w in made.loss_weights().items() if w} == {"total"}
    assert float(terms["root"]) > 0


def test_the_rate_warms_up_and_falls_to_nothing(tmp_path):
    config = recipe(tmp_path, steps=192_000, warmup=2400).config
    rates = [config.rate(step) for step in (0, 1200, 2400, 97_200, 192_000)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0])


def test_the_optimiser_is_the_official_one(tmp_path):
    made = SmapRecipe(SmapConfig(out=tmp_path, steps=5))
    optimizer = made.optimizer([torch.nn.Parameter(torch.zeros(2))])
    assert type(optimizer) is torch.optim.Adam
    expected = {"lr": 1.6e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 8e-6}
    assert {name: optimizer.defaults[name] for name in expected} == expected


def shard(folder: Path) -> Path:
    """A scene with one person and one that is hidden."""
    labels = scene(body()[None], (180.0, 181.0))
    labels["people"].append({**labels["people"][0], "pixels": 0})
    return write_shard(folder, [(labels, picture(body()[None]))])


def test_virtual_people_are_read_as_bodies(tmp_path):
    made = recipe(tmp_path, data=[], virtual=[shard(tmp_path / "virtual")])
    record = made.dataset().groups[0][0].records[0]
    expected = body()[None].copy()
    expected[0, 14, 3], expected[..., 8] = 1, 181
    np.testing.assert_allclose(record.bodies, expected, rtol=1e-12)
    assert record.read().shape == (120, 160, 3)
    assert batch_of(made, 0)["valid"].all()


def test_virtual_people_come_in_their_share(tmp_path):
    made = recipe(tmp_path, virtual=[shard(tmp_path / "virtual")], virtual_share=0.25)
    assert made.dataset().counts.tolist() == [3072, 1024]


def test_bad_records_end_a_run_or_are_listed(tmp_path):
    path = write_set(tmp_path / "data")
    (tmp_path / "data/images/000002.png").write_bytes(b"no picture")
    with pytest.raises(BadRecordError, match=r"annotations.json, record 2: img_paths.*damaged"):
        batch_of(recipe(tmp_path), *range(6))
    (tmp_path / "run").mkdir()
    batch_of(recipe(tmp_path, on_bad="skip"), *range(6))
    (line,) = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["record"] == 2 and json.loads(line)["source"] == str(path)


def test_a_recipe_without_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="no training data"):
        recipe(tmp_path, data=[]).dataset()


def test_weights_that_do_not_fit_are_refused(tmp_path):
    weights = train(recipe(tmp_path, steps=1))
    assert recipe(tmp_path, initial=weights).network() is not None
    with pytest.raises(InputError, match=r"smap\.pth doesn't fit this network"):
        recipe(tmp_path, initial=weights, network={**SMALL, "width": 8}).network()


@pytest.mark.parametrize("name", ["smap", "smap_tiny", "smap_virtual"])
def test_the_configurations_are_accepted(name):
    assert "smap" in RECIPES
    config = open_recipe(CONFIGS / f"{name}.yaml").config
    assert isinstance(config, SmapConfig)
    assert (config.data or config.virtual) and (config.ema_decay, config.clip) == (0, 0)


@pytest.mark.parametrize("options", [{"blocks": [1, 1]}, {"encoder": 6}, {"stages": 0}])
def test_impossible_networks_are_refused(tmp_path, options):
    with pytest.raises(InputError, match="expected positive numbers, four of blocks"):
        recipe(tmp_path, network={**SMALL, **options}).network()


def test_a_virtual_joint_beside_the_camera_is_not_labelled(tmp_path):
    """Where it is seen is any number, 2e8 pixels for one; the others of that person are learnt."""
    labels = scene(body()[None])
    labels["people"][0]["joints_3d"][8] = [-0.4, 0.3, 1e-7]
    labels["people"][0]["joints_2d"][8] = [-7.2e8, 5.4e8]
    labels["people"][0]["visibility"][8] = 0
    write_shard(tmp_path / "shards", [(labels, picture(body()[None]))])
    made = recipe(tmp_path, data=[], virtual=[tmp_path / "shards"])
    record = made.dataset().groups[0][0].records[0]
    assert not record.bodies[0, 8, [0, 1, 3]].any()
    assert (record.bodies[0, :8, 3] == 2).all()
    assert torch.isfinite(made.sample(record, np.random.default_rng(0))["labels"]).all()
