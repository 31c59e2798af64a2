# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Birth, survival and death of tracks, and who is called what."""

import math

import pytest
import torch

from nexusflow.models.track.lifecycle import TrackLifecycle, greedy_keep
from nexusflow.models.track.motion import MotionModel, place_and_speed
from nexusflow.models.track.queries import TrackQueries

CAR, PEDESTRIAN = 0, 4


@pytest.fixture
def lifecycle():
    return TrackLifecycle(birth_score=0.4, keep_score=0.2, patience=2, duplicate_m=1.0)


def nothing():
    return TrackQueries.empty(4, torch.device('cpu'))


def make_frame(newborns, moved=(), tracks=None):
    """A decoded frame: newborns (x, y, score, class), then the tracks, now at ``moved`` (same form), then padding."""
    old = nothing() if tracks is None else tracks
    assert len(old) == len(moved)
    rows = [*newborns, *moved, (0.0, 0.0, 0.99, CAR)]
    queries = TrackQueries.empty(4, torch.device('cpu'), (len(rows),))
    values = torch.tensor(rows)
    queries.code[:, :2] = values[:, :2]
    # where it was expected
    queries.mean = place_and_speed(queries.code)
    queries.scores, queries.labels = values[:, 2], values[:, 3].long()
    queries.content = torch.arange(len(rows)).view(-1, 1).expand(-1, 4).float()
    new = torch.full((len(newborns),), -1)
    queries.ids = torch.cat([new, old.ids, torch.tensor([-2])])
    queries.missed = torch.cat([new + 1, old.missed, torch.tensor([0])])
    return queries


def step(lifecycle, frame, next_id=0):
    """Live tracks, shown tracks and next id."""
    tracks, shown, _, next_id = lifecycle.step(frame, next_id, MotionModel())
    return tracks, shown, next_id


def test_scores_over_the_threshold_give_birth(lifecycle):
    frame = make_frame([(0, 0, 0.9, CAR), (9, 0, 0.39, CAR), (20, 0, 0.41, PEDESTRIAN)])
    tracks, shown, next_id = step(lifecycle, frame, 5)
    assert next_id == 7
    assert shown.track_ids.tolist() == tracks.ids.tolist() == [5, 6]
    assert shown.labels_3d.tolist() == [CAR, PEDESTRIAN]
    torch.testing.assert_close(shown.scores_3d, torch.tensor([0.9, 0.41]))
    torch.testing.assert_close(shown.bboxes_3d.gravity_center[:, 0], torch.tensor([0.0, 20.0]))
    assert tracks.valid.all()


def test_padding_is_no_track(lifecycle):
    tracks, shown, next_id = step(lifecycle, make_frame([(0, 0, 0.1, CAR)]))
    assert (len(tracks), len(shown), next_id) == (0, 0, 0)
    assert shown.bboxes_3d.tensor.shape == (0, 9)


def test_ids_travel_with_their_boxes(lifecycle):
    first = make_frame([(0, 0, 0.5, CAR), (20, 0, 0.9, CAR), (40, 0, 0.7, CAR)])
    tracks, shown, next_id = step(lifecycle, first)
    place = dict(zip(shown.track_ids.tolist(), shown.bboxes_3d.center[:, 0].tolist(), strict=True))
    moved = [(x + 1.0, 0.0, 0.8, CAR) for x in tracks.code[:, 0].tolist()]
    frame = make_frame([(30.0, 0.0, 0.95, CAR)], moved, tracks)
    _, shown, next_id = step(lifecycle, frame, next_id)
    after = dict(zip(shown.track_ids.tolist(), shown.bboxes_3d.center[:, 0].tolist(), strict=True))
    assert next_id == 4
    assert after == {**{track: x + 1.0 for track, x in place.items()}, 3: 30.0}


