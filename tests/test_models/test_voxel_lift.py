# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pulling image features into the BEV: projection, placement, seams between cameras."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nexusflow.geometry.frames import project_points as project_numpy
from nexusflow.models.bev.voxel_lift import (
    NexusVoxelLift,
    project_points,
    ray_channels,
    read_cameras,
)
from nexusflow.testing import make_rig

IMAGE_HW = (64, 96)
FEAT_HW = (16, 24)
GRID = dict(range_m=(-16.0, -16.0, 16.0, 16.0), cell_m=2.0)
HEIGHT = -1.5
# looks along y of the lidar frame; 100 pixels focal length, 160 x 96 pixels
PINHOLE = np.array([[100.0, 80, 0, 0], [0, 48, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def make_lift(channels, heights_m=(HEIGHT,), max_cameras=6, grid=None):
    """A lift without its last layer: it gives the volume, followed by the rays."""
    lift = NexusVoxelLift(channels, 8, grid or GRID, heights_m, max_cameras=max_cameras)
    lift.collapse = nn.Identity()
    return lift


def run_lift(lift, feats, lidar2img):
    """The volume (B, C * heights, H, W)."""
    lidar2img = torch.as_tensor(lidar2img, dtype=torch.float32).expand(len(feats), -1, -1, -1)
    return lift(feats, lidar2img, torch.linalg.inv(lidar2img), IMAGE_HW)[:, :-4]


def seen_by_camera(lift, lidar2img):
    """(cameras, heights, H, W) of whether a camera sees a voxel, in float64."""
    uv, depth = project_numpy(lidar2img, lift.voxels.numpy())
    inside = (uv > 0).all(-1) & (uv < (IMAGE_HW[1], IMAGE_HW[0])).all(-1) & (depth > 0.1)
    return torch.from_numpy(inside).view(len(lidar2img), -1, *lift.grid.shape)


def test_projection_of_a_pinhole_by_hand():
    points = torch.tensor([[1.0, 10.0, -0.5], [-2.0, 4.0, 0.0]])
    uv, seen = project_points(points, torch.tensor(PINHOLE)[None], (96, 160))
    pixels = torch.tensor([[90.0, 53.0], [30.0, 48.0]])
    expected = pixels / torch.tensor([160.0, 96.0]) * 2 - 1
    torch.testing.assert_close(uv[0], expected)
    assert seen.all()


@pytest.mark.parametrize(
    'point',
    [
        (0.0, -10.0, 0.0),
        (8.0005, -10.0, -4.8003),
        (0.0, 0.0, 0.0),
        (0.0, 0.05, 0.0),
        (10.0, 10.0, 0.0),
        (0.0, 10.0, 6.0),
    ],
    ids=['behind', 'mirrored', 'at', 'too near', 'right of', 'above'],
)
def test_points_that_a_camera_does_not_see(point):
    uv, seen = project_points(torch.tensor([point]), torch.tensor(PINHOLE)[None], (96, 160))
    assert not seen.any()
    assert uv.isfinite().all()


def test_projection_stays_in_float32_under_autocast():
    points = torch.tensor([[1.0, 10.0, -0.5]])
    matrix = torch.tensor(PINHOLE)[None].float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        uv, _ = project_points(points, matrix, (96, 160))
    assert uv.dtype == torch.float32
    torch.testing.assert_close(uv[0, 0], torch.tensor([90 / 80 - 1, 53 / 48 - 1]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_features_in_half_precision_are_read_at_exact_places(dtype):
    lift = make_lift(4, (-1.5, 0.5), max_cameras=2)
    rig = torch.tensor(make_rig(IMAGE_HW), dtype=torch.float32)[None]
    feats = torch.randn(1, 6, 4, *FEAT_HW).to(dtype)
    read, _ = read_cameras(feats, lift.voxels, rig, IMAGE_HW, 2)
    expected, _ = read_cameras(feats.float(), lift.voxels, rig, IMAGE_HW, 2)
    assert torch.equal(read, expected.to(dtype))


def test_a_lit_pixel_lights_the_cells_that_project_to_it():
    lift, rig = make_lift(1), make_rig(IMAGE_HW)
    target = np.array([1.0, 7.0, HEIGHT])
    uv, _ = project_numpy(rig, target[None])
    stride = IMAGE_HW[1] / FEAT_HW[1]
    col, row = np.floor(uv[0, 0] / stride).astype(int)
    feats = torch.zeros(1, 6, 1, *FEAT_HW)
    feats[0, 0, 0, row, col] = 1
    volume = run_lift(lift, feats, rig)[0, 0]
    # bilinear weights, in float64: 1 - distance in feature pixels along each axis
    uv, depth = project_numpy(rig[0], lift.voxels.numpy())
    near = np.maximum(1 - np.abs(uv / stride - (col + 0.5, row + 0.5)), 0).prod(-1) * (depth > 0.1)
    expected = torch.from_numpy(near).view(lift.grid.shape).float()
    seen = seen_by_camera(lift, rig)[:, 0]
    expected = expected * seen[0] / seen.sum(0).clamp(min=1)
    torch.testing.assert_close(volume, expected, atol=1e-4, rtol=0)
    cell, _ = lift.grid.cell_of(torch.tensor(target[:2]))
    assert volume.flatten()[cell] > 0.2
    assert (volume > 0).sum() < 10


def test_cameras_do_not_leak_into_each_other_at_seams():
    lift, rig = make_lift(1), make_rig(IMAGE_HW)
    shade = torch.arange(1.0, 7.0)
    feats = shade.view(1, 6, 1, 1, 1).expand(-1, -1, -1, *FEAT_HW)
    volume = run_lift(lift, feats, rig)[0, 0]
    seen = seen_by_camera(lift, rig)[:, 0].float()
    expected = torch.einsum('nhw,n->hw', seen, shade) / seen.sum(0).clamp(min=1)
    torch.testing.assert_close(volume, expected, atol=1e-5, rtol=0)
    assert (seen.sum(0) == 2).any()
    assert (seen.sum(0) == 0).any()


@pytest.mark.parametrize('max_cameras', [2, 6])
def test_equals_a_loop_over_cameras(max_cameras):
    heights = (-1.5, 0.5)
    lift, rig = make_lift(5, heights, max_cameras), make_rig(IMAGE_HW)
    feats = torch.randn(2, 6, 5, *FEAT_HW)
    volume = run_lift(lift, feats, rig)
    seen = seen_by_camera(lift, rig).flatten(1)
    uv, _ = project_numpy(rig, lift.voxels.numpy())
    uv = torch.from_numpy(uv / (IMAGE_HW[1], IMAGE_HW[0]) * 2 - 1).float()
    total = torch.zeros(2, 5, len(lift.voxels))
    for n in range(6):
        where = uv[n].clamp(-2, 2)[None, :, None].expand(2, -1, -1, -1)
        read = F.grid_sample(feats[:, n], where, padding_mode='border', align_corners=False)
        total += read[..., 0] * seen[n]
    expected = (total / seen.sum(0).clamp(min=1)).view(2, 10, *lift.grid.shape)
    assert seen.sum(0).max() == 2
    torch.testing.assert_close(volume, expected, atol=1e-4, rtol=0)


def test_with_one_camera_the_first_that_sees_is_read():
    lift, rig = make_lift(1, max_cameras=1), make_rig(IMAGE_HW)
    shade = torch.arange(1.0, 7.0)
    feats = shade.view(1, 6, 1, 1, 1).expand(-1, -1, -1, *FEAT_HW)
    seen = seen_by_camera(lift, rig)[:, 0]
    first = shade[seen.int().argmax(0)] * seen.any(0)
    torch.testing.assert_close(run_lift(lift, feats, rig)[0, 0], first, atol=1e-5, rtol=0)


def test_each_sample_has_its_own_rig():
    lift = make_lift(1)
    rig = torch.tensor(make_rig(IMAGE_HW), dtype=torch.float32)
    swapped = rig[[3, 1, 2, 0, 4, 5]]
    feats = torch.randn(1, 6, 1, *FEAT_HW)
    matrices = torch.stack([rig, swapped])
    out = lift(feats.expand(2, -1, -1, -1, -1), matrices, matrices, IMAGE_HW)
    alone = lift(feats, swapped[None], swapped[None], IMAGE_HW)
    torch.testing.assert_close(out[1], alone[0])
    assert (out[0] - out[1]).abs().max() > 0.1


def test_rays_give_the_bearing_of_a_cell(bev_grid):
    rays = ray_channels(bev_grid)
    assert rays.shape == (4, *bev_grid.shape)
    bearing = torch.atan2(rays[3], rays[2])
    expected = torch.atan2(bev_grid.centers()[..., 1], bev_grid.centers()[..., 0])
    torch.testing.assert_close(bearing, expected)


def test_output_has_the_shape_of_the_grid_and_reaches_the_features():
    lift, rig = (
        NexusVoxelLift(4, 12, GRID),
        torch.tensor(make_rig(IMAGE_HW))[None].expand(2, -1, -1, -1),
    )
    feats = torch.randn(2, 6, 4, *FEAT_HW, requires_grad=True)
    out = lift(feats, rig, rig, IMAGE_HW)
    out.square().sum().backward()
    assert out.shape == (2, 12, 16, 16)
    assert (feats.grad.flatten(2).abs().sum(-1) > 0).all()
