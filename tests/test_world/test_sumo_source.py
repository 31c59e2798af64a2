# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The generated cities: reproducible, on the right side of the road, and physically plausible."""

import importlib.util

import numpy as np
import pytest
import shapely
from shapely.geometry import Point, Polygon
from shapely.ops import nearest_points, unary_union

from nexusflow.world import sumo_source
from nexusflow.world.sumo_cities import CITIES, KINDS
from nexusflow.world.sumo_scenes import REACH_M, TooFewDrives, cut_scene, pick_egos
from nexusflow.world.sumo_source import (
    NETWORK_PITCH_M,
    NetworkJob,
    build_network,
    merge_city,
    network_jobs,
)
from nexusflow.world.sumo_static import Fixture
from nexusflow.world.sumo_tools import run_sumo
from nexusflow.world.sumo_traffic import WARM_UP_S, Motion, follow, read_motions

TRACKING = {
    'vehicle.car',
    'vehicle.truck',
    'vehicle.bus.rigid',
    'vehicle.trailer',
    'vehicle.motorcycle',
    'vehicle.bicycle',
    'human.pedestrian.adult',
}


@pytest.fixture(scope='module', params=sorted(CITIES))
def city(request):
    return build_network(NetworkJob(request.param, 0, 'train', scenes=3, frames=16, seed=7))


def road_of(city_map):
    return unary_union([s.polygon for s in city_map.road_segments] + list(city_map.lanes))


def bytes_of(piece):
    """Everything in a piece, as comparable values."""
    city_map, scenes = piece
    layers = ('lanes', 'ped_crossings', 'walkways', 'road_dividers', 'lane_dividers')
    shapes = [shapely.to_wkb(list(getattr(city_map, layer))).tolist() for layer in layers]
    roads = [(s.polygon.wkb, s.is_intersection) for s in city_map.road_segments]
    drives = [
        (s.name, s.timestamps_us.tobytes(), s.ego_xy_m.tobytes(), s.ego_yaw_rad.tobytes())
        for s in scenes
    ]
    tracks = [
        (t.name, t.category, t.size_wlh_m, t.frames.tobytes(), t.center_m.tobytes())
        + (t.yaw_rad.tobytes(),)
        for s in scenes
        for t in s.tracks
    ]
    return shapes, roads, drives, tracks


def moves(track):
    """Steps between consecutive frames and the heading at their ends."""
    joined = np.diff(track.frames) == 1
    return np.diff(track.center_m[:, :2], axis=0)[joined], track.yaw_rad[1:][joined]


def test_same_seed_same_bytes_and_other_networks_lie_elsewhere():
    job = NetworkJob('boston-seaport', 0, 'train', scenes=1, frames=6, seed=3)
    first = build_network(job)
    assert bytes_of(first) == bytes_of(build_network(job))
    other = build_network(NetworkJob('boston-seaport', 1, 'val', scenes=1, frames=6, seed=3))
    low, high = road_of(first[0]).bounds, road_of(other[0]).bounds
    assert min(low) > 0 and high[0] > NETWORK_PITCH_M and low[2] < NETWORK_PITCH_M
    moved = shapely.affinity.translate(road_of(other[0]), -NETWORK_PITCH_M)
    assert moved.symmetric_difference(road_of(first[0])).area > 1000.0
    merged, scenes = merge_city([first, other])
    assert len(merged.lanes) == len(first[0].lanes) + len(other[0].lanes)
    assert len(merged.lane_centerlines) == len(merged.lanes)
    assert [s.split for s in scenes] == ['train', 'val']
    assert len({s.name for s in scenes}) == 2


def test_simulation_goes_on_if_there_are_too_few_drives(monkeypatch):
    job = NetworkJob('boston-seaport', 0, 'train', scenes=1, frames=6, seed=3)
    (expected,) = build_network(job)[1]
    ends = []

    def picky(motions, scenes, frames, dead_ends_m, last_frame, seed):
        ends.append(last_frame)
        if len(ends) == 1:
            raise TooFewDrives('none is good enough')
        return pick_egos(motions, scenes, frames, dead_ends_m, last_frame, seed)

    monkeypatch.setattr(sumo_source, 'pick_egos', picky)
    (scene,) = build_network(job)[1]
    assert ends == [10, 53]
    assert [t.name for t in scene.tracks] == [t.name for t in expected.tracks]
    assert np.abs(scene.ego_xy_m - expected.ego_xy_m).max() < 0.5, 'the same traffic, for longer'


