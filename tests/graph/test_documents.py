"""The files for people that are written from the settings."""

from __future__ import annotations

import yaml

from smap_ros.graph.documents import parameters_page, parameters_yaml
from smap_ros.graph.node_types import NODES
from smap_ros.paths import config_directory

WRITE = "run `make parameters`"


def test_the_parameter_file_is_current():
    assert (config_directory() / "pose3d.yaml").read_text() == parameters_yaml(), WRITE


def test_the_parameter_page_is_current():
    page = config_directory().parent / "docs" / "parameters.md"
    assert page.read_text() == parameters_page(), WRITE


def test_parameter_file_has_every_parameter_with_its_default():
    data = yaml.safe_load(parameters_yaml())
    assert set(data) == {f"/**/{name}" for name in NODES}
    for name, node in NODES.items():
        stated = data[f"/**/{name}"]["ros__parameters"]
        assert list(stated) == [p.name for p in node.parameters if p.name != "source"]
        for one in node.parameters:
            if one.name != "source":
                assert one.accept(stated[one.name]) == one.default
    # Of the shipped clip, which a source here would replace.
    assert "# source:" in parameters_yaml()


def test_parameter_page_names_every_parameter_with_its_unit():
    page = parameters_page()
    for node in NODES.values():
        for one in node.parameters:
            assert f"| `{one.name}` |" in page
            assert one.unit in page
