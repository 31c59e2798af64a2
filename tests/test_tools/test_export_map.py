# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""tools/export_map.py on a checkpoint of a small model."""

import importlib
from pathlib import Path

import onnx
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from torch import nn

TOOLS = Path(__file__).parents[2] / 'tools'
CONFIG = """
default_scope = 'mmdet3d'
custom_imports = dict(imports=['nexusflow.models'])
model = dict(type='HeadBesideOthers', regulariser=dict(), map_head=dict(
    type='NexusMapHead', channels=8, num_blocks=1,
    bev_grid=dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=12.8),
    grid=dict(range_m=(-15.0, -30.0, 15.0, 30.0), cell_m=7.5),
    query_source='learned', num_queries=4, num_layers=1, loss=dict(seg_weight=0.0),
))
"""


@MODELS.register_module()
class HeadBesideOthers(nn.Module):
    """A map head in a model that has another weight."""

    def __init__(self, map_head):
        super().__init__()
        self.map_head, self.lift = MODELS.build(map_head), nn.Linear(3, 1, bias=False)


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module('export_map')


@pytest.fixture
def trained(tmp_path):
    """Paths of a config and of a checkpoint, which also holds weights of a regulariser."""
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'model.pth'
    config.write_text(CONFIG)
    model = HeadBesideOthers(Config.fromfile(config).model.map_head)
    torch.save(dict(state_dict={**model.state_dict(), 'regulariser.x': torch.zeros(3)}), checkpoint)
    return str(config), str(checkpoint)


def test_writes_a_graph_that_equals_torch(tool, trained, tmp_path, capsys):
    tool.main(trained)
    graph = onnx.load(tmp_path / 'map_head.onnx').graph
    shapes = [
        [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 8, 8, 8], [1, 4, 3], [1, 4, 20, 2]]
    assert 'map_head.onnx' in capsys.readouterr().out


def test_a_work_dir_stands_for_its_latest_checkpoint(tool, trained, tmp_path):
    (tmp_path / 'last_checkpoint').write_text(trained[1])
    tool.main([trained[0], str(tmp_path)])
    assert (tmp_path / 'map_head.onnx').exists()


def test_a_graph_that_does_not_equal_torch_is_not_written(tool, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'onnx_map_head', lambda *args: b'')
    for difference in (2e-4, float('nan')):
        monkeypatch.setattr(tool, 'largest_difference', lambda *args, found=difference: found)
        with pytest.raises(SystemExit, match='differs from torch'):
            tool.main(trained)
    assert not (tmp_path / 'map_head.onnx').exists()


def test_a_checkpoint_of_another_head_is_refused(tool, trained):
    option = '--cfg-options', 'model.map_head.channels=16'
    fault = r'model.pth: does not fit .*config.py: size mismatch for map_head\.'
    with pytest.raises(ValueError, match=fault):
        tool.main([*trained, *option])


def test_a_missing_checkpoint_is_named(tool, trained):
    with pytest.raises(FileNotFoundError, match="'nowhere.pth' does not exist"):
        tool.main([trained[0], 'nowhere.pth'])
