# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Traffic on a road network: SUMO drives, we read where everybody is every half second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.parsers import expat

import numpy as np

from nexusflow.world.scene import NDArrayFloat, NDArrayInt
from nexusflow.world.sumo_cities import HITCH_GAP_M, KINDS, Kind
from nexusflow.world.sumo_demand import write_routes
from nexusflow.world.sumo_network import RoadNet
from nexusflow.world.sumo_tools import run_sumo

FRAME_S = 0.5
WARM_UP_S = 60.0
TRAILER = 'vehicle.trailer'
WALK_STEP_M = 1.6
MIN_WALK_FRAMES = 4
STANDING_M = 0.25
#: Steps between two frames in which a towed body follows.
_SHARES = tuple(k / 5 for k in range(1, 6))
Size = tuple[float, float, float]


@dataclass(frozen=True)
class Motion:
    """One box over time.

    Attributes:
        name: Unique in the simulation.
        kind: SUMO vehicle type's name in ``KINDS``.
        category: nuScenes category name.
        size_wlh_m: Width, length, height.
        start: First frame; the box is there in every frame from then on.
        center_xy_m: (K, 2) box centre, global frame.
        yaw_rad: (K,) heading, counter-clockwise from x, without jumps of a full turn.
    """

    name: str
    kind: str
    category: str
    size_wlh_m: Size
    start: int
    center_xy_m: NDArrayFloat
    yaw_rad: NDArrayFloat

    @property
    def frames(self) -> NDArrayInt:
        """(K,) frames in which the box is there."""
        return self.start + np.arange(len(self.yaw_rad), dtype=np.int64)


def simulate(net: RoadNet, frames: int, planned: int, seed: int, folder: Path) -> list[Motion]:
    """Let SUMO drive for a while.

    Args:
        net: The network; its file ``city.net.xml`` lies in ``folder``.
        frames: Number of frames, half a second apart, after the streets have filled.
        planned: Frames for which the traffic is planned; the first ones do not depend on how many are simulated.
        seed: Decides who goes where, and SUMO's own dice.
        folder: For SUMO's files.

    Returns:
        Every road user's motion, sorted by name; a towing truck gives two boxes.
    """
    end = WARM_UP_S + frames * FRAME_S
    rng = np.random.default_rng(seed)
    write_routes(net, WARM_UP_S + planned * FRAME_S, rng, folder / 'city.rou.xml')
    arguments = f'--net-file city.net.xml --route-files city.rou.xml --end {end} --seed {seed}'
    arguments += f' --step-length {FRAME_S} --fcd-output city.fcd.xml --precision 3'
    arguments += f' --device.fcd.begin {WARM_UP_S} --fcd-output.attributes id,x,y,angle,type'
    arguments += ' --time-to-teleport -1 --collision.action none --lateral-resolution 0.8'
    arguments += ' --ignore-junction-blocker 15 --no-step-log --no-warnings --xml-validation never'
    run_sumo('sumo', arguments.split(), folder)
    return read_motions(folder / 'city.fcd.xml', rng)


def read_motions(path: Path, rng: np.random.Generator) -> list[Motion]:
    """Motions from SUMO's floating-car data.

    SUMO gives the middle of the front bumper and an angle clockwise from north; a motion has the box centre and an
    angle counter-clockwise from east.

    Args:
        path: File of ``--fcd-output``, from the end of the warm-up on, every half second.
        rng: Varies the sizes a little.
    """
    reader = _Reader()
    with open(path, 'rb') as file:
        reader.parser.ParseFile(file)
    motions: list[Motion] = []
    for name in sorted(reader.rows):
        motions += _motions_of(name, KINDS[reader.kinds[name]], np.array(reader.rows[name]), rng)
    return motions


