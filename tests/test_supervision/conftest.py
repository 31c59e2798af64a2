# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A small batch with every kind of dense task, in float64."""

import pytest
import torch

from nexusflow.supervision.view import DenseView, View

TASKS = dict(
    seg=dict(kind='classes', channels=3),
    depth=dict(kind='depth', channels=1),
    normals=dict(kind='normals', channels=3),
    edges=dict(kind='masks', channels=2),
)
SIZE = (8, 6)


def make_values(kind, shape):
    """Labels that are valid everywhere."""
    raw = torch.randn(shape, dtype=torch.float64)
    if kind == 'classes':
        index = raw.argmax(dim=1, keepdim=True)
        return torch.zeros_like(raw).scatter(1, index, 1.0)
    if kind == 'depth':
        return raw.abs() + 0.5
    return raw / raw.norm(dim=1, keepdim=True) if kind == 'normals' else raw.sigmoid()


def make_view(labels, seed=0):
    """A view of samples whose row of ``labels`` has a 0 or 1 for each task; predictions want gradients."""
    torch.manual_seed(seed)
    labelled = torch.tensor(labels, dtype=torch.bool)
    dense = {}
    for k, (name, task) in enumerate(TASKS.items()):
        kind, shape = task['kind'], (len(labels), task['channels'], *SIZE)
        logits = torch.randn(shape, dtype=torch.float64)
        prediction = make_values(kind, shape) if kind in ('depth', 'normals') else logits
        valid = torch.rand(len(labels), 1, *SIZE) > 0.25
        valid = valid & labelled[:, k, None, None, None]
        target = make_values(kind, shape) * valid
        dense[name] = DenseView(kind, prediction.requires_grad_(), target, valid, labelled[:, k])
    shared = torch.randn(len(labels), 4, 4, 3, dtype=torch.float64)
    return View({}, shared=shared.requires_grad_(), dense=dense)


@pytest.fixture
def dense_tasks():
    """Configuration of four tasks, one of each kind."""
    return TASKS


@pytest.fixture
def dense_view():
    """Function (rows of labels, seed) -> view with dense views of the four tasks and a shared feature."""
    return make_view


@pytest.fixture
def fixed_draw(monkeypatch):
    """Classes are not drawn: the largest logit wins, without gradient to the others' noise."""
    monkeypatch.setattr(torch.Tensor, 'exponential_', lambda tensor: tensor.fill_(1.0))
