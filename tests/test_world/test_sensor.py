# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
from dataclasses import replace

import numpy as np

from nexusflow.world.sensor import Sensor
from nexusflow.world.styles import style_for

STYLE = replace(
    style_for('boston-seaport'), noise=0.0, contrast=0.5, light_color=np.array([1.0, 1.0, 0.5])
)


def _canvas(level):
    return np.full((36, 64, 4), level, np.uint8)


def test_size_and_tone():
    sensor = Sensor((32, 18), STYLE, np.random.default_rng(0))
    canvas = _canvas(100)
    canvas[::2] = 104
    image = sensor.develop(canvas, (32, 18), np.array([0, 0]))
    assert image.shape == (18, 32, 3) and image.dtype == np.uint8
    # Mean of the rows 102; contrast halves the distance from 128: 115, and for 51: 89.5.
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() in ([[115, 115, 90]], [[115, 115, 89]])


def test_noise_has_the_wanted_size_and_depends_on_the_place():
    style = replace(STYLE, noise=4.0, contrast=1.0, light_color=np.ones(3))
    sensor = Sensor((64, 36), style, np.random.default_rng(0))
    canvas = np.full((72, 128, 4), 120, np.uint8)
    first, again, other = (
        sensor.develop(canvas, (64, 36), np.array(place)).astype(int) - 120
        for place in ((3, 5), (3, 5), (4, 5))
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[1:], other[:-1])
    assert abs(first.std() - 4.0) < 0.2 and abs(first.mean()) < 0.2
    places = Sensor.places(400, np.random.default_rng(0))
    assert places.shape == (400, 2) and places.min() == 0 and places.max() == 64
