# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Another lidar frame, the same world."""

import copy

import numpy as np
import pytest
import torch
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets import NexusClipDataset
from nexusflow.geometry.boxes import box_corners, boxes_to_global, velocity_to_global
from nexusflow.geometry.frames import project_points, transform_points
from nexusflow.geometry.polylines import is_closed, resample

CASES = [
    {'flip_x_prob': 1.0},
    {'flip_y_prob': 1.0},
    {'flip_x_prob': 1.0, 'flip_y_prob': 1.0},
    {'rotation_deg': 25.0},
    {'flip_x_prob': 0.5, 'flip_y_prob': 0.5, 'rotation_deg': 10.0},
    {},
]


@pytest.fixture(scope='module')
def dataset(nuscenes_root, info_dir):
    path = info_dir / 'nexusflow_infos_world_train.pkl'
    return NexusClipDataset(
        str(nuscenes_root),
        str(path),
        [{'type': 'NexusLoadMultiViewImages'}],
        clip_length=2,
        track_range_m=(-30.0, -30.0, 30.0, 30.0),
    )


def augmented(dataset, i, cfg, seed=0):
    torch.manual_seed(seed)
    return TRANSFORMS.build({'type': 'NexusBevAug', **cfg})(dataset[i])['frames']


@pytest.mark.parametrize('cfg', CASES)
def test_boxes_stay_in_the_world_and_in_the_images(dataset, cfg):
    for before, after in zip(dataset[5]['frames'], augmented(dataset, 5, cfg), strict=True):
        rows = [list(before['instance_ids']).index(i) for i in after['instance_ids']]
        old, new = before['boxes'][rows], after['boxes']
        assert len(new) == 2
        for key in ('lidar2img', 'ori_lidar2img'):
            for a, b in zip(before[key], after[key], strict=True):
                np.testing.assert_allclose(
                    project_points(a, old[:, :3])[0], project_points(b, new[:, :3])[0], atol=1e-6
                )
                corners = [
                    np.sort(project_points(m, box_corners(boxes).reshape(-1, 3))[1])
                    for m, boxes in ((a, old), (b, new))
                ]
                np.testing.assert_allclose(*corners, atol=1e-6)
        poses = before['lidar2global'], after['lidar2global']
        places = [boxes_to_global(b, p) for b, p in zip((old, new), poses, strict=True)]
        np.testing.assert_allclose(places[0][:, :6], places[1][:, :6], atol=1e-6)
        np.testing.assert_allclose(np.cos(places[0][:, 6] - places[1][:, 6]), 1, atol=1e-4)
        moves = [velocity_to_global(b[:, 7:9], p) for b, p in zip((old, new), poses, strict=True)]
        np.testing.assert_allclose(*moves, atol=1e-6)


@pytest.mark.parametrize('cfg', CASES[:3])
def test_map_points_stay_in_the_world(dataset, cfg):
    for before, after in zip(dataset[5]['frames'], augmented(dataset, 5, cfg), strict=True):
        flat = [
            np.concatenate([f['map_pts'], 0 * f['map_pts'][..., :1]], -1) for f in (before, after)
        ]
        places = [
            transform_points(f['lidar2global'], p.reshape(-1, 3)).reshape(p.shape)
            for f, p in zip((before, after), flat, strict=True)
        ]
        mirrored = np.linalg.det(after['lidar2global']) < 0
        expected = places[0][:, ::-1] if mirrored else places[0]
        np.testing.assert_allclose(places[1], expected, atol=1e-6)
        np.testing.assert_array_equal(before['map_labels'], after['map_labels'])


def test_rings_stay_clockwise(dataset):
    def area(ring):
        x, y = ring.T
        return 0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()

    for cfg in CASES[:5]:
        (frame, _) = augmented(dataset, 5, cfg)
        rings = frame['map_pts'][frame['map_closed']]
        assert len(rings) == 1 and area(rings[0]) < 0


def test_rotation_cuts_what_leaves_the_range(dataset):
    for seed in range(5):
        before, after = (
            dataset[5]['frames'][0],
            augmented(dataset, 5, {'rotation_deg': 45}, seed)[0],
        )
        points = after['map_pts']
        assert (np.abs(points) <= np.array([15, 30]) + 1e-6).all()
        np.testing.assert_array_equal(is_closed(list(points)), after['map_closed'])
        assert len(points) == len(after['map_labels']) == len(after['map_closed'])
        assert set(after['map_labels']) <= set(before['map_labels'])


def test_frames_of_a_clip_share_the_draw(dataset):
    frames = augmented(dataset, 5, CASES[4], seed=1)
    planes = [
        np.linalg.inv(a['lidar2global']) @ b['lidar2global']
        for a, b in zip(frames, dataset[5]['frames'], strict=True)
    ]
    np.testing.assert_allclose(planes[0], planes[1], atol=1e-9)
    assert abs(planes[0] - np.eye(4)).max() > 0.01


def test_an_island_that_a_rotation_cuts_is_an_open_line_and_a_crossing_a_ring(dataset):
    """Both are rings that reach over the right edge once they are turned."""
    ring = np.array([[12.0, 20], [14.9, 20], [14.9, 25], [12, 25], [12, 20]])[::-1]
    frame = dataset[5]['frames'][0]
    frame |= {
        'map_pts': resample([ring, ring], 20),
        'map_labels': np.array([1, 2]),
        'map_closed': np.array([True, True]),
        'map_areas': np.array([True, False]),
    }
    for seed in range(20):
        torch.manual_seed(seed)
        turned = {'frames': [copy.deepcopy(frame)]}
        TRANSFORMS.build({'type': 'NexusBevAug', 'rotation_deg': 10.0})(turned)
        after = turned['frames'][0]
        if not np.array_equal(after['map_closed'], [True, True]):
            break
    assert after['map_closed'].tolist() == [True, False] == after['map_areas'].tolist()
    assert after['map_labels'].tolist() == [1, 2]
    line = after['map_pts'][1]
    # it starts and ends on the edge, and does not run along it
    assert np.isclose(line[[0, -1], 0], 15).all() and (line[1:-1, 0] < 15 - 1e-6).all()
