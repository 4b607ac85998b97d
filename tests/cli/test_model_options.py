"""The options of models on command lines: derived from their settings, refused in their words."""

from __future__ import annotations

import shlex

import pytest

from smap_ros.cli.model_options import model_words
from smap_ros.errors import InputError
from smap_ros.estimators.options import MODEL_SETTINGS, ModelChoice
from smap_ros.offline.results import read_bodies

COMMANDS = (
    ("estimate", "x.jpg", "--out", "out"),
    ("evaluate", "smap_lite", "truth", "--protocol", "virtual"),
    ("bag", "run_17", "--report", "report"),
    ("demo",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_every_option_of_models_is_an_option_of_the_command(smap_ros, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = smap_ros(command[0], "--help").stdout
    for one in MODEL_SETTINGS:
        assert f"--{one.name.replace('_', '-')} " in shown


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        (("--min-joints", 2.5), "min_joints is 2.5; expected a whole number, 0 to 15, or bundle"),
        (("--min-score", "a"), "min_score is 'a'; expected a number, 0 to 1, or bundle"),
        (("--min-score", "nan"), "min_score is nan; expected 0 to 1, or bundle"),
        (("--flip-test", "maybe"), "flip_test is 'maybe'; expected a truth value, true or false"),
        (("--threads", -1), "threads is -1; expected 0 to 256"),
        (("--engine", "abacus"), "engine is 'abacus'; expected one of auto, openvino"),
    ],
)
def test_wrong_values_are_refused_in_one_line_before_any_work(smap_ros, command, option, refusal):
    done = smap_ros(*command, *option)
    assert done.returncode == 2
    assert refusal in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_options_reach_the_model(smap_ros, bundle, picture, tmp_path):
    words = ("--fov", 60, "--bundle", bundle, "--engine", "onnxruntime", "--threads", 1)
    counts = []
    stated = {"all": (), "none": ("--min-score", 1), "own": ("--min-score", "bundle")}
    for name, more in stated.items():
        done = smap_ros("estimate", picture, *words, *more, "--out", name)
        assert done.returncode == 0, done.stderr
        (frame,) = read_bodies(tmp_path / name / "bodies.json")
        counts.append(len(frame.bodies))
    assert counts == [3, 0, 3]


def test_the_command_line_of_a_choice_makes_it_again():
    values = {"bundle": "models/mine", "threads": 2, "min_joints": 4, "flip_test": False}
    choice = ModelChoice.of(values)
    assert shlex.join(model_words(choice)) == (
        "--bundle models/mine --engine auto --threads 2 --precision f32 "
        "--image-up auto --gpu 0 --workspace-mb 1024 --min-joints 4 --flip-test false"
    )
    assert "--bundle" not in model_words(choice, without=["bundle"])


def test_options_of_a_model_beside_people_who_were_found_already_are_refused(tmp_path):
    from smap_ros.evaluation.common.predictions import open_predictions

    with pytest.raises(InputError, match=r"min_joints can be set of a bundle, but .*bodies.json"):
        open_predictions(str(tmp_path / "bodies.json"), min_joints=3)
