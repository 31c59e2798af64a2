# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Lines followed through dense fields: exact fields of known lines give the lines back."""

import math

import pytest
import shapely
import torch

from nexusflow.geometry.vector_map import MAP_CLASSES
from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map.line_fields import (
    LineFieldLoss,
    doubled_angle,
    halved_angle,
    nearest_on_lines,
)
from nexusflow.models.map.targets import TargetBuilder
from nexusflow.models.map.traced import TracedQueries
from nexusflow.models.map.tracing import (
    LineTracer,
    first_of_each,
    gaps_sq_m2,
    resample,
)

GRID = BEVGrid((-15.0, -30.0, 15.0, 30.0), 0.5)
POINTS = 20


def line(*corners):
    """(20, 2) points along a polyline."""
    dense = torch.tensor(corners, dtype=torch.float32)
    return resample(dense[None], torch.ones(1, len(corners), dtype=torch.bool), POINTS)[0][0]


def arc(radius, start, stop):
    angle = torch.linspace(start, stop, POINTS)
    return radius * torch.stack([angle.cos(), angle.sin()], dim=-1)


def targets_of(lines, labels, closed=None):
    closed = closed or [False] * len(lines)
    gt = type('Gt', (), {'__len__': lambda self: len(lines)})()
    gt.pts_m, gt.labels = torch.stack(lines), torch.tensor(labels)
    gt.is_closed = torch.tensor(closed)
    return TargetBuilder(POINTS)([gt])


def exact_fields(lines, labels, num_classes=3, width_m=0.4):
    """Probability, offset and tangent that know the lines."""
    targets = targets_of(lines, labels)
    cells = GRID.centers().flatten(0, 1)[None]
    maps, noise = [], torch.Generator().manual_seed(0)
    for label in range(num_classes):
        near, edge = nearest_on_lines(cells, torch.full(cells.shape[:2], label), targets)
        offset = near - cells
        prob = torch.exp(-offset.norm(dim=-1, keepdim=True) / width_m) * (label in labels)
        # no two cells are equally likely
        prob = prob * (1 - 0.1 * torch.rand(prob.shape, generator=noise))
        maps.append(torch.cat([prob, offset, doubled_angle(edge)], dim=-1))
    maps = torch.stack(maps).view(num_classes, *GRID.shape, 5).permute(0, 3, 1, 2)[None]
    return maps[:, :, 0], maps[:, :, 1:3], maps[:, :, 3:]


def gap_m(a, b):
    """Largest distance of a point of one line to the other's, either way."""
    distance = torch.cdist(a, resample(b[None], torch.ones(1, POINTS, dtype=torch.bool), 400)[0][0])
    return float(distance.min(1).values.max())


def test_resample_keeps_to_the_valid_run_by_hand():
    pts = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [1.0, 0.0], [1.0, 3.0], [7.0, 7.0]]])
    valid = torch.tensor([[False, True, True, True, False]])
    out, length = resample(pts, valid, 5)
    assert length.tolist() == [4.0]
    expected = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]]
    torch.testing.assert_close(out[0], torch.tensor(expected))


def test_angles_are_the_same_for_both_directions_of_a_line():
    vectors = torch.randn(50, 2)
    torch.testing.assert_close(doubled_angle(vectors), doubled_angle(-vectors), atol=1e-5, rtol=0)
    back = halved_angle(doubled_angle(vectors))
    cosine = (back * vectors).sum(-1).abs() / vectors.norm(dim=-1)
    torch.testing.assert_close(cosine, torch.ones(50), atol=1e-5, rtol=0)


def test_nearest_point_on_the_lines_of_the_own_class_by_hand():
    targets = targets_of([line((0, -10), (0, 10)), line((4, -10), (4, 10))], [0, 2])
    points = torch.tensor([[[3.0, 1.0], [3.0, 1.0], [0.5, 14.0]]])
    near, edge = nearest_on_lines(points, torch.tensor([[0, 2, 0]]), targets)
    torch.testing.assert_close(near[0], torch.tensor([[0.0, 1.0], [4.0, 1.0], [0.0, 10.0]]))
    assert (edge[..., 0] == 0).all() and (edge[..., 1] > 0).all()


