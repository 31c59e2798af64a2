# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Track queries stay together through filtering, padding and moving."""

import pytest
import torch

from nexusflow.models.track.queries import TrackQueries, batch_queries, concat, move_queries


def make_queries(size, first_id=0, channels=4):
    """Tracks whose every field names the row."""
    ids = torch.arange(first_id, first_id + size)
    row = ids.float()
    return TrackQueries(
        content=row[:, None].expand(-1, channels).clone(),
        code=row[:, None].expand(-1, 10).clone(),
        ids=ids,
        labels=ids % 7,
        scores=row / 100,
        missed=ids % 3,
        valid=torch.ones(size, dtype=torch.bool),
    )


def assert_rows(queries, ids):
    """Every field holds the rows of these ids."""
    expected = torch.as_tensor(ids)
    assert queries.ids.tolist() == list(ids)
    assert torch.equal(queries.content[:, 0], expected.float())
    assert torch.equal(queries.code[:, 5], expected.float())
    assert torch.equal(queries.labels, expected % 7)
    assert torch.equal(queries.missed, expected % 3)
    torch.testing.assert_close(queries.scores, expected / 100)


@pytest.mark.parametrize(
    ('index', 'ids'),
    [
        (torch.tensor([4, 0, 2]), [14, 10, 12]),
        (torch.tensor([True, False, False, True, False]), [10, 13]),
        (torch.zeros(5, dtype=torch.bool), []),
    ],
)
def test_a_filter_takes_all_fields_along(index, ids):
    chosen = make_queries(5, 10)[index]
    assert len(chosen) == len(ids)
    assert_rows(chosen, ids)


def test_concat_keeps_the_order():
    assert_rows(concat([make_queries(2, 5), make_queries(0), make_queries(1, 9)]), [5, 6, 9])


def test_map_applies_to_every_field():
    doubled = make_queries(3).map(lambda x: x.repeat_interleave(2, dim=0))
    assert_rows(doubled, [0, 0, 1, 1, 2, 2])


def test_batches_are_padded_to_the_longest():
    batch = batch_queries([make_queries(1), make_queries(3, 20), make_queries(0)])
    assert batch.content.shape == (3, 3, 4)
    assert batch.valid.tolist() == [[True, False, False], [True] * 3, [False] * 3]
    assert batch.ids.tolist() == [[0, -1, -1], [20, 21, 22], [-1, -1, -1]]
    assert_rows(batch.map(lambda x: x[1]), [20, 21, 22])


def test_a_batch_without_tracks_has_one_row_of_padding():
    batch = batch_queries([TrackQueries.empty(4, torch.device('cpu'))] * 2)
    assert batch.content.shape == (2, 1, 4)
    assert not batch.valid.any()
    assert batch.code[..., 6:8].norm(dim=-1).eq(1).all()


def test_moving_changes_the_boxes_only():
    batch = batch_queries([make_queries(3)])
    motion = torch.eye(4)[None].clone()
    motion[0, 0, 3] = 2.0
    moved = move_queries(batch, motion, torch.zeros(1))
    torch.testing.assert_close(moved.code[..., 0], batch.code[..., 0] + 2)
    assert torch.equal(moved.code[..., 1:], batch.code[..., 1:])
    assert torch.equal(moved.ids, batch.ids)
    assert torch.equal(moved.content, batch.content)
