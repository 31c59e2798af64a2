# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Tracks inherit their object; only newborns are matched."""

import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from nexusflow.models.track.assigner import FrameTargets, assign
from nexusflow.models.track.box_code import encode_boxes

CPU = torch.device('cpu')


def make_gt(places, ids, labels=None):
    """Car-sized objects at places (x, y)."""
    tensor = torch.zeros(len(places), 9)
    tensor[:, :2] = torch.tensor(places, dtype=torch.float32).view(-1, 2)
    tensor[:, 3:6] = torch.tensor([4.0, 2.0, 1.5])
    tensor[:, 7:] = float('nan')
    return InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(tensor, box_dim=9, origin=(0.5, 0.5, 0.5)),
        labels_3d=torch.tensor(labels or [0] * len(places), dtype=torch.long),
        instance_ids=torch.tensor(ids, dtype=torch.long),
    )


def make_targets(places, ids, labels=None, labelled=True):
    """The targets of one sample."""
    return FrameTargets.stack([make_gt(places, ids, labels)], [labelled], CPU)


def code_at(places):
    """(Q, 10) boxes of car size."""
    return encode_boxes(make_gt(places, [0] * len(places)).bboxes_3d).nan_to_num()


def run(places, ids, targets, logits=None, max_distance_m=None, labels=None):
    """Assignment of queries at places with car-sized boxes, one layer."""
    code = code_at(places)[None]
    logits = torch.zeros(1, len(places), 7) if logits is None else logits[None]
    query_ids = torch.tensor(ids, dtype=torch.long)[None]
    labels = None if labels is None else torch.tensor(labels)[None]
    matched = assign([(logits, code)], query_ids, targets, 2.0, 0.25, max_distance_m, labels)
    return matched[0, 0].tolist()


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


def test_a_class_that_is_decided_is_matched_within_itself():
    targets = make_targets([(0, 0), (9, 0)], [1, 2], labels=[0, 4])
    assert run([(0, 0), (9, 0)], [-1, -1], targets, labels=[4, 0]) == [1, 0]
    assert run([(0, 0), (9, 0)], [-1, -1], targets, labels=[4, 4]) == [-1, 1]
    # what a track inherits is its object's
    assert run([(0, 0), (9, 0)], [1, -1], targets, labels=[0, 0]) == [0, -1]


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
    assert not targets.valid.any()
    assert targets.counts == (0,)
    assert run([(0, 0)], [-1], targets) == [-1]


def test_targets_are_padded_to_the_longest():
    gts = [make_gt([(1, 0)], [4]), make_gt([(2, 0), (3, 0)], [5, 6], [1, 2]), make_gt([], [])]
    targets = FrameTargets.stack(gts, [True] * 3, CPU)
    assert targets.counts == (1, 2, 0)
    assert targets.valid.tolist() == [[True, False], [True, True], [False, False]]
    assert targets.ids.tolist() == [[4, -2], [5, 6], [-2, -2]]
    assert targets.labels[1].tolist() == [1, 2]
    assert targets.code[1, :, 0].tolist() == [2.0, 3.0]


def test_samples_and_layers_are_matched_each_for_itself():
    """Against the one-sample assignment, for random queries of several layers and samples of different sizes."""
    torch.manual_seed(0)
    sizes, queries = (0, 3, 9), 8
    gts = [make_gt((torch.rand(k, 2) * 40).tolist(), list(range(k))) for k in sizes]
    ids = torch.tensor([[-1] * 5 + [0, 2, -2]] * len(sizes))
    layers = [
        (
            torch.randn(len(sizes), queries, 7),
            torch.stack([code_at((torch.rand(queries, 2) * 40).tolist()) for _ in sizes]),
        )
        for _ in range(2)
    ]
    targets = FrameTargets.stack(gts, [True] * len(sizes), CPU)
    found = assign(layers, ids, targets, 2.0, 0.25, 15.0)
    assert found.shape == (2, len(sizes), queries)
    for d, (logits, code) in enumerate(layers):
        for b, gt in enumerate(gts):
            alone = FrameTargets.stack([gt], [True], CPU)
            one = [(logits[b : b + 1], code[b : b + 1])]
            expected = assign(one, ids[b : b + 1], alone, 2.0, 0.25, 15.0)
            assert found[d, b].tolist() == expected[0, 0].tolist()
    # what is inherited is the same in all layers
    assert found[:, 1, 5:].tolist() == found[:, 2, 5:].tolist() == [[0, 2, -1]] * 2


def test_costs_are_copied_to_the_host_once_for_all_layers(monkeypatch):
    copies = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda x: copies.append(x.shape) or original(x))
    targets = FrameTargets.stack([make_gt([(0, 0)], [7])] * 2, [True] * 2, CPU)
    layers = [(torch.zeros(2, 3, 7), code_at([(0, 0)] * 3).expand(2, -1, -1))] * 6
    matched = assign(layers, torch.full((2, 3), -1), targets, 2.0, 0.25, None)
    assert copies == [(12, 3, 1)]
    assert ((matched >= 0).sum(-1) == 1).all()
