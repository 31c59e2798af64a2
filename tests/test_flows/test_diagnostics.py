# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import math
import re

import pytest
import torch

from nexusflow.flows import CouplingFlow, relative_distance
from nexusflow.flows.collapse import CollapseTest
from nexusflow.flows.diagnostics import (
    alignment_scalars,
    cosine,
    deviations,
    effective_rank,
    lemma1_scalars,
    linear_cka,
    mean_std,
    spectrum,
)

CROSS = torch.tensor([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]])


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_spectrum_is_that_of_the_covariance():
    torch.testing.assert_close(spectrum(CROSS + 7.0), torch.tensor([8 / 3, 2 / 3, 0.0]))
    rows = noise(9, 4)
    expected = torch.linalg.eigvalsh(torch.cov(rows.T)).flip(0)
    torch.testing.assert_close(spectrum(rows), expected)


def test_effective_rank_by_hand():
    # singular values in the ratio 2 : 1
    entropy = 2 / 3 * math.log(3 / 2) + 1 / 3 * math.log(3)
    assert effective_rank(CROSS).item() == pytest.approx(math.exp(entropy))
    assert effective_rank(CROSS[:2] + 5).item() == pytest.approx(1.0)
    assert effective_rank(torch.ones(5, 3)).item() == 0.0
    equal = torch.cat((torch.eye(6), -torch.eye(6)))
    assert effective_rank(equal).item() == pytest.approx(6.0, rel=1e-5)


def test_cka_sees_through_rotation_scale_and_shift_only():
    x = noise(40, 5)
    rotation = torch.linalg.qr(noise(5, 5, seed=1))[0]
    assert linear_cka(x, 3 * x @ rotation + 2).item() == pytest.approx(1.0, rel=1e-5)
    assert linear_cka(x, noise(40, 2, seed=2)).item() < 0.4
    assert linear_cka(x, torch.ones(40, 3)).item() == 0.0
    # one column each, correlated by r: CKA is r squared
    a, b = torch.tensor([[1.0], [-1], [0], [0]]), torch.tensor([[1.0], [-1], [1], [-1]])
    assert linear_cka(a, b).item() == pytest.approx(0.5)


def test_cosine_and_std_by_hand():
    assert cosine(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])).item() == pytest.approx(0.96)
    assert cosine(torch.tensor([3.0, 4.0]), torch.zeros(2)).item() == 0.0
    assert mean_std(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).item() == pytest.approx(0.5**0.5)


def test_all_scalars_of_two_tasks():
    h, z = noise(12, 6), noise(12, 6, seed=3)
    scalars = alignment_scalars({'map': [(h, z)], 'track': [(h, z + 3.0)]})
    per_task = ('rank_h', 'rank_z', 'std_h', 'std_z', 'top_h', 'top_z')
    assert set(scalars) == {
        'distance',
        'mmd_map_track',
        'cka_map_track',
        *(f'{name}_{task}' for name in per_task for task in ('map', 'track')),
    }
    assert scalars['distance'].item() == pytest.approx(1.5 * 6**0.5, rel=1e-5)
    assert scalars['cka_map_track'].item() == pytest.approx(1.0, rel=1e-5)
    assert scalars['mmd_map_track'] > 0.5
    values = spectrum(h)
    assert scalars['top_h_map'].item() == pytest.approx((values[0] / values.sum()).item())
    assert not any('loss' in name for name in scalars)


def test_lemma1_holds_and_starts_with_equality():
    flows = {task: CouplingFlow(6, num_layers=2) for task in ('map', 'track')}
    rows = {task: noise(7, 6, seed=seed) for seed, task in enumerate(flows)}
    start = lemma1_scalars(flows, rows)
    # identities: ||h1 - h2|| = 1 * ||z1 - z2||
    assert start['lemma_left_map_track'].item() == pytest.approx(
        start['lemma_right_map_track'].item(), rel=1e-6
    )
    assert start['lipschitz_map'].item() == pytest.approx(1.0, rel=1e-5)
    for flow in flows.values():
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    later = lemma1_scalars(flows, rows)
    assert later['lemma_left_map_track'] < later['lemma_right_map_track']


