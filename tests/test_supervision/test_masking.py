# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gloo_group import gloo_group
from torch import nn

from nexusflow.supervision import graph_zero, label_mask, masked_mean


def test_label_mask():
    tasks = [('map',), ('track',), (), ('map', 'track')]
    assert label_mask(tasks, 'map').tolist() == [True, False, False, True]
    assert label_mask(tasks, 'depth').tolist() == [False] * 4


def test_mean_over_labelled_samples_by_hand():
    loss = torch.tensor([[1.0, 3.0], [100.0, 100.0], [4.0, 8.0]])
    assert masked_mean(loss, torch.tensor([True, False, True])).item() == 4.0


@pytest.mark.parametrize('mask', [[False, False, False], [True, False, True], [True, True, True]])
def test_unlabelled_samples_get_exactly_no_gradient(mask):
    loss = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mask = torch.tensor(mask)
    masked_mean(loss, mask).backward()
    assert torch.equal(loss.grad, mask / mask.sum().clamp(min=1))


def test_no_label_keeps_the_graph_of_the_head():
    head = nn.Linear(3, 1)
    value = masked_mean(head(torch.randn(4, 3)), torch.zeros(4, dtype=torch.bool))
    assert value.item() == 0.0 and value.requires_grad
    value.backward()
    assert torch.equal(head.weight.grad, torch.zeros(1, 3))
    assert torch.equal(head.bias.grad, torch.zeros(1))


def test_values_that_are_not_finite_do_not_spread():
    loss = torch.tensor([float('nan'), 2.0, float('inf')], requires_grad=True)
    value = masked_mean(loss, torch.tensor([False, True, False]))
    value.backward()
    assert value.item() == 2.0 and loss.grad.tolist() == [0.0, 1.0, 0.0]


def test_graph_zero():
    a = torch.tensor([float('inf'), 1.0], requires_grad=True)
    b = torch.randn(2, 3, requires_grad=True)
    zero = graph_zero(a, b)
    zero.backward()
    assert zero.item() == 0.0 and zero.ndim == 0
    assert torch.equal(a.grad, torch.zeros(2)) and torch.equal(b.grad, torch.zeros(2, 3))


def head_gradient(rows: slice) -> torch.Tensor:
    """Gradient of a head on some rows of a fixed batch, in which only the last row is labelled."""
    torch.manual_seed(0)
    head, batch = nn.Linear(3, 1), torch.randn(4, 3)
    mask = torch.tensor([False, False, False, True])
    model = head
    if dist.is_initialized():
        model = nn.parallel.DistributedDataParallel(head)
    masked_mean(model(batch[rows]).square(), mask[rows]).backward()
    return head.weight.grad


def run_process(rank, folder):
    with gloo_group(rank, folder):
        torch.save(head_gradient(slice(2 * rank, 2 * rank + 2)), folder / f'{rank}.pth')


def test_two_processes_equal_one_also_when_one_has_no_label(tmp_path):
    mp.start_processes(run_process, (tmp_path,), nprocs=2, start_method='fork')
    whole = head_gradient(slice(4))
    assert whole.abs().sum() > 0
    for rank in range(2):
        gradient = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        assert torch.allclose(gradient, whole, atol=1e-7)