@pytest.mark.parametrize(
    'lines',
    [
        [line((2, -30), (2, 30))],
        [line((-14, -20), (14, 25))],
        [arc(12.0, 0.1, 2.2)],
        [line((0, -28), (0, 0), (14, 4))],
        [line((1, -25), (1, 25)), line((4.4, -25), (4.4, 25)), line((-10, -8), (-10, 8))],
    ],
    ids=['straight', 'slanted', 'arc', 'corner', 'neighbours'],
)
def test_exact_fields_give_the_lines_back(lines):
    tracer = LineTracer(GRID, POINTS, num_seeds=40)
    traced, labels, scores = tracer(*exact_fields(lines, [2] * len(lines)))
    found = traced[0][scores[0] > 0]
    assert len(found) == len(lines)
    assert (labels[0][: len(found)] == 2).all()
    assert (scores[0].diff() <= 0).all()
    for truth in lines:
        best = min(found, key=lambda one: gap_m(truth, one))
        assert gap_m(best, truth) < 0.25
        # a walk ends less than two steps before the line or the range does
        assert gap_m(truth, best) < 2.5


def test_a_ring_is_walked_once():
    ring = arc(8.0, 0.0, 2 * math.pi)
    traced, _, scores = LineTracer(GRID, POINTS, num_seeds=30)(*exact_fields([ring], [2]))
    found = traced[0][scores[0] > 0]
    assert len(found) == 1
    length = float(found[0].diff(dim=0).norm(dim=-1).sum())
    assert 0.95 * 16 * math.pi < length < 1.05 * 16 * math.pi
    assert torch.allclose(found[0][0], found[0][-1], atol=1e-4)
    assert gap_m(found[0], ring) < 0.25


def test_the_choice_of_all_at_once_is_the_greedy_one():
    torch.manual_seed(0)
    loses = torch.rand(20, 30, 30).lt(0.15).tril(-1)
    alive = torch.rand(20, 30) < 0.8
    for matrix, candidates, kept in zip(loses, alive, first_of_each(loses, alive), strict=True):
        chosen = []
        for i in range(30):
            if candidates[i] and not matrix[i, chosen].any():
                chosen.append(i)
        assert kept.nonzero().flatten().tolist() == chosen


def test_gaps_between_lines_are_those_of_shapely():
    lines_m = 30 * torch.rand(2, 5, 20, 2, generator=torch.Generator().manual_seed(0)).cumsum(2)
    lines_m = lines_m - lines_m.mean(2, keepdim=True)
    gap_m = gaps_sq_m2(lines_m, parts=64).clamp(min=0).sqrt()
    expected = shapely.distance(
        shapely.points(lines_m.numpy())[..., None],
        shapely.linestrings(lines_m.numpy())[:, None, None],
    )
    # a segment is of up to 42 m, its 64 parts of 0.66 m, and a line ends one part short
    assert torch.allclose(gap_m, torch.from_numpy(expected).float(), atol=0.67)
    assert gaps_sq_m2(lines_m).shape == (2, 5, 20, 5)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(gaps_sq_m2(lines_m, parts=64).clamp(min=0).sqrt(), gap_m)


def test_without_lines_all_scores_are_zero():
    prob = torch.full((2, 3, *GRID.shape), 0.1)
    field = torch.zeros(2, 3, 2, *GRID.shape)
    lines, _, scores = LineTracer(GRID, POINTS, num_seeds=12)(prob, field, field)
    assert lines.shape == (2, 12, POINTS, 2) and lines.isfinite().all()
    assert (scores == 0).all()


def test_field_loss_is_small_for_exact_fields_and_counts_metres():
    lines, labels = [line((2, -20), (2, 20)), line((-9, -20), (-9, 20))], [0, 2]
    _, offset, tangent = exact_fields(lines, labels)
    targets, loss = targets_of(lines, labels), LineFieldLoss(GRID, spots=200, spread_m=0.8)
    pull, turn = loss(dict(offset=offset, tangent=tangent), targets)
    assert float(pull) < 0.05 and float(turn) < 1e-4
    shifted = offset + torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)
    pull, _ = loss(dict(offset=shifted, tangent=tangent), targets)
    # each of the two elements is wrong by one metre
    assert float(pull) == pytest.approx(2.0, abs=0.1)