def test_map_layers_agree(city):
    city_map, _ = city
    road = road_of(city_map)
    assert isinstance(road, Polygon), 'the streets of one network hang together'
    assert min(Polygon(ring).area for ring in road.interiors) > 4.0, 'no slivers'
    assert any(s.is_intersection for s in city_map.road_segments)
    assert len(city_map.ped_crossings) > 10 and len(city_map.walkways) > 10
    for lane, middle in zip(city_map.lanes, city_map.lane_centerlines, strict=True):
        assert middle.intersection(lane).length > 0.97 * middle.length
    junctions = unary_union([s.polygon for s in city_map.road_segments if s.is_intersection])
    dividers = [*city_map.road_dividers, *city_map.lane_dividers]
    for line in dividers:
        assert line.intersection(road.buffer(0.1)).length > 0.98 * line.length
        assert line.intersection(junctions.buffer(-1.0)).length < 1.0
    tree = shapely.STRtree(dividers)
    for i, j in tree.query(dividers, predicate='dwithin', distance=0.5).T:
        assert i == j or dividers[i].hausdorff_distance(dividers[j]) > 1.0, 'no line twice'
    for crossing in city_map.ped_crossings:
        assert crossing.intersection(road).area > 0.7 * crossing.area


def test_traffic_keeps_to_the_side_of_its_city(city):
    city_map, scenes = city
    dividers = unary_union(city_map.road_dividers)
    junctions = unary_union([s.polygon for s in city_map.road_segments if s.is_intersection])
    sides = []
    for scene in scenes:
        poses = list(zip(scene.ego_xy_m, scene.ego_yaw_rad, strict=True))
        for track in scene.tracks:
            if track.category == 'vehicle.car':
                poses += zip(track.center_m[::5, :2], track.yaw_rad[::5], strict=True)
        for xy, yaw in poses:
            here = Point(xy)
            there = nearest_points(here, dividers)[1]
            if here.distance(there) < 6.0 and here.distance(junctions) > 4.0:
                sides.append(np.cos(yaw) * (there.y - xy[1]) - np.sin(yaw) * (there.x - xy[0]) > 0)
    assert len(sides) > 20
    on_left = np.mean(sides)
    assert on_left < 0.05 if CITIES[city_map.location].left_hand else on_left > 0.95


def test_objects_stand_on_the_map_and_move_as_they_head(city):
    city_map, scenes = city
    road = road_of(city_map).buffer(0.2)
    pavement = unary_union([road, *city_map.walkways]).buffer(0.3)
    on_road, on_foot, slip, steps = [], [], [], []
    for track in (t for scene in scenes for t in scene.tracks):
        assert np.allclose(track.center_m[:, 2], track.size_wlh_m[2] / 2)
        walks = track.category.startswith('human')
        inside = shapely.contains_xy(pavement if walks else road, track.center_m[:, :2])
        (on_foot if walks else on_road).extend(inside)
        if track.category.startswith('vehicle'):
            step, yaw = moves(track)
            length = np.hypot(*step.T)
            sideways = step[:, 1] * np.cos(yaw) - step[:, 0] * np.sin(yaw)
            slip.extend(np.abs(sideways / np.maximum(length, 1e-9))[length > 1.0])
            forward = (step * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)).sum(axis=1)
            assert (forward > -0.3).all(), f'{track.name} drives backwards'
            steps.extend(length)
    assert np.mean(on_road) > 0.99 and np.mean(on_foot) > 0.98
    assert np.quantile(slip, 0.95) < 0.3
    assert 0.5 < np.max(steps) < 9.0, 'half a second apart, no teleports'


def test_scenes_are_worth_driving(city):
    _, scenes = city
    assert {t.category for s in scenes for t in s.tracks} >= TRACKING
    near = []
    for scene in scenes:
        assert len({t.name for t in scene.tracks}) == len(scene.tracks)
        assert (np.diff(scene.timestamps_us) == 500_000).all()
        driven = np.linalg.norm(np.diff(scene.ego_xy_m, axis=0), axis=1).sum()
        assert driven > 2.0 * 0.5 * 14
        center = scene.ego_xy_m + 1.4 * np.stack(
            [np.cos(scene.ego_yaw_rad), np.sin(scene.ego_yaw_rad)], axis=1
        )
        count = np.zeros(len(center))
        for track in scene.tracks:
            away = np.linalg.norm(track.center_m[:, :2] - center[track.frames], axis=1)
            assert away.max() <= REACH_M and (np.diff(track.frames) > 0).all()
            assert np.median(away) > 0.5, 'the ego is not among the tracks'
            count[track.frames[away < 50.0]] += 1
        near.append(count.mean())
    assert 10.0 < np.mean(near) < 45.0
    starts = [scene.timestamps_us[0] for scene in scenes]
    assert starts == sorted(set(starts))


