# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Ground truth from the tables: order of frames, and which boxes count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nexusflow.evaluation.functional.box_columns import BoxColumns
from nexusflow.evaluation.functional.submission import TRACKING_CLASSES
from nexusflow.evaluation.functional.tracking_frames import KeyFrames, Racks, judged
from nexusflow.evaluation.functional.tracking_truth import load_truth
from nexusflow.evaluation.made_up_tables import VERSION, MadeUpSpec, make_tables
from nexusflow.geometry.frames import rotation_from_quaternion


def test_range_and_racks_decide_what_counts():
    """In a rack turned by 45 degrees, 4 m long: 1.9 m along it is inside, 1.9 m ahead is not."""
    half = np.pi / 8
    racks = Racks(
        np.array([1]),
        np.array([[10.0, 0.0, 0.5]]),
        np.array([[4.0, 1.0, 1.0]]),
        rotation_from_quaternion([[np.cos(half), 0, 0, np.sin(half)]]),
    )
    frames = KeyFrames(['a', 'b'], ['s', 's'], np.arange(2), np.arange(2), np.zeros((2, 2)), racks)
    along = 1.9 / np.sqrt(2)
    rows = [
        (0, 'car', [49.9, 0.0, 80.0], True),
        (0, 'car', [50.0, 0.0, 0.0], False),
        (0, 'pedestrian', [30.0, 30.0, 0.0], False),
        (0, 'bicycle', [10.0, 0.0, 0.5], True),  # the rack is in the other frame
        (1, 'bicycle', [10.0 + along, along, 0.5], False),
        (1, 'motorcycle', [10.0, 0.0, 0.9], False),
        (1, 'bicycle', [10.0, 0.0, 1.1], True),
        (1, 'bicycle', [11.9, 0.0, 0.5], True),
        (1, 'car', [10.0, 0.0, 0.5], True),
    ]
    frame, name, center, expected = zip(*rows, strict=True)
    label = np.array([TRACKING_CLASSES.index(n) for n in name])
    count = np.arange(len(rows))
    boxes = BoxColumns(np.array(frame), count, label, np.array(center), -np.ones(len(rows)))
    assert judged(boxes, frames).tolist() == list(expected)


@pytest.fixture
def root(tmp_path):
    make_tables(tmp_path, MadeUpSpec(scenes=3, frames=5, objects=6), seed=1)
    return tmp_path


def test_frames_are_grouped_by_scene_in_time_order(root):
    path = root / VERSION / 'sample.json'
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    truth = load_truth(root, VERSION, ['made-up-0001', 'made-up-0000', 'absent'])
    assert truth.frames.tokens == [f'made-up-000{s}-{k}' for s in (0, 1) for k in range(5)]
    assert truth.frames.step.tolist() == [*range(5)] * 2
    assert truth.annotated == {'made-up-0000', 'made-up-0001'}
    assert (np.diff(truth.boxes.frame) >= 0).all()
    assert load_truth(root, VERSION, ['absent', 'made-up-0000', 'made-up-0001']) is truth


def test_tables_that_lack_something_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match='has no version'):
        load_truth(root, 'v1.0-mini', ['a'])
    path = root / VERSION / 'sample_data.json'
    path.write_text(json.dumps([row for row in json.loads(path.read_text())][1:]))
    with pytest.raises(ValueError, match=r"sample_data\.json: sample 'made-up-0000-0' has no key"):
        load_truth(root, VERSION, ['made-up-0000'])
