# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Track head: queries through a clip, and what its losses see."""

import pytest
import shapely
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map_track_detector import clip_motion
from nexusflow.models.track.assigner import FrameTargets, assign
from nexusflow.models.track.box_code import encode_boxes, move_boxes
from nexusflow.models.track.loss import TrackLoss, footprints
from nexusflow.models.track.queries import TrackQueries, batch_queries
from nexusflow.models.track.track_head import NexusTrackHead
from nexusflow.testing import make_clip_batch

CHANNELS, QUERIES = 16, 12
GRID = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=6.4)
CPU = torch.device('cpu')


def make_head(**kwargs):
    """A head whose newborns may be matched from any distance, without augmentation of its tracks."""
    args = dict(num_queries=QUERIES, num_layers=2, drop_prob=0.0, insert_prob=0.0)
    args['loss'] = dict(max_distance_m=1e3)
    return NexusTrackHead(CHANNELS, GRID, GRID, **{**args, **kwargs})


def make_bevs(batch, frames):
    return torch.randn(batch, frames, CHANNELS, 16, 16)


def clips_of(frames, *tasks):
    """One clip of samples for each sequence of labelled tasks."""
    data = make_clip_batch(len(tasks), frames, (32, 32), tasks)
    return [list(clip) for clip in zip(*data['data_samples'], strict=True)]


def run(head, bevs, clips):
    return head.loss(bevs, clips, *clip_motion(clips, bevs))


def total(losses):
    return sum(losses.values())


def ids_of(sample):
    return set(sample.gt_instances_3d.instance_ids.tolist())


def track_ids(out, b):
    """Instance ids of the track queries that went into a frame."""
    return out['ids'][b, QUERIES:][out['valid'][b, QUERIES:]].tolist()


def test_outputs_without_a_track():
    head = make_head()
    bev = make_bevs(2, 1)[:, 0]
    out = head.decode(
        head.dense_forward(bev), batch_queries([TrackQueries.empty(CHANNELS, CPU)] * 2)
    )
    assert out['heat'].shape == (2, 7, 16, 16)
    assert out['dense_code'].shape == (2, 256, 10)
    assert out['content'].shape == (2, QUERIES + 1, CHANNELS)
    assert out['ids'].tolist() == [[-1] * QUERIES + [-2]] * 2
    assert out['valid'].sum() == 2 * QUERIES
    assert len(out['layers']) == len(head.layers)
    for logits, code in out['layers']:
        assert logits.shape == (2, QUERIES + 1, 7)
        assert code.shape == (2, QUERIES + 1, 10)


