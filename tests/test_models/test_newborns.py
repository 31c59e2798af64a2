# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Detect queries from peaks and from learned reference points."""

import torch

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.track.newborns import LearnedQueries, PeakQueries
from nexusflow.models.track.queries import TrackQueries

CPU = torch.device('cpu')
CHANNELS = 8


def make_peaks(num, bev_grid):
    """A source, a heatmap with a high peak at cell (4, 4), class 2, and a low one at (10, 11)."""
    source = PeakQueries(CHANNELS, bev_grid, 7, num)
    heat = torch.full((1, 7, 16, 16), -6.0)
    heat[0, 2, 3:6, 3:6] = 1.0
    heat[0, 2, 4, 4], heat[0, 2, 10, 11] = 3.0, -1.0
    feature = torch.randn(1, CHANNELS, 16, 16, requires_grad=True)
    return source, dict(bev=feature, dense=feature, heat=heat, **source.dense_forward(feature))


def test_peaks_are_the_boxes_of_their_cells(bev_grid):
    source, dense = make_peaks(2, bev_grid)
    born = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    assert born.ids.tolist() == [[-1, -1]]
    assert born.labels.tolist() == [[2, 2]]
    assert torch.equal(born.code[0], dense['dense_code'][0, [4 * 16 + 4, 10 * 16 + 11]])
    assert not born.code.requires_grad and born.content.requires_grad
    distance = (born.code[0, :, :2] - bev_grid.centers()[[4, 10], [4, 11]]).abs()
    assert distance.max() < 0.2
    torch.testing.assert_close(
        source.prior(dense, born.code)[0, 0, 2], torch.tensor(3.0), atol=0.5, rtol=0
    )


def test_a_peak_that_a_track_explains_starts_no_query(bev_grid):
    source, dense = make_peaks(1, bev_grid)
    track = TrackQueries.empty(CHANNELS, CPU, (1, 1))
    track.code[0, 0, :2] = bev_grid.centers()[4, 4]
    explained, other = dense['dense_code'][0, 4 * 16 + 4], dense['dense_code'][0, 10 * 16 + 11]
    for number, label, expected in ((-2, 2, explained), (5, 2, other), (5, 3, explained)):
        track.ids[:], track.labels[:] = number, label
        assert torch.equal(source(dense, track).code[0, 0], expected)


def test_reference_points_fill_the_range(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 900, z_range_m=(-4.0, 2.0))
    points = source.points_m()
    assert points.shape == (900, 3)
    assert (points > torch.tensor([-51.2, -51.2, -4.0])).all()
    assert (points < torch.tensor([51.2, 51.2, 2.0])).all()
    # a regular grid of 900 points has a query within 2.4 m of every place; 10 m is near enough to start from
    places = bev_grid.centers().flatten(0, 1)
    assert torch.cdist(places, points[:, :2]).amin(1).max() < 10.0
    assert points[:, 2].std() > 1.0


def test_reference_points_learn_and_keep_to_the_range(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 5)
    born = source({}, TrackQueries.empty(CHANNELS, CPU, (2, 3)))
    assert born.content.shape == (2, 5, CHANNELS) and born.code.shape == (2, 5, 10)
    assert torch.equal(born.code[0], born.code[1])
    torch.testing.assert_close(born.code[0, :, [0, 1, 4]], source.points_m())
    born.code[..., :5].sum().backward()
    assert (source.reference.grad > 0).all()
    with torch.no_grad():
        source.reference.add_(1e3)
    assert (source.points_m() <= source.high).all()


def test_the_class_of_a_learned_query_is_decided_by_the_decoder(bev_grid):
    source = LearnedQueries(CHANNELS, bev_grid, 7, 2)
    logits = torch.zeros(1, 2, 7)
    logits[0, 0, 3] = logits[0, 1, 6] = 1.0
    assert source.classes(torch.zeros(1, 2).long(), logits).tolist() == [[3, 6]]
    prior = source.prior({}, torch.zeros(1, 2, 10))
    torch.testing.assert_close(prior.sigmoid(), torch.full((1, 2, 7), 0.01))


def test_a_coarse_grid_of_few_cells():
    grid = BEVGrid((-2.0, -2.0, 2.0, 2.0), 2.0)
    source = PeakQueries(CHANNELS, grid, 7, 28)
    feature = torch.randn(1, CHANNELS, 2, 2)
    dense = dict(bev=feature, dense=feature, heat=torch.randn(1, 7, 2, 2))
    dense.update(source.dense_forward(feature))
    born = source(dense, TrackQueries.empty(CHANNELS, CPU, (1, 1)))
    assert born.code.shape == (1, 28, 10)
