# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Taps: what they record, how rows become samples, and that nothing stays behind."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from nexusflow.models.adapter import adapt
from nexusflow.models.adapter.taps import Tap, as_sets, join, read, recording


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_recording_and_its_end():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    taps = dict(first=Tap('0'), every=Tap('1', call='all'))
    with pytest.raises(RuntimeError, match='stop'), recording(net, taps) as records:
        outputs = [net(torch.ones(4, 2)), net(torch.zeros(4, 2))]
        raise RuntimeError('stop')
    assert hooks(net) == 0
    assert read('t', 'tap', taps['first'], records['first'], 4) is outputs[1]
    for found, expected in zip(
        read('t', 'tap', taps['every'], records['every'], 4), outputs, strict=True
    ):
        assert found is expected


def test_reading_what_does_not_fit():
    net = nn.Identity()
    with recording(net, dict(t=Tap(''))) as records:
        pass
    with pytest.raises(RuntimeError, match='was not called'):
        read('t', 'tap', Tap(''), records['t'], 2)
    with recording(net, dict(t=Tap(''))) as records:
        net(dict(x=torch.zeros(3, 1)))
    with pytest.raises(RuntimeError, match=r'\(3, 1\) for 2 samples'):
        read('t', 'tap', Tap('', output='x'), records['t'], 2)
    with pytest.raises(RuntimeError, match='dict for 2 samples'):
        read('t', 'tap', Tap(''), records['t'], 2)
    with pytest.raises(RuntimeError, match='called with no regions'):
        read('t', 'tap', Tap('', rois='x', output='x'), records['t'], 2)


def test_regions_of_all_calls_are_refused():
    with pytest.raises(
        ValueError, match="tap 'head': regions can be grouped .* 'call' as an index"
    ):
        Tap('head', rois='extractor', call='all')


def test_sets_without_any_region():
    sets = as_sets(torch.zeros(0, 4, 3, 3), torch.zeros(0, dtype=torch.long), 2)
    assert sets['feature'].shape == (2, 1, 4)
    assert sets['padding_mask'].all()


def test_join_pads_sets_and_restores_the_order():
    first = as_sets(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 0]), 1)
    second = as_sets(torch.tensor([[4.0]]), torch.tensor([1]), 2)
    joined = join([first, second], torch.tensor([1, 0, 2]))
    assert joined['feature'][..., 0].tolist() == [[0, 0, 0], [1, 2, 3], [4, 0, 0]]
    assert joined['padding_mask'].sum(dim=1).tolist() == [3, 0, 2]
    levels = join([[torch.tensor([1])], [torch.tensor([2])]], torch.tensor([1, 0]))
    assert levels[0].tolist() == [2, 1]


@pytest.mark.parametrize('labelled', [[('box', 'mask')] * 2, [('box',), ()]])
def test_nothing_stays_behind(labelled, adapted, raw_batch, step):
    model = adapted('mask_rcnn')
    before, seen = hooks(model), []
    handle = model.roi_head.mask_head.convs[0].register_forward_hook(
        lambda _module, _inputs, output: seen.append(weakref.ref(output))
    )
    losses = step(model, raw_batch('mask_rcnn', labelled))
    handle.remove()
    assert hooks(model) == before and len(seen) == len(set(labelled))
    model.parse_losses(losses)[0].backward()
    del losses
    gc.collect()
    assert [ref() for ref in seen] == [None] * len(seen)


def test_an_average_of_weights(adapted, raw_batch, step):
    model = adapted('mask_rcnn')
    average = ExponentialMovingAverage(model, momentum=0.5)
    data = raw_batch('mask_rcnn', [('box',), ('mask',)])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    model.parse_losses(step(model, data))[0].backward()
    optimiser.step()
    average.update_parameters(model)
    optimiser.step()
    average.update_parameters(model)
    twin = average.module
    assert twin.nexusflow is not model.nexusflow
    assert step(twin, data)['loss_align'] != step(model, data)['loss_align']
    assert set(twin.state_dict()) == set(model.state_dict())


def test_errors_of_the_configuration(bare):
    box = dict(tap='roi_head.bbox_head.fc_cls', aggregator=dict(type='vector'))

    def build(regulariser='NexusFlowRegulariser', **tasks):
        tasks = dict(box=box, mask={**box, **tasks})
        return adapt(bare('mask_rcnn'), copy.deepcopy(tasks), dict(type=regulariser))

    with pytest.raises(ValueError, match="task 'mask': MaskRCNN has no 'roi_head.nose'"):
        build(tap='roi_head.nose')
    with pytest.raises(ValueError, match="task 'mask': 'tap' is missing"):
        build(tap=None)
    with pytest.raises(ValueError, match="declare no 'losses'"):
        build(losses=['loss_mask'])
    with pytest.raises(ValueError, match="does not tell its channels; give 'in_channels'"):
        build(tap='roi_head')
    with pytest.raises(ValueError, match="taps \\['x'\\] for 'parts' \\['y'\\]"):
        build(tap=dict(x='neck'), aggregator=dict(type='mixture', parts=dict(y=dict(type='bev'))))
    with pytest.raises(ValueError, match="already has an attribute 'nexusflow'"):
        adapt(build(), dict(box=box))


def test_what_a_regulariser_sees(bare, raw_batch, step):
    class Recorder(nn.Module):
        def forward(self, views, samples):
            self.views, self.samples = views, samples
            return {}

    box = dict(
        tap=dict(
            set=dict(module='roi_head.bbox_head.shared_fcs.1', rois='roi_head.bbox_roi_extractor'),
            map=dict(module='neck', output=1),
        ),
        aggregator=dict(type='mixture', parts=dict(map=dict(type='bev'), set=dict(type='queries'))),
        losses=['loss_*'],
    )
    mask = dict(box, tap=dict(module='neck', output=1), aggregator=dict(type='bev'), losses=['acc'])
    shared = dict(module='neck', output=0)
    regulariser = dict(type='NexusFlowRegulariser', dim=8)
    model = adapt(bare('mask_rcnn'), dict(box=box, mask=mask), regulariser, shared).eval()
    model.nexusflow.regulariser = Recorder()
    data = raw_batch('mask_rcnn', [('mask',), ('box',), ('mask',)])
    step(model, data)
    ((view,), samples) = model.nexusflow.regulariser.views, model.nexusflow.regulariser.samples
    assert [sample.tasks for sample in samples] == [('mask',), ('box',), ('mask',)]
    levels = model.extract_feat(model.data_preprocessor(copy.deepcopy(data), True)['inputs'])
    torch.testing.assert_close(view.shared, levels[0])
    torch.testing.assert_close(view.features['mask']['tap'], levels[1])
    torch.testing.assert_close(view.features['box']['map'], levels[1])
    sets = view.features['box']['set']
    assert sets['feature'].shape[::2] == (3, 32)
    assert not sets['padding_mask'][:, 0].any()
