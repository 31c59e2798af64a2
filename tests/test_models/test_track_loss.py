# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The track head's loss: what costs, what does not, and by what it is divided."""

import pytest
import shapely
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.track import loss as loss_module
from nexusflow.models.track.assigner import FrameTargets
from nexusflow.models.track.box_code import encode_boxes
from nexusflow.models.track.loss import FrameSums, TrackLoss, footprints
from nexusflow.models.track.queries import TrackQueries

GRID = dict(range_m=(-51.2, -51.2, 51.2, 51.2), cell_m=6.4)
CPU = torch.device('cpu')


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
    return FrameTargets.stack([gt], [True], CPU), encode_boxes(gt.bboxes_3d).nan_to_num(7.0)


@pytest.fixture
def frame():
    """Targets, how five queries are matched, and outputs that say what the targets say."""
    target, code = make_targets()
    queries = torch.tensor([4, 0, 2])
    logits, boxes = torch.full((1, 5, 7), -20.0), torch.randn(1, 5, 10)
    logits[0, queries, target.labels[0]] = 20.0
    boxes[0, queries] = code
    matched = torch.full((1, 5), -1)
    matched[0, queries] = torch.arange(3)
    outputs = dict(
        heat=torch.zeros(1, 7, 16, 16, requires_grad=True),
        segmentation=torch.zeros(1, 7, 16, 16),
        dense_code=code[1].expand(1, 256, 10).clone().requires_grad_(),
        queries=TrackQueries.empty(4, CPU, (1, 5)),
        layers=[(logits, boxes)],
    )
    outputs['queries'].ids = torch.tensor([[-1, -1, 0, -1, -1]])
    return target, matched, outputs


def run_loss(target, matched, outputs, **kwargs):
    loss_fn = TrackLoss(BEVGrid(**GRID), 7, **kwargs)
    return loss_fn.frame(outputs, target, matched[None], torch.ones(1)).terms


def test_perfect_queries_cost_nothing(frame):
    sums = run_loss(*frame)
    assert sums['d0_cls'] < 1e-4
    assert sums['d0_box'] < 1e-4


def test_a_metre_of_error_costs_its_weight(frame):
    frame[2]['layers'][0][1][..., 0] += 1.0
    assert run_loss(*frame, box_weight=0.5)['d0_box'].item() == pytest.approx(3 * 0.5, rel=1e-4)


def test_a_class_that_is_decided_is_the_only_one_that_learns(frame):
    target, matched, outputs = frame
    logits = torch.zeros(1, 5, 7, requires_grad=True)
    outputs['layers'] = [(logits, outputs['layers'][0][1])]
    labels = torch.tensor([[1, 6, 4, 2, 0]])
    loss_fn = TrackLoss(BEVGrid(**GRID), 7)
    terms = loss_fn.frame(outputs, target, matched[None], torch.ones(1), labels).terms
    (grad,) = torch.autograd.grad(terms['d0_cls'], logits)
    assert torch.equal(grad != 0, torch.nn.functional.one_hot(labels, 7) == 1)


def test_padding_costs_nothing(frame):
    target, matched, outputs = frame
    outputs['layers'][0][0][0, 1] = 20.0
    assert run_loss(*frame)['d0_cls'] > 1
    outputs['queries'].ids[0, 1] = -2
    assert run_loss(*frame)['d0_cls'] < 1e-4


def test_cells_that_hold_a_centre_learn_its_box(frame):
    target, _, outputs = frame
    run_loss(*frame)['dense_box'].backward()
    slope = outputs['dense_code'].grad[0]
    cell, _ = BEVGrid(**GRID).cell_of(target.code[0, :, :2])
    assert slope[cell[0], 0] < 0
    assert slope[cell[1]].abs().max() == 0
    assert slope[cell[2], 0] < 0
    assert slope[cell[2], 8:].abs().max() == 0
    assert slope[0].abs().max() == 0


