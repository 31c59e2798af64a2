# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Track head: queries through a clip, and what its losses see."""

import pytest
import torch

from nexusflow.models.map_track_detector import clip_motion
from nexusflow.models.track.assigner import FrameTargets, assign
from nexusflow.models.track.box_code import move_boxes
from nexusflow.models.track.queries import batch_queries, concat
from nexusflow.models.track.track_head import NexusTrackHead
from nexusflow.testing import make_clip_batch

CHANNELS, QUERIES = 16, 12
GRID = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=6.4)
CPU = torch.device('cpu')


def make_head(**kwargs):
    """A head whose newborns may be matched from any distance, without augmentation of its tracks."""
    args = dict(num_queries=QUERIES, num_layers=2, loss=dict(max_distance_m=None))
    args['carry'] = dict(drop_prob=0.0, insert_prob=0.0)
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


def tracks_in(out, b):
    """The track queries that went into a frame, without padding."""
    queries = out['queries'][b].map(lambda x: x[QUERIES:])
    return queries[queries.valid]


def track_ids(out, b):
    """Instance ids of the track queries that went into a frame."""
    return tracks_in(out, b).ids.tolist()


def test_outputs_without_a_track():
    head = make_head()
    bev = make_bevs(2, 1)[:, 0]
    out = head.decode(head.dense_forward(bev), head.no_tracks(CPU, (2, 1)))
    assert out['heat'].shape == (2, 7, 16, 16)
    assert out['dense_code'].shape == (2, 256, 10)
    assert out['queries'].content.shape == (2, QUERIES + 1, CHANNELS)
    assert out['queries'].ids.tolist() == [[-1] * QUERIES + [-2]] * 2
    assert len(out['layers']) == 2
    assert out['layers'][-1][1] is out['queries'].code
    for logits, code in out['layers']:
        assert logits.shape == (2, QUERIES + 1, 7)
        assert code.shape == (2, QUERIES + 1, 10)


