# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The Kalman filter over the tracks' centres, against plain formulas and made-up drives."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from nexusflow.datasets.frames import TRACK_CLASSES
from nexusflow.models.track.box_code import VELOCITY, XY
from nexusflow.models.track.motion import MotionModel, place_and_speed
from nexusflow.models.track.queries import NEWBORN, TrackQueries

CONFIGS = Path(__file__).parents[2] / 'configs'
CPU = torch.device('cpu')
DT = 0.5


def make_tracks(xy_m, velocity=(0.0, 0.0), number=0, label=0):
    """One sample with one track, or newborn, at rest."""
    tracks = TrackQueries.empty(4, CPU, (1, 1))
    tracks.ids[:], tracks.labels[:] = number, label
    tracks.code[..., XY], tracks.code[..., VELOCITY] = torch.tensor([xy_m, velocity])
    return tracks


def ego_motion(shift_m, turn_rad):
    """(1, 4, 4) from the earlier to the current lidar frame of an ego that drives on and turns."""
    pose = np.eye(4)
    pose[:2, :2] = [
        [math.cos(turn_rad), -math.sin(turn_rad)],
        [math.sin(turn_rad), math.cos(turn_rad)],
    ]
    pose[:2, 3] = shift_m
    return torch.tensor(np.linalg.inv(pose), dtype=torch.float32)[None]


def seen(tracks):
    return torch.ones_like(tracks.valid)


def follow(motion, places_m, noise_m, prev2curr, velocity=(0.0, 0.0), label=0):
    """Filter a drive: places (T, 2) in each frame's own lidar frame, measured with noise (T, 2)."""
    rows, measured = [], places_m + noise_m
    tracks = motion.observe(
        make_tracks(measured[0].tolist(), velocity, NEWBORN, label), torch.tensor([[True]])
    )
    tracks.ids[:] = 0
    for place in measured[1:]:
        tracks = motion.move(tracks, prev2curr, torch.tensor([DT]))
        tracks.code[..., :2] = place
        tracks = motion.observe(tracks, seen(tracks))
        rows.append(tracks.mean[0, 0])
    return torch.stack(rows)


def drive(start_m, velocity, frames, prev2curr):
    """True places (T, 2) of an object of constant velocity, given in the first lidar frame; velocity in the last."""
    places, to_now = [], torch.eye(4)
    for t in range(frames):
        if t:
            to_now = prev2curr[0] @ to_now
        there = torch.tensor([*start_m, 0.0, 1.0])
        there[:2] += torch.tensor(velocity) * DT * t
        places.append((to_now @ there)[:2])
    return torch.stack(places), to_now[:2, :2] @ torch.tensor(velocity)


def test_equals_the_textbook():
    """Against a filter in numpy, float64, with the matrices written out."""
    torch.manual_seed(0)
    motion = MotionModel(7, speed_std=3.0, accel_std=1.2)
    prev2curr = ego_motion((0.4, 3.0), 0.08)
    noise = torch.randn(6, 2)
    places, _ = drive((12.0, 25.0), (1.0, -4.0), 6, prev2curr)
    found = follow(motion, places, noise, prev2curr)

    turn = prev2curr[0, :2, :2].double().numpy()
    shift = prev2curr[0, :2, 3].double().numpy()

    def measurement(z):
        ray = z / np.linalg.norm(z)
        across = np.array([-ray[1], ray[0]])
        along_m = 0.6 + 0.03 * np.linalg.norm(z)
        across_m = 0.45 + 0.012 * np.linalg.norm(z)
        return along_m**2 * np.outer(ray, ray) + across_m**2 * np.outer(across, across)

    measured = (places + noise).double().numpy()
    mean = np.r_[measured[0], 0.0, 0.0]
    cov = np.zeros((4, 4))
    cov[:2, :2], cov[2:, 2:] = measurement(measured[0]), 9.0 * np.eye(2)
    step = np.block([[turn, DT * turn], [np.zeros((2, 2)), turn]])
    push = np.r_[np.eye(2) * DT**2 / 2, np.eye(2) * DT]
    for z, row in zip(measured[1:], found, strict=True):
        mean, cov = step @ mean, step @ cov @ step.T + 1.2**2 * push @ push.T
        mean[:2] += shift
        gain = cov[:, :2] @ np.linalg.inv(cov[:2, :2] + measurement(z))
        mean, cov = mean + gain @ (z - mean[:2]), cov - gain @ cov[:2]
        np.testing.assert_allclose(row.numpy(), mean, atol=2e-3)


