# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partial labels: which losses count, what is hidden, and that processes need not have the same labels."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gloo_group import gloo_group
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nexusflow.models.adapter import adapt
from nexusflow.models.adapter.hiding import hide
from nexusflow.models.adapter.labels import take

REGULARISER = dict(type='NexusFlowRegulariser', dim=8, flow=dict(num_layers=2), weight=0.5)
PLAIN = dict(
    a=dict(tap='trunk_a', aggregator=dict(type='vector'), losses=['loss_a*']),
    b=dict(tap='trunk_b', aggregator=dict(type='vector'), losses=['loss_b']),
)


class Toy(BaseModel):
    """Two heads, losses reduced over the batch, one of them a list; processes meet in each forward pass."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.trunk_a, self.trunk_b = nn.Linear(4, 5), nn.Linear(4, 6)
        self.head_a, self.head_b = nn.Linear(5, 1), nn.Linear(6, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if dist.is_initialized():
            dist.all_reduce(torch.ones(1))
        h = self.encoder(inputs['x']).relu()
        a, b = self.head_a(self.trunk_a(h).relu()), self.head_b(self.trunk_b(h).relu())
        if mode != 'loss':
            return a, b
        y = torch.stack([sample.y for sample in data_samples])
        losses = dict(loss_a=[(a - y).square().mean(), (a + y).square()], loss_b=(b - y).abs())
        return dict(losses, seen=y.new_tensor(float(len(y))))


def toy(tasks=PLAIN, regulariser=REGULARISER):
    torch.manual_seed(0)
    return adapt(Toy(), copy.deepcopy(tasks), copy.deepcopy(regulariser))


def toy_batch(*labelled):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(labelled), 3, generator=generator)
    samples = [BaseDataElement(metainfo=dict(tasks=tasks)) for tasks in labelled]
    for sample in samples:
        sample.y = torch.randn(1, generator=generator)
    return dict(inputs=dict(x=x), data_samples=samples)


def test_each_loss_is_the_mean_over_the_samples_labelled_for_it():
    model, batch = toy(), toy_batch(('a',), ('a', 'b'), (), ('a',))
    losses = model(**batch, mode='loss')
    a, b = Toy.forward(model, batch['inputs'])
    y = torch.stack([sample.y for sample in batch['data_samples']])
    each = ((a - y).square() + (a + y).square())[[0, 1, 3]]
    torch.testing.assert_close(losses['loss_a'], each.mean())
    torch.testing.assert_close(losses['loss_b'], (b - y).abs()[1, 0])
    # a group of 2, one of 1 and one of 1, weighed by their samples
    torch.testing.assert_close(losses['seen'], torch.tensor((2 * 2 + 1 + 1) / 4))


def test_the_alignment_sees_every_sample_in_order():
    labels = [('b',), ('a',), ('a', 'b'), (), ('b',)]
    model = toy()
    mixed = model(**toy_batch(*labels), mode='loss')
    together = model(**toy_batch(*[('a', 'b')] * 5), mode='loss')
    torch.testing.assert_close(mixed['loss_align'], together['loss_align'])
    torch.testing.assert_close(mixed['z_std_a'], together['z_std_a'])


def test_a_loss_of_no_task_is_named():
    model = toy({**PLAIN, 'b': {**PLAIN['b'], 'losses': ['loss_c']}})
    with pytest.raises(KeyError, match="'loss_b' belongs to no task"):
        model(**toy_batch(('a',)), mode='loss')
    model = toy({**PLAIN, 'b': {**PLAIN['b'], 'losses': ['loss_*']}})
    with pytest.raises(KeyError, match="'loss_a' belongs to \\['a', 'b'\\]"):
        model(**toy_batch(('a',)), mode='loss')
    with pytest.raises(KeyError, match="names \\['c'\\], the adapter knows \\['a', 'b'\\]"):
        toy()(**toy_batch(('c',)), mode='loss')


@pytest.mark.parametrize(
    ('labelled', 'without'), [([('box',), ('box',)], 'mask_head'), ([('mask',), ()], 'bbox_head')]
)
def test_an_unlabelled_head_gets_a_gradient_of_zero(labelled, without, adapted, raw_batch, step):
    model = adapted('mask_rcnn', regulariser=None)
    total, _ = model.parse_losses(step(model, raw_batch('mask_rcnn', labelled)))
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if without in name or ('rpn' in name and without == 'bbox_head'):
            assert not parameter.grad.any(), name
    assert model.backbone.conv1.weight.grad.any()


def test_a_batch_without_any_label_trains_the_alignment_alone(adapted, raw_batch, step):
    model = adapted('panoptic_fpn')
    losses = step(model, raw_batch('panoptic_fpn', [(), ()]))
    assert {name for name, value in losses.items() if 'loss' in name and value} == {'loss_align'}
    model.parse_losses(losses)[0].backward()
    assert not model.semantic_head.conv_logits.weight.grad.any()
    assert model.nexusflow.regulariser.nexus.surrogates['box'].aggregator.score.weight.grad.any()


def test_labels_that_a_sample_may_not_show_change_nothing(adapted, raw_batch, step):
    labelled = [('box',), ('mask',), ('semantic',)]
    data = raw_batch('panoptic_fpn', labelled)
    changed, missing = copy.deepcopy(data), copy.deepcopy(data)
    for batch in (changed, missing):
        box, mask, semantic = batch['data_samples']
        box.gt_instances.masks.masks[:] = 1
        mask.gt_sem_seg.sem_seg[:] = 3
        semantic.gt_instances = semantic.gt_instances[:1]
    del missing['data_samples'][0].gt_instances.masks
    del missing['data_samples'][1].gt_sem_seg
    del missing['data_samples'][2].gt_instances
    model = adapted('panoptic_fpn')
    expected = step(model, data)
    for batch in (changed, missing):
        found = step(model, batch)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value), name
    assert changed['data_samples'][0].gt_instances.masks.masks.all(), 'the data were changed'


def test_hide():
    sample = BaseDataElement(metainfo=dict(img_shape=(4, 6), img_id=7))
    sample.gt_instances = InstanceData(bboxes=torch.ones(2, 4), ids=['x', 'y'])
    sample.gt_sem_seg = PixelData(sem_seg=torch.ones(1, 4, 6))
    out = hide(sample, {'gt_instances.bboxes', 'gt_instances.masks', 'gt_sem_seg'})
    assert out.gt_instances.bboxes.tolist() == [[0.0] * 4] * 2
    assert out.gt_instances.masks.masks.shape == (2, 4, 6)
    assert not out.gt_sem_seg.sem_seg.any()
    assert sample.gt_instances.bboxes.all() and 'masks' not in sample.gt_instances
    empty = hide(sample, {'gt_instances'}).gt_instances
    assert len(empty) == 0 and empty.bboxes.shape == (0, 4) and empty.labels.dtype == torch.long
    for field in ('gt_instances.ids', 'gt_instances.depths', 'gt_lidar', 'gt_lidar.points'):
        with pytest.raises(ValueError, match=f"sample 7: '{field}' is to be hidden"):
            hide(sample, {field})


def test_inputs_that_do_not_split_are_named():
    inputs = dict(img=torch.arange(3), points=[4, 5, 6], camera=None)
    taken = take(inputs, [2, 0], 3)
    assert taken['img'].tolist() == [2, 0]
    assert taken['points'] == [6, 4] and taken['camera'] is None
    inputs['voxels'] = dict(coors=torch.zeros(7, 4))
    with pytest.raises(TypeError, match="'inputs.voxels.coors' cannot be split by sample"):
        take(inputs, [0], 3)


def _train(which, labels):
    """Weights after two steps on some of the samples."""
    model = toy()
    wrapped = DistributedDataParallel(model) if dist.is_initialized() else model
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    batch = toy_batch(*labels)
    x, samples = batch['inputs']['x'][which], [batch['data_samples'][i] for i in which]
    for _ in range(2):
        losses = wrapped(dict(x=x), samples, mode='loss')
        optimiser.zero_grad()
        sum(value.sum() for name, value in losses.items() if 'loss' in name).backward()
        optimiser.step()
    return dict(model.state_dict())


def _share(rank, folder, labels):
    with gloo_group(rank, folder):
        torch.save(_train([2 * rank, 2 * rank + 1], labels), folder / f'{rank}.pth')


@pytest.mark.parametrize(
    'labels',
    [[('a',), ('a', 'b'), (), ()], [('a',), (), ('a',), ('a',)]],
    ids=['a process without labels', 'a task without labels'],
)
def test_two_processes_train_as_one(labels, tmp_path):
    mp.start_processes(_share, (tmp_path, labels), nprocs=2, start_method='fork')
    whole = _train([0, 1, 2, 3], labels)
    for rank in range(2):
        share = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for name, value in whole.items():
            torch.testing.assert_close(share[name], value, atol=1e-5, rtol=0, msg=name)


def test_clips_are_refused_by_an_adapter_that_masks_losses():
    batch = toy_batch(('a',), ('b',))
    batch['data_samples'] = [[sample] for sample in batch['data_samples']]
    with pytest.raises(TypeError, match="the samples are clips, of which 'losses' cannot leave"):
        toy().data_preprocessor(batch, training=True)


def test_a_detector_is_unchanged_if_it_cannot_be_adapted():
    model = Toy()
    with pytest.raises(ValueError, match='nothing_such'):
        adapt(model, copy.deepcopy(PLAIN), dict(REGULARISER, objective=dict(type='nothing_such')))
    assert not model.data_preprocessor._forward_pre_hooks and type(model) is Toy
