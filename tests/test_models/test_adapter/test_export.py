# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Exported graphs of mode 'tensor' have the same nodes with and without the adapter.

mmdet 3.3 exports Mask R-CNN neither way (its ONNX code imports a module that is gone, its proposals depend on data), so
its traced graph is compared. Panoptic FPN is exported behind given proposals.
"""

from __future__ import annotations

import io
from collections import Counter

import onnx
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

TASKS = {
    'map_track': ('map', 'track'),
    'mask_rcnn': ('box', 'mask'),
    'panoptic_fpn': ('box', 'mask', 'semantic'),
    'fcos3d': ('box', 'attribute'),
}


class TensorMode(nn.Module):
    """A detector's tensor mode as a function of the images."""

    def __init__(self, detector, batch):
        super().__init__()
        self.detector, self.samples = detector, batch['data_samples']
        inputs = batch['inputs']
        names = (
            [name for name in inputs if name.startswith('img')] if isinstance(inputs, dict) else ()
        )
        self.name = names[0] if names else None
        self.images = inputs[self.name] if names else inputs

    def forward(self, images):
        inputs = {self.name: images} if self.name else images
        return self.detector(inputs, self.samples, mode='tensor')


@pytest.fixture(scope='module')
def networks(bare, adapted, raw_batch):
    """Function (name) -> tensor modes of the bare detector, of the adapted one, and of what is taken out of that."""

    def make(name):
        plain, model = bare(name), adapted(name)
        data = plain.eval().data_preprocessor(raw_batch(name, [TASKS[name]]), False)
        if name == 'panoptic_fpn':
            boxes = torch.tensor([[4.0, 4.0, 40.0, 40.0], [10.0, 2.0, 90.0, 60.0]])
            data['data_samples'][0].proposals = InstanceData(bboxes=boxes)
        return [TensorMode(m.eval(), data).eval() for m in (plain, model.eval(), model.bare())]

    return make


def test_traced_graph(networks):
    def trace(net):
        with torch.no_grad():
            traced = torch.jit.trace(net, (net.images,), check_trace=False, strict=False)
        return [str(node.kind()) for node in traced.inlined_graph.nodes()]

    plain, model, taken_out = map(trace, networks('mask_rcnn'))
    assert len(plain) > 100
    assert plain == model == taken_out


def test_torch_export(networks):
    def export(net):
        with torch.no_grad():
            nodes = torch.export.export(net, (net.images,), strict=False).graph.nodes
        return [(node.op, str(node.target), str(node.args)) for node in nodes]

    plain, model, taken_out = map(export, networks('map_track'))
    assert plain == taken_out
    unused = {node for node in model if 'nexusflow' in node[1]}
    assert {op for op, *_ in unused} == {'placeholder'}
    assert [node for node in model if node not in unused] == plain


@pytest.mark.parametrize('name', ['panoptic_fpn', 'fcos3d'])
def test_onnx(name, networks):
    def export(net):
        file = io.BytesIO()
        with torch.no_grad():
            torch.onnx.export(net, (net.images,), file, dynamo=False, opset_version=17)
        return file.getvalue()

    plain, model, taken_out = map(export, networks(name))
    assert plain == taken_out
    plain, model = (onnx.load_from_string(file).graph for file in (plain, model))
    assert [node.op_type for node in plain.node] == [node.op_type for node in model.node]
    weights = [Counter(w.raw_data for w in graph.initializer) for graph in (plain, model)]
    assert weights[0] == weights[1]