def test_field_loss_of_a_sample_without_lines_is_zero_with_finite_gradients():
    offset = torch.randn(1, 3, 2, *GRID.shape, requires_grad=True)
    tangent = torch.randn(1, 3, 2, *GRID.shape, requires_grad=True)
    pull, turn = LineFieldLoss(GRID)(
        dict(offset=offset, tangent=tangent), TargetBuilder(POINTS)([None])
    )
    (pull + turn).sum().backward()
    assert float(pull.detach()) == 0 and float(turn.detach()) == 0
    assert (offset.grad == 0).all() and (tangent.grad == 0).all()


def test_queries_start_on_the_lines_and_rings_have_the_last_places():
    torch.manual_seed(0)
    source = TracedQueries(8, GRID, 3, POINTS, 12, num_rings=4, tracer=dict(num_seeds=20))
    feature = torch.randn(2, 8, *GRID.shape)
    start = source(feature, feature, 0, torch.randn(2, 3, *GRID.shape))
    assert start.points_m.shape == (2, 12, POINTS, 2)
    assert start.content.shape == (2, 12, POINTS, 8)
    best = start.logits.argmax(-1)
    assert (best[:, -4:] == 1).all()
    assert not (best[:, :-4] == 1).any()
    assert not start.points_m.requires_grad and not start.logits.requires_grad
    assert start.maps['offset'].shape == (2, 3, 2, *GRID.shape)


@pytest.mark.parametrize('num_queries', [4, 24])
def test_queries_may_be_as_few_as_the_rings_and_as_many_as_rings_and_seeds(num_queries):
    source = TracedQueries(8, GRID, 3, POINTS, num_queries, num_rings=4, tracer=dict(num_seeds=20))
    feature = torch.randn(2, 8, *GRID.shape)
    start = source(feature, feature, 0, torch.randn(2, 3, *GRID.shape))
    assert start.content.shape[1] == start.logits.shape[1] == num_queries


@pytest.mark.parametrize(('num_queries', 'num_rings'), [(3, 4), (25, 4), (10, 0)])
def test_queries_that_rings_and_seeds_do_not_add_up_to_are_refused(num_queries, num_rings):
    tracing = dict(num_rings=num_rings, tracer=dict(num_seeds=20))
    said = f'num_queries is {num_queries}, tracing.num_rings {num_rings} and .*num_seeds 20; '
    with pytest.raises(ValueError, match=said):
        TracedQueries(8, GRID, 3, POINTS, num_queries, **tracing)


def test_rings_are_of_the_class_of_the_crossings_wherever_it_stands():
    feature = torch.randn(1, 8, *GRID.shape)
    for given, label in (({}, MAP_CLASSES.index('ped_crossing')), (dict(ring_class=2), 2)):
        source = TracedQueries(8, GRID, 3, POINTS, 12, num_rings=4, **given)
        best = source(feature, feature, 0, torch.randn(1, 3, *GRID.shape)).logits.argmax(-1)
        assert (best[:, -4:] == label).all() and not (best[:, :-4] == label).any()
    for label in (-1, 3):
        with pytest.raises(ValueError, match=f'ring_class is {label}, .* 3 classes; .*map_classes'):
            TracedQueries(8, GRID, 3, POINTS, 12, ring_class=label)


@pytest.mark.parametrize(('segmentation', 'extra'), [(None, 0), (torch.zeros(1), 3)])
def test_what_tracing_needs_is_told(segmentation, extra):
    source = TracedQueries(8, GRID, 3, POINTS, 12)
    feature = torch.zeros(1, 8, *GRID.shape)
    with pytest.raises(ValueError, match=r"query_source 'traced' needs loss.seg_weight > 0"):
        source(feature, feature, extra, segmentation)
