# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The published losses, against a reference of loops in float64."""

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.models.dense.targets import stack_targets
from nexusflow.testing import DENSE_TASKS, make_dense_batch

SIZE = (32, 32)
HEADS = dict(
    segmentation=dict(type='NexusSegmentationHead', channels=13),
    depth=dict(type='NexusDepthHead', channels=1),
    normal=dict(type='NexusNormalHead', channels=3),
)
PARTIAL = [('segmentation', 'normal'), ('depth',), (), ('normal',), ('segmentation', 'depth')]


@pytest.fixture
def model():
    torch.manual_seed(0)
    trunk = dict(type='NexusSegNet', widths=(8, 12), convs=(1, 2))
    return MODELS.build(dict(type='NexusDenseDetector', trunk=trunk, heads=HEADS)).double()


def batch(model, tasks, change=None):
    data = make_dense_batch(len(tasks), SIZE, tasks)
    for sample in data['data_samples']:
        for task in ('depth', 'normal'):
            field = sample.get(f'gt_{task}')
            field.data = field.data.double()
        if change is not None:
            change(sample)
    data = model.data_preprocessor(data)
    data['inputs']['img'] = data['inputs']['img'].double()
    return data


def nll(prediction, label):
    """Of one image: (13, H, W) logits, (1, H, W) classes."""
    total, count = 0.0, 0
    for logits, true in zip(prediction.reshape(13, -1).T, label.reshape(-1), strict=True):
        if true != -1:
            total += np.log(np.exp(logits).sum()) - logits[true]
            count += 1
    return total / count if count else 0.0


def l1(prediction, label):
    valid = label != 0
    return np.abs(prediction - label)[valid].sum() / valid.sum() if valid.any() else 0.0


def cosine(prediction, label):
    valid = (label**2).sum(0) > 0
    product = (prediction * label).sum(0)
    return 1 - product[valid].sum() / valid.sum() if valid.any() else 0.0


REFERENCE = dict(segmentation=(nll, 'sem_seg'), depth=(l1, 'depth'), normal=(cosine, 'normal'))


def expected(predictions, samples):
    """Per sample, of labelled tasks only, divided by the batch size."""
    totals = dict.fromkeys(REFERENCE, 0.0)
    for row, sample in enumerate(samples):
        for task in sample.tasks:
            loss, field = REFERENCE[task]
            truth = sample.get(f'gt_{field}').data.numpy()
            totals[task] += loss(predictions[task][row].detach().numpy(), truth)
    return {task: total / len(samples) for task, total in totals.items()}


@pytest.fixture(autouse=True)
def _keep_double(monkeypatch):
    """Heads predict in single precision; here the reference asks for double."""
    monkeypatch.setattr(torch.Tensor, 'float', lambda self: self)


@pytest.fixture
def _double_labels(monkeypatch):
    from nexusflow.models.dense.heads import NexusDepthHead, NexusNormalHead

    for head in (NexusDepthHead, NexusNormalHead):
        monkeypatch.setattr(head, 'label_dtype', torch.float64)


def measured(model, data):
    losses = model(**data, mode='loss')
    assert set(losses) == {'loss_segmentation_nll', 'loss_depth_l1', 'loss_normal_cosine'}
    return {name.split('_')[1]: value for name, value in losses.items()}


@pytest.mark.usefixtures('_double_labels')
@pytest.mark.parametrize('tasks', [PARTIAL, [DENSE_TASKS] * 3])
def test_losses_are_those_of_the_reference(model, tasks):
    data = batch(model, tasks)
    want = expected(model(**data), data['data_samples'])
    for task, value in measured(model, data).items():
        assert value.item() == pytest.approx(want[task], rel=1e-12)


@pytest.mark.usefixtures('_double_labels')
def test_a_sample_without_valid_pixels_counts_zero_and_gives_no_nan(model):
    def empty(sample):
        if sample.token == '1':
            sample.gt_depth.data.zero_()
            sample.gt_normal.data.zero_()
            sample.gt_sem_seg.data.fill_(-1)

    data = batch(model, [DENSE_TASKS] * 2, empty)
    want = expected(model(**data), data['data_samples'])
    losses = measured(model, data)
    for task, value in losses.items():
        assert value.item() == pytest.approx(want[task], rel=1e-12)
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_nothing_valid_at_all_gives_zero_with_a_graph(model):
    def empty(sample):
        sample.gt_depth.data.zero_()
        sample.gt_normal.data.zero_()
        sample.gt_sem_seg.data.fill_(-1)

    losses = measured(model, batch(model, [DENSE_TASKS] * 2, empty))
    assert {value.item() for value in losses.values()} == {0.0}
    sum(losses.values()).backward()
    assert all((p.grad == 0).all() for p in model.parameters())


def test_a_predicted_zero_vector_has_a_finite_loss_and_gradient(model):
    head = model.heads['normal']
    torch.nn.init.zeros_(head.output.weight)
    data = batch(model, [('normal',)] * 2)
    losses = measured(model, data)
    assert losses['normal'].item() == pytest.approx(1.0)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_normals_whose_components_sum_to_zero_are_valid(model):
    """The published mask drops them."""
    head = model.heads['normal']
    vector = torch.tensor([1.0, -1.0, 0.0])[None, :, None, None] / 2**0.5
    assert head.valid(vector).all()
    assert not head.valid(torch.zeros(1, 3, 1, 1)).any()


def test_labels_that_may_not_be_used_are_not_stacked(model):
    samples = batch(model, [('depth',), ('normal',)])['data_samples']
    targets = stack_targets(model.heads, samples, torch.zeros(2, 3, *SIZE))
    assert (targets['segmentation'] == -1).all()
    assert (targets['depth'][1] == 0).all() and (targets['depth'][0] != 0).any()
    assert (targets['normal'][0] == 0).all() and (targets['normal'][1] != 0).any()


def test_labels_are_put_together_on_the_device_of_the_images(model):
    """Where the preprocessor has moved the labels that there are, which it can not with those that are missing."""
    samples = batch(model, [('depth', 'segmentation'), ('normal',)])['data_samples']
    moved = [sample.to('meta') for sample in samples]
    for given in (samples, moved):
        targets = stack_targets(model.heads, given, torch.zeros(2, 3, *SIZE, device='meta'))
        assert {target.device.type for target in targets.values()} == {'meta'}


def test_missing_or_wrong_labels_are_named(model):
    data = batch(model, [('segmentation',)] * 2)
    del data['data_samples'][1].gt_sem_seg
    with pytest.raises(KeyError, match="'1' is labelled for task 'segmentation'.*gt_sem_seg"):
        model(**data, mode='loss')
    data = batch(model, [('depth',)] * 2)
    data['inputs']['img'] = data['inputs']['img'][..., :16]
    with pytest.raises(ValueError, match="'0': 'gt_depth' has shape.*task 'depth'"):
        model(**data, mode='loss')