def test_the_heatmap_learns_the_centres(frame):
    target, _, outputs = frame
    run_loss(*frame)['heat'].backward()
    slope = outputs['heat'].grad[0].flatten(1)
    cell, _ = BEVGrid(**GRID).cell_of(target.code[0, :, :2])
    labels = target.labels[0]
    assert (slope[labels, cell] < 0).all()
    assert (slope[labels.roll(1), cell] > 0).all()
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


def test_a_velocity_that_is_not_known_teaches_nothing(frame):
    code = frame[2]['layers'][0][1].requires_grad_()
    run_loss(*frame)['d0_box'].backward()
    assert code.grad.isfinite().all()
    assert code.grad[0, 2, 8:].abs().max() == 0


def test_a_track_whose_object_left_is_trained_as_no_object(frame):
    target, matched, outputs = frame
    logits = outputs['layers'][0][0]
    matched[0, 4], outputs['queries'].ids[0, 4] = -1, 99
    sums = TrackLoss(BEVGrid(**GRID), 7).frame(outputs, target, matched[None], torch.ones(1))
    assert (sums.objects, sums.left) == (3, 1)
    assert sums.terms['d0_cls'] > 10
    logits.requires_grad_()
    terms = run_loss(target, matched, outputs)
    (slope,) = torch.autograd.grad(terms['d0_cls'], logits)
    assert slope[0, 4, target.labels[0, 0]] > 0.1
    boxes = (outputs['layers'][0][1] + 0.1).requires_grad_()
    outputs['layers'] = [(logits, boxes)]
    (slope,) = torch.autograd.grad(run_loss(target, matched, outputs)['d0_box'], boxes)
    assert slope[0, 4].abs().max() == 0
    assert (slope[0, [0, 2]].abs().amax(-1) > 0).all()


def make_sums(heat, cls, objects, left=0):
    terms = dict(heat=torch.tensor(heat), d0_cls=torch.tensor(cls))
    return FrameSums(terms, torch.tensor(objects), torch.tensor(left))


def collect(frames, **kwargs):
    losses = TrackLoss(BEVGrid(**GRID), 7, **kwargs).collect(frames)
    return {name: value.item() for name, value in losses.items()}


def test_the_loss_is_a_collective_average():
    """Its scale depends neither on the number of frames nor on the number of objects."""
    expected = {'loss_track_heat': 1.5, 'loss_track_d0_cls': 0.75}
    assert collect([make_sums(6.0, 3.0, 4)]) == expected
    assert collect([make_sums(6.0, 3.0, 4)] * 3) == expected
    assert collect([make_sums(6.0, 3.0, 0)])['loss_track_heat'] == 6.0


def test_the_average_is_over_the_clip_not_over_its_frames():
    frames = [make_sums(6.0, 0.0, 1), make_sums(10.0, 0.0, 7, left=3), make_sums(0.5, 0.0, 0)]
    assert collect(frames)['loss_track_heat'] == pytest.approx(16.5 / 8)
    published = 6.0 / 1 + 10.0 / (7 + 3) + 0.5 / 1
    assert collect(frames, normalise='frame')['loss_track_heat'] == pytest.approx(published)
    with pytest.raises(ValueError, match="normalise 'epoch' is not one of"):
        collect(frames, normalise='epoch')


@pytest.mark.parametrize('normalise', ['clip', 'frame'])
@pytest.mark.parametrize('objects', [(3, 5), (1, 0), (0, 0)])
def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(monkeypatch, normalise, objects):
    whole = collect([make_sums(6.0, 3.0, sum(objects))], normalise=normalise)
    monkeypatch.setattr(loss_module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(loss_module, 'all_reduce', lambda x: x.fill_(sum(objects)))
    shares = [
        collect([make_sums(heat, 1.5, count)], normalise=normalise)
        for heat, count in zip((2.0, 4.0), objects, strict=True)
    ]
    for name, value in whole.items():
        assert sum(share[name] for share in shares) / 2 == pytest.approx(value)
