# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Rendered rooms: exact geometry by hand and by brute force, and depth against normals."""

import math

import numpy as np
import pytest

from nexusflow.world.indoor.camera import Camera, intrinsics
from nexusflow.world.indoor.cast import cast_image, entries
from nexusflow.world.indoor.light import shade
from nexusflow.world.indoor.render import render, render_sample
from nexusflow.world.indoor.rooms import plan_room
from nexusflow.world.indoor.sensor import projector_shadow
from nexusflow.world.indoor.solids import Light, Material, Scene, Solid, block, bounds_of
from nexusflow.world.indoor.spec import CLASSES, IndoorSpec, indoor_preset, label_of
from nexusflow.world.indoor.surface import surfaces
from nexusflow.world.indoor.textures import PATTERNS, Place

SIZE = (96, 72)
WHITE = Material('plain', (0.9, 0.9, 0.9))


def box_room(size=(4.0, 4.0, 2.5), t=0.1):
    lx, ly, lz = size
    shell = [
        block(label_of('floor'), WHITE, (-t, lx + t), (-t, ly + t), (-t, 0.0)),
        block(label_of('ceiling'), WHITE, (-t, lx + t), (-t, ly + t), (lz, lz + t)),
        block(label_of('wall'), WHITE, (lx, lx + t), (-t, ly + t), (0.0, lz)),
        block(label_of('wall'), WHITE, (-t, 0.0), (-t, ly + t), (0.0, lz)),
        block(label_of('wall'), WHITE, (-t, lx + t), (-t, 0.0), (0.0, lz)),
        block(label_of('wall'), WHITE, (-t, lx + t), (ly, ly + t), (0.0, lz)),
    ]
    return Scene(size, shell, lights=[Light((2.0, 2.0, 2.3), (1.0, 1.0, 1.0))])


def facing_wall():
    """Level, 3 m before the wall at x = 4."""
    return Camera((1.0, 2.0, 1.2), 0.0, 0.0, 0.0, SIZE)


def test_a_wall_three_metres_away():
    sample = render(box_room(), facing_wall(), np.random.default_rng(0))
    focal, middle = 0.81 * SIZE[0], (SIZE[1] - 1) / 2
    rows = np.arange(SIZE[1])[:, None].repeat(SIZE[0], 1)
    valid = sample.depth[..., 0] > 0
    wall = valid & (sample.label == label_of('wall'))
    floor = valid & (sample.label == label_of('floor'))
    ceiling = valid & (sample.label == label_of('ceiling'))
    straight = wall & (sample.normal[..., 2] > 0.5)
    assert straight.sum() > 2000 and floor.sum() > 100 and ceiling.sum() > 50
    assert np.allclose(sample.depth[straight, 0], 3.0, atol=1e-5)
    assert np.allclose(sample.normal[straight], (0, 0, 1), atol=1e-3)
    assert np.allclose(sample.depth[floor, 0], 1.2 * focal / (rows[floor] - middle), rtol=1e-5)
    assert np.allclose(sample.normal[floor], (0, 1, 0), atol=1e-3)
    assert np.allclose(sample.depth[ceiling, 0], 1.3 * focal / (middle - rows[ceiling]), rtol=1e-5)
    assert np.allclose(sample.normal[ceiling], (0, -1, 0), atol=1e-3)


def test_side_walls_have_normals_towards_the_middle_of_the_image():
    camera = Camera((0.5, 2.0, 1.2), 0.0, 0.0, 0.0, SIZE)
    sample = render(box_room((6.0, 2.5, 2.5)), camera, np.random.default_rng(0))
    left = sample.normal[30:40, 3:8].reshape(-1, 3)
    right = sample.normal[30:40, -8:-3].reshape(-1, 3)
    assert np.allclose(left, (1, 0, 0), atol=1e-3)
    assert np.allclose(right, (-1, 0, 0), atol=1e-3)