def test_jobs_share_scenes_and_split_networks():
    jobs = network_jobs('singapore-onenorth', 2, 1, 5, 2, frames=20, seed=0)
    assert [(j.index, j.split, j.scenes) for j in jobs] == [
        (0, 'train', 3),
        (1, 'train', 2),
        (2, 'val', 2),
    ]
    with pytest.raises(ValueError, match='at least one val network'):
        network_jobs('boston-seaport', 1, 0, 1, 1, frames=20, seed=0)
    with pytest.raises(ValueError, match="unknown location 'paris'.*boston-seaport"):
        network_jobs('paris', 1, 1, 1, 1, frames=20, seed=0)
    with pytest.raises(ValueError, match='exactly one location'):
        merge_city([])


def test_floating_car_data_becomes_boxes(tmp_path):
    rows = [(f'{WARM_UP_S + 0.5 * k}', f'{100 + 4 * k}', '50.0', '90.0', '90.0') for k in range(3)]
    text = ''.join(
        f'<timestep time="{t}"><vehicle id="sedan_1" x="{x}" y="{y}" angle="{a}" type="sedan"/>'
        f'<vehicle id="roadtrain_2" x="{x}" y="20" angle="{b}" type="roadtrain"/>'
        f'<person id="walker_0" x="{x}" y="9" angle="{a}" type="walker"/></timestep>'
        for t, x, y, a, b in rows
    )
    path = tmp_path / 'fcd.xml'
    path.write_text(f'<fcd-export>{text}</fcd-export>')
    motions = {m.name: m for m in read_motions(path, np.random.default_rng(0))}
    car, truck, towed = (motions[n] for n in ('sedan_1', 'roadtrain_2', 'roadtrain_2_towed'))
    assert 'walker_0_0' not in motions, 'jumps of 4 m cut a walk in pieces that are too short'
    assert car.start == 0 and np.allclose(car.yaw_rad, 0.0)
    assert np.allclose(car.center_xy_m[:, 0], [100, 104, 108] - np.array(car.size_wlh_m[1] / 2))
    assert towed.category == 'vehicle.trailer'
    gap = truck.center_xy_m[:, 0] - truck.size_wlh_m[1] / 2
    assert np.allclose(gap - (towed.center_xy_m[:, 0] + towed.size_wlh_m[1] / 2), 0.6)


def test_a_towed_body_follows_its_front_end():
    angle = np.linspace(0.0, np.pi, 60)
    circle = 20.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    yaw = follow(circle, np.pi / 2, 6.0)
    assert (np.diff(yaw) > 0).all() and np.abs(np.diff(yaw)).max() < 0.1
    # in a steady turn a body of length l lags the tangent by arcsin(l / radius)
    assert yaw[-1] == pytest.approx(angle[-1] + np.pi / 2 - np.arcsin(6.0 / 20.0), abs=0.02)


def test_scene_keeps_what_is_within_reach():
    def motion(name, x0, speed):
        xy = np.stack([x0 + 0.5 * speed * np.arange(20), np.full(20, 5.0)], axis=1)
        return Motion(name, 'sedan', 'vehicle.car', KINDS['sedan'].size_wlh_m, 0, xy, np.zeros(20))

    ego, leaves, far = motion('ego', 0, 6), motion('leaves', 60, 14), motion('far', 500, 6)
    drives = pick_egos([ego, far], 1, 10, np.zeros((0, 2)), 20, seed=0)
    assert drives[0][0] == 0
    cone = Fixture('cone', 'movable_object.trafficcone', (0.4, 0.4, 1.0), (10.0, 0.0), 0.0)
    times = np.arange(10, dtype=np.int64) * 500_000
    scene = cut_scene('s', 'x', 'val', times, (4, ego), [ego, leaves, far], [cone])
    assert [t.name for t in scene.tracks] == ['leaves', 'cone']
    assert scene.tracks[0].frames.tolist() == [0], 'from then on it is 80 m away or more'
    assert scene.ego_xy_m[0].tolist() == pytest.approx([12.0 - 1.4, 5.0])
    track = scene.tracks[1]
    assert track.frames.tolist() == list(range(10)) and track.center_m[0, 2] == 0.5
    with pytest.raises(RuntimeError, match='only 0 of 1 drives of 30 frames'):
        pick_egos([ego], 1, 30, np.zeros((0, 2)), 20, seed=0)


def test_missing_or_failing_sumo_is_named(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match='netgenerate ended with'):
        run_sumo('netgenerate', ['--no-such-option'], tmp_path)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(RuntimeError, match=r'pip install nexusflow\[world\]'):
        run_sumo('netgenerate', [], tmp_path)
