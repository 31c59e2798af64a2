# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Detect queries from peaks and from learned reference points."""

import math

import pytest
import torch

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.track.motion import MotionModel, place_and_speed
from nexusflow.models.track.newborns import LearnedQueries, PeakQueries
from nexusflow.models.track.queries import NEWBORN, PADDING, TrackQueries

CPU = torch.device('cpu')
CHANNELS = 8


def make_peaks(num, bev_grid):
    """A source, a heatmap with a high peak at cell (4, 4), class 2, and a low one at (10, 11)."""
    source = PeakQueries(CHANNELS, bev_grid, 7, num, MotionModel())
    heat = torch.full((1, 7, 16, 16), -6.0)
    heat[0, 2, 3:6, 3:6] = 1.0
    heat[0, 2, 4, 4], heat[0, 2, 10, 11] = 3.0, -1.0
    feature = torch.randn(1, CHANNELS, 16, 16, requires_grad=True)
    return source, dict(bev=feature, dense=feature, heat=heat, **source.dense_forward(feature))


def test_peaks_are_the_boxes_of_their_cells(bev_grid):
    source, dense = make_peaks(2, bev_grid)
    born, _ = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    assert born.ids.tolist() == [[-1, -1]]
    assert born.labels.tolist() == [[2, 2]]
    boxes = dense['dense_code'][0, [4 * 16 + 4, 10 * 16 + 11]]
    assert torch.equal(born.code[0, :, 2:], boxes[:, 2:])
    assert not born.code.requires_grad and born.content.requires_grad
    distance = (born.code[0, :, :2] - bev_grid.centers()[[4, 10], [4, 11]]).abs()
    assert distance.max() < 0.2


def test_a_query_starts_from_the_logits_of_its_place(bev_grid):
    source, dense = make_peaks(2, bev_grid)
    born, _ = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    torch.testing.assert_close(
        source.prior(dense, born.code)[0, 0, 2], torch.tensor(3.0), atol=0.5, rtol=0
    )


def track_at(xy_m, label, number=5):
    track = TrackQueries.empty(CHANNELS, CPU, (1, len(xy_m)))
    track.code[0, :, :2] = torch.stack(xy_m)
    track.ids[:], track.labels[:] = number, label
    track.mean = place_and_speed(track.code)
    return track


@pytest.mark.parametrize(
    ('number', 'label', 'taken'), [(5, 2, True), (5, 3, False), (PADDING, 2, False)]
)
def test_a_track_goes_on_from_a_peak_of_its_class(bev_grid, number, label, taken):
    source, dense = make_peaks(2, bev_grid)
    before = track_at([bev_grid.centers()[4, 4] + 1.0], label, number)
    born, after = source(dense, before)
    assert born.ids.tolist() == [[PADDING if taken else NEWBORN, NEWBORN]]
    expected = born.code[0, 0] if taken else before.code[0, 0]
    assert torch.equal(after.code[0, 0], expected)
    content = before.content[0, 0] + born.content[0, 0] * taken
    assert torch.equal(after.content[0, 0], content)
    assert torch.equal(after.ids, before.ids) and (before.content == 0).all()


def test_each_peak_serves_one_track(bev_grid):
    source, dense = make_peaks(2, bev_grid)
    here = bev_grid.centers()[4, 4]
    born, after = source(dense, track_at([here, here + 0.5], 2))
    assert born.ids.tolist() == [[PADDING, NEWBORN]]
    assert torch.equal(after.code[0, 0], born.code[0, 0])
    assert torch.equal(after.code[0, 1, :2], here + 0.5)


@pytest.mark.parametrize(('gate', 'taken'), [(9.0, True), (0.5, False)])
def test_a_track_looks_for_its_peak_where_it_may_be(bev_grid, gate, taken):
    source, dense = make_peaks(2, bev_grid)
    source.motion.gate = gate
    before = track_at([bev_grid.centers()[4, 4] + 2.0], 2)
    born, after = source(dense, before)
    assert born.ids.tolist() == [[PADDING if taken else NEWBORN, NEWBORN]]
    assert torch.equal(after.code, before.code) != taken


def test_no_track_leaves_its_peak_for_the_sake_of_another(bev_grid, monkeypatch):
    """The near pair stays together, though two far pairs could be made of the same tracks and peaks."""
    source, dense = make_peaks(2, bev_grid)
    away = torch.tensor([[[0.0, 9.0], [9.0, 20.0]]])
    monkeypatch.setattr(source.motion, 'distance', lambda tracks, peaks: away)
    before = track_at(list(bev_grid.centers()[[4, 10], [4, 11]]), 2)
    born, after = source(dense, before)
    assert born.ids.tolist() == [[PADDING, NEWBORN]]
    assert torch.equal(after.code[0, 0], born.code[0, 0])
    assert torch.equal(after.code[0, 1], before.code[0, 1])


