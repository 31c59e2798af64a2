# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Statistics of the whole batch: two processes with a share each agree with one process with all rows."""

import pytest
import torch
import torch.multiprocessing as mp
from gloo_group import gloo_group

from nexusflow.flows.gather import gather_rows
from nexusflow.flows.guard import CollapseGuard
from nexusflow.flows.objectives import build_objective

Z = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SHARES = (slice(0, 3), slice(3, 7))
LOSSES = {
    'mmd': build_objective(dict(type='mmd')),
    'unbiased': build_objective(dict(type='mmd', unbiased=True)),
    'sinkhorn': build_objective(dict(type='sinkhorn')),
    'guard': CollapseGuard(std=2.0),
    'pairwise': build_objective(dict(type='pairwise')),
    'center': build_objective(dict(type='center')),
}
BATCH = ('mmd', 'unbiased', 'sinkhorn', 'guard')


def loss_and_gradient(loss, z):
    z = z.clone().requires_grad_()
    value = loss(z)
    (gradient,) = torch.autograd.grad(value, z)
    return value.detach(), gradient


def _enter(rank, folder):
    with gloo_group(rank, folder):
        share = Z[:, SHARES[rank]]
        results = {name: loss_and_gradient(LOSSES[name], share) for name in BATCH}
        results['rows'] = gather_rows(share.transpose(0, 1))
        even = Z[:, [0, 1]] if rank == 0 else Z[:, [2, 3]]
        results['even'] = {name: loss_and_gradient(LOSSES[name], even) for name in LOSSES}
        torch.save(results, folder / f'{rank}.pth')


@pytest.fixture(scope='module')
def shares(tmp_path_factory):
    folder = tmp_path_factory.mktemp('gather')
    mp.start_processes(_enter, (folder,), nprocs=2, start_method='fork')
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


def test_rows_come_in_the_order_of_the_processes(shares):
    for share in shares:
        assert torch.equal(share['rows'].transpose(0, 1), Z)


@pytest.mark.parametrize('name', BATCH)
def test_two_unequal_shares_are_as_the_whole_batch(shares, name):
    value, gradient = loss_and_gradient(LOSSES[name], Z)
    for share, rows in zip(shares, SHARES, strict=True):
        torch.testing.assert_close(share[name][0], value, rtol=1e-9, atol=1e-12)
        # distributed training takes the mean of the processes' gradients
        torch.testing.assert_close(share[name][1] / 2, gradient[:, rows], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize('name', sorted(LOSSES))
def test_two_equal_shares_are_as_the_whole_batch_for_every_objective(shares, name):
    value, gradient = loss_and_gradient(LOSSES[name], Z[:, :4])
    values = torch.stack([share['even'][name][0] for share in shares])
    torch.testing.assert_close(values.mean(), value)
    gradients = torch.cat([share['even'][name][1] for share in shares], dim=1) / 2
    torch.testing.assert_close(gradients, gradient, rtol=1e-7, atol=1e-10)


def test_alone_the_rows_are_untouched():
    assert gather_rows(Z) is Z
