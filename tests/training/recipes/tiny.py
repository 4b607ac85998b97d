"""Every recipe on data and settings that take moments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smap_ros.bundles.bundle import load_bundle
from smap_train.recipes.base import Recipe
from smap_train.recipes.registry import recipe_class
from smap_train.refining.both import LookedAt

from ..data.bodies import write_scenes, write_set
from ..data.test_tracks import film
from ..refining.looked_at import looked_at
from ..refining.people import shrunken
from ..test_smoother import shaky_film
from .pairs import pair

STEPS = 30
RUN = {"steps": STEPS, "workers": 0, "threads": 1, "checkpoint_every": STEPS}


def smap(folder: Path) -> dict[str, Any]:
    data = folder / "smap"
    if not data.exists():
        write_set(data)
    return {
        "data": [{"annotations": data / "annotations.json", "images": data}], "batch_size": 2,
        "width": 160, "height": 128, "warmup": 3, "learning_rate": 3e-3,
        "network": {"stages": 2, "width": 16, "blocks": [1, 1, 1, 1], "encoder": 16},
    }  # fmt: skip


def refinenet(folder: Path) -> dict[str, Any]:
    path = folder / "pairs.json"
    path.write_text(json.dumps({"3d_pairs": [pair(k) for k in range(40)]}))
    return {"pairs": path, "batch_size": 16}


def refine_lite(folder: Path) -> dict[str, Any]:
    path = folder / "pairs.npz"
    shrunken(200, 0).save(path)
    return {"pairs": path, "poses": 200, "hidden": [64, 64], "batch_size": 4, "group": 32,
            "warmup": 5, "learning_rate": 0.02}  # fmt: skip


def fusing(folder: Path) -> dict[str, Any]:
    path = folder / "looks.npz"
    LookedAt.join([looked_at(200, 0), looked_at(100, 1, photos=100)]).save(path)
    return {"people": [path], "hidden": [64, 64], "dropout": 0.0, "batch_size": 4, "group": 32,
            "warmup": 5, "learning_rate": 5e-3}  # fmt: skip


def mobilehuman(folder: Path) -> dict[str, Any]:
    return {
        "virtual": [shards(folder)], "joints": 15, "channels": 0.0625, "pixel_range": 1,
        "first_weights": "torch", "batch_size": 4, "learning_rate": 3e-3, "boxes": "joints",
    }  # fmt: skip


def crowdnet(folder: Path) -> dict[str, Any]:
    return {
        "virtual": [shards(folder)], "resnet": {"depth": 18, "stem_width": 8}, "batch_size": 2,
        "learning_rate": 1e-3, "boxes": "joints",
    }  # fmt: skip


def hap_pretraining(folder: Path) -> dict[str, Any]:
    network = {
        "image_size": (64, 32), "width": 64, "depth": 2, "heads": 4, "decoder_width": 32,
        "decoder_depth": 1, "decoder_heads": 4,
    }  # fmt: skip
    return {"virtual": [shards(folder)], "network": network, "batch_size": 4, "learning_rate": 3e-3}


def virtualpose_backbone(folder: Path) -> dict[str, Any]:
    return {
        "virtual": [shards(folder)], "joints": 15, "width": 128, "height": 96, "batch_size": 4,
        "network": {"depth": 18, "stem_width": 8, "head_width": 16}, "learning_rate": 3e-3,
    }  # fmt: skip


def virtualpose_synthetic(folder: Path) -> dict[str, Any]:
    network = {
        "image_size": (128, 96), "map_size": (32, 24), "space_bins": (16, 16, 4),
        "person_bins": 8, "v2v_width": 4, "depth_stem_width": 4, "depth_head_width": 8,
        "v2v_kernel": 3, "beta": 10.0, "max_people": 4,
    }  # fmt: skip
    return {"virtual": [shards(folder)], "network": network, "batch_size": 2, "learning_rate": 1e-2}


def maed(folder: Path) -> dict[str, Any]:
    network = {"image_size": 32, "width": 24, "depth": 1, "heads": 3, "blocks": (1, 1, 1)}
    films = folder / "films" if (folder / "films").exists() else film(folder / "films")
    return {
        "virtual": [shards(folder)], "virtual_films": [films], "mode": "parallel", "frames": 2,
        "every": 2, "network": network, "batch_size": 3, "learning_rate": 1e-3,
    }  # fmt: skip


def smap_lite(folder: Path) -> dict[str, Any]:
    return {
        "virtual": [shards(folder)], "virtual_share": 1.0, "width": 96, "height": 64,
        "batch_size": 2, "backbone": "efficientnet_lite0",
    }  # fmt: skip


def virtualpose_lite(folder: Path) -> dict[str, Any]:
    network = {
        "image_size": [96, 64], "map_size": [24, 16], "space_bins": [12, 12, 4], "person_bins": 8,
        "v2v_width": 4, "depth_stem_width": 4, "depth_head_width": 4, "widening": [1, 3],
    }  # fmt: skip
    return {"network": network, "poses": 20, "batch_size": 2, "people": 4}


def second_look(folder: Path) -> dict[str, Any]:
    data = shards(folder)
    return {
        "initial": load_bundle("smap_lite").folder, "virtual": [data], "empty": [data],
        "batch_size": 4, "warmup": 3, "learning_rate": 5e-4, "freeze_blocks": 6,
    }  # fmt: skip


def smoother(folder: Path) -> dict[str, Any]:
    films = folder / "recorded"
    if not films.exists():
        films.mkdir()
        for k in range(8):
            detector = load_bundle("smap_lite").model_hash  # which export asks for
            shaky_film(k, detector).save(films / f"shard-{k:05d}.npz")
    return {"films": films, "batch_size": 4, "warmup": 5, "length": 12, "held_every": 4}


def shards(folder: Path) -> Path:
    """Virtual people, written once."""
    return folder / "virtual" if (folder / "virtual").exists() else write_scenes(folder / "virtual")


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "smap": smap,
    "refinenet": refinenet,
    "refine_lite": refine_lite,
    "fusing": fusing,
    "mobilehuman": mobilehuman,
    "crowdnet": crowdnet,
    "hap_pretraining": hap_pretraining,
    "maed": maed,
    "virtualpose_backbone": virtualpose_backbone,
    "virtualpose_synthetic": virtualpose_synthetic,
    "smoother": smoother,
}

# Those whose acceptance has files of its own.
FURTHER: dict[str, Callable[[Path], dict[str, Any]]] = {
    "smap_lite": smap_lite,
    "virtualpose_lite": virtualpose_lite,
    "second_look": second_look,
}


def tiny(name: str, folder: Path, **settings: Any) -> Recipe[Any]:
    """A recipe with its data in the folder and its run in ``folder/run``."""
    chosen = recipe_class(name)
    own = {**RUN, "out": folder / "run", **{**TINY, **FURTHER}[name](folder), **settings}
    return chosen(chosen.config_type(**own))