@pytest.mark.parametrize(('gap_m', 'second'), [(6.4, (4, 6)), (19.2, (10, 11))])
def test_of_near_peaks_the_higher_counts(bev_grid, gap_m, second):
    _, dense = make_peaks(2, bev_grid)
    dense['heat'][0, 2, 4, 6] = 2.0
    source = PeakQueries(CHANNELS, bev_grid, 7, 2, MotionModel(), gap_m)
    born, _ = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    box = dense['dense_code'][0, second[0] * 16 + second[1]]
    assert torch.equal(born.code[0, 1, 2:], box[2:])


def peak_of(grid, hot, length_m, logit=0.5, low=-30.0):
    """Centre of the one peak of a heatmap with some hot cells, of which the first is highest."""
    source = PeakQueries(CHANNELS, grid, 7, 1, MotionModel())
    heat = torch.full((1, 7, 20, 20), low)
    for row, col in hot:
        heat[0, 3, row, col] = logit
    heat[0, 3, hot[0][0], hot[0][1]] += 0.1
    feature = torch.zeros(1, CHANNELS, 20, 20)
    with torch.no_grad():
        source.box.bias[2] = math.log(length_m)
    dense = dict(bev=feature, dense=feature, heat=heat, **source.dense_forward(feature))
    born, _ = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    assert born.labels.tolist() == [[3]]
    return born.code[0, 0, :2]


def test_the_peak_of_a_ridge_is_its_middle_if_the_box_is_as_long(fine_grid):
    ridge = [(row, 7) for row in range(6, 13)]
    middle, end = fine_grid.centers()[9, 7], fine_grid.centers()[6, 7]
    # a ridge of 9 m: a bus that may stand anywhere along it
    bus = peak_of(fine_grid, [ridge[3], *ridge], 11.0)
    torch.testing.assert_close(bus, middle, atol=0.02, rtol=0)
    nearer = peak_of(fine_grid, ridge, 11.0)
    assert abs(nearer[0] - middle[0]) < 0.02 and end[1] + 2.0 < nearer[1] < middle[1]
    # the same ridge is two pedestrians or more
    person = peak_of(fine_grid, ridge, 0.6)
    assert person[1] - end[1] < 0.7


def test_what_is_faint_moves_a_peak_little(fine_grid):
    strong = peak_of(fine_grid, [(5, 5), (5, 7)], 6.0, logit=2.0)
    faint = peak_of(fine_grid, [(5, 5), (5, 7)], 6.0, logit=-2.0, low=-3.0)
    here = fine_grid.centers()[5, 5]
    assert 1.0 < strong[0] - here[0] < 1.28
    assert abs(strong[1] - here[1]) < 1e-4
    assert torch.isfinite(faint).all() and 0 < faint[0] - here[0] < 1.28


@pytest.mark.parametrize(('logit', 'low'), [(0.5, -30.0), (-60.0, -90.0)])
def test_a_peak_in_a_corner_is_the_mean_of_the_cells_there(fine_grid, logit, low):
    corner = peak_of(fine_grid, [(0, 0)], 11.0, logit, low)
    torch.testing.assert_close(corner, fine_grid.centers()[0, 0])


def test_reference_points_fill_the_range(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 900, MotionModel(), z_range_m=(-4.0, 2.0))
    points = source.points_m()
    assert points.shape == (900, 3)
    assert (points > torch.tensor([-51.2, -51.2, -4.0])).all()
    assert (points < torch.tensor([51.2, 51.2, 2.0])).all()
    # a regular grid of 900 points has a query within 2.4 m of every place; 10 m is near enough to start from
    places = bev_grid.centers().flatten(0, 1)
    assert torch.cdist(places, points[:, :2]).amin(1).max() < 10.0
    assert points[:, 2].std() > 1.0


def test_reference_points_learn_and_keep_to_the_range(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 5, MotionModel())
    before = TrackQueries.empty(CHANNELS, CPU, (2, 3))
    born, after = source({}, before)
    assert after is before
    assert born.content.shape == (2, 5, CHANNELS) and born.code.shape == (2, 5, 10)
    assert torch.equal(born.code[0], born.code[1])
    torch.testing.assert_close(born.code[0, :, [0, 1, 4]], source.points_m())
    born.code[..., :5].sum().backward()
    assert (source.reference.grad > 0).all()
    with torch.no_grad():
        source.reference.add_(1e3)
    assert (source.points_m() <= source.high).all()


def test_the_class_of_a_learned_query_is_decided_by_the_decoder(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 2, MotionModel())
    logits = torch.zeros(1, 2, 7)
    logits[0, 0, 3] = logits[0, 1, 6] = 1.0
    assert source.classes(torch.zeros(1, 2).long(), logits).tolist() == [[3, 6]]
    prior = source.prior({}, torch.zeros(1, 2, 10))
    torch.testing.assert_close(prior.sigmoid(), torch.full((1, 2, 7), 0.01))


def test_a_coarse_grid_of_few_cells():
    grid = BEVGrid((-2.0, -2.0, 2.0, 2.0), 2.0)
    source = PeakQueries(CHANNELS, grid, 7, 28, MotionModel())
    feature = torch.randn(1, CHANNELS, 2, 2)
    dense = dict(bev=feature, dense=feature, heat=torch.randn(1, 7, 2, 2))
    dense.update(source.dense_forward(feature))
    born, _ = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    assert born.code.shape == (1, 28, 10)
