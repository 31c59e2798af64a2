# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Warping a BEV by the ego's motion is exact where cells fall onto cells."""

import math

import pytest
import torch

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.bev.temporal import NexusTemporalFusion, warp_bev

GRID = dict(range_m=(-8.0, -8.0, 8.0, 8.0), cell_m=2.0)


@pytest.fixture
def grid():
    return BEVGrid(**GRID)


@pytest.fixture
def bev():
    return torch.randn(1, 3, 8, 8)


def motion(x=0.0, y=0.0, turn_deg=0.0):
    """(1, 4, 4) planar rigid matrix."""
    angle = math.radians(turn_deg)
    matrix = torch.eye(4)
    matrix[0, :2] = torch.tensor([math.cos(angle), -math.sin(angle)])
    matrix[1, :2] = torch.tensor([math.sin(angle), math.cos(angle)])
    matrix[:2, 3] = torch.tensor([x, y])
    return matrix[None]


def assert_same(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_no_motion_changes_nothing(grid, bev):
    assert_same(warp_bev(bev, motion(), grid), bev)


def test_driving_forward_brings_everything_nearer(grid, bev):
    expected = torch.zeros_like(bev)
    expected[:, :, :-2] = bev[:, :, 2:]
    assert_same(warp_bev(bev, motion(y=4.0), grid), expected)


def test_moving_right_brings_everything_to_the_left(grid, bev):
    expected = torch.zeros_like(bev)
    expected[..., :-1] = bev[..., 1:]
    assert_same(warp_bev(bev, motion(x=2.0), grid), expected)


def test_turning_left_by_90_degrees_is_exact(grid, bev):
    warped = warp_bev(bev, motion(turn_deg=90), grid)
    for row in range(8):
        for col in range(8):
            # a point (x, y) of the current frame was at (-y, x) in the earlier one
            assert_same(warped[..., row, col], bev[..., col, 7 - row])


def test_turns_and_moves_are_applied_in_the_order_of_the_matrix(grid, bev):
    both = warp_bev(bev, motion(x=2.0, turn_deg=90), grid)
    moved_first = warp_bev(warp_bev(bev, motion(x=2.0), grid), motion(turn_deg=90), grid)
    assert_same(both, moved_first)


def test_each_sample_has_its_own_motion(grid, bev):
    motions = torch.cat([motion(), motion(y=4.0)])
    warped = warp_bev(bev.expand(2, -1, -1, -1), motions, grid)
    assert_same(warped[0], bev[0])
    assert_same(warped[1], warp_bev(bev, motion(y=4.0), grid)[0])


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_places_stay_in_float32_under_autocast(dtype):
    grid = BEVGrid((-51.2, -51.2, 51.2, 51.2), 0.512)
    bev = torch.randn(1, 2, *grid.shape).to(dtype)
    move = motion(x=0.3, y=2.7, turn_deg=7)
    expected = warp_bev(bev.float(), move, grid)
    with torch.autocast('cpu', torch.bfloat16):
        warped = warp_bev(bev, move, grid)
    assert warped.dtype == dtype
    torch.testing.assert_close(warped, expected.to(dtype), atol=1e-5, rtol=0)


def test_without_a_previous_frame_its_content_does_not_matter(bev):
    fusion = NexusTemporalFusion(3, GRID).eval()
    none, some = torch.tensor([False]), torch.tensor([True])
    a = fusion(bev, torch.randn_like(bev), motion(), none)
    b = fusion(bev, torch.zeros_like(bev), motion(), some)
    torch.testing.assert_close(a, b)
    c = fusion(bev, torch.randn_like(bev), motion(), some)
    assert (a - c).abs().max() > 1e-3


def test_the_previous_bev_gets_no_gradient(bev):
    fusion = NexusTemporalFusion(3, GRID)
    prev = torch.randn_like(bev).requires_grad_()
    bev.requires_grad_()
    fusion(bev, prev, motion(y=2.0), torch.tensor([True])).sum().backward()
    assert prev.grad is None
    assert bev.grad.abs().sum() > 0