def test_padding_does_not_change_the_other_queries():
    head = make_head().eval()
    dense = head.dense_forward(make_bevs(1, 1)[:, 0])
    one = TrackQueries.empty(CHANNELS, CPU, 1)
    one.valid[:], one.ids[:] = True, 5
    one.content.normal_()
    padding = TrackQueries.empty(CHANNELS, CPU, 4)
    padding.content.normal_()
    padded = TrackQueries(
        **{k: torch.cat([getattr(one, k), getattr(padding, k)])[None] for k in vars(one)}
    )
    a = head.decode(dense, batch_queries([one]))
    b = head.decode(dense, padded)
    for (logits_a, code_a), (logits_b, code_b) in zip(a['layers'], b['layers'], strict=True):
        torch.testing.assert_close(logits_a, logits_b[:, : QUERIES + 1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(code_a, code_b[:, : QUERIES + 1], atol=1e-5, rtol=1e-5)


def test_a_peak_that_a_track_explains_starts_no_query():
    head = make_head(num_queries=1, num_layers=1).eval()
    dense = head.dense_forward(make_bevs(1, 1)[:, 0])
    heat = torch.full((1, 7, 16, 16), -6.0)
    heat[0, 2, 3:6, 3:6] = 1.0
    heat[0, 2, 4, 4], heat[0, 2, 10, 11] = 3.0, -1.0
    dense['heat'] = heat
    track = TrackQueries.empty(CHANNELS, CPU, 1)
    place = head.grid.centers()[4, 4]
    track.code[0, :2], track.labels[0] = place, 2
    for valid, row, col in ((False, 4, 4), (True, 10, 11)):
        track.valid[0] = valid
        code = head.decode(dense, batch_queries([track]))['layers'][0][1][0, 0]
        cell = dense['dense_code'][0, row * 16 + col]
        torch.testing.assert_close(code, cell, atol=0.3, rtol=0)
    track.labels[0] = 3
    code = head.decode(dense, batch_queries([track]))['layers'][0][1][0, 0]
    torch.testing.assert_close(code, dense['dense_code'][0, 4 * 16 + 4], atol=0.3, rtol=0)


def test_tracks_carry_the_ids_of_the_frame_before():
    clips = clips_of(3, ('track',), ('track',))
    _, outs = run(make_head(), make_bevs(2, 3), clips)
    for b, clip in enumerate(clips):
        assert track_ids(outs[0], b) == []
        for t in (1, 2):
            ids = track_ids(outs[t], b)
            assert set(ids) == ids_of(clip[t - 1])
            assert len(ids) == len(set(ids))
            gt = clip[t - 1].gt_instances_3d
            label_of = dict(zip(gt.instance_ids.tolist(), gt.labels_3d.tolist(), strict=True))
            labels = outs[t]['labels'][b, QUERIES:][outs[t]['valid'][b, QUERIES:]].tolist()
            assert labels == [label_of[track] for track in ids]


def test_an_object_that_left_is_no_longer_carried():
    (clip,) = clips_of(3, ('track',))
    left = ids_of(clip[0]) - ids_of(clip[1])
    _, outs = run(make_head(), make_bevs(1, 3), [clip])
    assert left
    assert left <= set(track_ids(outs[1], 0))
    assert not left & set(track_ids(outs[2], 0))


def test_tracks_start_where_motion_brings_their_own_box():
    """The carried box of each id, moved by velocity and ego motion, before much refinement."""
    (clip,) = clips_of(2, ('track',))
    head = make_head()
    bevs = make_bevs(1, 2)
    _, outs = run(head, bevs, [clip])
    logits, code = (x[0].detach() for x in outs[0]['layers'][-1])
    targets = FrameTargets(clip[0].gt_instances_3d, True, CPU)
    weights = head.loss_fn.cls_weight, head.loss_fn.box_weight, 1e3
    matched = assign(logits, code, outs[0]['ids'][0], targets, *weights).tolist()
    query_of = {targets.ids[k].item(): q for q, k in enumerate(matched) if k >= 0}
    queries = [query_of[track] for track in track_ids(outs[1], 0)]
    prev2curr, seconds = clip_motion([clip], bevs)
    expected = move_boxes(code[None, queries], prev2curr[:, 1], seconds[:, 1])
    found = outs[1]['layers'][0][1][:, QUERIES:]
    assert len(queries) == len(targets.ids)
    torch.testing.assert_close(found[..., :2], expected[..., :2], atol=0.3, rtol=0)


def test_dropped_tracks_are_born_again_and_false_positives_are_added():
    clips = clips_of(2, ('track',))
    _, outs = run(make_head(drop_prob=1.0), make_bevs(1, 2), clips)
    assert track_ids(outs[1], 0) == []
    _, outs = run(make_head(insert_prob=1.0), make_bevs(1, 2), clips)
    ids = track_ids(outs[1], 0)
    count = len(ids_of(clips[0][0]))
    assert sorted(ids)[-count:] == sorted(ids_of(clips[0][0]))
    assert ids.count(-1) == min(count, QUERIES - count)


@pytest.mark.parametrize('frames', [1, 2, 3])
def test_losses_reach_every_parameter(frames):
    head = make_head(drop_prob=0.1, insert_prob=0.3)
    losses, outs = run(head, make_bevs(2, frames), clips_of(frames, ('track',), ('map',)))
    assert len(outs) == frames
    assert all(name.startswith('loss_track_') for name in losses)
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize('empty', [[0], [1], [0, 1, 2]])
def test_frames_without_any_object(empty):
    (clip,) = clips_of(3, ('track',))
    for t in empty:
        clip[t].gt_instances_3d = clip[t].gt_instances_3d[torch.zeros(0, dtype=torch.long)]
    head = make_head()
    losses, outs = run(head, make_bevs(1, 3), [clip])
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    for t in empty:
        if t < 2:
            assert track_ids(outs[t + 1], 0) == []
    if len(empty) == 3:
        assert losses['loss_track_d0_box'] == losses['loss_track_dense_box'] == 0
        assert losses['loss_track_d0_cls'] > 0


def test_unlabelled_clips_give_exactly_zero_gradient():
    head, bevs = make_head(insert_prob=0.5), make_bevs(2, 2).requires_grad_()
    losses, _ = run(head, bevs, clips_of(2, ('map',), ()))
    assert all(value == 0 for value in losses.values())
    total(losses).backward()
    for name, p in head.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() == 0, name
    assert bevs.grad.abs().max() == 0


def test_an_unlabelled_neighbour_changes_no_gradient():
    head, bevs = make_head().eval(), make_bevs(2, 3)
    clips = clips_of(3, ('track',), ('map',))
    total(run(head, bevs, clips)[0]).backward()
    mixed = {name: p.grad.clone() for name, p in head.named_parameters()}
    head.zero_grad()
    total(run(head, bevs[:1], clips[:1])[0]).backward()
    for name, p in head.named_parameters():
        torch.testing.assert_close(p.grad, mixed[name], atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize('unlabelled', [0, 1, 2])
def test_a_clip_with_an_unlabelled_frame_is_left_out(unlabelled):
    clips = clips_of(3, ('track',))
    clips[0][unlabelled].set_metainfo(dict(tasks=('map',)))
    losses, _ = run(make_head(), make_bevs(1, 3), clips)
    assert all(value == 0 for value in losses.values())


def test_labels_of_unlabelled_clips_are_not_read():
    head, bevs, clips = make_head(), make_bevs(2, 2), clips_of(2, ('track',), ('map',))
    before, _ = run(head, bevs, clips)
    for sample in clips[1]:
        sample.gt_instances_3d.bboxes_3d.tensor.fill_(float('nan'))
        sample.gt_instances_3d.labels_3d.fill_(99)
    after, _ = run(head, bevs, clips)
    assert {k: v.item() for k, v in before.items()} == {k: v.item() for k, v in after.items()}


def test_later_frames_teach_the_interaction():
    head = make_head()
    for frames, learns in ((1, False), (2, True)):
        head.zero_grad()
        total(run(head, make_bevs(1, frames), clips_of(frames, ('track',)))[0]).backward()
        grad = head.interaction.ffn[0].weight.grad.abs().max()
        assert (grad > 0) == learns


def test_a_track_outside_the_grid_is_unlikely():
    head = make_head().eval()
    track = TrackQueries.empty(CHANNELS, CPU, 2)
    track.valid[:], track.ids[:] = True, torch.tensor([5, 6])
    track.code[:, :2] = torch.tensor([[60.0, 0.0], [51.0, -51.0]])
    out = head.decode(head.dense_forward(make_bevs(1, 1)[:, 0]), batch_queries([track]))
    assert out['layers'][-1][0][0, QUERIES:].sigmoid().max() < 0.2


def make_targets():
    """Three objects of which one has no known velocity."""
    rows = torch.tensor(
        [
            [5.0, 20, -1, 4, 2, 1.5, 0.3, 3, 4],
            [-20.0, 7, -1, 0.7, 0.6, 1.8, -2.0, 0, 1],
            [30.0, -30, 0, 10, 3, 3.5, 1.6, float('nan'), float('nan')],
        ]
    )
    gt = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(rows, box_dim=9, origin=(0.5, 0.5, 0.5)),
        labels_3d=torch.tensor([0, 4, 1]),
        instance_ids=torch.arange(3),
    )
    return FrameTargets(gt, True, CPU), encode_boxes(gt.bboxes_3d).nan_to_num(7.0)


@pytest.fixture
def frame():
    """Targets, how five queries are matched, and outputs that say what the targets say."""
    target, code = make_targets()
    queries = torch.tensor([4, 0, 2])
    logits, boxes = torch.full((1, 5, 7), -20.0), torch.randn(1, 5, 10)
    logits[0, queries, target.labels] = 20.0
    boxes[0, queries] = code
    matched = torch.full((1, 5), -1)
    matched[0, queries] = torch.arange(3)
    outputs = dict(
        heat=torch.zeros(1, 7, 16, 16, requires_grad=True),
        segmentation=torch.zeros(1, 7, 16, 16),
        dense_code=code[1].expand(1, 256, 10).clone().requires_grad_(),
        valid=torch.ones(1, 5, dtype=torch.bool),
        layers=[(logits, boxes)],
    )
    return target, matched, outputs


def run_loss(target, matched, outputs, **kwargs):
    loss_fn = TrackLoss(BEVGrid(**GRID), 7, **kwargs)
    return loss_fn.frame(outputs, [target], [matched], torch.ones(1))


def test_perfect_queries_cost_nothing(frame):
    sums = run_loss(*frame)
    assert sums['d0_cls'] < 1e-4
    assert sums['d0_box'] < 1e-4


def test_a_metre_of_error_costs_its_weight(frame):
    frame[2]['layers'][0][1][..., 0] += 1.0
    assert run_loss(*frame, box_weight=0.5)['d0_box'].item() == pytest.approx(3 * 0.5, rel=1e-4)


def test_padding_costs_nothing(frame):
    target, matched, outputs = frame
    outputs['layers'][0][0][0, 1] = 20.0
    outputs['valid'][0, 1] = False
    assert run_loss(*frame)['d0_cls'] < 1e-4


def test_cells_that_hold_a_centre_learn_its_box(frame):
    target, _, outputs = frame
    run_loss(*frame)['dense_box'].backward()
    slope = outputs['dense_code'].grad[0]
    cell, _ = BEVGrid(**GRID).cell_of(target.code[:, :2])
    assert slope[cell[0], 0] < 0
    assert slope[cell[1]].abs().max() == 0
    assert slope[cell[2], 0] < 0
    assert slope[cell[2], 8:].abs().max() == 0
    assert slope[0].abs().max() == 0


def test_the_heatmap_learns_the_centres(frame):
    target, _, outputs = frame
    run_loss(*frame)['heat'].backward()
    slope = outputs['heat'].grad[0].flatten(1)
    cell, _ = BEVGrid(**GRID).cell_of(target.code[:, :2])
    assert (slope[target.labels, cell] < 0).all()
    assert (slope[target.labels.roll(1), cell] > 0).all()
    assert (slope[:, 0] > 0).all()


def test_footprints_cover_the_boxes_seen_from_above():
    grid = BEVGrid((-20.0, -20.0, 20.0, 20.0), 1.0)
    rows = torch.tensor([[3.0, -4, 0, 17, 6, 2, 0.7, 0, 0], [-12.0, 11, 0, 0.4, 0.3, 2, 0, 0, 0]])
    boxes = LiDARInstance3DBoxes(rows, box_dim=9, origin=(0.5, 0.5, 0.5))
    valid = torch.tensor([[True, True, False]])
    code = torch.cat([encode_boxes(boxes), torch.zeros(1, 10)])[None]
    area = footprints(code, torch.tensor([[2, 5, 0]]), valid, grid, 7)[0]
    large = shapely.MultiPoint(boxes.corners[0, :, :2].numpy()).convex_hull
    expected = shapely.contains_xy(large, *grid.centers().unbind(-1))
    assert (area[2].bool().numpy() == expected).all()
    cell, _ = grid.cell_of(torch.tensor([-12.0, 11.0]))
    assert area[5].flatten()[cell] == 1
    assert 1 <= area[5].sum() <= 9
    assert area[[0, 1, 3, 4, 6]].sum() == 0


def test_the_loss_is_a_collective_average():
    """Its scale depends neither on the number of frames nor on the number of objects."""
    loss_fn = TrackLoss(BEVGrid(**GRID), 7)
    sums = dict(heat=torch.tensor(6.0), d0_cls=torch.tensor(3.0))
    once = loss_fn.collect([sums], torch.tensor(4.0))
    thrice = loss_fn.collect([sums] * 3, torch.tensor(12.0))
    assert once == thrice == {'loss_track_heat': 1.5, 'loss_track_d0_cls': 0.75}
    assert loss_fn.collect([sums], torch.tensor(0.0))['loss_track_heat'] == 6.0
