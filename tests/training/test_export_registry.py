"""The graphs of each network for benchmarks and tables, and the table of networks."""

from __future__ import annotations

import sys

import onnxruntime
import torch

from smap_ros.engines.inspect.onnx_graph import read_graph
from smap_ros.engines.inspect.tensorrt_operators import check_operators
from smap_train.export.registry import GRAPHS, deployed_graphs
from smap_train.models import REGISTRY
from smap_train.models.__main__ import main
from smap_train.models.examples import example, named_outputs


def test_every_exporter_belongs_to_a_network():
    assert set(GRAPHS) <= set(REGISTRY)


def test_graphs_run_and_are_written_with_their_examples(tmp_path):
    """The exporter takes some seconds."""
    network, _ = example("refinenet")
    graph = deployed_graphs("refinenet", network)["whole"]
    path = tmp_path / "graph.onnx"
    graph.write(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {key: value.numpy() for key, value in graph.inputs.items()}
    assert [node.name for node in session.get_inputs()] == list(feeds)
    (got,) = session.run(list(graph.outputs), feeds)
    torch.testing.assert_close(torch.from_numpy(got), graph.run()["out"], rtol=1e-4, atol=1e-4)
    assert {s.verdicts["10"] for s in check_operators(read_graph(path.read_bytes()))} == {"yes"}


def test_a_network_without_exporter_has_no_graphs():
    assert deployed_graphs("hap_pretraining", torch.nn.Identity()) == {}


def test_networks_without_golden_files_run_on_examples():
    model, arguments = example("hap_pretraining")
    with torch.inference_mode():
        outputs = named_outputs(model(*arguments))
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "token": (1, 768),
        "patches": (1, 128, 768),
        "mask": (1, 128),
    }


def test_table_tells_size_and_error_of_networks(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["models", "refinenet", "smap_lite", "--markdown"])
    main()
    lines = [
        [cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.split("\n")
    ]
    rows = {cells[1]: cells[2:] for cells in lines if len(cells) > 2}
    assert rows["refinenet"][:3] == ["159,469", "4x75", "out 4x45"]
    assert "abs" in rows["refinenet"][3] and "OUT" not in rows["refinenet"][3]
    assert rows["smap_lite"][3] == "no golden files"
