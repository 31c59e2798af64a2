# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
from dataclasses import replace

import cv2
import numpy as np
import pytest
from shapely.geometry import LineString, Polygon, box

from nexusflow.world.camera import CHANNELS, nuscenes_like_rig, project
from nexusflow.world.drawing import Window, footprints
from nexusflow.world.ground import paint_surfaces
from nexusflow.world.ground_plan import Surface, plan_ground
from nexusflow.world.render import SceneRenderer
from nexusflow.world.scene import CityMap, RoadSegment, SceneLog, Track
from nexusflow.world.scenery import place_scenery
from nexusflow.world.styles import style_for

RIG = nuscenes_like_rig((320, 180))
#: Name, size (width, length, height), least share of the box's outline that the shape fills.
SHAPES = {
    'vehicle.car': ((1.9, 4.6, 1.6), 0.65),
    'vehicle.truck': ((2.5, 7.0, 2.9), 0.8),
    'vehicle.bus.rigid': ((2.9, 11.0, 3.4), 0.85),
    'vehicle.trailer': ((2.6, 12.0, 3.8), 0.8),
    'vehicle.construction': ((2.8, 6.5, 3.2), 0.4),
    'vehicle.emergency.ambulance': ((2.2, 6.0, 2.5), 0.7),
    'vehicle.motorcycle': ((0.8, 2.1, 1.5), 0.35),
    'vehicle.bicycle': ((0.6, 1.8, 1.6), 0.25),
    'human.pedestrian.adult': ((0.7, 0.7, 1.75), 0.4),
    'movable_object.trafficcone': ((0.4, 0.4, 0.9), 0.35),
    'movable_object.barrier': ((2.5, 0.5, 1.0), 0.8),
    'movable_object.debris': ((0.6, 0.6, 0.6), 0.8),
}
_SIGNS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def _track(category, x, y, yaw=0.0, name='it', size=None, frames=(0, 1)):
    width, length, height = size or SHAPES[category][0]
    centers = np.tile((x, y, height / 2), (len(frames), 1)).astype(float)
    yaws = np.full(len(frames), yaw)
    return Track(name, category, (width, length, height), np.array(frames), centers, yaws)


def _scene(*tracks, xy=(0.0, 0.0), yaw=0.0, location='boston-seaport', name='scene'):
    times = np.array([0, 500_000])
    path = np.array([xy, xy]) + [[0, 0], [1, 0]]
    return SceneLog(name, location, 'train', times, path, np.full(2, yaw), tuple(tracks))


def _street(location='boston-seaport'):
    return CityMap(
        location,
        road_segments=(RoadSegment(box(-90, -7, 90, 7)),),
        ped_crossings=(box(20, -7, 24, 7),),
        walkways=(box(-90, 7, 90, 10), box(-90, -10, 90, -7)),
        road_dividers=(LineString([(-90, 0), (90, 0)]),),
        lane_dividers=(LineString([(-90, 3.5), (90, 3.5)]), LineString([(-90, -3.5), (90, -3.5)])),
        lane_centerlines=(LineString([(-90, -1.7), (90, -1.7)]),),
    )


def _plain_style(**changes):
    """No scenery, no haze, no noise."""
    empty = {'building_density': -1.0, 'tree_density': -1.0, 'noise': 0.0, 'fog_m': 1e9}
    return replace(style_for('boston-seaport'), **{**empty, **changes})


def _render(scene, frame=0, city=None, style=None, rig=RIG, seed=0):
    city = city or _street(scene.location)
    return SceneRenderer(city, scene, rig, style or _plain_style(), seed).render(
        frame, with_ids=True
    )


def _outline_mask(track, camera, grow_px=0):
    """The convex hull of the projected corners, or None if a corner lies behind the camera."""
    width, length, height = track.size_wlh_m
    cos, sin = np.cos(track.yaw_rad[0]), np.sin(track.yaw_rad[0])
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    uv, depth = project(_SIGNS * (length, width, height) @ turn.T + track.center_m[0], camera)
    if depth.min() < 0.3:
        return None
    mask = np.zeros((camera.height, camera.width), np.uint8)
    hull = cv2.convexHull(np.round((uv - 0.5) * 16).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1, cv2.LINE_8, 4)
    kernel = np.ones((2 * grow_px + 1, 2 * grow_px + 1), np.uint8)
    return cv2.dilate(mask, kernel).astype(bool)


