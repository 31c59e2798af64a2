# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn import functional as F

from nexusflow.engine.task_gradients import sum_by_task, task_gradients, without_trace


class Noisy(BaseModel):
    """Draws random numbers, counts batches, and has losses whose gradients are known."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(2, 1, bias=False)
        self.norm = nn.BatchNorm1d(1)
        self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x, mode='loss'):
        out = self.shared(torch.stack(x))
        self.norm(F.dropout(out, 0.5))
        self.frozen += 1
        return dict(
            loss_map_a=out.sum(),
            loss_map_b=[out.sum(), out.sum()],
            loss_track_a=-out[0].sum(),
            loss_scene_a=torch.zeros(()),
            note_of_nothing=out.sum().detach(),
        )


def test_gradients_by_hand_and_nothing_is_left_behind():
    torch.manual_seed(0)
    model = Noisy()
    model.shared.weight.grad = torch.full((1, 2), 9.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    wrapper = OptimWrapper(torch.optim.SGD([model.shared.weight], 1.0))
    batch = dict(x=[torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])])
    found = task_gradients(model, batch, [model.shared.weight], wrapper)
    assert {task: gradient.tolist() for task, gradient in found.items()} == {
        'map': [12.0, 21.0],
        'track': [-1.0, -2.0],
        'scene': [0.0, 0.0],
    }
    assert model.shared.weight.grad.tolist() == [[9.0, 9.0]]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert not any(gradient.requires_grad for gradient in found.values())


def test_the_trace_is_removed_also_after_an_error():
    model = Noisy()
    with pytest.raises(KeyError), without_trace(model):
        model([torch.zeros(2), torch.ones(2)])
        raise KeyError
    assert model.norm.num_batches_tracked == 0 and model.frozen == 0


def test_losses_of_other_names_belong_to_tasks_by_patterns():
    one = torch.ones(())
    losses = {
        'loss_rpn_cls': [one, one],
        'loss_cls': one,
        'd0.loss_cls': one,
        'loss_mask': torch.tensor([1.0, 3.0]),
        'acc': one,
        'loss_align': one,
    }
    patterns = dict(box=['loss_cls', 'loss_rpn_*', 'd?.loss_cls'])
    sums = {task: value.item() for task, value in sum_by_task(losses, patterns).items()}
    assert sums == {'box': 4.0, 'mask': 2.0, 'align': 1.0}
    assert set(sum_by_task(losses)) == {'rpn', 'cls', 'mask', 'align'}
