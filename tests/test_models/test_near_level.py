# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The near level of the BEV: pixels land on the ground cells that project to them."""

import numpy as np
import torch

from nexusflow.geometry.frames import project_points as project_numpy
from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.bev.near_level import NexusNearLevel, on_plane
from nexusflow.models.bev.voxel_lift import read_cameras
from nexusflow.testing import make_rig

IMAGE_HW = (64, 96)
FAR = dict(range_m=(-16.0, -16.0, 16.0, 16.0), cell_m=2.0)
NEAR = dict(range_m=(-8.0, -8.0, 8.0, 8.0), cell_m=1.0)


def rig(batch=1):
    matrices = torch.as_tensor(make_rig(IMAGE_HW), dtype=torch.float32)
    return matrices.expand(batch, -1, -1, -1)


def test_the_plane_has_the_cells_centres_at_its_height():
    points = on_plane(BEVGrid((0.0, 0.0, 2.0, 2.0), 1.0), -1.5)
    expected = [[0.5, 0.5, -1.5], [1.5, 0.5, -1.5], [0.5, 1.5, -1.5], [1.5, 1.5, -1.5]]
    assert points.tolist() == expected


def test_a_cell_reads_the_pixel_that_it_projects_to_in_its_first_camera():
    grid = BEVGrid(**NEAR)
    points = on_plane(grid, -1.84)
    height, width = IMAGE_HW
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing='ij')
    cams = rig().shape[1]
    numbers = torch.arange(cams).view(cams, 1, 1).expand(-1, height, width)
    images = torch.stack([u.expand(cams, -1, -1), v.expand(cams, -1, -1), numbers], dim=1)[None]
    read, seen = read_cameras(images.float(), points, rig(), IMAGE_HW, 1)
    uv, depth = project_numpy(make_rig(IMAGE_HW), points.numpy())
    inside = (uv > 0).all(-1) & (uv < (width, height)).all(-1) & (depth > 0.1)
    assert np.array_equal(seen[0].numpy(), inside.any(0))
    assert 0 < inside.any(0).sum() < len(points)
    first = inside.argmax(0)
    for i in np.flatnonzero(inside.any(0)):
        expected = np.clip(uv[first[i], i], 0.5, (width - 0.5, height - 0.5))
        np.testing.assert_allclose(read[0, :2, i], expected, atol=0.02)
        assert round(float(read[0, 2, i]), 3) == first[i]
    assert (read[0][:, ~seen[0]] == 0).all()


def test_the_near_level_reaches_its_own_cells_of_the_far_level_only():
    level = NexusNearLevel(6, 8, FAR, NEAR)
    far = torch.randn(2, 8, *BEVGrid(**FAR).shape)
    joined = level.add_to(far, torch.ones(2, 8, *BEVGrid(**NEAR).shape))
    change = (joined - far)[0, 0]
    centers = BEVGrid(**FAR).centers()
    within = (centers.abs() < 8).all(-1)
    torch.testing.assert_close(change[within], torch.ones(int(within.sum())))
    assert (change[(centers.abs() > 9).any(-1)] == 0).all()


def test_pixels_and_features_both_teach():
    torch.manual_seed(0)
    level = NexusNearLevel(6, 8, FAR, NEAR)
    images = torch.randn(2, 6, 3, *IMAGE_HW, requires_grad=True)
    feats = torch.randn(2, 6, 6, 16, 24, requires_grad=True)
    out = level(images, feats, rig(2))
    assert out.shape == (2, 8, 16, 16)
    out.square().sum().backward()
    assert images.grad.abs().max() > 0
    assert feats.grad.abs().max() > 0