@pytest.mark.parametrize('shape', ['box', 'ball', 'cylinder'])
def test_entry_into_unit_shapes(shape):
    solid = Solid(shape, 0, WHITE, (2.0, 0.0, 0.0), (0.5, 0.5, 0.25))
    rays = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.3], [-1.0, 0.0, 0.0], [1.0, 0.24, 0.0]]).T
    entry = entries(solid, np.zeros(3), rays.astype(np.float32))
    assert entry[0] == pytest.approx(1.5, abs=1e-6)
    assert np.isinf(entry[1]) and np.isinf(entry[2])
    if shape == 'box':
        assert entry[3] == pytest.approx(1.5, abs=1e-6)
    else:  # x = t, y = 0.24 t: (t - 2)^2 + (0.24 t)^2 = 0.5^2
        a, b, c = 1 + 0.24**2, -4.0, 4 - 0.25
        assert entry[3] == pytest.approx((-b - math.sqrt(b * b - 4 * a * c)) / (2 * a), abs=1e-5)
    top = entries(solid, np.array([2.0, 0.0, 3.0]), np.array([[0.0], [0.0], [-1.0]], np.float32))
    assert top[0] == pytest.approx(2.75, abs=1e-6)


def test_windows_on_the_image_change_nothing():
    scene, camera = plan_room(np.random.default_rng(5), SIZE)
    solids, rays = scene.everything(), camera.rays()
    every = np.stack([entries(solid, np.asarray(camera.position), rays) for solid in solids])
    hits = cast_image(camera, solids)
    assert np.array_equal(hits.depth, every.min(axis=0))
    assert np.array_equal(hits.number, every.argmin(axis=0))


def normals_from_depth(depth, k):
    """Cross products of back-projected neighbours, in the axes of the data set (x, -y, -z)."""
    rows, columns = np.indices(depth.shape)
    points = np.stack(
        [(columns - k[0, 2]) / k[0, 0] * depth, (rows - k[1, 2]) / k[1, 1] * depth, depth], axis=-1
    )
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    cross = np.cross(down, across)
    return cross / np.maximum(np.linalg.norm(cross, axis=-1, keepdims=True), 1e-12) * (1, -1, -1)


def away_from_edges(sample):
    """Inner pixels whose 3 x 3 neighbourhood is measured, of one class, and without a step or a crease."""
    depth, normal = sample.depth[..., 0].astype(float), sample.normal.astype(float)
    inner, ok = np.s_[1:-1, 1:-1], np.ones((depth.shape[0] - 2, depth.shape[1] - 2), bool)
    for dy, dx in np.ndindex(3, 3):
        part = np.s_[dy : dy + ok.shape[0], dx : dx + ok.shape[1]]
        ok &= (depth[part] > 0) & (sample.label[part] == sample.label[inner])
        ok &= (normal[part] * normal[inner]).sum(-1) > math.cos(math.radians(5))
    inverse = 1 / np.maximum(depth, 1e-3)  # linear in the image on a plane
    for a, b in (((0, 1), (2, 1)), ((1, 0), (1, 2))):
        first, second = (inverse[y : y + ok.shape[0], x : x + ok.shape[1]] for y, x in (a, b))
        ok &= np.abs(first + second - 2 * inverse[inner]) < 0.004 * inverse[inner]
    return ok


@pytest.mark.parametrize('size', [(192, 144), (128, 96)])
def test_normals_agree_with_depth(size):
    angles, share = [], []
    for i in range(6):
        sample = render_sample((3, 0, i), size)
        computed = normals_from_depth(sample.depth[..., 0].astype(float), intrinsics(size))
        cosine = (computed * sample.normal[1:-1, 1:-1].astype(float)).sum(-1)
        ok = away_from_edges(sample)
        share.append(ok.mean())
        angles.append(np.degrees(np.arccos(np.clip(cosine[ok], -1, 1))))
    angles = np.concatenate(angles)
    assert np.mean(share) > 0.6
    assert (angles < 2).mean() >= 0.99
    assert np.median(angles) < 0.05


def test_arrays_of_a_sample():
    sample = render_sample((0, 1, 2), SIZE)
    height, width = SIZE[1], SIZE[0]
    assert sample.image.shape == (height, width, 3) and sample.image.dtype == np.float16
    assert sample.label.shape == (height, width) and sample.label.dtype == np.int8
    assert sample.depth.shape == (height, width, 1) and sample.depth.dtype == np.float32
    assert sample.normal.shape == (height, width, 3) and sample.normal.dtype == np.float32
    assert 0 <= sample.image.min() and sample.image.max() <= 1
    assert np.allclose(sample.image * 255.0, np.round(sample.image * 255.0), atol=0.13)
    assert sample.label.min() == -1 and sample.label.max() < len(CLASSES)
    length = np.linalg.norm(sample.normal.astype(float), axis=-1)
    measured = sample.depth[..., 0] > 0
    assert np.allclose(length[measured], 1, atol=1e-5) and not length[~measured].any()
    toward = sample.normal.astype(float)[measured] @ (0, 0, 1)
    assert (toward > -0.75).all()
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert (sample.label[edge] == -1).all() and not measured[edge].any()
    assert 0.7 < measured.mean() < 0.97


