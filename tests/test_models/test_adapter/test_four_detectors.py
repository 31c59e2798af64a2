# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What must hold for every detector."""

from __future__ import annotations

import copy

import pytest
import torch

from nexusflow.models.adapter import NexusFlowAdapter

# labelled tasks of three samples: partial, and all of them
PARTIAL = {
    'map_track': [('map',), ('track',)],
    'mask_rcnn': [('box',), ('mask',), ()],
    'panoptic_fpn': [('box',), ('mask',), ('semantic',)],
    'fcos3d': [('box',), ('attribute',), ('box', 'attribute')],
}
DETECTORS = sorted(PARTIAL)


def full(name):
    everything = tuple(sorted({task for tasks in PARTIAL[name] for task in tasks}))
    return [everything] * 2


def tensors(value):
    """All tensors in nested samples, lists and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if hasattr(value, 'tensor'):
        return [value.tensor]
    if hasattr(value, 'items'):
        return [t for _, item in sorted(value.items()) for t in tensors(item)]
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors(item)]
    if hasattr(value, '__dataclass_fields__'):
        return tensors(vars(value))
    return []


@pytest.mark.parametrize('name', DETECTORS)
def test_predictions_are_bit_identical(name, bare, adapted, raw_batch, step):
    data = raw_batch(name, PARTIAL[name])
    with torch.no_grad():
        expected = tensors(step(bare(name).eval(), data, 'predict'))
        found = tensors(step(adapted(name).eval(), data, 'predict'))
    assert sum(t.numel() for t in expected) > 100
    # a sample's labels, which are among its fields, know no velocity of some boxes
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize('name', DETECTORS)
def test_full_labels_give_the_bare_losses_and_an_alignment(name, bare, adapted, raw_batch, step):
    data = raw_batch(name, full(name))
    model = adapted(name)
    expected, _ = bare(name).parse_losses(step(bare(name), data))
    losses = step(model, data)
    assert losses['loss_align'] > 0
    found, _ = model.parse_losses({k: v for k, v in losses.items() if k != 'loss_align'})
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', DETECTORS)
def test_checkpoints_go_both_ways(name, bare, adapted):
    plain, model = bare(name, seed=1), adapted(name, seed=2)
    loaded = plain.load_state_dict(model.state_dict(), strict=False)
    assert not loaded.missing_keys
    assert loaded.unexpected_keys
    assert all(key.startswith('nexusflow.regulariser.') for key in loaded.unexpected_keys)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in plain.state_dict().items())
    loaded = model.load_state_dict(bare(name, seed=3).state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.startswith('nexusflow.regulariser.') for key in loaded.missing_keys)


@pytest.mark.parametrize('name', DETECTORS)
def test_twenty_partial_steps_lower_the_loss(name, adapted, raw_batch, step):
    model, data = adapted(name).train(), raw_batch(name, PARTIAL[name])
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(20):
        total, _ = model.parse_losses(step(model, data))
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        totals.append(float(total))
    assert sum(totals[-3:]) < 0.9 * sum(totals[:3]), totals


@pytest.mark.parametrize('name', DETECTORS)
def test_a_copy_is_a_model_of_its_own(name, adapted, raw_batch, step):
    model, data = adapted(name), raw_batch(name, PARTIAL[name])
    twin = copy.deepcopy(model)
    assert isinstance(twin, NexusFlowAdapter) and type(twin) is type(model)
    before = model.parse_losses(step(model, data))[0].detach()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(twin.parse_losses(step(twin, data))[0], before)
    assert not twin.eval().nexusflow.training
