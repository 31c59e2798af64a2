# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from nexusflow.flows import CouplingFlow, NexusFlow, Surrogate, build_nexus_flow

TASKS = {
    'map': dict(type='bev', in_channels=8),
    'track': dict(type='queries', in_channels=4, num_heads=2),
    'scene': dict(type='vector', in_channels=5),
}


def make_features(batch: int = 3) -> dict:
    generator = torch.Generator().manual_seed(1)
    return {
        'map': torch.rand(batch, 8, 12, 6, generator=generator),
        'track': {
            'feature': torch.rand(batch, 7, 4, generator=generator),
            'padding_mask': torch.arange(7).expand(batch, 7) > 4,
        },
        'scene': torch.rand(batch, 5, generator=generator),
    }


def make_nexus(weight: float = 1.0) -> NexusFlow:
    torch.manual_seed(0)
    nexus = build_nexus_flow(TASKS, dim=16, flow=dict(num_layers=3), weight=weight)
    for surrogate in nexus.surrogates.values():
        for layer in surrogate.flow.layers:
            nn.init.normal_(layer.net[-1].weight, std=0.1)
    return nexus


def test_output_names_and_values():
    out = make_nexus()(make_features())
    assert set(out) == {
        'loss_align',
        'align_distance',
        'round_trip_error',
        *(f'z_std_{task}' for task in TASKS),
    }
    assert out['loss_align'].requires_grad and out['loss_align'] > 0
    assert all(value.ndim == 0 for value in out.values())
    assert not any(value.requires_grad for name, value in out.items() if 'loss' not in name)
    assert out['round_trip_error'] < 1e-5


def test_weight_scales_the_objective_only():
    one, two = make_nexus(1.0)(make_features()), make_nexus(2.0)(make_features())
    assert torch.allclose(two['loss_align'], 2 * one['loss_align'])
    assert torch.equal(two['align_distance'], one['align_distance'])


def test_order_of_tasks_does_not_matter():
    nexus, features = make_nexus(), make_features()
    reordered = NexusFlow({task: nexus.surrogates[task] for task in reversed(nexus.tasks)})
    assert torch.allclose(reordered(features)['loss_align'], nexus(features)['loss_align'])


def test_equal_surrogates_of_equal_features_agree_exactly():
    surrogate = Surrogate(nn.Identity(), CouplingFlow(6))
    feature = torch.randn(4, 6)
    out = NexusFlow({'a': surrogate, 'b': surrogate})({'a': feature, 'b': feature})
    assert out['loss_align'] == 0 and out['align_distance'] == 0


def test_alignment_reaches_every_task_and_can_be_learned():
    nexus, features = make_nexus(), make_features()
    features['map'].requires_grad_()
    optimizer = torch.optim.Adam(nexus.parameters(), lr=1e-2)
    start = nexus(features)['loss_align'].item()
    for _ in range(30):
        optimizer.zero_grad()
        nexus(features)['loss_align'].backward()
        optimizer.step()
    assert nexus(features)['loss_align'].item() < 0.1 * start
    assert features['map'].grad.abs().sum() > 0
    without = [n for n, p in nexus.named_parameters() if p.grad is None]
    assert without == []


def test_collapse_shows_in_the_spread():
    nexus, features = make_nexus(), make_features()
    for parameter in nexus.surrogates['scene'].aggregator.parameters():
        nn.init.zeros_(parameter)
    out = nexus(features)
    assert out['z_std_scene'] == 0 and out['z_std_map'] > 0


def test_batch_of_one_has_no_spread():
    out = make_nexus()(make_features(batch=1))
    assert not any(name.startswith('z_std') for name in out)
    assert torch.isfinite(out['loss_align'])


def test_state_dict_round_trip():
    nexus, features = make_nexus(), make_features()
    other = build_nexus_flow(TASKS, dim=16, flow=dict(num_layers=3))
    other.load_state_dict(nexus.state_dict())
    assert torch.equal(other(features)['loss_align'], nexus(features)['loss_align'])


def test_errors_name_the_fault():
    with pytest.raises(ValueError, match='at least two tasks'):
        build_nexus_flow({'map': TASKS['map']})
    with pytest.raises(
        ValueError, match="task 'map': unknown aggregator 'bevv'; choose from .*bev"
    ):
        build_nexus_flow({**TASKS, 'map': dict(type='bevv')})
    with pytest.raises(ValueError, match=r"one length, got \{'a': 4, 'b': 6\}"):
        NexusFlow({'a': Surrogate(nn.Identity(), CouplingFlow(4)),
                   'b': Surrogate(nn.Identity(), CouplingFlow(6))})  # fmt: skip
    features = make_features()
    del features['track']
    with pytest.raises(KeyError, match=r"no feature for task\(s\) \['track'\]"):
        make_nexus()(features)
