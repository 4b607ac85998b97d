"""A network learns which of two looks is right, and goes into a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import BundleError, InputError
from smap_train.engine.trainer import train
from smap_train.export.common import ExportOptions, change_bundle, load_network
from smap_train.export.exporters import export
from smap_train.models.fusing import Fusing, mirrored_input, mirrored_output, turned_input
from smap_train.recipes.fusing import disturbed, projected, put_back
from smap_train.recipes.registry import open_recipe
from smap_train.refining.both import LookedAt

from ..refining.looked_at import looked_at

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


def settings(folder: Path) -> list[str]:
    looked_at(900, 0).save(folder / "virtual.npz")
    looked_at(300, 1, photos=300).save(folder / "photos.npz")
    return [
        f"people=[{folder / 'virtual.npz'},{folder / 'photos.npz'}]", f"out={folder / 'run'}",
        "steps=200", "warmup=20", "validate_every=100", "workers=0", "threads=1",
        "hidden=[128, 128]", "learning_rate=0.003", "ema_decay=0.9", "bundle=null",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Trained for some seconds, the least that shows learning."""
    folder = tmp_path_factory.mktemp("fusing")
    train(open_recipe(CONFIGS / "fusing.yaml", settings(folder)))
    return folder / "run"


def test_it_learns_whom_to_believe(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "measures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [100, 200]
    last = lines[-1]
    for kind in ("virtual", "photos"):
        assert last[f"given_{kind}_mm"] > 100
        assert last[f"{kind}_mm"] < 0.6 * last[f"given_{kind}_mm"]
        assert last[f"{kind}_off_percent"] < last[f"given_{kind}_off_percent"] - 10
    assert last["given_virtual_distance_percent"] == pytest.approx(100 * (1 / 0.9 - 1), abs=0.1)
    assert last["virtual_distance_percent"] < 3
    assert "photos_distance_percent" not in last  # nobody knows


def test_people_in_a_mirror_are_corrected_in_the_mirror(run: Path) -> None:
    network = load_network(run / "fusing.pth", Fusing).eval()
    given = torch.from_numpy(looked_at(7, 3).given)
    with torch.no_grad():
        straight = network(given)["output"]
        mirrored = network(mirrored_input(given))["output"]
    assert straight.abs().max() > 0.02
    torch.testing.assert_close(mirrored_output(mirrored), straight, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mirrored_input(mirrored_input(given)), given)


def test_turning_turns_all_that_has_a_direction() -> None:
    people = looked_at(4, 5)
    quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).expand(4, 2, 2)  # x goes to y
    given = torch.from_numpy(people.given)
    turned = turned_input(given, quarter)
    before, after = (g[:, : 15 * 12].reshape(-1, 3) for g in (given, turned))
    torch.testing.assert_close(after, torch.stack([-before[:, 1], before[:, 0], before[:, 2]], 1))
    before, after = (g[:, 15 * 12 : 15 * 18].reshape(-1, 2) for g in (given, turned))
    torch.testing.assert_close(after, torch.stack([-before[:, 1], before[:, 0]], 1))
    torch.testing.assert_close(turned[:, 15 * 18 :], given[:, 15 * 18 :])


def test_what_is_learnt_is_disturbed_as_what_is_given() -> None:
    """Corrections that make the truth of people as they are make it of those disturbed."""
    people = looked_at(50, 2)
    batch = disturbed(people, np.random.default_rng(0), 0.4)
    assert (batch["given"] - torch.from_numpy(people.given)).abs().max() > 0.1
    told = put_back(batch["given"], torch.zeros(50, 75))
    second = batch["given"][:, : 15 * 12].reshape(50, 15, 4, 3)[:, :, 2]
    torch.testing.assert_close(second, batch["poses"], atol=1e-5, rtol=1e-4)
    shown = batch["given"][:, 15 * 12 : 15 * 18].reshape(50, 15, 3, 2)[:, :, 1]
    torch.testing.assert_close(shown, batch["points"], atol=1e-5, rtol=1e-4)
    lengths = np.linalg.norm(people.places[:, :2], axis=1)
    torch.testing.assert_close(batch["places"][:, :2].norm(dim=1), torch.from_numpy(lengths))
    left = (batch["places"][:, 0] < 0).float().mean()
    assert 0.3 < left < 0.7  # half are in a mirror
    assert set(told) == {"poses", "points", "places"}


@pytest.mark.parametrize("half", [False, True])
def test_it_goes_into_a_bundle_with_a_second_look(run: Path, tmp_path: Path, half: bool) -> None:
    options = ExportOptions(half=half, like="smap_lite")
    bundle, error = export(run / "fusing.pth", tmp_path / "mine", options)
    assert error < (3e-3 if half else 1e-4)
    assert bundle.manifest.name == "mine"
    # What was measured is of the bundle without it.
    assert load_bundle("smap_lite").manifest.provenance.metrics
    assert not bundle.manifest.provenance.metrics
    session = onnxruntime.InferenceSession(bundle.folder / "fuse.onnx")
    network = load_network(run / "fusing.pth", Fusing).eval()
    for count in (1, 9):
        given = looked_at(count, 4).given
        (told,) = session.run(None, {session.get_inputs()[0].name: given})
        with torch.no_grad():
            expected = network(torch.from_numpy(given))["output"].numpy()
        np.testing.assert_allclose(told, expected, atol=2e-3 if half else 1e-5)


