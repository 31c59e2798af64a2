# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""JTR against the published formula, worked out sample by sample on an autoencoder without surroundings."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from nexusflow.supervision.jtr import JTR
from nexusflow.supervision.view import DenseView, View

NONE, ALL = (0, 0, 0, 0), (1, 1, 1, 1)
MIXED = [(1, 0, 0, 0), (0, 1, 0, 1), NONE, ALL, (0, 0, 1, 0)]
CHANNELS = dict(seg=slice(0, 3), depth=slice(3, 4), normals=slice(4, 7), edges=slice(7, 9))


class PixelEncoder(nn.Module):
    """Each pixel by itself to five channels."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 1)

    def forward(self, x):
        return self.conv(x), []


class PixelDecoder(nn.Module):
    """And back."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(5, channels, 1)

    def forward(self, x, pools):
        return self.conv(x)


def pixelwise(tasks, **kwargs):
    torch.manual_seed(3)
    made = JTR(tasks, widths=(4,), depths=(1,), **kwargs)
    channels = sum(task['channels'] for task in tasks.values())
    made.encoder, made.decoder = PixelEncoder(channels), PixelDecoder(channels)
    return made.double()


def linear(conv, x):
    weight = conv.weight.detach().numpy()[:, :, 0, 0]
    return np.einsum('oc,chw->ohw', weight, x) + conv.bias.detach().numpy()[:, None, None]


def cosine_distance(a, b):
    """One minus the cosine over channels of (C, H, W), mean over pixels."""
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return float(np.mean(1 - (a * b).sum(0) / norms))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def enter(kind, x):
    if kind == 'depth':
        return norm.cdf(x, 2.3618, 1.5876)
    return (x + 1) / 2 if kind == 'normals' else x


def predicted(kind, x, soft):
    if kind == 'classes':
        exp = np.exp(x - x.max(0))
        return exp / exp.sum(0) if soft else (x == x.max(0)).astype(float)
    return sigmoid(x) if kind == 'masks' else x


def sample_maps(view, b, soft):
    """Y, Y_hat and the mask of a sample; ``soft``: as in view 2."""
    dense = list(view.dense.values())
    mask = np.ones(dense[0].valid[b].shape)
    for own in dense:
        if own.labelled[b]:
            mask = mask * own.valid[b].numpy()
    joint, guess = [], []
    for own in dense:
        x, on = own.prediction.detach()[b].numpy(), bool(own.labelled[b])
        hard = enter(own.kind, predicted(own.kind, x, False) * mask)
        joint.append(enter(own.kind, own.target[b].numpy()) if on else hard)
        guess.append(enter(own.kind, predicted(own.kind, x, soft and on) * mask))
    return np.concatenate(joint), np.concatenate(guess), mask


def recon(view, b, output, of_labels):
    """Reconstruction error of each pixel of a sample, (1, H, W)."""
    total = 0.0
    for name, own in view.dense.items():
        x, out = own.prediction.detach()[b].numpy(), output[CHANNELS[name]]
        aim = predicted(own.kind, x, False)
        if of_labels and own.labelled[b]:
            aim = own.target[b].numpy()
        if own.kind == 'depth':
            total = total + np.abs(sigmoid(out) - norm.cdf(aim, 2.3618, 1.5876))
        elif own.kind == 'normals':
            total = total + 1 - (out / np.linalg.norm(out, axis=0) * aim).sum(0, keepdims=True)
        else:
            p = sigmoid(out)
            error = -aim * np.log(p) - (1 - aim) * np.log(1 - p)
            total = total + error.sum(0, keepdims=True)
    return total


def reference(made, first, second):
    """L_Dist and L_Recon of a batch by the published formula, sample by sample, without their weights."""
    encode, decode = made.encoder.conv, made.decoder.conv
    batch = len(second.dense['seg'].labelled)
    distance = reconstruction = 0.0
    for b in range(batch):
        y, guess, _ = sample_maps(first, b, soft=False)
        distance += cosine_distance(linear(encode, y), linear(encode, guess))
        y, guess, mask = sample_maps(second, b, soft=True)
        latent, guessed = linear(encode, y), linear(encode, guess)
        distance += 2.0 * cosine_distance(latent, guessed)
        error = recon(second, b, linear(decode, latent), True)
        error = error + recon(second, b, linear(decode, guessed), False)
        reconstruction += (error * mask).sum() / mask.sum()
    return distance / batch, reconstruction / batch


def gradient(view, task):
    """(B, numbers) gradients of the predictions of a task; 0 if none came."""
    prediction = view.dense[task].prediction
    grad = torch.zeros_like(prediction) if prediction.grad is None else prediction.grad
    return grad.flatten(1)


@pytest.fixture
def make(dense_tasks):
    """Function (arguments of JTR) -> a small one."""

    def build(**kwargs):
        torch.manual_seed(5)
        return JTR(dense_tasks, widths=(4, 4), depths=(1, 1), **kwargs).double()

    return build


def total(found):
    return found['loss_jtr_distance'] + found['loss_jtr_recon']