def test_padding_does_not_change_the_other_queries():
    head = make_head().eval()
    dense = head.dense_forward(make_bevs(1, 1)[:, 0])
    one, padding = head.no_tracks(CPU, (1,)), head.no_tracks(CPU, (4,))
    one.ids[:] = 5
    one.content.normal_()
    padding.content.normal_()
    a = head.decode(dense, batch_queries([one]))
    b = head.decode(dense, batch_queries([concat([one, padding])]))
    for (logits_a, code_a), (logits_b, code_b) in zip(a['layers'], b['layers'], strict=True):
        torch.testing.assert_close(logits_a, logits_b[:, : QUERIES + 1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(code_a, code_b[:, : QUERIES + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('query_source', ['peaks', 'learned'])
def test_tracks_carry_the_ids_of_the_frame_before(query_source):
    clips = clips_of(3, ('track',), ('track',))
    _, outs = run(make_head(query_source=query_source), make_bevs(2, 3), clips)
    for b, clip in enumerate(clips):
        assert track_ids(outs[0], b) == []
        for t in (1, 2):
            ids = track_ids(outs[t], b)
            assert set(ids) <= ids_of(clip[t - 1])
            # peaks of a head that has learnt nothing are rarely of an object's class
            assert query_source == 'peaks' or set(ids) == ids_of(clip[t - 1])
            assert len(ids) == len(set(ids))
            gt = clip[t - 1].gt_instances_3d
            label_of = dict(zip(gt.instance_ids.tolist(), gt.labels_3d.tolist(), strict=True))
            labels = tracks_in(outs[t], b).labels.tolist()
            assert labels == [label_of[track] for track in ids]


def test_an_object_that_left_is_no_longer_carried():
    (clip,) = clips_of(3, ('track',))
    left = ids_of(clip[0]) - ids_of(clip[1])
    _, outs = run(make_head(query_source='learned'), make_bevs(1, 3), [clip])
    assert left
    assert left <= set(track_ids(outs[1], 0))
    assert not left & set(track_ids(outs[2], 0))


def test_tracks_start_where_motion_brings_their_own_box():
    """The carried box of each id, moved by velocity and ego motion, before much refinement."""
    (clip,) = clips_of(2, ('track',))
    head = make_head(query_source='learned')
    bevs = make_bevs(1, 2)
    _, outs = run(head, bevs, [clip])
    code = outs[0]['queries'].code[0].detach()
    targets = FrameTargets.stack([clip[0].gt_instances_3d], [True], CPU)
    matched = assign(outs[0]['layers'], outs[0]['queries'].ids, targets, **head.loss_fn.matching)
    ids = targets.ids[0].tolist()
    query_of = {ids[k]: q for q, k in enumerate(matched[-1, 0].tolist()) if k >= 0}
    queries = [query_of[track] for track in track_ids(outs[1], 0)]
    prev2curr, seconds = clip_motion([clip], bevs)
    expected = move_boxes(code[None, queries], prev2curr[:, 1], seconds[:, 1])
    found = outs[1]['layers'][0][1][:, QUERIES:]
    assert len(queries) == len(ids)
    torch.testing.assert_close(found[..., :2], expected[..., :2], atol=0.3, rtol=0)


VARIANTS = [
    dict(carry=dict(drop_prob=0.1, insert_prob=0.3)),
    dict(query_source='learned'),
    dict(memory=dict(length=2), decoder=dict(checkpoint=True)),
    dict(query_source='learned', memory={}, loss=dict(normalise='frame')),
]


@pytest.mark.parametrize('frames', [1, 2, 3])
@pytest.mark.parametrize('variant', VARIANTS, ids=str)
def test_losses_reach_every_parameter(frames, variant):
    head = make_head(**variant)
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
    head = make_head(carry=dict(insert_prob=0.5))
    bevs = make_bevs(2, 2).requires_grad_()
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
    head = make_head(query_source='learned')
    for frames, learns in ((1, False), (2, True)):
        head.zero_grad()
        total(run(head, make_bevs(1, frames), clips_of(frames, ('track',)))[0]).backward()
        grad = head.interaction.ffn[0].weight.grad.abs().max()
        assert (grad > 0) == learns


def test_a_track_outside_the_grid_is_unlikely():
    head = make_head().eval()
    track = head.no_tracks(CPU, (2,))
    track.ids = torch.tensor([5, 6])
    track.code[:, :2] = torch.tensor([[60.0, 0.0], [51.0, -51.0]])
    out = head.decode(head.dense_forward(make_bevs(1, 1)[:, 0]), batch_queries([track]))
    assert out['queries'].scores[0, QUERIES:].max() < 0.2


@pytest.mark.parametrize('query_source', ['peaks', 'learned'])
def test_a_track_keeps_its_class_and_is_scored_by_it(query_source):
    head = make_head(query_source=query_source).eval()
    with torch.no_grad():
        head.decoder.layers[-1].cls.bias[4] = 20.0
    track = head.no_tracks(CPU, (1,))
    track.ids[:], track.labels[:] = 5, 2
    out = head.decode(head.dense_forward(make_bevs(1, 1)[:, 0]), batch_queries([track]))
    logits, queries = out['layers'][-1][0][0], out['queries'][0]
    assert logits[QUERIES].argmax() == 4
    assert queries.labels[QUERIES] == 2
    torch.testing.assert_close(queries.scores[QUERIES], logits[QUERIES, 2].sigmoid())
    if query_source == 'learned':
        assert (queries.labels[:QUERIES] == 4).all()
        torch.testing.assert_close(queries.scores[:QUERIES], logits[:QUERIES, 4].sigmoid())


def test_an_unknown_source_of_queries_is_refused():
    with pytest.raises(ValueError, match="query_source 'anchors' is not one of peaks, learned"):
        make_head(query_source='anchors')


def saved_bytes(head, bevs, clips):
    """Losses, and the bytes that the forward pass keeps for the backward pass."""
    sizes = []

    def pack(x):
        sizes.append(x.nbytes)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        losses, _ = run(head, bevs, clips)
    return losses, sum(sizes)


def test_checkpointing_gives_the_same_gradients_with_less_memory():
    bevs, clips = make_bevs(1, 3), clips_of(3, ('track',))
    results = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        head = make_head(num_layers=4, num_queries=200, decoder=dict(checkpoint=checkpoint))
        losses, size = saved_bytes(head, bevs, clips)
        total(losses).backward()
        results.append((size, {name: p.grad for name, p in head.named_parameters()}))
    (plain, expected), (less, grads) = results
    assert less < 0.6 * plain
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-5, rtol=1e-5, msg=name)


def crowd(number):
    """A sample's labels with many objects, one every few metres."""
    (clip,) = clips_of(1, ('track',))
    gt = clip[0].gt_instances_3d
    gt = gt[torch.zeros(number, dtype=torch.long)]
    gt.bboxes_3d.tensor[:, :2] = torch.rand(number, 2) * 100 - 50
    gt.instance_ids = torch.arange(number)
    return gt


@pytest.mark.parametrize('query_source', ['peaks', 'learned'])
def test_three_hundred_objects_are_carried_and_may_all_leave(query_source):
    (clip,) = clips_of(4, ('track',))
    gt = crowd(300)
    none = gt[torch.zeros(0, dtype=torch.long)]
    for sample, labels in zip(clip, (gt, gt, none, none), strict=True):
        sample.gt_instances_3d = labels
    head = make_head(query_source=query_source, num_queries=320, num_layers=1)
    losses, outs = run(head, make_bevs(1, 4), [clip])
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    rows = [out['queries'][0].map(lambda x: x[320:]) for out in outs]
    ids = [row[row.valid].ids.tolist() for row in rows]
    if query_source == 'learned':
        assert sorted(ids[1]) == sorted(ids[2]) == list(range(300))
    assert 20 < len(ids[1]) <= len(ids[2]) and set(ids[1]) <= set(ids[2])
    assert ids[0] == ids[3] == []


def test_memory_travels_with_its_track():
    (clip,) = clips_of(4, ('track',))
    head = make_head(query_source='learned', memory=dict(length=2))
    _, outs = run(head, make_bevs(1, 4), [clip])
    assert tracks_in(outs[1], 0).age.unique().tolist() == [1]
    for before, after in zip(outs[1:], outs[2:], strict=False):
        old, new = tracks_in(before, 0), tracks_in(after, 0)
        row, old_row = (new.ids[:, None] == old.ids).nonzero(as_tuple=True)
        assert len(row) > 2
        assert torch.equal(new.memory[row, 1], old.memory[old_row, 0])
        assert torch.equal(new.age[row], old.age[old_row] + 1)
        saved = head.memory.save(old.content[old_row])
        torch.testing.assert_close(new.memory[row, 0], saved)
