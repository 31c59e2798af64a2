# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Track queries stay together through filtering, padding and moving."""

import pytest
import torch

from nexusflow.models.map_track_detector import clip_motion
from nexusflow.models.track.assigner import FrameTargets
from nexusflow.models.track.motion import MotionModel
from nexusflow.models.track.queries import TrackQueries, batch_queries, concat, select
from nexusflow.testing import make_clip_batch

CPU = torch.device('cpu')
MEMORY = 2


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
        hits=ids % 4,
        memory=row[:, None, None].expand(-1, MEMORY, channels).clone(),
        age=ids + 1,
        mean=row[:, None].expand(-1, 4).clone(),
        cov=row[:, None, None].expand(-1, 4, 4).clone(),
        class_log=row[:, None].expand(-1, 3).clone(),
        mass=row[:, None].expand(-1, 2).clone(),
    )


def assert_rows(queries, ids):
    """Every field holds the rows of these ids."""
    expected = torch.as_tensor(ids)
    assert queries.ids.tolist() == list(ids)
    assert torch.equal(queries.content[:, 0], expected.float())
    assert torch.equal(queries.code[:, 5], expected.float())
    assert torch.equal(queries.labels, expected % 7)
    assert torch.equal(queries.missed, expected % 3)
    assert torch.equal(queries.memory[:, 1, 0], expected.float())
    assert torch.equal(queries.age, expected + 1)
    assert torch.equal(queries.mean[:, 3], expected.float())
    assert torch.equal(queries.cov[:, 3, 0], expected.float())
    assert torch.equal(queries.class_log[:, 2], expected.float())
    assert torch.equal(queries.mass[:, 1], expected.float())
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


def test_a_mask_is_counted_once_for_all_fields(operations):
    queries, mask = make_queries(5), torch.tensor([True, False, True, False, False])
    assert operations(lambda: queries[mask]).count('nonzero') == 1


def test_concat_keeps_the_order():
    assert_rows(concat([make_queries(2, 5), make_queries(0), make_queries(1, 9)]), [5, 6, 9])


def test_map_applies_to_every_field():
    doubled = make_queries(3).map(lambda x: x.repeat_interleave(2, dim=0))
    assert_rows(doubled, [0, 0, 1, 1, 2, 2])


def test_batches_are_padded_to_the_longest():
    batch = batch_queries([make_queries(1), make_queries(3, 20), make_queries(0)])
    assert batch.content.shape == (3, 3, 4)
    assert batch.valid.tolist() == [[True, False, False], [True] * 3, [False] * 3]
    assert batch.ids.tolist() == [[0, -2, -2], [20, 21, 22], [-2, -2, -2]]
    assert_rows(batch.map(lambda x: x[1]), [20, 21, 22])


def test_a_batch_without_tracks_has_one_row_of_padding():
    batch = batch_queries([TrackQueries.empty(4, CPU, memory=MEMORY)] * 2)
    assert batch.content.shape == (2, 1, 4)
    assert batch.memory.shape == (2, 1, MEMORY, 4)
    assert not batch.valid.any()
    assert batch.code[..., 6:8].norm(dim=-1).eq(1).all()


def test_concat_of_batches_joins_the_rows_of_each_sample():
    batch = batch_queries([make_queries(2), make_queries(2, 10)])
    both = concat([batch, batch.map(lambda x: x[:, :1])], dim=1)
    assert both.ids.tolist() == [[0, 1, 0], [10, 11, 10]]
    assert_rows(both.map(lambda x: x[1]), [10, 11, 10])


def test_selected_rows_keep_their_order_and_are_padded():
    batch = batch_queries([make_queries(4), make_queries(4, 10)])
    chosen = torch.tensor([[True, False, True, True], [False, True, False, False]])
    picked = select(batch, chosen)
    assert picked.ids.tolist() == [[0, 2, 3], [11, -2, -2]]
    assert_rows(picked.map(lambda x: x[0]), [0, 2, 3])
    assert_rows(picked.map(lambda x: x[1, :1]), [11])
    nothing = select(batch, torch.zeros_like(chosen))
    assert nothing.ids.tolist() == [[-2], [-2]]


def test_objects_of_constant_velocity_are_met_in_the_next_frame():
    """Of a moving and turning ego: boxes of frame t, moved, are the boxes of frame t + 1, in all ten numbers."""
    samples = [frame[0] for frame in make_clip_batch(1, 4, (32, 32))['data_samples']]
    prev2curr, seconds = clip_motion([samples], torch.zeros(1))
    turn = prev2curr[0, 1:, 1, 0].asin()
    shift = prev2curr[0, 1:, :2, 3].norm(dim=-1)
    assert turn.abs().min() > 0.01 and shift.min() > 1.0
    frames = [FrameTargets.stack([s.gt_instances_3d], [True], CPU) for s in samples]
    for t in range(1, 4):
        before, after = frames[t - 1], frames[t]
        tracks = TrackQueries.empty(4, CPU, before.ids.shape)
        tracks.code, tracks.ids = before.code, before.ids
        moved = MotionModel().move(tracks, prev2curr[:, t], seconds[:, t])
        same = (moved.ids[0, :, None] == after.ids[0]) & ~before.code[0, :, None, 8].isnan()
        old, new = same.nonzero(as_tuple=True)
        assert len(old) >= 3
        torch.testing.assert_close(moved.code[0, old], after.code[0, new], atol=1e-3, rtol=0)


def test_moving_changes_the_places_only():
    batch = batch_queries([make_queries(3)])
    motion = torch.eye(4)[None].clone()
    motion[0, 0, 3] = 2.0
    moved = MotionModel().move(batch, motion, torch.zeros(1))
    torch.testing.assert_close(moved.code[..., 0], batch.code[..., 0] + 2)
    assert torch.equal(moved.code[..., 1:], batch.code[..., 1:])
    assert torch.equal(moved.ids, batch.ids)
    assert torch.equal(moved.content, batch.content)
