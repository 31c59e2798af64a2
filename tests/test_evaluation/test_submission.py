# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The tracking submission: official fields, and nothing lost on the way there and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nexusflow.evaluation.functional.submission import (
    MAX_BOXES,
    SampleTracks,
    read_submission,
    to_submission,
    tracks_from_submission,
    write_submission,
)
from nexusflow.geometry.frames import make_rigid, rotation_from_quaternion


def pose(yaw=0.7, pitch=0.02):
    turn = rotation_from_quaternion([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    tilt = rotation_from_quaternion([np.cos(pitch / 2), np.sin(pitch / 2), 0, 0])
    return make_rigid(turn @ tilt, [1010.0, 612.0, 1.8])


def tracks(num=6, **changes):
    rng = np.random.default_rng(0)
    centers, sizes = rng.uniform(-40, 40, (num, 3)), rng.uniform(0.5, 9, (num, 3))
    yaw = rng.uniform(-np.pi, np.pi, (num, 1))
    base = SampleTracks(
        scene='scene-0001',
        boxes=np.concatenate([centers, sizes, yaw], axis=1),
        velocity=rng.normal(size=(num, 2)) * 5,
        names=['car', 'pedestrian', 'bus'] * (num // 3),
        scores=rng.uniform(0.1, 1, num),
        track_ids=list(range(num)),
        lidar2global=pose(),
    )
    return replace(base, **changes)


def test_round_trip_is_exact(tmp_path):
    given = tracks()
    path = tmp_path / 'submission.json'
    write_submission(path, to_submission({'t': given}))
    back = tracks_from_submission(read_submission(path)['results']['t'], given.lidar2global)
    assert np.abs(back.boxes[:, :6] - given.boxes[:, :6]).max() < 1e-3
    turn = np.angle(np.exp(1j * (back.boxes[:, 6] - given.boxes[:, 6])))
    assert np.abs(turn).max() < 1e-3
    assert np.abs(back.velocity - given.velocity).max() < 1e-3
    assert back.names == list(given.names)
    assert back.track_ids == [f'scene-0001/{i}' for i in range(6)]


def test_fields_follow_the_official_format():
    """A car 10 m ahead of a lidar that looks along global +y: no turn between the frames."""
    box = np.array([[0.0, 10.0, -1.0, 4.5, 1.9, 1.6, np.pi / 2]])
    given = SampleTracks(
        's',
        box,
        np.array([[0.0, 3.0]]),
        ['car'],
        np.array([0.5]),
        [7],
        make_rigid(np.eye(3), [5, 5, 2]),
    )
    (out,) = to_submission({'t': given})['results']['t']
    assert out['translation'] == [5.0, 15.0, 1.0]
    assert out['size'] == [1.9, 4.5, 1.6]  # width, length, height
    assert out['rotation'] == pytest.approx([2**-0.5, 0, 0, 2**-0.5])
    assert out['velocity'] == [0.0, 3.0]
    assert (out['tracking_id'], out['tracking_name'], out['tracking_score']) == ('s/7', 'car', 0.5)


def test_every_sample_is_a_key_and_flags_are_official():
    empty = tracks(0, names=[])
    submission = to_submission({'b': empty, 'a': tracks()}, {'use_lidar': True})
    assert list(submission['results']) == ['a', 'b']
    assert submission['results']['b'] == []
    assert submission['meta'] == {
        'use_camera': True,
        'use_lidar': True,
        'use_radar': False,
        'use_map': False,
        'use_external': False,
    }


def test_best_boxes_are_kept():
    num = 3 * 200
    (many,) = to_submission({'t': tracks(num)})['results'].values()
    assert len(many) == MAX_BOXES
    scores = np.sort(tracks(num).scores)[-MAX_BOXES:]
    assert sorted(box['tracking_score'] for box in many) == pytest.approx(scores)


def test_unknown_velocity_is_zero():
    (boxes,) = to_submission({'t': tracks(velocity=np.full((6, 2), np.nan))})['results'].values()
    assert all(box['velocity'] == [0.0, 0.0] for box in boxes)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'names': ['barrier'] * 6}, r"sample t: \['barrier'\] are not tracking classes"),
        ({'track_ids': [1, 2, 3, 4, 5, 1]}, r'sample t: track id 1 is given to 2 boxes'),
        ({'scores': np.full(6, np.nan)}, r'sample t: boxes or scores are NaN'),
        ({'scores': np.ones(3)}, r"unequal length .*'scores': 3"),
    ],
)
def test_bad_tracks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        to_submission({'t': tracks(**change)})


def test_another_file_is_refused(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text('{"results": {}}')
    with pytest.raises(ValueError, match=r"x\.json: no field \['meta'\]"):
        read_submission(path)
    path.write_text('[{}]')
    with pytest.raises(ValueError, match=r"x\.json: no field \['meta', 'results'\]"):
        read_submission(path)