def test_a_bundle_is_needed_that_has_two_looks(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="makes one of a bundle's two looks: name that with --like"
    ):
        export(run / "fusing.pth", tmp_path / "mine", ExportOptions())
    with pytest.raises(BundleError, match="is of kind 'topdown'; expected smap"):
        export(run / "fusing.pth", tmp_path / "mine", ExportOptions(like="mobilehuman_lite"))
    once = tmp_path / "once"
    old = load_bundle("smap_lite")
    changes = {"second_look": None, "person_score": None}
    change_bundle(old, changes, once, without=("second", "fuse"))
    with pytest.raises(BundleError, match=r"files.fuse is stated without files\.second"):
        export(run / "fusing.pth", tmp_path / "mine", ExportOptions(like=str(once)))
    assert not (tmp_path / "mine").exists()


def test_a_perfect_pose_is_where_its_joints_are_in_the_picture() -> None:
    """Somebody three metres away, told a tenth nearer and 40 cm to the left of where they are."""
    rng = np.random.default_rng(0)
    poses = torch.from_numpy(rng.normal(0, 0.3, (1, 15, 3))).float()
    poses[:, 2] = 0
    true = poses + torch.tensor([0.4, 0.0, 3.0])
    given = torch.zeros(1, 350)
    given[:, -5] = float(np.log(2.7))
    far = float(np.log(np.hypot(3.0, 0.4) / 2.7))
    places = torch.tensor([[0.4 * 2.7 / 3.0, 0.0, far]])
    shown = projected(given, {"poses": poses, "places": places})
    torch.testing.assert_close(shown, true[..., :2] / true[..., 2:] * 2.7, atol=2e-5, rtol=1e-5)


def test_too_little_to_learn_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set people to what `smap-train looks` wrote"):
        open_recipe(CONFIGS / "fusing.yaml", ["people=[]"])
    looked_at(1, 0).save(tmp_path / "one.npz")
    with pytest.raises(InputError, match="1 people are too few"):
        open_recipe(CONFIGS / "fusing.yaml", [f"people=[{tmp_path / 'one.npz'}]"])


def test_photos_or_scenes_alone_will_do(tmp_path: Path) -> None:
    for photos, name in ((0, "virtual"), (100, "photos")):
        looked_at(100, 0, photos=photos).save(tmp_path / "people.npz")
        given = [f"people=[{tmp_path / 'people.npz'}]", f"photo_share={1 if photos == 0 else 0}"]
        recipe = open_recipe(CONFIGS / "fusing.yaml", given)
        told = recipe.evaluate(recipe.network().eval(), 1000)
        assert set(told) >= {f"{name}_mm", f"given_{name}_mm"}
        # Untrained, it corrects nothing.
        assert told[f"{name}_mm"] == pytest.approx(told[f"given_{name}_mm"])
        sample = recipe.dataset()[0]
        assert sample["given"].shape == (64, 350)


def test_held_out_people_are_not_learnt_from(tmp_path: Path) -> None:
    """Of each file the last, scenes and photos."""
    people = LookedAt.join([looked_at(100, 0), looked_at(100, 1, photos=100)])
    people.save(tmp_path / "people.npz")
    looked_at(100, 2).save(tmp_path / "more.npz")
    files = f"people=[{tmp_path / 'people.npz'},{tmp_path / 'more.npz'}]"
    recipe = open_recipe(CONFIGS / "fusing.yaml", [files])
    assert [len(p) for p in recipe.held_out] == [10, 5]
    held = {row.tobytes() for part in recipe.held_out for row in part.given}
    assert not held & {row.tobytes() for part in recipe.learnt for row in part.given}


def test_people_of_another_bundle_are_refused_before_training(tmp_path: Path) -> None:
    known = load_bundle("smap_lite").model_hash
    mine, others, unsaid = (tmp_path / f"{name}.npz" for name in ("mine", "others", "unsaid"))
    replace(looked_at(300, 0), found_by=known).save(mine)
    replace(looked_at(300, 1), found_by="ab" * 32).save(others)
    looked_at(300, 2).save(unsaid)  # as files of earlier versions

    def opened(*people: Path, bundle: str = "smap_lite"):
        names = ",".join(map(str, people))
        return open_recipe(CONFIGS / "fusing.yaml", [f"people=[{names}]", f"bundle={bundle}"])

    assert len(LookedAt.join(opened(mine, unsaid).learnt)) == 570
    opened(others, bundle=str(tmp_path / "not_here"))  # where the export is another machine's
    with pytest.raises(InputError, match=rf"{others}.* network abababababab.*mine.npz.*same one"):
        opened(mine, others)
    with pytest.raises(InputError, match=rf"{others}.*abababababab.*smap_lite is {known[:12]}"):
        opened(others)