def test_every_class_is_common_and_rooms_differ():
    samples = [render_sample((1, 0, i), (64, 48)) for i in range(60)]
    for name in CLASSES:
        seen = np.mean([(s.label == label_of(name)).any() for s in samples])
        assert seen >= 0.1, name
    means = {round(float(s.depth.mean()), 4) for s in samples}
    assert len(means) == 60
    assert np.mean([(s.label == label_of('wall')).mean() for s in samples]) < 0.65


def test_nothing_stands_out_of_the_room_and_the_camera_stands_free():
    for seed in range(12):
        scene, camera = plan_room(np.random.default_rng(seed), SIZE)
        low, high = bounds_of(scene.solids)
        assert (low > -1e-6).all() and (high < np.asarray(scene.size) + 1e-6).all()
        for solid in scene.solids:
            place = solid.unit_matrix() @ (np.asarray(camera.position) - solid.center)
            assert np.abs(place).max() > 1.0
        assert np.isfinite(cast_image(camera, scene.everything()).depth).all()


def test_shadow_below_a_board():
    scene, camera = box_room(), Camera((3.5, 2.0, 1.2), math.pi, -0.9, 0.0, SIZE)
    board = block(label_of('table'), WHITE, (2.2, 2.8), (1.7, 2.3), (0.5, 0.53))

    def light_of(solids):
        scene.solids = solids
        hits = cast_image(camera, scene.everything())
        surface = surfaces(camera, scene.everything(), hits)
        return shade(scene, surface), surface.points

    open_light, _ = light_of([])
    light, points = light_of([board])
    floor = points[..., 2] < 1e-3
    # The lamp at (2, 2, 2.3) throws the board's shadow to x in 2.26..3.04, y in 1.62..2.38.
    x, y = points[..., 0], points[..., 1]
    dark = floor & (x > 2.75) & (x < 2.95) & (y > 1.8) & (y < 2.2)
    bright = floor & (x > 2.75) & (x < 2.95) & (y > 2.5) & (y < 2.7)
    assert dark.sum() > 10 and bright.sum() > 10
    assert (light[dark] < 0.75 * open_light[dark]).all()
    assert np.allclose(light[bright], open_light[bright])


def test_projector_shadow_is_right_of_near_things():
    depth = np.full((2, 100), 4.0)
    depth[0, :4] = 1.0
    # Columns are shifted by 0.075 * 81 / z: 6.075 at 1 m, 1.519 at 4 m. The last near one reaches 9.075.
    assert np.nonzero(projector_shadow(depth)[0])[0].tolist() == [4, 5, 6, 7]
    assert not projector_shadow(depth)[1].any()


@pytest.mark.parametrize('pattern', sorted(PATTERNS))
def test_patterns_are_colours_that_depend_on_their_seed(pattern):
    rng = np.random.default_rng(0)
    place = Place(*rng.uniform(-1, 1, (4, 500)))
    material = Material(pattern, (0.5, 0.4, 0.3), seed=1)
    colors = PATTERNS[pattern](material, place)
    assert colors.shape == (500, 3) and 0 <= colors.min() and colors.max() <= 1
    assert np.array_equal(colors, PATTERNS[pattern](material, place))
    assert colors.std(axis=0).max() > 0.005


def test_an_open_room_is_refused():
    scene = box_room()
    scene.shell.pop()
    camera = Camera((1.0, 2.0, 1.2), math.pi / 2, 0.0, 0.0, SIZE)
    with pytest.raises(ValueError, match='must be closed'):
        render(scene, camera, np.random.default_rng(0))


def test_recipes_out_of_range():
    with pytest.raises(ValueError, match='train_images, val_images: at least 1 each, got 0'):
        IndoorSpec(train_images=0)
    with pytest.raises(ValueError, match='32 pixels'):
        IndoorSpec(image_size_wh=(31, 64))
    with pytest.raises(ValueError, match=r"preset 'x' is unknown; .* demo, nyuv2, tiny"):
        indoor_preset('x')
    published = indoor_preset('nyuv2')
    assert (published.train_images, published.val_images) == (795, 654)
    assert published.image_size_wh == (384, 288)
