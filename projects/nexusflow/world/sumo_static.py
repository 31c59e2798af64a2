# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What stands at the kerb: parked vehicles, and roadworks with cones and barriers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from shapely.geometry import LineString

from nexusflow.world.sumo_cities import KINDS
from nexusflow.world.sumo_network import NetLane, RoadNet
from nexusflow.world.sumo_plan import PARKING

CONE, BARRIER = 'movable_object.trafficcone', 'movable_object.barrier'
CONE_WLH_M, BARRIER_WLH_M = (0.4, 0.4, 0.95), (2.4, 0.5, 1.0)
PARKED = {
    'hatchback': 0.26,
    'sedan': 0.28,
    'suv': 0.22,
    'van': 0.1,
    'boxtruck': 0.07,
    'motorcycle': 0.07,
}
ROADWORKS_SHARE = 0.45
FREE_ENDS_M = 10.0


@dataclass(frozen=True)
class Fixture:
    """Something that never moves.

    Attributes:
        name: Unique in its network.
        category: nuScenes category name.
        size_wlh_m: Width, length, height.
        center_xy_m: Box centre, global frame.
        yaw_rad: Heading.
    """

    name: str
    category: str
    size_wlh_m: tuple[float, float, float]
    center_xy_m: tuple[float, float]
    yaw_rad: float


def place_fixtures(net: RoadNet, seed: int) -> list[Fixture]:
    """Fill the parking lanes of a network; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    fixtures: list[Fixture] = []
    for lane in (lane for lane in net.lanes if lane.role == PARKING):
        row = _Row(lane, net.plan.traits.left_hand)
        start, end = FREE_ENDS_M, row.line.length - FREE_ENDS_M
        if rng.random() < ROADWORKS_SHARE and end - start > 30.0:
            works = float(rng.uniform(12.0, 22.0))
            at = float(rng.uniform(start, end - works))
            _roadworks(row, at, at + works, rng)
            _park(row, start, at - 2.0, net.plan.traits.parked_share, rng)
            start = at + works + 2.0
        _park(row, start, end, net.plan.traits.parked_share, rng)
        fixtures += row.fixtures
    return fixtures


class _Row:
    """The fixtures along one parking lane."""

    def __init__(self, lane: NetLane, left_hand: bool) -> None:
        self.line = LineString(lane.line_m)
        self.edge = lane.edge
        self.inward = -1.0 if left_hand else 1.0
        self.fixtures: list[Fixture] = []

    def add(
        self,
        category: str,
        size_wlh_m: tuple[float, float, float],
        along_m: float,
        inward_m: float = 0.0,
        turn_rad: float = 0.0,
    ) -> None:
        """Put one at a distance along the lane and a distance from its middle towards the street's middle."""
        here, ahead = (self.line.interpolate(along_m + d) for d in (-0.5, 0.5))
        yaw = float(np.arctan2(ahead.y - here.y, ahead.x - here.x))
        offset = self.inward * inward_m
        x = (here.x + ahead.x) / 2 - offset * np.sin(yaw)
        y = (here.y + ahead.y) / 2 + offset * np.cos(yaw)
        name = f'{self.edge}_{len(self.fixtures)}'
        center = round(float(x), 3), round(float(y), 3)
        self.fixtures.append(Fixture(name, category, size_wlh_m, center, yaw + turn_rad))


def _park(row: _Row, start_m: float, end_m: float, share: float, rng: np.random.Generator) -> None:
    """Parked vehicles bumper to bumper, some places free."""
    names, weights = list(PARKED), np.array(list(PARKED.values()))
    while True:
        kind = KINDS[str(rng.choice(names, p=weights / weights.sum()))]
        length = kind.size_wlh_m[1]
        if start_m + length > end_m:
            return
        taken, inward, turn = rng.random() < share, rng.normal(0.0, 0.06), rng.normal(0.0, 0.015)
        if taken:
            row.add(kind.category, kind.size_wlh_m, start_m + length / 2, inward, turn)
        start_m += length + float(rng.uniform(0.8, 1.6))


def _roadworks(row: _Row, start_m: float, end_m: float, rng: np.random.Generator) -> None:
    """Barriers across both ends of a closed stretch; cones or barriers along it."""
    for end in (start_m, end_m):
        row.add(BARRIER, BARRIER_WLH_M, end)
    if rng.random() < 0.7:
        count, category, size, turn = int((end_m - start_m) / 3.0), CONE, CONE_WLH_M, 0.0
    else:
        count, category, size, turn = (
            int((end_m - start_m) / 3.6),
            BARRIER,
            BARRIER_WLH_M,
            np.pi / 2,
        )
    for along in np.linspace(start_m, end_m, count + 2)[1:-1]:
        row.add(category, size, float(along), 0.8, turn)
