# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import nexusflow.engine  # noqa: F401


def network():
    return nn.Sequential(nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.Flatten(), nn.Linear(32, 3))


def wrapper(model, custom_keys=None, **optimizer):
    return build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='NexusMuon', **optimizer),
            paramwise_cfg=dict(custom_keys=custom_keys) if custom_keys else None,
        ),
    )


def step(model, optim_wrapper):
    loss = model(torch.ones(4, 16, 3, 3) * torch.arange(1.0, 5).view(4, 1, 1, 1)).square().sum()
    optim_wrapper.update_params(loss)


def test_kernels_go_to_muon_and_the_rest_to_adamw():
    model = network()
    hidden, others = wrapper(model).optimizer.param_groups
    assert hidden['use_muon'] and [id(p) for p in hidden['params']] == [id(model[0].weight)]
    assert not others['use_muon'] and len(others['params']) == 5


def test_update_of_a_kernel_has_the_same_size_in_all_directions():
    """Orthogonalised: the singular values are equal, and their size is AdamW's, 0.2 per entry (Liu et al., 2025)."""
    torch.manual_seed(0)
    model = nn.Linear(64, 32, bias=False)
    before = model.weight.detach().clone()
    optim_wrapper = wrapper(model, lr=1e-2, weight_decay=0.0)
    optim_wrapper.update_params((model(torch.randn(128, 64)) * torch.randn(128, 32)).sum())
    change = torch.linalg.svdvals(before - model.weight.detach()) / 1e-2
    # five Newton-Schulz steps leave singular values within [0.68, 1.13] of one
    scale = 0.2 * 64**0.5
    assert change.min() > 0.6 * scale and change.max() < 1.2 * scale


def test_matrices_are_orthogonalised_in_their_own_precision():
    """The quintic of Newton and Schulz on the singular values of the first update, in double precision."""
    torch.manual_seed(0)
    model = nn.Linear(64, 32, bias=False)
    optim_wrapper = wrapper(model, lr=1e-2, weight_decay=0.0)
    before = model.weight.detach().clone()
    loss = (model(torch.randn(128, 64)) * torch.randn(128, 32)).sum()
    gradient = torch.autograd.grad(loss, model.weight, retain_graph=True)[0].double()
    optim_wrapper.update_params(loss)
    left, values, right = torch.linalg.svd(gradient, full_matrices=False)
    values = values / values.norm()
    for a, b, c in optim_wrapper.optimizer.param_groups[0]['ns_coeffs'] * 5:
        values = a * values + b * values**3 + c * values**5
    expected = 1e-2 * 0.2 * 64**0.5 * (left * values) @ right
    change = (before - model.weight.detach()).double()
    # bfloat16 would be off by 1e-4
    assert (change - expected).abs().max() < 1e-6


def test_rest_moves_as_with_adamw():
    torch.manual_seed(0)
    models = [network() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    settings = dict(lr=1e-2, weight_decay=0.1)
    adamw = build_optim_wrapper(
        models[1], dict(type='OptimWrapper', optimizer=dict(type='AdamW', **settings))
    )
    for model, optim_wrapper in zip(models, (wrapper(models[0], **settings), adamw), strict=True):
        step(model, optim_wrapper)
    for name, value in models[0].state_dict().items():
        same = torch.allclose(value, models[1].state_dict()[name], atol=1e-6)
        assert same != (name == '0.weight'), name


def test_groups_keep_their_own_learning_rate():
    model = network()
    optim_wrapper = wrapper(model, {'3': dict(lr_mult=0.1)}, lr=1e-2)
    rates = {id(p): g['lr'] for g in optim_wrapper.optimizer.param_groups for p in g['params']}
    assert rates[id(model[3].weight)] == pytest.approx(1e-3)
    assert rates[id(model[0].weight)] == pytest.approx(1e-2)


def test_matrices_of_a_group_are_left_to_adamw():
    model = network()
    optim_wrapper = wrapper(model, {'0': dict(use_muon=False)}, lr=1e-2)
    (group,) = optim_wrapper.optimizer.param_groups
    assert not group['use_muon'] and len(group['params']) == len(list(model.parameters()))


@pytest.mark.parametrize('use_muon', [True, False])
def test_a_group_moves_by_its_share_of_the_rate_whatever_the_schedule_sets(use_muon):
    moved = []
    for scale in (1.0, 0.1):
        torch.manual_seed(0)
        model = network()
        before = model[0].weight.detach().clone()
        optim_wrapper = wrapper(model, {'0': dict(use_muon=use_muon, lr_scale=scale)}, lr=1e-2)
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] = 2e-2
        step(model, optim_wrapper)
        assert all(group['lr'] == 2e-2 for group in optim_wrapper.optimizer.param_groups)
        moved.append(model[0].weight.detach() - before)
    assert moved[0].abs().max() > 1e-3
    assert torch.allclose(0.1 * moved[0], moved[1], atol=1e-6)


def test_a_group_that_slept_wakes_as_a_new_one():
    torch.manual_seed(0)
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optim = wrapper(model, {'3': dict(use_muon=False, lr_scale=0.5)}, lr=0.01, weight_decay=0.0)
    model[3].requires_grad_(False)
    for _ in range(20):
        step(model, optim)
    assert torch.equal(model[3].weight, start['3.weight'])
    model[3].requires_grad_(True)
    step(model, optim)
    moved = (model[3].weight - start['3.weight']).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.005), rtol=1e-3, atol=0)


def test_state_survives_a_safe_load(tmp_path):
    torch.manual_seed(0)
    model = network()
    optim_wrapper = wrapper(model)
    step(model, optim_wrapper)
    torch.save(optim_wrapper.state_dict(), tmp_path / 'state.pth')
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    step(model, optim_wrapper)
    other = network()
    other.load_state_dict(weights)
    resumed = wrapper(other)
    resumed.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    step(other, resumed)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
