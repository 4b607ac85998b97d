"""`smap-ros parameters` and `smap-ros layout`: what they show, and the files they write."""

from __future__ import annotations

import json
import re

import pytest

from smap_ros.cli import tables
from smap_ros.graph.documents import parameters_page, parameters_yaml
from smap_ros.graph.node_types import NODES
from smap_ros.graph.plan import LIVE, plan


def test_every_parameter_is_shown(smap_ros, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = smap_ros("parameters").stdout
    for node in NODES.values():
        assert node.name in shown
        for one in node.parameters:
            assert one.name in shown


def test_units_in_brackets_are_shown(smap_ros, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(tables, "_PIPE_WIDTH", 400)
    shown = smap_ros("parameters").stdout
    units = {unit for node in NODES.values() for one in node.parameters
             for unit in re.findall(r"\[[a-z/ ]+\]", one.described)}  # fmt: skip
    assert units and all(unit in shown for unit in units)


def test_the_file_that_is_written_can_be_started_with(smap_ros, tmp_path):
    assert smap_ros("parameters", "--yaml", "--out", "mine.yaml").returncode == 0
    assert (tmp_path / "mine.yaml").read_text() == parameters_yaml()
    planned = plan(LIVE, {"params_file": str(tmp_path / "mine.yaml")})
    assert planned.processes[0].parameter_file == tmp_path / "mine.yaml"
    assert smap_ros("parameters", "--markdown").stdout == parameters_page()


def test_a_layout_is_written_for_a_camera(smap_ros, tmp_path):
    done = smap_ros("layout", "eye", "--namespace", "left", "--out", "left.json")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "left.json").read_text()
    assert json.loads(written)["configById"]["3D!people"]["followTf"] == "eye"
    assert smap_ros("layout", "eye", "--namespace", "left").stdout == written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--yaml", "--markdown"), "both --yaml and --markdown were given"),
        (("--out", "x.yaml"), "--out was given without --yaml or --markdown"),
        (("--yaml", "--out", "no/x.yaml"), "can't write no/x.yaml: No such file"),
    ],
)
def test_what_cant_be_done_is_refused_in_one_line(smap_ros, words, message):
    done = smap_ros("parameters", *words)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
