"""HAP's recipe: LUPerson as published, its crops, and a run that two processes share."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from smap_ros.errors import InputError
from smap_train.data.layouts.luperson import open_luperson
from smap_train.engine.sampling import BadRecordError
from smap_train.engine.trainer import start, train
from smap_train.models.checkpoint import load_checkpoint
from smap_train.models.hap import HapPretraining
from smap_train.recipes.hap_pretraining import random_crop
from smap_train.recipes.registry import open_recipe

from .tiny import RUN, hap_pretraining, tiny

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "training" / "configs"
POINTS = np.stack([np.arange(17.0) + 5, 3 * np.arange(17.0) + 2, np.full(17, 0.9)], axis=1)


def luperson(folder: Path) -> dict:
    """Four crops with keypoints as officially laid out; the third file holds something else."""
    names = [f"a/{k:03d}.jpg" for k in range(4)]
    (folder / "cfs_list.pkl").write_bytes(pickle.dumps([*names, "b/never.jpg"] * 2))
    for k, name in enumerate(names):
        image, pose = folder / "LUPerson-data" / name, folder / "LUPerson-pose" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        pose.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((90, 40, 3), 40 * k, np.uint8))
        held = np.empty((1, 1), object)
        held[0, 0] = {"keypoints": POINTS if k != 2 else POINTS[:5], "bbox": [0, 0, 40, 90]}
        np.save(pose.with_suffix(".npy"), held, allow_pickle=True)
    return luperson_paths(folder)


def test_luperson_is_read_without_running_what_it_pickles(tmp_path):
    crops = open_luperson(**luperson(tmp_path), share=0.4)
    assert len(crops) == 4  # of ten names
    np.testing.assert_allclose(crops[1].keypoints, POINTS[:, :2])
    assert crops[1].read().shape == (90, 40, 3)
    with pytest.raises(BadRecordError, match=r"a/002.npy: holds no 17 keypoints"):
        crops[2]

    class Code:
        def __reduce__(self):
            return print, ("run",)

    held = np.empty((1, 1), object)
    held[0, 0] = {"keypoints": Code()}
    np.save(tmp_path / "LUPerson-pose/a/003.npy", held, allow_pickle=True)
    again = open_luperson(**luperson_paths(tmp_path), share=0.4, cache=tmp_path / "other")
    with pytest.raises(BadRecordError, match="pickled Python code"):
        again[3]
    (tmp_path / "cfs_list.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="is no list of names"):
        open_luperson(**luperson_paths(tmp_path))


def luperson_paths(folder: Path) -> dict:
    return {
        "names": folder / "cfs_list.pkl", "images": folder / "LUPerson-data",
        "poses": folder / "LUPerson-pose",
    }  # fmt: skip


def test_a_run_takes_luperson_and_leaves_bad_crops_out(tmp_path):
    made = tiny(
        "hap_pretraining", tmp_path, virtual=[], people={**luperson(tmp_path), "share": 0.4},
        on_bad="skip",
    )  # fmt: skip
    (tmp_path / "run").mkdir()
    sample = made.dataset()[0]
    assert sample["image"].shape == (3, 64, 32) and sample["first"].shape == (8,)
    assert not torch.equal(sample["first"], sample["second"])


@pytest.mark.parametrize("seed", range(30))
def test_crops_keep_most_of_a_person_and_move_their_keypoints(seed):
    """Bright spots at two keypoints are where the crop's keypoints are."""
    image = np.zeros((256, 128, 3), np.uint8)
    keypoints = np.full((17, 2), -10_000.0)
    keypoints[:2] = (40, 100), (80, 180)
    for x, y in keypoints[:2].astype(int):
        cv2.circle(image, (x, y), 4, (255, 255, 255), -1)
    seen, moved = random_crop(image, keypoints, (64, 128), np.random.default_rng(seed))
    assert seen.shape == (128, 64, 3)
    assert (moved[2:] < 0).all()
    for x, y in moved[:2]:
        assert seen[round(y), round(x)].max() > 150
    spread = np.ptp(moved[:2], axis=0) / np.ptp(keypoints[:2], axis=0)
    assert (spread >= 0.49).all() and (spread <= 0.72).all()  # of 0.5: the area is 0.8 to 1