@pytest.mark.parametrize('velocity', [(0.0, 0.0), (0.0, 7.0), (-5.0, 2.0)])
def test_a_track_is_surer_than_what_was_measured(velocity):
    """Of many drives, the error at the end is well below that of one measurement, and the velocity is found."""
    motion, prev2curr = MotionModel(7, speed_std=5.0), ego_motion((0.0, 2.0), 0.03)
    places, last_velocity = drive((5.0, 30.0), velocity, 12, prev2curr)
    ray = places / places.norm(dim=1, keepdim=True)
    errors, speeds, raw = [], [], []
    for seed in range(20):
        torch.manual_seed(seed)
        noise = ray * torch.randn(12, 1) * 1.5 + torch.randn(12, 2) * 0.3
        mean = follow(motion, places, noise, prev2curr)[-1]
        raw.append(noise[-4:].norm(dim=1).mean())
        errors.append((mean[:2] - places[-1]).norm())
        speeds.append((mean[2:] - last_velocity).norm())
    assert np.mean(errors) < 0.8 * np.mean(raw)
    assert np.mean(speeds) < 1.5


@pytest.mark.parametrize('start_m', [(0.0, 20.0), (25.0, 0.0), (15.0, -25.0)])
def test_the_tiny_tracker_keeps_up_with_traffic(start_m):
    """From the second frame on, well within the 2 m that count: at the median speeds of the training labels."""
    cfg = Config.fromfile(CONFIGS / '_base_' / 'model_tiny.py')
    motion, still = MotionModel(7, **cfg.model.track_head.motion), torch.eye(4)[None]
    median_speed = dict(car=7.2, truck=6.1, bus=7.1, trailer=6.2, motorcycle=9.1, bicycle=5.0)
    for name, speed in median_speed.items():
        places, _ = drive(start_m, (0.0, speed), 6, still)
        label = TRACK_CLASSES.index(name)
        means = follow(motion, places, torch.zeros(6, 2), still, label=label)
        lag_m = (means[:, :2] - places[1:]).norm(dim=1)
        assert lag_m.max() < 1.2 and lag_m[-1] < 0.4, (name, lag_m)


def test_what_is_not_seen_goes_on_as_expected():
    motion = MotionModel(7)
    tracks = motion.observe(make_tracks((10.0, 0.0), (2.0, 1.0), NEWBORN), torch.tensor([[True]]))
    tracks.ids[:] = 3
    moved = motion.move(tracks, torch.eye(4)[None], torch.tensor([1.0]))
    torch.testing.assert_close(moved.mean[0, 0], torch.tensor([12.0, 1.0, 2.0, 1.0]))
    moved.code[..., :2] = 99.0
    after = motion.observe(moved, ~seen(moved))
    assert torch.equal(after.mean, moved.mean) and torch.equal(after.cov, moved.cov)
    assert torch.equal(place_and_speed(after.code), moved.mean)
    assert (moved.cov.diagonal(dim1=-2, dim2=-1) >= tracks.cov.diagonal(dim1=-2, dim2=-1)).all()


def test_distances_count_more_across_the_line_of_sight():
    motion = MotionModel(7)
    tracks = motion.observe(make_tracks((0.0, 40.0), number=NEWBORN), torch.tensor([[True]]))
    tracks = motion.move(tracks, torch.eye(4)[None], torch.tensor([DT]))
    beyond, beside = (make_tracks(xy) for xy in ((0.0, 43.0), (3.0, 40.0)))
    away = [motion.distance(tracks, measured).item() for measured in (beyond, beside)]
    assert away[0] < 0.7 * away[1]
    error = torch.tensor([3.0, 0.0])
    noise = motion.measurement_cov(torch.tensor([3.0, 40.0]))
    expected = error @ torch.linalg.inv(tracks.cov[0, 0, :2, :2] + noise) @ error
    assert away[1] == pytest.approx(expected.item(), rel=1e-4)


def test_a_class_has_its_own_speed():
    motion = MotionModel(2, speed_std=(4.0, 1.0), accel_std=(2.0, 0.5))
    spreads = []
    for label in (0, 1):
        new = make_tracks((9.0, 9.0), number=NEWBORN, label=label)
        tracks = motion.observe(new, torch.tensor([[True]]))
        spreads.append(motion.move(tracks, torch.eye(4)[None], torch.tensor([1.0])).cov[0, 0])
    step = spreads[0] - spreads[1]
    assert step[0, 0].item() == pytest.approx(16 - 1 + (4 - 0.25) / 4, rel=1e-4)
    assert step[2, 2].item() == pytest.approx(16 - 1 + 4 - 0.25, rel=1e-4)


def test_a_long_track_stays_well_behaved():
    motion, prev2curr = MotionModel(7), ego_motion((0.0, 0.1), 0.3)
    tracks = motion.observe(make_tracks((0.0, 20.0), number=NEWBORN), torch.tensor([[True]]))
    tracks.ids[:] = 0
    for _ in range(1000):
        tracks = motion.move(tracks, prev2curr, torch.tensor([DT]))
        tracks = motion.observe(tracks, seen(tracks))
    cov = tracks.cov[0, 0]
    torch.testing.assert_close(cov, cov.T, atol=1e-4, rtol=1e-3)
    assert torch.linalg.eigvalsh(cov).min() > 0


@pytest.mark.parametrize('name', ['speed_std', 'accel_std'])
def test_numbers_for_other_classes_are_refused(name):
    with pytest.raises(ValueError, match=rf'motion.{name} has 2 numbers for 7 classes'):
        MotionModel(7, **{name: (1.0, 2.0)})
