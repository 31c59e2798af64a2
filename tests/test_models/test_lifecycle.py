# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Birth, survival and death of tracks, and who is called what."""

import pytest
import torch

from nexusflow.models.track.lifecycle import TrackLifecycle
from nexusflow.models.track.queries import TrackQueries

CAR, PEDESTRIAN = 0, 4


@pytest.fixture
def lifecycle():
    return TrackLifecycle(birth_score=0.4, keep_score=0.2, patience=2, duplicate_m=1.0)


def nothing():
    return TrackQueries.empty(4, torch.device('cpu'))


def make_out(newborns, tracks=()):
    """A decoded frame; a query is (x, y, score, class), the tracks are the last rows, then padding."""
    rows = [*newborns, *tracks] + ([] if tracks else [(0.0, 0.0, 0.99, CAR)])
    logits, code = torch.full((1, len(rows), 7), -20.0), torch.zeros(1, len(rows), 10)
    code[..., 7] = 1
    for i, (x, y, score, label) in enumerate(rows):
        logits[0, i, label] = torch.logit(torch.tensor(score))
        code[0, i, :2] = torch.tensor([x, y])
    content = torch.arange(len(rows)).view(1, -1, 1).expand(-1, -1, 4).float()
    labels = torch.tensor([[label for *_, label in rows]])
    num_tracks = max(len(tracks), 1)
    return dict(layers=[(logits, code)], content=content, labels=labels, num_tracks=num_tracks)


def test_scores_over_the_threshold_give_birth(lifecycle):
    out = make_out([(0, 0, 0.9, CAR), (9, 0, 0.39, CAR), (20, 0, 0.41, PEDESTRIAN)])
    tracks, shown, next_id = lifecycle.step(out, nothing(), 5)
    assert next_id == 7
    assert shown.track_ids.tolist() == tracks.ids.tolist() == [5, 6]
    assert shown.labels_3d.tolist() == [CAR, PEDESTRIAN]
    torch.testing.assert_close(shown.scores_3d, torch.tensor([0.9, 0.41]))
    torch.testing.assert_close(shown.bboxes_3d.gravity_center[:, 0], torch.tensor([0.0, 20.0]))
    assert tracks.valid.all()


def test_padding_is_no_track(lifecycle):
    tracks, shown, next_id = lifecycle.step(make_out([(0, 0, 0.1, CAR)]), nothing(), 0)
    assert (len(tracks), len(shown), next_id) == (0, 0, 0)
    assert shown.bboxes_3d.tensor.shape == (0, 9)


def test_ids_travel_with_their_boxes(lifecycle):
    first = make_out([(0, 0, 0.5, CAR), (20, 0, 0.9, CAR), (40, 0, 0.7, CAR)])
    tracks, shown, next_id = lifecycle.step(first, nothing(), 0)
    place = dict(zip(shown.track_ids.tolist(), shown.bboxes_3d.center[:, 0].tolist(), strict=True))
    order = tracks.code[:, 0].tolist()
    moved = [(x + 1.0, 0.0, 0.8, CAR) for x in order]
    out = make_out([(30.0, 0.0, 0.95, CAR)], moved)
    _, shown, next_id = lifecycle.step(out, tracks, next_id)
    after = dict(zip(shown.track_ids.tolist(), shown.bboxes_3d.center[:, 0].tolist(), strict=True))
    assert next_id == 4
    assert after == {**{track: x + 1.0 for track, x in place.items()}, 3: 30.0}


def test_a_weak_track_is_kept_silently_for_its_patience(lifecycle):
    tracks, _, next_id = lifecycle.step(make_out([(0, 0, 0.9, CAR)]), nothing(), 0)
    tracks, shown, next_id = lifecycle.step(make_out([], [(1, 0, 0.1, CAR)]), tracks, next_id)
    assert (tracks.ids.tolist(), tracks.missed.tolist(), len(shown)) == ([0], [1], 0)
    tracks, shown, next_id = lifecycle.step(make_out([], [(2, 0, 0.3, CAR)]), tracks, next_id)
    assert shown.track_ids.tolist() == [0]
    assert tracks.missed.tolist() == [0]
    for _ in range(2):
        tracks, shown, next_id = lifecycle.step(make_out([], [(2, 0, 0.1, CAR)]), tracks, next_id)
    assert (len(tracks), next_id) == (0, 1)


def test_a_track_keeps_its_class_and_is_scored_by_it(lifecycle):
    tracks, _, next_id = lifecycle.step(make_out([(0, 0, 0.9, CAR)]), nothing(), 0)
    out = make_out([], [(0, 0, 0.3, CAR)])
    out['layers'][0][0][0, 0, PEDESTRIAN] = 4.0
    _, shown, _ = lifecycle.step(out, tracks, next_id)
    assert shown.labels_3d.tolist() == [CAR]
    torch.testing.assert_close(shown.scores_3d, torch.tensor([0.3]))


def test_an_id_is_not_used_again(lifecycle):
    tracks, _, next_id = lifecycle.step(make_out([(0, 0, 0.9, CAR)]), nothing(), 0)
    for _ in range(2):
        tracks, _, next_id = lifecycle.step(make_out([], [(0, 0, 0.1, CAR)]), tracks, next_id)
    _, shown, _ = lifecycle.step(make_out([(0, 0, 0.9, CAR)]), tracks, next_id)
    assert shown.track_ids.tolist() == [1]


def test_of_duplicates_the_best_is_born(lifecycle):
    out = make_out([(0, 0, 0.5, CAR), (0.5, 0, 0.9, CAR), (0.9, 0, 0.6, CAR), (3, 0, 0.5, CAR)])
    _, shown, _ = lifecycle.step(out, nothing(), 0)
    torch.testing.assert_close(shown.bboxes_3d.center[:, 0], torch.tensor([0.5, 3.0]))


def test_another_class_is_no_duplicate(lifecycle):
    out = make_out([(0, 0, 0.9, CAR), (0.2, 0, 0.8, PEDESTRIAN)])
    assert len(lifecycle.step(out, nothing(), 0)[1]) == 2


def test_no_birth_on_top_of_a_live_track(lifecycle):
    tracks, _, next_id = lifecycle.step(make_out([(0, 0, 0.9, CAR)]), nothing(), 0)
    newborns = [(0.3, 0, 0.99, CAR), (0.3, 0, 0.8, PEDESTRIAN)]
    _, shown, _ = lifecycle.step(make_out(newborns, [(0, 0, 0.5, CAR)]), tracks, next_id)
    assert sorted(shown.track_ids.tolist()) == [0, 1]
    assert shown.labels_3d[shown.track_ids == 1].item() == PEDESTRIAN


def test_content_is_that_of_the_query(lifecycle):
    out = make_out([(0, 0, 0.1, CAR), (9, 0, 0.9, CAR), (20, 0, 0.8, CAR)])
    tracks, _, _ = lifecycle.step(out, nothing(), 0)
    assert tracks.content[:, 0].tolist() == [1.0, 2.0]