@pytest.mark.parametrize(
    ('rows', 'reason'),
    [
        (noise(16, 8), None),
        (noise(7, 8) * 0, None),
        (noise(16, 8) * 1e-3, 'standard deviation 0.00[0-9]* < 0.01'),
        (torch.ones(16, 8), 'standard deviation 0 < 0.01'),
        (noise(16, 1) * torch.ones(8), 'effective rank 1.00 < 1.5'),
    ],
)
def test_collapse(rows, reason):
    other = [(noise(16, 8), noise(16, 8))]
    found = CollapseTest().collapsed({'map': [(rows, rows)], 'track': other})
    if reason is None:
        assert found == {}
    else:
        assert set(found) == {'map'}
        assert re.fullmatch(f"h': {reason}", found['map'])


def test_values_that_are_not_finite_are_said_and_do_not_raise():
    broken = noise(16, 8)
    broken[3, 2] = torch.nan
    assert CollapseTest().reason([broken]) == 'values that are not finite'
    scalars = alignment_scalars(
        {'map': [(broken, broken)], 'track': [(noise(16, 8), noise(16, 8))]}
    )
    assert scalars['rank_h_map'].isnan() and scalars['rank_h_track'] > 1


@pytest.mark.parametrize('sizes', [(1,), (1, 1)])
def test_too_few_samples_are_refused(sizes):
    passes = [(rows, rows) for rows in noise(sum(sizes), 4).split(sizes)]
    with pytest.raises(ValueError, match="task 'map': two samples in one pass or three passes"):
        alignment_scalars({'map': passes, 'track': passes})


def test_relative_distance_is_free_of_scale_and_of_what_all_samples_share():
    a, b = noise(40, 6), noise(40, 6, seed=1)
    assert relative_distance(torch.stack((a, b))).item() == pytest.approx(1.0, abs=0.1)
    near = torch.stack((a, a + 0.1 * b))
    expected = relative_distance(near)
    assert 0.001 < expected < 0.02
    torch.testing.assert_close(relative_distance(0.01 * near + 3.0), expected, rtol=1e-3, atol=0)
    assert relative_distance(torch.zeros(3, 4, 2)) == 1.0


def test_deviations_have_the_variance_of_the_rows():
    rows = noise(3000, 2) * torch.tensor([1.0, 3.0])
    for size in (1, 2, 5):
        found = deviations(rows.split(size)).square().mean(dim=0)
        torch.testing.assert_close(found, torch.tensor([1.0, 9.0]), rtol=0.1, atol=0)
    assert len(deviations(rows[:4].split(1))) == 3
    assert len(deviations([rows[:1]])) == 0


@pytest.mark.parametrize('size', [1, 4])
def test_a_constant_network_that_still_moves_counts_as_collapsed(size):
    moving = [torch.full((size, 8), 0.01 * step) for step in range(16)]
    assert torch.cat(moving).std() > 0.04
    assert CollapseTest().reason(moving).startswith('standard deviation')
    assert (
        CollapseTest().reason([rows + noise(size, 8, seed=i) for i, rows in enumerate(moving)])
        is None
    )


@pytest.mark.parametrize('drift', [0.1, 0.5])
def test_a_common_drift_of_the_weights_makes_no_likeness(drift):
    """Two tasks that have nothing to do with each other, sixteen passes of four samples."""

    def measured(step):
        generator = torch.Generator().manual_seed(0)
        passes = {
            task: [
                (rows, rows + 0.3 * index + step * k)
                for k in range(16)
                for rows in [0.5 * torch.randn(4, 256, generator=generator)]
            ]
            for index, task in enumerate(('map', 'track'))
        }
        return alignment_scalars(passes)

    still, moved = measured(0.0), measured(drift)
    for name in ('cka_map_track', 'mmd_map_track'):
        assert moved[name].item() == pytest.approx(still[name].item(), rel=1e-3)
    assert still['mmd_map_track'] > 0.01