class _Reader:
    """Takes the rows out of a file of floating-car data as it is parsed; a tree of it would take five times as long.

    Attributes:
        parser: To be fed with the file.
        rows: For each road user (frame, x, y, SUMO angle).
        kinds: For each road user the name of its kind.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[int, float, float, float]]] = {}
        self.kinds: dict[str, str] = {}
        self._frame = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start

    def _start(self, tag: str, values: dict[str, str]) -> None:
        if tag == 'timestep':
            self._frame = round((float(values['time']) - WARM_UP_S) / FRAME_S)
        elif tag in ('vehicle', 'person'):
            name = values['id']
            if name not in self.rows:
                self.rows[name] = []
                self.kinds[name] = values['type'].split('@')[0]
            x, y, angle = float(values['x']), float(values['y']), float(values['angle'])
            self.rows[name].append((self._frame, x, y, angle))


def _motions_of(
    name: str, kind: Kind, rows: NDArrayFloat, rng: np.random.Generator
) -> list[Motion]:
    """Boxes of one road user from rows (frame, x, y, SUMO angle), where x, y is the front bumper's middle."""
    if kind.sumo_class == 'pedestrian':
        return _walks(name, kind, rows, rng)
    start, front = int(rows[0, 0]), rows[:, 1:3]
    yaw = np.unwrap(np.pi / 2 - np.deg2rad(rows[:, 3]))
    size = _vary(kind.size_wlh_m, rng)
    length = size[1]
    if kind.trailer_wlh_m is None:
        center = front - length / 2 * _heading(yaw)
        return [Motion(name, kind.name, kind.category, size, start, center, yaw)]
    towed = _vary(kind.trailer_wlh_m, rng)
    yaw = follow(front, yaw[0], 0.8 * length)
    center = front - length / 2 * _heading(yaw)
    hitch = front - (length + HITCH_GAP_M) * _heading(yaw)
    towed_yaw = follow(hitch, yaw[0], 0.85 * towed[1])
    towed_center = hitch - towed[1] / 2 * _heading(towed_yaw)
    return [
        Motion(name, kind.name, kind.category, size, start, center, yaw),
        Motion(f'{name}_towed', 'trailer', TRAILER, towed, start, towed_center, towed_yaw),
    ]


def _vary(size_wlh_m: Size, rng: np.random.Generator) -> Size:
    """A size a little off the kind's."""
    width, length, height = (
        round(float(v * np.clip(rng.normal(1.0, 0.03), 0.94, 1.06)), 3) for v in size_wlh_m
    )
    return width, length, height


def _walks(name: str, kind: Kind, rows: NDArrayFloat, rng: np.random.Generator) -> list[Motion]:
    """A pedestrian's smoothed walk, cut in pieces where SUMO makes it jump from one path to another."""
    size = _vary(kind.size_wlh_m, rng)
    step = np.linalg.norm(np.diff(rows[:, 1:3], axis=0), axis=1)
    pieces = np.split(rows, np.flatnonzero(step > WALK_STEP_M) + 1)
    motions = []
    for index, piece in enumerate(p for p in pieces if len(p) >= MIN_WALK_FRAMES):
        padded = np.concatenate([piece[:1, 1:3], piece[:, 1:3], piece[-1:, 1:3]])
        center = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
        yaw = _walking_yaw(center, np.pi / 2 - np.deg2rad(piece[:, 3]))
        whole = f'{name}_{index}'
        motions.append(Motion(whole, kind.name, kind.category, size, int(piece[0, 0]), center, yaw))
    return motions


def _walking_yaw(center_xy_m: NDArrayFloat, given_yaw_rad: NDArrayFloat) -> NDArrayFloat:
    """Heading along the walked path; who stands keeps the last one."""
    ahead = np.concatenate([center_xy_m[1:], center_xy_m[-1:]])
    behind = np.concatenate([center_xy_m[:1], center_xy_m[:-1]])
    move = ahead - behind
    walks = np.hypot(*move.T) > STANDING_M
    last = np.maximum.accumulate(np.where(walks, np.arange(len(walks)), -1))
    last = np.where(last < 0, np.argmax(walks), last)
    yaw = np.arctan2(move[:, 1], move[:, 0])[last] if walks.any() else given_yaw_rad
    return np.unwrap(yaw)


def _heading(yaw_rad: NDArrayFloat) -> NDArrayFloat:
    return np.stack([np.cos(yaw_rad), np.sin(yaw_rad)], axis=-1)


def follow(lead_xy_m: NDArrayFloat, first_yaw_rad: float, length_m: float) -> NDArrayFloat:
    """Heading of a rigid body whose front is led along a path and whose axle cannot slip sideways (a tractrix).

    Args:
        lead_xy_m: (K, 2) path of the front end.
        first_yaw_rad: Heading at the start.
        length_m: From the front end to the axle.

    Returns:
        (K,) heading, without jumps of a full turn.
    """
    # Plain numbers: arrays of two would make this loop ten times slower.
    path = lead_xy_m.tolist()
    (x, y), yaw = path[0], [float(first_yaw_rad)]
    axle_x, axle_y = x - length_m * math.cos(yaw[0]), y - length_m * math.sin(yaw[0])
    for (x0, y0), (x1, y1) in pairwise(path):
        for share in _SHARES:
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            pull_x, pull_y = x - axle_x, y - axle_y
            scale = length_m / math.sqrt(pull_x * pull_x + pull_y * pull_y)
            axle_x, axle_y = x - scale * pull_x, y - scale * pull_y
        yaw.append(math.atan2(pull_y, pull_x))
    return np.unwrap(yaw)
