# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The map head as torch.export and ONNX graphs, against torch."""

import onnx
import pytest
import torch

from nexusflow.models.map.export import (
    OPSET,
    MapHeadGraph,
    example_bev,
    onnx_map_head,
    run_onnx,
    trace_map_head,
)
from nexusflow.models.map.map_head import NexusMapHead

HEADS = {
    'traced': dict(
        query_source='traced',
        num_queries=12,
        num_layers=1,
        tracing=dict(num_rings=4, tracer=dict(num_seeds=12, num_steps=8)),
    ),
    'anchors': dict(query_source='anchors', num_queries=6, num_layers=1),
    'learned': dict(
        query_source='learned',
        num_queries=6,
        num_layers=2,
        decoder=dict(attentions=('across', 'along', 'cross'), step_m=10.0),
        one_to_many=dict(num_queries=5, repeats=2),
        loss=dict(seg_weight=0.0),
    ),
}


@pytest.fixture(params=list(HEADS))
def head(request, bev_grid, map_grid):
    grids = [dict(range_m=grid.range_m, cell_m=grid.cell_m) for grid in (bev_grid, map_grid)]
    head = NexusMapHead(16, *grids, **HEADS[request.param])
    # a walk through the fields of a net of large random weights is chaotic
    std = 0.1 if request.param == 'traced' else 0.2
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return head


def largest_error(found, expected):
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def test_exported_and_onnx_graphs_equal_torch(head):
    bev, other = example_bev(head, 2), example_bev(head, 2, seed=1)
    graph = MapHeadGraph(head)
    with torch.no_grad():
        expected = graph(other)
        exported = trace_map_head(head, bev).module()(other)
    assert expected[0].shape == (2, head.num_queries, 3)
    assert expected[1].shape == (2, head.num_queries, 20, 2)
    assert (expected[1][0] - graph(bev)[1][0]).abs().max() > 0.05
    assert largest_error(exported, expected) <= 1e-5
    model = onnx_map_head(head, bev)
    found = [torch.from_numpy(array) for array in run_onnx(model, other)]
    assert largest_error(found, expected) <= 1e-4
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto)
    assert proto.opset_import[0].version == OPSET
    assert 'GridSample' in {node.op_type for node in proto.graph.node}
    assert {node.domain for node in proto.graph.node} == {''}