def test_a_weak_track_is_kept_silently_for_its_patience(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    for x, score, missed in ((1, 0.1, 1), (2, 0.3, 0), (2, 0.1, 1)):
        frame = make_frame([], [(x, 0, score, CAR)], tracks)
        tracks, shown, next_id = step(lifecycle, frame, next_id)
        assert (tracks.ids.tolist(), tracks.missed.tolist()) == ([0], [missed])
        assert shown.track_ids.tolist() == [0] * (missed == 0)
    tracks, _, next_id = step(lifecycle, make_frame([], [(2, 0, 0.1, CAR)], tracks), next_id)
    assert (len(tracks), next_id) == (0, 1)


def test_an_id_is_not_used_again(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    for _ in range(2):
        frame = make_frame([], [(0, 0, 0.1, CAR)], tracks)
        tracks, _, next_id = step(lifecycle, frame, next_id)
    _, shown, _ = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]), next_id)
    assert shown.track_ids.tolist() == [1]


def test_of_duplicates_the_best_is_born(lifecycle):
    places = [(0, 0, 0.5, CAR), (0.5, 0, 0.9, CAR), (0.9, 0, 0.6, CAR), (3, 0, 0.5, CAR)]
    _, shown, _ = step(lifecycle, make_frame(places))
    torch.testing.assert_close(shown.bboxes_3d.center[:, 0], torch.tensor([0.5, 3.0]))


def test_another_class_is_no_duplicate(lifecycle):
    frame = make_frame([(0, 0, 0.9, CAR), (0.2, 0, 0.8, PEDESTRIAN)])
    assert len(step(lifecycle, frame)[1]) == 2


def test_no_birth_on_top_of_a_live_track(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    newborns = [(0.3, 0, 0.99, CAR), (0.3, 0, 0.8, PEDESTRIAN)]
    _, shown, _ = step(lifecycle, make_frame(newborns, [(0, 0, 0.5, CAR)], tracks), next_id)
    assert sorted(shown.track_ids.tolist()) == [0, 1]
    assert shown.labels_3d[shown.track_ids == 1].item() == PEDESTRIAN


def test_a_missed_track_does_not_stand_in_the_way_of_a_birth(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    frame = make_frame([(0.3, 0, 0.99, CAR)], [(0, 0, 0.1, CAR)], tracks)
    assert step(lifecycle, frame, next_id)[1].track_ids.tolist() == [1]


def test_content_is_that_of_the_query(lifecycle):
    frame = make_frame([(0, 0, 0.1, CAR), (9, 0, 0.9, CAR), (20, 0, 0.8, CAR)])
    tracks, _, _ = step(lifecycle, frame)
    assert tracks.content[:, 0].tolist() == [1.0, 2.0]


def test_all_objects_leave(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(9 * i, 0, 0.9, CAR) for i in range(5)]))
    assert len(tracks) == 5
    for left in (5, 0):
        frame = make_frame([], [(9 * i, 0, 0.05, CAR) for i in range(5)], tracks)
        tracks, shown, next_id = step(lifecycle, frame, next_id)
        assert (len(tracks), len(shown)) == (left, 0)
    assert next_id == 5


def test_the_number_of_tracks_is_bounded_and_the_best_stay():
    lifecycle = TrackLifecycle(birth_score=0.1, max_tracks=3)
    scores = (0.3, 0.9, 0.2, 0.8, 0.7)
    tracks, shown, next_id = step(
        lifecycle, make_frame([(9 * i, 0, score, CAR) for i, score in enumerate(scores)])
    )
    torch.testing.assert_close(tracks.scores, torch.tensor([0.9, 0.8, 0.7]))
    assert tracks.ids.tolist() == shown.track_ids.tolist() == [0, 1, 2]


def test_detections_are_all_boxes_above_a_low_score(lifecycle):
    tracks, _, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    newborns = [(0.1, 0, 0.06, CAR), (9, 0, 0.3, PEDESTRIAN), (20, 0, 0.04, CAR)]
    frame = make_frame(newborns, [(0, 0, 0.1, CAR)], tracks)
    _, shown, found, _ = lifecycle.step(frame, next_id, MotionModel())
    assert len(shown) == 0
    torch.testing.assert_close(found.scores_3d, torch.tensor([0.3, 0.1, 0.06]))
    assert found.labels_3d.tolist() == [PEDESTRIAN, CAR, CAR]
    torch.testing.assert_close(found.bboxes_3d.center[:, 0], torch.tensor([9.0, 0.0, 0.1]))
    assert set(found.keys()) == {'bboxes_3d', 'labels_3d', 'scores_3d'}
    few = TrackLifecycle(max_detections=2).step(frame, next_id, MotionModel())[2]
    assert len(few) == 2


