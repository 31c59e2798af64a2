# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Ways through the lanes of a patch."""

import numpy as np
import shapely

from nexusflow.geometry.centerlines import CenterlineIndex, LaneGraph
from nexusflow.geometry.patch import Patch

HERE = Patch.around(np.eye(4), (-15, -30, 15, 30))


def ways(lines, successors, patch=HERE):
    graph = LaneGraph([shapely.linestrings(line) for line in lines], successors)
    return [np.round(line, 6).tolist() for line in CenterlineIndex(graph).clip(patch)]


def test_a_fork_gives_a_line_for_each_way():
    lines = [[(0, -50), (0, 0)], [(0, 0), (0, 50)], [(0, 0), (5, 5), (50, 5)]]
    assert ways(lines, [[1, 2], [], []]) == [
        [[0, -30], [0, 30]],
        [[0, -30], [0, 0], [5, 5], [15, 5]],
    ]


def test_a_merge_after_a_fork_gives_every_path():
    """Two ways in, two ways out of one lane: four paths."""
    lines = [[(-9, -9), (0, 0)], [(9, -9), (0, 0)], [(0, 0), (0, 9)]]
    lines += [[(0, 9), (-9, 18)], [(0, 9), (9, 18)]]
    found = ways(lines, [[2], [2], [3, 4], [], []])
    ends = sorted((tuple(line[0]), tuple(line[-1])) for line in found)
    assert ends == [(a, b) for a in ((-9, -9), (9, -9)) for b in ((-9, 18), (9, 18))]


def test_links_outside_the_patch_do_not_count():
    """Both lanes pass the patch but meet beyond it."""
    lines = [[(0, 0), (40, 0)], [(40, 0), (40, 5), (0, 5)]]
    assert ways(lines, [[1], []]) == [[[0, 0], [15, 0]], [[15, 5], [0, 5]]]


def test_curves_are_simplified_within_the_tolerance():
    angle = np.linspace(0, np.pi / 2, 60)
    arc = 12 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    (line,) = ways([arc], [[]])
    assert 3 < len(line) < 12
    distance = shapely.hausdorff_distance(shapely.linestrings(arc), shapely.linestrings(line))
    assert 0 < distance <= 0.2


def test_a_roundabout_is_not_lost():
    corners = [(-5.0, -5.0), (5.0, -5.0), (5.0, 5.0), (-5.0, 5.0)]
    lines = [[corners[k], corners[(k + 1) % 4]] for k in range(4)]
    (ring,) = ways(lines, [[1], [2], [3], [0]])
    assert ring[0] == ring[-1] and len(ring) == 5
    with_exit = ways([*lines, [(5.0, 5.0), (5.0, 50.0)]], [[1], [2, 4], [3], [0], []])
    drawn = shapely.union_all([shapely.linestrings(line) for line in with_exit])
    assert shapely.length(drawn) == 40 + 25


def test_empty():
    assert ways([], []) == []
    assert ways([[(50, 50), (60, 60)]], [[]]) == []