@pytest.mark.parametrize('category', SHAPES)
def test_pixels_lie_in_the_projected_box_and_fill_it(category):
    for x, y, yaw in ((9.0, 1.0, 0.4), (12.0, -2.0, 2.6), (-14.0, 3.0, 1.5), (2.0, 9.0, -0.8)):
        track = _track(category, x, y, yaw)
        frame = _render(_scene(track))
        filled = []
        for camera in RIG:
            hull = _outline_mask(track, camera, grow_px=1)
            owned = frame.ids[camera.channel] == 0
            if hull is None:
                continue
            assert not (owned & ~hull).any()
            outline = _outline_mask(track, camera)
            if outline.sum() > 60:
                filled.append(owned.sum() / outline.sum())
        assert filled
        assert max(filled) > SHAPES[category][1]
        assert frame.visible_fraction[0] == 1.0
        assert frame.visible_px[0] == sum((i == 0).sum() for i in frame.ids.values())
        assert frame.num_lidar_pts[0] > 0


def test_what_stands_in_front_takes_the_pixels():
    bus = _track('vehicle.bus.rigid', 14.0, 0.0, np.pi / 2, 'bus')
    person = _track('human.pedestrian.adult', 18.0, 0.0, 0.0, 'person')
    car = _track('vehicle.car', 20.0, 9.5, 0.0, 'car')
    frame = _render(_scene(person, bus, car))
    assert frame.visible_px[0] == 0
    assert frame.visible_fraction[0] == 0
    assert frame.num_lidar_pts[0] == 0
    assert frame.visible_fraction[1] == 1
    assert 0.05 < frame.visible_fraction[2] < 0.95
    alone = _render(_scene(person, car))
    assert alone.visible_px[0] > 50
    assert alone.visible_fraction.tolist() == [1, 1]
    assert 0 < frame.num_lidar_pts[2] < alone.num_lidar_pts[1]
    assert set(np.unique(frame.ids['CAM_FRONT'])) == {-1, 1, 2}


def test_object_beside_the_camera_is_cut_at_the_near_plane():
    beside = _track('vehicle.trailer', 1.5, 2.6, 0.0)
    frame = _render(_scene(beside))
    left = frame.ids['CAM_FRONT_LEFT'] == 0
    assert left[:, 100:].mean() > 0.8
    assert not (frame.ids['CAM_FRONT_RIGHT'] == 0).any()
    assert not (frame.ids['CAM_BACK_RIGHT'] == 0).any()


def test_same_seed_same_bytes_in_any_order():
    scene = _scene(_track('vehicle.car', 12, 2), _track('vehicle.bus.rigid', 20, -3, name='bus'))
    style = style_for('boston-seaport')
    first, second, other = (SceneRenderer(_street(), scene, RIG, style, seed) for seed in (3, 3, 4))
    second.render(1)
    a, b, c = (r.render(0, with_ids=True) for r in (first, second, other))
    for channel in CHANNELS:
        assert a.images[channel].dtype == np.uint8
        assert a.images[channel].shape == (180, 320, 3)
        np.testing.assert_array_equal(a.images[channel], b.images[channel])
        np.testing.assert_array_equal(a.ids[channel], b.ids[channel])
        assert (a.images[channel] != c.images[channel]).any()
    np.testing.assert_array_equal(a.num_lidar_pts, b.num_lidar_pts)
    assert first.render(0).ids is None


def test_tracks_exist_in_their_frames_only():
    scene = _scene(_track('vehicle.car', 12, 0, frames=(1,)))
    absent, present = (_render(scene, frame) for frame in (0, 1))
    assert absent.visible_px[0] == absent.num_lidar_pts[0] == absent.visible_fraction[0] == 0
    assert present.visible_px[0] > 0


