# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nexusflow.flows import (
    CenterObjective,
    CollapseGuard,
    CouplingFlow,
    NexusFlow,
    Surrogate,
    build_nexus_flow,
)

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


def make_nexus(weight: float = 1.0, **kwargs) -> NexusFlow:
    torch.manual_seed(0)
    nexus = build_nexus_flow(TASKS, dim=16, flow=dict(num_layers=3), weight=weight, **kwargs)
    for surrogate in nexus.surrogates.values():
        for layer in surrogate.flow.layers:
            nn.init.normal_(layer.net[-1].weight, std=0.1)
    return nexus


def test_output_names_and_values():
    out = make_nexus()(make_features())
    assert set(out) == {
        'loss_align',
        'align_distance',
        'align_relative',
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


def trained(nexus: NexusFlow, batches: list, lr: float = 1e-2) -> dict:
    """The output on the last batch after a step on each."""
    optimizer = torch.optim.Adam(nexus.parameters(), lr=lr)
    for features in batches:
        optimizer.zero_grad()
        out = nexus(features)
        sum(value for key, value in out.items() if 'loss' in key).backward()
        optimizer.step()
    return out


def seen_twice(rows: int, latent: int = 4) -> dict:
    """Two tasks' features of the same samples: fixed linear views of what the samples are."""
    views = torch.Generator().manual_seed(5)
    what = torch.randn(rows, latent)
    return {task: what @ torch.randn(latent, 12, generator=views) for task in ('a', 'b')}


def two_vectors(**kwargs) -> NexusFlow:
    torch.manual_seed(0)
    return build_nexus_flow(dict.fromkeys('ab', dict(type='vector', in_channels=12)), 16, **kwargs)


def test_alignment_reaches_every_task():
    nexus, features = make_nexus(), make_features()
    features['map'].requires_grad_()
    nexus(features)['loss_align'].backward()
    assert features['map'].grad.abs().sum() > 0
    without = [n for n, p in nexus.named_parameters() if p.grad is None]
    assert without == []


def test_what_two_tasks_share_is_aligned_on_new_samples_too():
    nexus = two_vectors(guard=dict(weight=1.0, on='z'))
    start = nexus(seen_twice(32))['align_relative']
    trained(nexus, [seen_twice(16) for _ in range(150)], lr=3e-3)
    out = nexus(seen_twice(32))
    assert start > 0.8 and out['align_relative'] < 0.3
    assert out['z_std_a'] > 0.3


def test_a_loss_that_falls_by_shrinking_is_not_taken_for_alignment():
    """Unrelated features can not be aligned; without a guard on z the flows shrink all the same."""
    losses, relative = {}, {}
    for name, guard in (('none', None), ('z', dict(weight=5.0, on='z', std=1.0))):
        surrogates = {task: Surrogate(nn.Identity(), CouplingFlow(16)) for task in 'ab'}
        nexus = NexusFlow(surrogates, guard=None if guard is None else CollapseGuard(**guard))
        torch.manual_seed(0)
        batches = [{task: torch.randn(32, 16) for task in 'ab'} for _ in range(100)]
        start = nexus(batches[0])['loss_align'].item()
        out = trained(nexus, batches)
        losses[name], relative[name] = out['loss_align'].item() / start, out['align_relative']
    assert losses['none'] < 0.3 < 0.4 < losses['z']
    assert min(relative.values()) > 0.9


def test_collapse_shows_in_the_spread():
    nexus, features = make_nexus(), make_features()
    for parameter in nexus.surrogates['scene'].aggregator.parameters():
        nn.init.zeros_(parameter)
    out = nexus(features)
    assert out['z_std_scene'] == 0 and out['z_std_map'] > 0


def test_batch_of_one_has_no_spread():
    out = make_nexus()(make_features(batch=1))
    assert not any(name.startswith('z_std') for name in out) and 'align_relative' not in out
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


def labelled(*tasks: tuple[str, ...]) -> list:
    return [SimpleNamespace(tasks=names) for names in tasks]


@pytest.mark.parametrize('kind', ['none', 'plain'])
def test_ablations_of_the_flow_have_no_inverse_to_report(kind):
    nexus = build_nexus_flow(TASKS, dim=16, flow=dict(type=kind))
    out = nexus(make_features())
    assert 'round_trip_error' not in out and out['loss_align'] > 0
    out['loss_align'].backward()
    assert all(p.grad is not None for p in nexus.parameters())


def test_without_a_flow_it_is_the_mean_squared_error_of_the_aggregators():
    nexus = build_nexus_flow(TASKS, dim=16, flow=dict(type='none'))
    outputs = [nexus.surrogates[t].aggregator for t in nexus.tasks]
    features = make_features()
    h = torch.stack(
        [
            outputs[0](features['map']),
            outputs[1](**features['track']),
            outputs[2](features['scene']),
        ]
    )
    expected = (h - h.mean(dim=0)).square().sum(dim=0).mean()
    torch.testing.assert_close(nexus(features)['loss_align'], expected)


@pytest.mark.parametrize('kind', ['pairwise', 'mmd', 'sinkhorn'])
def test_other_objectives_reach_every_weight(kind):
    nexus = make_nexus(objective=dict(type=kind))
    nexus(make_features())['loss_align'].backward()
    assert [n for n, p in nexus.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(('on', 'silent'), [('h', True), ('z', False)])
def test_the_guard_has_a_loss_of_its_own_and_teaches_what_it_guards(on, silent):
    nexus = make_nexus(guard=dict(weight=0.3, on=on))
    out = nexus(make_features())
    assert out['loss_guard'] > 0 and out['loss_guard'].requires_grad
    assert torch.equal(out['loss_align'], make_nexus()(make_features())['loss_align'])
    out['loss_guard'].backward()
    for surrogate in nexus.surrogates.values():
        assert all(p.grad is not None for p in surrogate.aggregator.parameters())
        assert all((p.grad is None) == silent for p in surrogate.flow.parameters())


def test_the_guard_prevents_the_collapse_that_the_alignment_alone_brings():
    spreads = {}
    for name, guard in (('without', None), ('with', dict(weight=1.0, covariance=0.0))):
        out = trained(make_nexus(guard=guard), 60 * [make_features(batch=6)])
        spreads[name] = min(out[f'z_std_{task}'].item() for task in TASKS)
    assert spreads['without'] < 0.1 < 0.2 < spreads['with']


def test_a_less_trusted_task_is_read_from_the_labels():
    nexus = make_nexus(objective=dict(type='center', unlabelled=0.25))
    features = make_features()
    samples = labelled(('map',), ('map', 'track', 'scene'), ())
    given = {
        'map': torch.tensor([1.0, 1.0, 0.25]),
        'track': torch.tensor([0.25, 1.0, 0.25]),
        'scene': torch.tensor([0.25, 1.0, 0.25]),
    }
    by_labels = nexus(features, samples)['loss_align']
    torch.testing.assert_close(by_labels, nexus(features, confidence=given)['loss_align'])
    assert by_labels > make_nexus()(features)['loss_align']
    everything = labelled(*[tuple(TASKS)] * 3)
    torch.testing.assert_close(
        nexus(features, everything)['loss_align'], make_nexus()(features)['loss_align']
    )
    with pytest.raises(ValueError, match="'unlabelled' needs the samples"):
        nexus(features)


@pytest.mark.parametrize(
    'labels', [[(), (), ()], [('map',)] * 3, [('map', 'track')] * 3, [(), ('map',), tuple(TASKS)]]
)
@pytest.mark.parametrize('objective', [None, dict(type='center', unlabelled=0.0)])
def test_any_number_of_labels_a_sample_aligns_all_tasks(labels, objective):
    nexus = make_nexus(objective=objective)
    out = nexus(make_features(), labelled(*labels))
    assert out['loss_align'].isfinite() and out['loss_align'] > 0
    out['loss_align'].backward()
    for parameter in nexus.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


def test_copies_follow_slowly_and_are_not_trained():
    nexus, features = make_nexus(objective=dict(type='center', momentum=0.75)), make_features()
    trained = [p for p in nexus.parameters() if p.requires_grad]
    assert len(trained) == len(list(nexus.surrogates.parameters()))
    nexus.followers.module.load_state_dict(nexus.surrogates.state_dict())
    first = nexus(features)['loss_align']
    torch.testing.assert_close(first, make_nexus()(features)['loss_align'])
    first.backward()
    assert all(p.grad is not None for p in trained)
    own, copy = (s.parameters() for s in (nexus.surrogates, nexus.followers.module))
    own, copy = next(own), next(copy)
    start = copy.clone()
    with torch.no_grad():
        own += 1.0
    nexus(features)
    torch.testing.assert_close(copy, start + 0.25)
    nexus.eval()(features)
    torch.testing.assert_close(copy, start + 0.25)


def test_copies_are_saved_and_loaded():
    nexus = make_nexus(objective=dict(type='center', momentum=0.5))
    for parameter in nexus.surrogates.parameters():
        nn.init.normal_(parameter)
    nexus(make_features())
    other = make_nexus(objective=dict(type='center', momentum=0.5))
    other.load_state_dict(nexus.state_dict())
    for a, b in zip(nexus.followers.parameters(), other.followers.parameters(), strict=True):
        assert torch.equal(a, b)


def test_objective_and_guard_compute_in_single_precision_under_autocast():
    settings = dict(objective=dict(type='center', unlabelled=0.5), guard=dict(weight=1.0))
    nexus, features = make_nexus(**settings), make_features()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = nexus(features, labelled(('map',), (), ()))
    assert out['loss_align'].dtype == out['loss_guard'].dtype == torch.float32
    outputs = nexus(features, labelled(('map',), (), ()))
    torch.testing.assert_close(out['loss_align'], outputs['loss_align'], rtol=0.05, atol=0)


def test_features_that_do_not_fit_are_refused_by_name():
    nexus, features = make_nexus(), make_features()
    for task, feature in (
        ('map', torch.rand(3, 8, 12)),
        ('track', torch.rand(3, 4)),
        ('scene', torch.rand(3, 7, 5)),
    ):
        with pytest.raises(
            ValueError, match=rf"task '{task}': the aggregator reads features \(B, "
        ):
            nexus({**features, task: feature})
    with pytest.raises(ValueError, match="same samples, got {'map': 3, 'track': 3, 'scene': 6}"):
        nexus({**features, 'scene': torch.rand(6, 5)})


def test_confidence_is_checked():
    features, given = make_features(), {task: torch.ones(3) for task in TASKS}
    with pytest.raises(ValueError, match="'confidence': PairwiseObjective does not use it"):
        make_nexus(objective=dict(type='pairwise'))(features, confidence=given)
    for wrong in (torch.ones(1), torch.ones(3, 1), -torch.ones(3), None):
        with pytest.raises(ValueError, match=r"task 'track' needs \(3,\) values that are not neg"):
            make_nexus()(features, confidence={**given, 'track': wrong})


def test_names_that_no_module_can_have_are_refused():
    for name in ('type', 'keys', 'training', 'a.b', ''):
        with pytest.raises(ValueError, match=f"'surrogates': a module cannot be called '{name}'"):
            build_nexus_flow({'map': TASKS['map'], name: TASKS['scene']})
    with pytest.raises(ValueError, match="'weight' must not be negative"):
        make_nexus(weight=-1.0)


def test_tasks_may_share_a_surrogate_that_a_copy_follows():
    shared = Surrogate(nn.Identity(), CouplingFlow(6))
    nexus = NexusFlow({'a': shared, 'b': shared}, objective=CenterObjective(momentum=0.9))
    feature = torch.randn(4, 6)
    assert nexus({'a': feature, 'b': feature})['loss_align'] == 0
