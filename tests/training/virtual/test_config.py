from __future__ import annotations

from pathlib import Path

import pytest

from smap_ros.errors import InputError
from smap_train.virtual.config import ClipConfig, SequencesConfig, StillsConfig, load_config

SHIPPED = Path(__file__).parents[3] / "training" / "virtual" / "configs"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour: 3", "colour: Extra inputs are not permitted"),
        ("camera: {hight: [1, 2]}", "camera.hight: Extra inputs"),
        ("camera: {height: [2, 1]}", "expected the smaller number first"),
        ("samples: 0", "samples: Input should be greater than or equal to 1"),
        ("motion_split: test", "motion_split: Input should be 'train'"),
        ("[1, 2]", "expected a mapping"),
        ("samples: [", "can't read the configuration"),
        ("kind: clip\npeople: [{motion: a, waypoints: []}]", "waypoints"),
        ("kind: movie", "kind is 'movie'; expected stills, sequences, clip"),
        ("kind: sequences\nwalking_share: 0.9\nstill_share: 0.3", "expected at most 1"),
        ("kind: sequences\nsamples: 5", "samples: Extra inputs are not permitted"),
        ("camera: {height: [.nan, .nan]}", "camera.height.0: Input should be a finite number"),
        ("camera: {height: [-2, 1]}", "camera.height.0: Input should be greater than 0"),
        ("camera: {distance: [0, 5]}", "camera.distance.0: Input should be greater than 0"),
        ("camera: {first: [0, 5]}", "camera.first.0: Input should be greater than 0"),
        ("camera: {fov_deg: [90, 190]}", "camera.fov_deg.1: Input should be less than 180"),
        ("camera: {pitch_deg: [0, 170]}", "camera.pitch_deg.1: Input should be less than"),
        ("sensor: {exposure: [0, 1]}", "sensor.exposure.0: Input should be greater than 0"),
        ("sensor: {blur: [-1, 1]}", "sensor.blur.0: Input should be greater than or equal to 0"),
        ("sensor: {noise: [-1, 1]}", "sensor.noise.0: Input should be greater than or equal to 0"),
        ("sensor: {motion_blur: .inf}", "sensor.motion_blur: Input should be a finite number"),
        ("sensor: {jpeg_quality: [50, 300]}", "sensor.jpeg_quality.1: Input should be less than"),
        ("people: [-3, -1]", "people.0: Input should be greater than or equal to 0"),
        ("people: [1, 300]", "people.1: Input should be less than or equal to 255"),
        ("kind: sequences\npeople: [1, 300]", "people.1: Input should be less than or equal to"),
        ("seed: -1", "seed: Input should be greater than or equal to 0"),
        ("body_seed: -1", "body_seed: Input should be greater than or equal to 0"),
        ("kind: clip\nwidth: 97\npeople: []", "97 x 256 pixels; expected even numbers"),
        ("kind: clip\nseconds: 0.01\npeople: []", "expected seconds of 0.0666667 or more"),
        ("kind: clip\npeople: [{motion: a, look: -1, waypoints: [[0, 3]]}]", "people.0.look"),
        ("kind: clip\npeople: [{motion: a, waypoints: [[0, .nan]]}]", "a finite number"),
        ("kind: clip\npeople: [{motion: a, waypoints: [[0, 3], [0, 3]]}]", "twice in a row"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert complaint in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="can't read"):
        load_config(tmp_path / "none.yaml")


def test_options_replace_settings_and_none_keeps_them(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("samples: 10\nworkers: 2")
    config = load_config(path, samples=4, workers=None)
    assert isinstance(config, StillsConfig)
    assert (config.samples, config.workers) == (4, 2)


def test_shipped_configurations_are_valid():
    assert isinstance(load_config(SHIPPED / "stills.yaml"), StillsConfig)
    demo = load_config(SHIPPED / "demo_clip.yaml")
    assert isinstance(demo, ClipConfig)
    assert demo.motion_split == "held_out"
    assert demo.body_seed != load_config(SHIPPED / "stills.yaml").body_seed


def test_the_test_set_shares_nothing_with_training():
    test, films = load_config(SHIPPED / "test.yaml"), load_config(SHIPPED / "test_sequences.yaml")
    assert isinstance(test, StillsConfig)
    assert isinstance(films, SequencesConfig)
    assert test.samples == 400
    assert (films.sequences, films.seconds) == (8, 5.0)
    for config in (test, films):
        assert (config.motion_split, config.asset_split) == ("held_out", "held_out")
        for name in ("stills", "sequences"):
            train = load_config(SHIPPED / f"{name}.yaml")
            assert (train.motion_split, train.asset_split) == ("train", "train")
            for seed in ("seed", "body_seed", "texture_seed"):
                assert getattr(config, seed) != getattr(train, seed)
