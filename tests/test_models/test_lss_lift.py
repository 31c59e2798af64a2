# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pushing image features into the BEV: a pixel with a known depth has one place."""

import numpy as np
import pytest
import torch
from torch import nn

from nexusflow.models.bev.lss_lift import NexusLSSLift
from nexusflow.testing import make_rig

IMAGE_HW = (64, 96)
FEAT_HW = (8, 12)
GRID = dict(range_m=(-24.0, -24.0, 24.0, 24.0), cell_m=2.0)
CHANNELS = 3
SURE = 60.0


@pytest.fixture
def lift():
    """A lift that takes its depth logits and features from the input, and does not smooth."""
    lift = NexusLSSLift(1, CHANNELS, GRID, depth_m=(2.0, 22.0, 2.5))
    lift.depth_and_feature, lift.smooth = nn.Identity(), nn.Identity()
    return lift


def run_lift(lift, feats, lidar2img):
    """BEV (B, CHANNELS, H, W)."""
    lidar2img = torch.as_tensor(lidar2img, dtype=torch.float32)
    return lift(feats, lidar2img, torch.linalg.inv(lidar2img.double()), IMAGE_HW)[:, :CHANNELS]


def place_of(lidar2img, row, col, depth):
    """Lidar-frame point of the middle of a feature pixel at a depth, in float64."""
    u, v = (col + 0.5) * IMAGE_HW[1] / FEAT_HW[1], (row + 0.5) * IMAGE_HW[0] / FEAT_HW[0]
    return np.linalg.inv(lidar2img) @ np.array([u * depth, v * depth, depth, 1.0])


def blank(lift, batch=1):
    return torch.zeros(batch, 6, len(lift.depths) + CHANNELS, *FEAT_HW)


@pytest.mark.parametrize(
    ('camera', 'row', 'col', 'depth_bin'), [(0, 5, 3, 4), (2, 5, 10, 2), (3, 5, 6, 3), (5, 6, 0, 0)]
)
def test_a_pixel_of_known_depth_falls_into_its_cell(lift, camera, row, col, depth_bin):
    rig = make_rig(IMAGE_HW)
    feats = blank(lift)
    feats[0, camera, depth_bin, row, col] = SURE
    feature = torch.tensor([1.0, -2.0, 3.0])
    feats[0, camera, -CHANNELS:, row, col] = feature
    bev = run_lift(lift, feats, rig[None])
    x, y, z, _ = place_of(rig[camera], row, col, float(lift.depths[depth_bin]))
    assert -3 <= z < 3
    expected = torch.zeros(CHANNELS, 24, 24)
    expected[:, int((y + 24) // 2), int((x + 24) // 2)] = feature
    torch.testing.assert_close(bev[0], expected, atol=1e-5, rtol=0)


def test_an_unsure_pixel_spreads_over_its_depths(lift):
    rig = make_rig(IMAGE_HW)
    feats = blank(lift)
    feats[0, 0, -CHANNELS, 5, 3] = 1
    bev = run_lift(lift, feats, rig[None])[0, 0]
    expected = torch.zeros(24, 24)
    for depth in lift.depths.tolist():
        x, y, z, _ = place_of(rig[0], 5, 3, depth)
        if -3 <= z < 3:
            expected[int((y + 24) // 2), int((x + 24) // 2)] += 1 / len(lift.depths)
    torch.testing.assert_close(bev, expected)
    assert (expected > 0).sum() > 1


def test_points_above_the_height_range_are_dropped(lift):
    rig = make_rig(IMAGE_HW)
    feats = blank(lift)
    feats[0, 0, -1, 0, 6] = SURE
    feats[0, 0, -CHANNELS - 1, 0, 6] = SURE
    assert place_of(rig[0], 0, 6, float(lift.depths[-1]))[2] > 3
    assert run_lift(lift, feats, rig[None]).abs().max() < 1e-5


def test_samples_do_not_mix(lift):
    rig = make_rig(IMAGE_HW)
    rigs = np.stack([rig, rig[[3, 1, 2, 0, 4, 5]]])
    feats = torch.randn(2, 6, len(lift.depths) + CHANNELS, *FEAT_HW)
    both = run_lift(lift, feats, rigs)
    for b in range(2):
        alone = run_lift(lift, feats[b : b + 1], rigs[b : b + 1])
        torch.testing.assert_close(both[b], alone[0], atol=1e-5, rtol=1e-5)


def test_output_has_the_shape_of_the_grid_and_reaches_the_features():
    lift, rig = NexusLSSLift(4, 12, GRID), make_rig(IMAGE_HW)[None]
    feats = torch.randn(1, 6, 4, *FEAT_HW, requires_grad=True)
    out = lift(feats, torch.tensor(rig), torch.tensor(np.linalg.inv(rig)), IMAGE_HW)
    out.square().sum().backward()
    assert out.shape == (1, 12, 24, 24)
    assert (feats.grad.flatten(2).abs().sum(-1) > 0).all()