def test_formula_in_float64(dense_tasks, dense_view, fixed_draw):
    made = pixelwise(dense_tasks)
    views = [dense_view(MIXED, seed=k) for k in range(3)]
    found = made(views)
    distance, reconstruction = reference(made, views[1], views[2])
    assert found['loss_jtr_distance'].item() == pytest.approx(4.0 * distance, rel=1e-10)
    assert found['loss_jtr_recon'].item() == pytest.approx(2.0 * reconstruction, rel=1e-10)


def test_one_pixel_by_hand():
    """g is the identity, so every number can be followed on paper."""
    tasks = dict(depth=dict(kind='depth', channels=1), edge=dict(kind='masks', channels=1))
    made = JTR(tasks, widths=(1,), depths=(1,), depth_mean=2.0, depth_std=1.0).double()
    made.encoder.forward = lambda x: (x, [])
    made.decoder.forward = lambda x, pools: x
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    yes, no, valid = torch.tensor([True]), torch.tensor([False]), one.bool()
    # depth is labelled 2 m and predicted far away; an edge is predicted with probability 0.5
    dense = dict(
        depth=DenseView('depth', 1e3 * one, 2 * one, valid, yes),
        edge=DenseView('masks', 0 * one, 0 * one, ~valid, no),
    )
    found = made([View({}, dense=dense)])
    # Y = (0.5, 0.5), Y_hat = (1, 0.5)
    distance = 1 - 0.75 / (math.sqrt(0.5) * math.sqrt(1.25))
    assert found['jtr_distance'].item() == pytest.approx(distance)
    assert found['loss_jtr_distance'].item() == pytest.approx(4 * (distance + 2 * distance))
    depth = (sigmoid(0.5) - 0.5) + (1 - sigmoid(1.0))
    edge = 2 * -(0.5 * math.log(sigmoid(0.5)) + 0.5 * math.log(1 - sigmoid(0.5)))
    assert found['loss_jtr_recon'].item() == pytest.approx(2 * (depth + edge))


def test_view_1_teaches_the_model_and_view_2_the_autoencoder(dense_tasks, dense_view, make):
    made, labels = make(), MIXED
    first, second = dense_view(labels, seed=1), dense_view(labels, seed=2)
    total(made([first, second])).backward()
    for k, task in enumerate(dense_tasks):
        taught = [any(row) and not row[k] for row in labels]
        assert (gradient(first, task).abs().amax(1) > 0).tolist() == taught
        assert not gradient(second, task).any()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


def test_distance_of_view_1_leaves_the_autoencoder_alone(dense_view, make):
    made = make()
    made.model_distance(list(dense_view(MIXED).dense.values())).sum().backward()
    assert all(p.grad is None for p in made.parameters())


def test_masked_pixels_play_no_part(dense_tasks, dense_view, fixed_draw):
    made, view = pixelwise(dense_tasks), dense_view([(0, 1, 0, 0), (1, 1, 0, 0)])
    total(made([view])).backward()
    valid = view.dense['depth'].valid.clone()
    valid[1] &= view.dense['seg'].valid[1]
    grad = view.dense['normals'].prediction.grad
    assert not grad[(~valid).expand_as(grad)].any()
    assert grad.any()


def test_a_sample_without_labels_or_without_valid_pixels_stays_finite(dense_view, make):
    made = make()
    view = dense_view([NONE, (1, 0, 0, 0)])
    view.dense['seg'].valid.zero_()
    view.dense['seg'].target.zero_()
    found = made([view])
    total(found).backward()
    assert all(value.isfinite() for value in found.values())
    assert all(gradient(view, task).isfinite().all() for task in view.dense)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    assert not any(gradient(view, task)[0].any() for task in view.dense)


@pytest.mark.parametrize('labels', [[NONE, NONE], [ALL, ALL]])
def test_nothing_to_teach_gives_zero_gradients(dense_view, make, labels):
    made, view = make(), dense_view(labels)
    total(made([view])).backward()
    assert all(not gradient(view, task).any() for task in view.dense)
    assert all(p.grad is not None for p in made.parameters())


def test_unlabelled_classes_are_one_draw_in_both_stacks(dense_tasks):
    tasks = {name: dense_tasks[name] for name in ('seg', 'edges')}
    torch.manual_seed(0)
    on, off = torch.tensor([True]), torch.tensor([False])
    masks = torch.rand(1, 2, 8, 6)
    valid = torch.ones(1, 1, 8, 6, dtype=torch.bool)
    dense = dict(
        seg=DenseView('classes', torch.zeros(1, 3, 8, 6), torch.zeros(1, 3, 8, 6), ~valid, off),
        edges=DenseView('masks', masks.logit(), masks, valid, on),
    )
    # the labelled task is predicted to perfection: the stacks are the same
    found = JTR(tasks, widths=(4,))([View({}, dense=dense)])
    assert found['loss_jtr_distance'].item() == pytest.approx(0.0, abs=1e-5)


def test_the_autoencoder_learns_to_give_the_maps_back(dense_view, make, fixed_draw):
    made, view = make(), dense_view(MIXED)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    values = []
    for _ in range(30):
        found = made([view])
        optimizer.zero_grad()
        total(found).backward()
        optimizer.step()
        values.append(found['loss_jtr_recon'].item())
    assert values[-1] < 0.9 * values[0]
