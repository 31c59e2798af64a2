# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Who lives on in training: matched queries, less dropped ones, with false positives beside some."""

import pytest
import torch

from nexusflow.models.track.assigner import FrameTargets
from nexusflow.models.track.carry import CarryRule
from nexusflow.models.track.motion import MotionModel, place_and_speed
from nexusflow.models.track.queries import TrackQueries

CPU = torch.device('cpu')
# six newborns and two tracks of each sample; the objects' ids are 40 and 41, 50 to 52
IDS = torch.tensor([[-1] * 6 + [40, 7], [-1] * 6 + [-2, -2]])
MATCHED = torch.tensor([[-1, 1, -1, -1, -1, -1, 0, -1], [2, -1, -1, 0, -1, 1, -1, -1]])
SCORES = torch.tensor(
    [[0.1, 0.9, 0.3, 0.8, 0.2, 0.4, 0.9, 0.99], [0.9, 0.1, 0.3, 0.1, 0.2, 0.9, 1, 1]]
)


def make_frame():
    queries = TrackQueries.empty(4, CPU, IDS.shape)
    queries.ids, queries.scores, queries.labels = IDS, SCORES, torch.full_like(IDS, 6)
    queries.content = torch.arange(8.0).view(1, -1, 1).expand(2, -1, 4)
    queries.code = torch.randn(2, 8, 10, requires_grad=True)
    queries.mean = place_and_speed(queries.code.detach())
    targets = FrameTargets(
        code=torch.zeros(2, 3, 10),
        labels=torch.tensor([[3, 4, 0], [0, 1, 2]]),
        ids=torch.tensor([[40, 41, -2], [50, 51, 52]]),
        counts=(2, 3),
    )
    return queries, targets


def carry(**kwargs):
    """Carried rows of each sample: the number of the row, its id and its class."""
    queries, targets = make_frame()
    tracks = CarryRule(**kwargs)(queries, MATCHED, targets, MotionModel())
    assert not tracks.code.requires_grad
    rows = []
    for b in range(2):
        kept = tracks[b][tracks[b].valid]
        index = kept.content[:, 0].long()
        assert torch.equal(kept.code, queries.code[b, index])
        rows.append(list(zip(index.tolist(), kept.ids.tolist(), kept.labels.tolist(), strict=True)))
    return rows


def test_matched_queries_take_the_id_and_class_of_their_object():
    first, second = carry(drop_prob=0.0, insert_prob=0.0)
    assert first == [(1, 41, 4), (6, 40, 3)]
    assert second == [(0, 52, 2), (3, 50, 0), (5, 51, 1)]


def test_dropped_queries_are_gone():
    assert carry(drop_prob=1.0, insert_prob=1.0) == [[], []]


def test_the_best_unmatched_newborns_are_inserted_without_an_id():
    """Never a track whose object has left (row 7), nor padding."""
    first, second = carry(drop_prob=0.0, insert_prob=1.0)
    assert [row for row in first if row[1] == -1] == [(3, -1, 6), (5, -1, 6)]
    assert [row for row in second if row[1] == -1] == [(1, -1, 6), (2, -1, 6), (4, -1, 6)]


@pytest.mark.parametrize(('drop_prob', 'insert_prob'), [(0.1, 0.3), (0.5, 0.0)])
def test_the_shares_are_those_asked_for(drop_prob, insert_prob):
    torch.manual_seed(0)
    live, inserted = 0, 0
    for _ in range(300):
        rows = [row for rows in carry(drop_prob=drop_prob, insert_prob=insert_prob) for row in rows]
        inserted += sum(row[1] == -1 for row in rows)
        live += sum(row[1] >= 0 for row in rows)
    assert live / 1500 == pytest.approx(1 - drop_prob, abs=0.04)
    assert inserted / max(live, 1) == pytest.approx(insert_prob, abs=0.05)
