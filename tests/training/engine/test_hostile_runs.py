"""Settings, files and numbers that no run can go on with: one line, and nothing good is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from smap_ros.errors import InputError
from smap_ros.stopping import stoppable
from smap_train.engine.checkpoint import LAST, steps_done
from smap_train.engine.record import RECORD
from smap_train.engine.trainer import train
from smap_train.engine.validation import MEASURES
from smap_train.files import only_writer
from smap_train.recipes.registry import recipe_config

from .toy import Toy, ToyConfig, toy

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
CONFIG = CONFIGS / "refinenet.yaml"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=-1", "seed"),
        ("seed=99999999999", "seed"),
        ("steps=1e30", "steps"),
        ("steps=2.5", "steps"),
        ("batch_size=1e12", "batch_size"),
        ("learning_rate=.inf", "learning_rate"),
        ("learning_rate=.nan", "learning_rate"),
        ("weight_decay=.nan", "weight_decay"),
        ("clip=.inf", "clip"),
        ("checkpoint_minutes=0", "checkpoint_minutes"),
        ("drops=[.nan]", "drops"),
        ("drops=[0.5, 1.5]", r"drops\.1: .* less than 1"),
        ("drops=[0]", r"drops\.0: .* greater than 0"),
        ("workers=-1", "workers"),
        ("devices=-1", "devices"),
        ("precision=17", "precision"),
        ("time_limit=soon", "time_limit"),
        ("time_limit=00:00:00", "time_limit: .* greater than 0"),
        ("time_limit=-01:00:00", "time_limit: .* greater than 0"),
        ("pairs=[1, 2]", "pairs"),
        ("steps.more=3", "steps is 40000, which has no keys"),
        ("pairs.file=x", "which has no keys"),
        ("7=8", "7"),
        ("=8", "extra|Extra"),
        ("recipe=[smap]", "names no recipe"),
        ("recipe=smap", "pairs: Extra inputs"),
        ("recipe=nothing", "recipe 'nothing' is unknown"),
        ("{=}", "is no YAML value|Extra"),
    ],
)
def test_a_setting_that_cannot_be_is_named(override: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        recipe_config(CONFIG, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "override"),
    [
        ("smap_lite", "width=0"),  # would learn from pictures without pixels
        ("smap_lite", "height=-32"),
        ("smap_lite", "loss.pose=-1"),  # would learn to be wrong
        ("smoother", "loss.pose=.inf"),
        ("fusing", "hidden=[512, 0]"),
        ("refine_lite", "hidden=[-1]"),
    ],
)
def test_a_number_that_a_recipe_cannot_take_is_named(config: str, override: str) -> None:
    with pytest.raises(InputError, match=override.partition("=")[0].replace(".", r"\.")):
        recipe_config(CONFIGS / f"{config}.yaml", [override])


@pytest.mark.parametrize("content", ["- 1\n", "just text", "7: 8\nrecipe: refinenet\n", "a: [\n"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"run\.yaml"):
        recipe_config(path)
    path.write_bytes(b"\xff\xfe\x00recipe")
    with pytest.raises(InputError, match=r"run\.yaml"):
        recipe_config(path)
    with pytest.raises(InputError, match="can't read the configuration"):
        recipe_config(tmp_path)


def test_what_lightning_has_not_got_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="strategy nonsense") as caught:
        train(toy(tmp_path / "run", strategy="nonsense"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / RECORD).exists()


@pytest.mark.parametrize("content", ["{", '{"error": 1}\n', "[]\n", '{"step": "many"}\n'])
def test_damaged_measures_are_named(tmp_path: Path, content: str) -> None:
    train(toy(tmp_path, validate_every=5), stop_after=5)
    (tmp_path / MEASURES).write_text(content)
    with pytest.raises(InputError, match=r"measures\.jsonl, are damaged .*; remove the file"):
        train(toy(tmp_path, validate_every=5))
    (tmp_path / MEASURES).unlink()
    train(toy(tmp_path, validate_every=5))


class Poisoned(Toy):
    """From some step on its gradients are no numbers, though its losses are."""

    def losses(self, network, batch, step):
        terms = super().losses(network, batch, step)
        if step >= 5:
            terms["square"] = terms["square"] + (network[0].weight * 0).abs().sqrt().sum()
        return terms


def test_weights_that_are_no_numbers_do_not_replace_good_ones(tmp_path: Path) -> None:
    config = ToyConfig(
        out=tmp_path, steps=20, batch_size=8, workers=0, threads=1, checkpoint_every=3, clip=0
    )
    with pytest.raises(InputError, match=r"no number at step 6 \(weight 0\.weight"):
        train(Poisoned(config))
    assert steps_done(tmp_path / LAST) == 3
    assert not list(tmp_path.glob("*.unfinished"))
    train(Toy(config))  # what is there can be gone on with
    assert steps_done(tmp_path / LAST) == 20


def test_a_run_that_goes_on_elsewhere_is_left_alone(tmp_path: Path) -> None:
    train(toy(tmp_path), stop_after=5)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with (
        only_writer(tmp_path),
        pytest.raises(InputError, match=r"another process trains in .*out="),
    ):
        train(toy(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path):  # an error gives it back
        raise ZeroDivisionError
    train(toy(tmp_path), stop_after=6)
    assert steps_done(tmp_path / LAST) == 6


def test_a_record_that_is_no_json_is_named_when_the_run_goes_on(tmp_path: Path) -> None:
    train(toy(tmp_path), stop_after=5)
    (tmp_path / RECORD).write_text('{"config": ')
    with pytest.raises(InputError, match=r"run\.json is damaged .*; remove it to resume"):
        train(toy(tmp_path))
    assert (tmp_path / RECORD).read_text() == '{"config": '


def test_an_error_of_a_run_ends_the_command(tmp_path: Path) -> None:
    """With the signals that `smap-train` listens to; it once looked for their sign for ever."""
    with pytest.raises(InputError, match="record 3: value is nan"), stoppable():
        train(toy(tmp_path, bad=3))