def test_what_leaves_the_crop_is_nowhere():
    keypoints = np.tile([[0.0, 0.0]], (17, 1))
    keypoints[3] = (500, 10)  # beyond the picture
    gone = 0
    for seed in range(40):
        _, moved = random_crop(
            np.zeros((90, 40, 3), np.uint8), keypoints, (64, 128), np.random.default_rng(seed)
        )
        assert (moved[3] == -10_000).all()
        gone += (moved[0] == -10_000).all()
    assert 0 < gone < 40


def test_the_official_schedule_decay_and_start(tmp_path):
    made = open_recipe(CONFIGS / "hap_pretraining.yaml", ["steps=400", "warmup=40", "mae=null"])
    rates = [made.config.rate(step) for step in (0, 20, 40, 220, 400)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])
    small = tiny("hap_pretraining", tmp_path, weight_decay=0.05)
    optimizer = small.optimizer(small.parameter_groups(small.network()))
    plain, free = optimizer.param_groups
    assert (plain["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert all(p.ndim == 1 for p in free["params"]) and plain["betas"] == (0.9, 0.95)
    # MAE's weights: its embedding of 14 x 14 patches comes to ours, its decoder isn't taken.
    options = small.options
    published = HapPretraining(**{**options, "image_size": (224, 224)}).state_dict()
    torch.save({"model": published}, tmp_path / "mae.pth")
    started = tiny("hap_pretraining", tmp_path, mae=tmp_path / "mae.pth").network().state_dict()
    torch.testing.assert_close(
        started["blocks.0.attn.qkv.weight"], published["blocks.0.attn.qkv.weight"]
    )
    assert started["pos_embed"].shape == (1, 9, 64)
    assert not torch.equal(started["decoder_embed.weight"], published["decoder_embed.weight"])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"blocks.0.norm1.weight": torch.ones(64)}, r"(?s)missing:.*cls_token.*set mae to MAE's"),
        ({"pos_embed": torch.ones(1, 197, 64)}, "(?s)missing:.*blocks"),  # the rest isn't there
        ({"pos_embed": torch.ones(1, 197, 64), "head": torch.ones(3)}, "(?s)missing:.*blocks"),
        (
            {"image_size": (112, 112)},
            r"mae\.pth: its pos_embed is \[1, 50, 64\]; expected \[1, 197, width\]",
        ),
        ({"width": 32}, r"(?s)wrong shape:.*pos_embed: got \[1, 9, 32\], expected \[1, 9, 64\]"),
        ({"depth": 1}, r"(?s)missing:.*blocks\.1\."),
    ],
)
def test_start_weights_that_are_none_are_refused_in_words(tmp_path, weights, words):
    if not any("." in key or "_embed" in key for key in weights):
        options = tiny("hap_pretraining", tmp_path).options
        weights = HapPretraining(**{**options, "image_size": (224, 224), **weights}).state_dict()
    torch.save({"model": weights}, tmp_path / "mae.pth")
    with pytest.raises(InputError, match=words):
        tiny("hap_pretraining", tmp_path, mae=tmp_path / "mae.pth").network()


def test_two_processes_give_what_one_gives(tmp_path):
    """Gloo: views look for each other among the people of both.

    After three steps they differ by less than a thousandth of what was learnt. (Adam makes a
    whole step of a gradient that is nothing but rounding, so single weights may differ.)
    """
    settings = {**RUN, "steps": 3, **hap_pretraining(tmp_path), "seed": 4}
    network = {**settings["network"], "image_size": list(settings["network"]["image_size"])}
    virtual = [str(path) for path in settings["virtual"]]
    given = {**settings, "network": network, "virtual": virtual, "out": str(tmp_path / "two")}
    config = tmp_path / "hap.yaml"
    config.write_text(yaml.safe_dump({"recipe": "hap_pretraining", **given}))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
            "-m", "smap_train", "fit", str(config),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = open_recipe(config, [f"out={tmp_path / 'one'}"])
    one = load_checkpoint(train(alone))["state_dict"]
    two = load_checkpoint(tmp_path / "two" / "hap_pretraining.pth")["state_dict"]
    start(alone.config)
    before = alone.network().state_dict()
    off, learnt = (
        torch.stack([(one[name] - other[name]).norm() for name in one]).norm()
        for other in (two, before)
    )
    assert learnt > 0
    assert off < 1e-3 * learnt, (off, learnt)


@pytest.mark.parametrize("name", ["", "_tiny", "_virtual"])
def test_the_configurations_are_accepted(name):
    config = open_recipe(CONFIGS / f"hap_pretraining{name}.yaml").config
    assert config.people or config.virtual
