# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracks inherit their object; only newborns are matched."""

import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from nexusflow.models.track.assigner import FrameTargets, assign

CPU = torch.device('cpu')


def make_targets(places, ids, labels=None, labelled=True):
    """Car-sized objects at places (x, y)."""
    tensor = torch.zeros(len(places), 9)
    tensor[:, :2] = torch.tensor(places, dtype=torch.float32).view(-1, 2)
    tensor[:, 3:6] = torch.tensor([4.0, 2.0, 1.5])
    tensor[:, 7:] = float('nan')
    gt = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(tensor, box_dim=9, origin=(0.5, 0.5, 0.5)),
        labels_3d=torch.tensor(labels or [0] * len(places), dtype=torch.long),
        instance_ids=torch.tensor(ids, dtype=torch.long),
    )
    return FrameTargets(gt, labelled, CPU)


def run(places, ids, targets, logits=None, max_distance_m=1e3):
    """Assignment of queries at places with car-sized boxes."""
    code = make_targets(places, ids).code.nan_to_num()
    logits = torch.zeros(len(places), 7) if logits is None else logits
    query_ids = torch.tensor(ids, dtype=torch.long)
    return assign(logits, code, query_ids, targets, 2.0, 0.25, max_distance_m).tolist()


def test_a_track_inherits_its_object_however_far_it_is():
    targets = make_targets([(0, 0), (30, 30)], [7, 8])
    assert run([(0, 0), (30, 30)], [8, 7], targets) == [1, 0]


def test_newborns_get_only_the_objects_without_a_track():
    targets = make_targets([(0, 0), (10, 0), (20, 0)], [7, 8, 9])
    matched = run([(0, 0), (19, 0), (11, 0), (40, 40)], [-1, -1, -1, 7], targets)
    assert matched == [-1, 2, 1, 0]


def test_matching_is_globally_best_not_greedy():
    targets = make_targets([(0, 0), (10, 0)], [1, 2])
    assert run([(4, 0), (-20, 0)], [-1, -1], targets) == [1, 0]


def test_the_class_decides_between_equal_places():
    targets = make_targets([(0, 0), (0, 0)], [1, 2], labels=[0, 4])
    logits = torch.full((2, 7), -4.0)
    logits[0, 4] = logits[1, 0] = 4.0
    assert run([(0, 0), (0, 0)], [-1, -1], targets, logits) == [1, 0]


def test_a_track_whose_object_left_becomes_no_object():
    targets = make_targets([(0, 0)], [7])
    assert run([(5, 5), (0, 0)], [-1, 99], targets) == [0, -1]


def test_padding_is_never_matched():
    targets = make_targets([(0, 0), (1, 1)], [7, 8])
    assert run([(0, 0), (1, 1)], [-2, -1], targets)[0] == -1


def test_more_newborns_than_objects_and_the_other_way_round():
    targets = make_targets([(0, 0)], [7])
    assert run([(9, 9), (1, 1), (5, 5)], [-1] * 3, targets) == [-1, 0, -1]
    targets = make_targets([(0, 0), (9, 9), (5, 5)], [7, 8, 9])
    assert run([(9, 8)], [-1], targets) == [1]


def test_no_object():
    assert run([(0, 0), (1, 1)], [-1, 7], make_targets([], [])) == [-1, -1]


def test_no_query():
    assert run([], [], make_targets([(0, 0)], [7])) == []


@pytest.mark.parametrize('ids', [[5, 6], [7, 8]])
def test_no_newborn(ids):
    matched = run([(0, 0), (1, 1)], ids, make_targets([(0, 0), (1, 1)], [7, 8]))
    assert matched == ([0, 1] if ids == [7, 8] else [-1, -1])


def test_a_newborn_too_far_from_every_object_stays_unmatched():
    targets = make_targets([(0, 0), (10, 0)], [7, 8])
    assert run([(2, 0), (14, 0)], [-1, -1], targets, max_distance_m=3.0) == [0, -1]


def test_the_distance_of_an_inherited_object_is_not_limited():
    targets = make_targets([(0, 0)], [7])
    assert run([(30, 0)], [7], targets, max_distance_m=3.0) == [0]


def test_objects_without_an_identity_are_matched_like_newborns():
    targets = make_targets([(0, 0), (10, 0)], [-1, -1])
    assert run([(9, 0), (1, 0)], [-1, -1], targets) == [1, 0]


def test_labels_of_an_unlabelled_sample_are_not_read():
    targets = make_targets([(0, 0)], [7], labelled=False)
    assert len(targets.ids) == len(targets.labels) == len(targets.code) == 0
    assert run([(0, 0)], [-1], targets) == [-1]