def greedy_loop(near):
    """Greedy suppression, one row after the other."""
    kept = []
    for i in range(len(near)):
        if not any(near[i][j] for j in kept):
            kept.append(i)
    return [i in kept for i in range(len(near))]


@pytest.mark.parametrize('density', [0.0, 0.05, 0.3, 1.0])
def test_suppression_equals_the_loop(density):
    for seed in range(5):
        torch.manual_seed(seed)
        near = torch.rand(40, 40) < density
        near = near | near.T | torch.eye(40, dtype=torch.bool)
        assert greedy_keep(near).tolist() == greedy_loop(near.tolist())
    assert greedy_keep(torch.zeros(0, 0, dtype=torch.bool)).tolist() == []


def test_a_track_is_shown_once_it_was_seen_often_enough():
    lifecycle = TrackLifecycle(
        birth_score=0.4, keep_score=0.2, patience=3, duplicate_m=1.0, min_hits=3
    )
    tracks, shown, next_id = step(lifecycle, make_frame([(0, 0, 0.9, CAR)]))
    assert (tracks.hits.tolist(), len(shown), next_id) == ([1], 0, 1)
    # a frame without it counts for nothing
    for score, hits, visible in ((0.1, 1, 0), (0.5, 2, 0), (0.5, 3, 1), (0.1, 3, 0), (0.5, 4, 1)):
        frame = make_frame([], [(0, 0, score, CAR)], tracks)
        frame.hits = torch.cat([tracks.hits, torch.zeros(1, dtype=torch.long)])
        tracks, shown, _ = step(lifecycle, frame, next_id)
        assert tracks.hits.tolist() == [hits]
        assert len(shown) == visible


def test_a_score_is_trusted_by_the_frames_of_evidence():
    lifecycle = TrackLifecycle(birth_score=0.4, keep_score=0.2, evidence_frames=2.0)
    tracks, shown, next_id = step(lifecycle, make_frame([(0, 0, 0.8, CAR)]))
    assert shown.scores_3d.tolist() == pytest.approx([0.8 * (1 - math.exp(-0.5))])
    # what lives on keeps the frame's score: only what is shown is weighed
    assert tracks.scores.tolist() == pytest.approx([0.8])
    frame = make_frame([], [(0, 0, 0.6, CAR)], tracks)
    frame.hits = torch.cat([tracks.hits, torch.zeros(1, dtype=torch.long)])
    _, shown, _ = step(lifecycle, frame, next_id)
    assert shown.scores_3d.tolist() == pytest.approx([0.6 * (1 - math.exp(-1.0))])


def test_a_track_counts_as_far_as_its_frames_speak_for_its_class():
    lifecycle = TrackLifecycle(birth_score=0.4, class_sharpness=0.5)
    frame = make_frame([(0, 0, 0.8, CAR), (20, 0, 0.8, PEDESTRIAN), (40, 0, 0.8, CAR)])
    frame.class_log[:3] = -6.0
    frame.class_log[0, CAR] = frame.class_log[1, CAR] = -2.0
    tracks, shown, _ = step(lifecycle, frame)
    all_classes = math.exp(-1) + 6 * math.exp(-3)
    shares = [math.exp(-1) / all_classes, math.exp(-3) / all_classes, 1 / 7]
    assert shown.scores_3d.tolist() == pytest.approx([0.8 * share for share in shares])
    # what decides over life and death is the frame's score
    assert tracks.scores.tolist() == pytest.approx([0.8] * 3)
    assert shown.labels_3d.tolist() == [CAR, PEDESTRIAN, CAR]


def test_a_track_counts_as_far_as_its_place_is_known():
    lifecycle = TrackLifecycle(birth_score=0.4, concentration=0.5)
    frame = make_frame([(0, 0, 0.8, CAR), (20, 0, 0.8, CAR), (40, 0, 0.8, CAR)])
    frame.mass[:3] = torch.tensor([[0.9, 0.9], [0.5, 2.0], [0.0, 0.0]])
    tracks, shown, _ = step(lifecycle, frame)
    assert shown.scores_3d.tolist() == pytest.approx([0.8, 0.4, 0.0])
    assert tracks.scores.tolist() == pytest.approx([0.8] * 3)
