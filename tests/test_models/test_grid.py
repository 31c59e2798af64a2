# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where cells lie, and reading a grid at points."""

import pytest
import torch

from nexusflow.models.bev.grid import BEVGrid


@pytest.fixture
def grid():
    return BEVGrid((-4.0, -6.0, 4.0, 10.0), 2.0)


def test_rows_run_along_y_and_columns_along_x(grid):
    centers = grid.centers()
    assert grid.shape == (8, 4)
    assert centers.shape == (8, 4, 2)
    assert centers[0, 0].tolist() == [-3.0, -5.0]
    assert centers[0, -1].tolist() == [3.0, -5.0]
    assert centers[-1, 0].tolist() == [-3.0, 9.0]


def test_normalise_maps_the_range_to_the_unit_square(grid):
    points = torch.tensor([[-4.0, -6.0], [4.0, 10.0], [0.0, 2.0]])
    torch.testing.assert_close(
        grid.normalise(points), torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    )


def test_sample_at_a_centre_is_the_value_of_the_cell(grid):
    bev = torch.randn(2, 3, *grid.shape)
    read = grid.sample(bev, grid.centers().expand(2, -1, -1, -1))
    torch.testing.assert_close(read, bev, atol=1e-5, rtol=0)


def test_sample_between_centres_is_the_mean_and_outside_zero(grid):
    bev = torch.randn(1, 2, *grid.shape)
    read = grid.sample(bev, torch.tensor([[[-2.0, -5.0], [20.0, 0.0]]]))
    torch.testing.assert_close(read[..., 0], bev[:, :, 0, :2].mean(-1), atol=1e-5, rtol=0)
    assert read[..., 1].abs().max() == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_map_in_half_precision_is_read_at_exact_places(dtype):
    grid = BEVGrid((-51.2, -51.2, 51.2, 51.2), 0.512)
    bev = torch.randn(1, 2, *grid.shape).to(dtype)
    points = 100 * torch.rand(1, 500, 2) - 50
    read = grid.sample(bev, points)
    assert torch.equal(read, grid.sample(bev.float(), points).to(dtype))


def test_cells_are_made_on_the_device_of_the_map(grid):
    assert grid.centers(torch.device('meta')).device.type == 'meta'
    bev = torch.zeros(1, 2, *grid.shape, device='meta')
    assert grid.resample(bev, BEVGrid(grid.range_m, 4.0)).device.type == 'meta'


def test_resample_reads_the_cells_of_another_grid(grid):
    bev = torch.arange(32.0).view(1, 1, *grid.shape)
    assert grid.resample(bev, BEVGrid(grid.range_m, grid.cell_m)) is bev
    coarse = grid.resample(bev, BEVGrid(grid.range_m, 4.0))
    # the middle of two by two cells
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(bev, 2))


def test_cell_of_counts_the_cells_row_by_row(grid):
    cell, inside = grid.cell_of(grid.centers())
    assert cell.flatten().tolist() == list(range(32))
    assert inside.all()


def test_cell_of_an_edge_belongs_to_the_cell_above_it(grid):
    cell, inside = grid.cell_of(torch.tensor([[-4.0, -6.0], [-2.0, -6.0], [4.0, 0.0]]))
    assert cell[:2].tolist() == [0, 1]
    assert inside.tolist() == [True, True, False]


def test_cell_of_a_point_outside_is_clamped_and_marked(grid):
    cell, inside = grid.cell_of(torch.tensor([[-100.0, 0.0], [0.0, 100.0]]))
    assert not inside.any()
    assert ((cell >= 0) & (cell < 32)).all()


@pytest.mark.parametrize(
    ('range_m', 'cell_m'),
    [
        ((-1.0, -1.0, 1.0, 1.0), 0.3),
        ((0.0, 0.0, 10.0, 10.5), 1.0),
        ((1.0, 0.0, -1.0, 2.0), 1.0),
        ((0.0, 0.0, 0.0, 0.0), 1.0),
    ],
)
def test_a_range_that_is_not_whole_cells_is_refused(range_m, cell_m):
    with pytest.raises(ValueError, match='cell_m'):
        BEVGrid(range_m, cell_m)
