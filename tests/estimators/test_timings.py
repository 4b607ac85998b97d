"""What of a frame's time its networks took."""

import pytest

from smap_ros.estimators.base import network_ms


@pytest.mark.parametrize(
    ("timings", "networks"),
    [
        ({"preprocess": 1.0, "network": 20.0, "lifting": 2.0}, 20.0),
        ({"first_network": 20.0, "first_lifting": 2.0, "crop": 1.0, "network": 30.0}, 50.0),
        ({"first_network": 20.0, "tokens": 5.0, "network": 30.0}, 55.0),
        ({"network": 20.0, "roots": 7.0, "joints": 8.0, "bodies": 1.0}, 35.0),
        ({"network": 20.0, "lifting": 2.0, "refine": 0.5, "placement": 1.0}, 20.5),
        ({}, 0.0),
    ],
)
def test_all_networks_of_a_frame_count(timings, networks):
    assert network_ms(timings) == networks