def test_scene_without_tracks():
    frame = _render(_scene())
    assert (
        frame.visible_px.shape == frame.visible_fraction.shape == frame.num_lidar_pts.shape == (0,)
    )
    assert all((i == -1).all() for i in frame.ids.values())


def test_frame_out_of_range():
    renderer = SceneRenderer(_street(), _scene(), RIG, _plain_style(), 0)
    with pytest.raises(IndexError, match="scene 'scene': frame_idx must lie in \\[0, 2\\), got 2"):
        renderer.render(2)


def test_more_tracks_than_the_canvas_has_values():
    grid = [(x, y) for x in np.linspace(6, 70, 40) for y in np.linspace(-6, 6, 8)]
    cones = [
        _track('movable_object.trafficcone', x, y, name=str(i)) for i, (x, y) in enumerate(grid)
    ]
    frame = _render(_scene(*cones))
    ids = frame.ids['CAM_FRONT']
    assert ids.min() == -1
    assert ids.max() < len(cones)
    near = [i for i, (x, y) in enumerate(grid) if x < 10 and abs(y) < 3]
    assert set(near) <= set(np.unique(ids))


@pytest.mark.parametrize(('xy', 'yaw'), [((0.0, 0.0), 0.0), ((500.3, -80.7), 0.7)])
def test_ground_and_horizon_are_where_geometry_says(xy, yaw):
    """A white square on black ground under a grey sky: its corner, and the horizon."""
    black, white, gray = np.zeros(3), np.full(3, 240.0), np.full(3, 128.0)
    style = _plain_style(
        asphalt=white, kerb=white, vegetation=black, pavement=black, pavement_joint=black,
        sky_top=gray, sky_horizon=gray, walls=gray[None],
        edge_opacity=0.0, light_color=np.ones(3), contrast=1.0, asphalt_grain=0.0,
        vegetation_grain=0.0,
    )  # fmt: skip
    cos, sin = np.cos(yaw), np.sin(yaw)
    square = np.array([[8.0, -3.0], [16.0, -3.0], [16.0, 2.0], [8.0, 2.0]])
    outline = square @ np.array([[cos, sin], [-sin, cos]]) + xy
    city = CityMap('boston-seaport', road_segments=(RoadSegment(Polygon(outline)),))
    camera = RIG[0]
    frame = SceneRenderer(city, _scene(xy=xy, yaw=yaw), RIG, style, 0).render(0)
    image = frame.images['CAM_FRONT'].mean(axis=2)
    corners = np.column_stack([square, np.zeros(4)])
    # The kerb reaches 0.125 m beyond the road; OpenCV's filling adds half a pixel of the ground.
    corners[:, :2] += np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.15
    uv, _ = project(corners, camera)
    near_right, near_left, far_left = uv[0], uv[3], uv[2]
    row = int((near_left[1] + far_left[1]) / 2)
    middle = int((near_left[0] + near_right[0]) / 2)
    rows = np.flatnonzero(image[camera.height // 2 + 12 :, middle] > 110) + camera.height // 2 + 12
    assert rows.max() + 1 == pytest.approx(near_left[1], abs=1.0)
    assert rows.min() == pytest.approx(far_left[1], abs=1.0)
    # The left edge crosses the row between its two corners.
    share = (row + 0.5 - far_left[1]) / (near_left[1] - far_left[1])
    edge = far_left[0] + share * (near_left[0] - far_left[0])
    columns = np.flatnonzero(image[row] > 110)
    assert columns.min() == pytest.approx(edge, abs=1.0)
    # Nothing but sky above the horizon, nothing but ground two pixels below it.
    horizon = camera.cam2img[1, 2]
    assert (image[: int(horizon) - 1, 5] > 90).all()
    assert (image[int(horizon) + 3 :, 5] < 70).all()


def test_shadow_darkens_the_ground():
    style = _plain_style(sun_strength=0.9, sun_elevation_deg=35.0)
    scene, empty = _scene(_track('vehicle.truck', 14, 0)), _scene()
    with_truck, without = (_render(s, style=style) for s in (scene, empty))
    difference = with_truck.images['CAM_FRONT'].astype(int) - without.images['CAM_FRONT']
    darker = (difference.mean(axis=2) < -10) & (with_truck.ids['CAM_FRONT'] == -1)
    assert darker.sum() > 100


def test_the_gap_shows_in_the_pictures():
    means = {}
    for gap in (0.0, 1.0):
        for location in ('boston-seaport', 'singapore-onenorth'):
            scene = _scene(location=location)
            style = style_for(location, gap)
            image = _render(scene, style=style, seed=1).images['CAM_FRONT']
            means[gap, location] = image.mean(axis=(0, 1))
    gaps = [
        np.abs(means[gap, 'boston-seaport'] - means[gap, 'singapore-onenorth']).max()
        for gap in (0.0, 1.0)
    ]
    assert gaps[1] > 15
    assert gaps[0] < gaps[1] / 2


def test_markings_and_surfaces_are_painted_where_the_map_has_them():
    style = style_for('singapore-onenorth')
    window = Window.around(np.array([[10.0, 0.0]]), 30.0, 0.1)
    surface = paint_surfaces(plan_ground(_street(), style, window.bounds_m), window)

    def at(x, y):
        column, row = ((np.array([x, y]) - (window.x_m, window.y_m)) / 0.1).astype(int)
        return Surface(surface[row, column])

    assert at(10, 12) is Surface.VEGETATION
    assert at(10, 8.5) is Surface.PAVEMENT
    assert at(10, -2) is Surface.ROAD
    assert at(10, 7.0) is Surface.KERB
    # Stripes run along the traffic: constant along x, alternating along y.
    along = {at(x, 1.0) for x in np.arange(20.5, 23.5, 0.1)}
    across = [at(22, y) for y in np.arange(-6, 6, 0.1)]
    assert len(along) == 1
    assert 0.3 < np.mean([a is Surface.STRIPE for a in across]) < 0.7
    lane_line = [at(x, 3.5) is Surface.LANE_LINE for x in np.arange(-15, 15, 0.1)]
    assert np.mean(lane_line) == pytest.approx(0.4, abs=0.12)


def test_roads_without_walkways_on_the_map_still_have_pavements():
    style = style_for('boston-seaport')
    window = Window.around(np.zeros((1, 2)), 30.0, 0.1)
    city = CityMap('boston-seaport', road_segments=(RoadSegment(box(-90, -7, 90, 7)),))
    surface = paint_surfaces(plan_ground(city, style, window.bounds_m), window)
    column = surface[:, window.columns // 2]
    at = [Surface(column[int((y - window.y_m) / 0.1)]) for y in (0.0, 8.5, 10.5)]
    assert at == [Surface.ROAD, Surface.PAVEMENT, Surface.VEGETATION]


@pytest.mark.parametrize('location', ['boston-seaport', 'singapore-onenorth'])
def test_nothing_grows_on_roads_and_walkways(location):
    style = style_for(location)
    window = Window.around(np.zeros((1, 2)), 80.0, 0.5)
    surface = paint_surfaces(plan_ground(_street(), style, window.bounds_m), window)
    clear = np.zeros_like(surface)
    clear[:, :40] = 1
    props = place_scenery(surface, window, clear, style, seed=5)
    paved = box(-90, -10, 90, 10)
    outlines = footprints(
        np.array([p.xy_m for p in props]),
        np.array([p.yaw_rad for p in props]),
        np.array([p.size_lwh_m[:2] for p in props]),
    )
    ground = [Polygon(outline) for outline in outlines]
    buildings = [area for area, p in zip(ground, props, strict=True) if p.solid]
    assert len(buildings) > 5
    assert len(props) > len(buildings)
    for prop, area in zip(props, ground, strict=True):
        assert area.intersection(paved).area < 0.05 or not prop.solid
        assert abs(prop.xy_m[1]) > 10
        assert prop.xy_m[0] > window.x_m + 20
    for i, a in enumerate(buildings):
        assert all(a.intersection(b).area < 0.05 for b in buildings[:i])
