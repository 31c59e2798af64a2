# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How a city looks. Two cities with a real domain gap, and every look between them.

Every field is a number or an array of numbers, so that looks blend linearly: at ``domain_gap`` 0
both cities have the mean look, at 1 each its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nexusflow.world.scene import NDArrayFloat


@dataclass(frozen=True)
class CityStyle:
    """The look of a city. Colours are BGR in [0, 255]; lengths are metres.

    Attributes:
        asphalt: Road surface.
        junction: Road surface of junctions.
        asphalt_grain: Amplitude of the road's texture, grey levels.
        lane_paint: Lines between lanes of one direction.
        lane_dash: (2,) painted length and gap of those lines.
        road_paint: Lines between directions.
        road_dash: (2,) painted length and gap of those lines; no gap: solid.
        road_line_spacing: Distance between the two lines of a double line; 0: single.
        edge_paint: Line along the road's edge.
        edge_opacity: Visibility of that line, 0 to 1.
        line_width: Width of every line.
        paint_wear: How far paint fades into the asphalt, 0 to 1.
        crossing_paint: Paint of the crossings.
        stripe: (2,) width and gap of zebra stripes.
        stripe_opacity: Visibility of the stripes; 0: a crossing of two lines only.
        border_opacity: Visibility of the crossing's two border lines.
        kerb: Kerb stones.
        pavement: Walkways.
        pavement_joint: Joints between their slabs.
        slab: Size of a slab.
        vegetation: Ground beside roads and walkways.
        vegetation_grain: Its texture, grey levels.
        sky_top: Sky overhead.
        sky_horizon: Sky at the horizon; also the colour of fog.
        fog_m: Distance over which contrast falls to 1/e.
        sun_azimuth_deg: Direction to the sun, from global x.
        sun_elevation_deg: Its height.
        sun_strength: Share of directed light, 0 to 1; the rest is ambient. Also the depth of shadows.
        light_color: (3,) factors of the light's colour.
        walls: (P, 3) building colours.
        glass: Windows of buildings.
        wall_window_share: Share of a storey that is window.
        building_height: (2,) mean and spread.
        building_setback: Distance from walkway to facade.
        building_density: Share of building lots in use, 0 to 1.
        tree_density: Share of tree lots in use, 0 to 1.
        tree_size: (2,) height and crown radius.
        leaves: (P, 3) colours of trees.
        car_paint: (P, 3) colours of cars.
        large_paint: (P, 3) colours of trucks and trailers.
        bus_paint: (P, 3) colours of buses.
        clothes: (P, 3) colours of people.
        noise: Standard deviation of the sensor noise, grey levels.
        contrast: Gain of the image around mid-grey.
    """

    asphalt: NDArrayFloat
    junction: NDArrayFloat
    asphalt_grain: float
    lane_paint: NDArrayFloat
    lane_dash: NDArrayFloat
    road_paint: NDArrayFloat
    road_dash: NDArrayFloat
    road_line_spacing: float
    edge_paint: NDArrayFloat
    edge_opacity: float
    line_width: float
    paint_wear: float
    crossing_paint: NDArrayFloat
    stripe: NDArrayFloat
    stripe_opacity: float
    border_opacity: float
    kerb: NDArrayFloat
    pavement: NDArrayFloat
    pavement_joint: NDArrayFloat
    slab: float
    vegetation: NDArrayFloat
    vegetation_grain: float
    sky_top: NDArrayFloat
    sky_horizon: NDArrayFloat
    fog_m: float
    sun_azimuth_deg: float
    sun_elevation_deg: float
    sun_strength: float
    light_color: NDArrayFloat
    walls: NDArrayFloat
    glass: NDArrayFloat
    wall_window_share: float
    building_height: NDArrayFloat
    building_setback: float
    building_density: float
    tree_density: float
    tree_size: NDArrayFloat
    leaves: NDArrayFloat
    car_paint: NDArrayFloat
    large_paint: NDArrayFloat
    bus_paint: NDArrayFloat
    clothes: NDArrayFloat
    noise: float
    contrast: float


_CITIES: Final = ('boston', 'singapore')
_Value = str | float | tuple[float, ...]
#: The two looks side by side; colours are hexadecimal RGB.
#: Boston, an autumn afternoon: brick and glass, dark worn asphalt, yellow double lines, ladder crossings, blue sky,
#: low sun. Singapore, tropical haze: white and pastel blocks, light asphalt, white dashes, zebra crossings, lush
#: green, high diffuse sun.
_LOOKS: Final[dict[str, tuple[_Value, _Value]]] = {
    'asphalt': ('5b5d61', '85827b'),
    'junction': ('54565b', '8d8980'),
    'asphalt_grain': (9.0, 5.0),
    'lane_paint': ('d9d9d2', 'f4f4f0'),
    'lane_dash': ((3.0, 6.0), (2.0, 3.0)),
    'road_paint': ('d9a520', 'f6f6f2'),
    'road_dash': ((3.0, 0.0), (5.0, 1.4)),
    'road_line_spacing': (0.36, 0.0),
    'edge_paint': ('d4d4cc', 'e0b93a'),
    'edge_opacity': (0.75, 0.9),
    'line_width': (0.15, 0.2),
    'paint_wear': (0.2, 0.02),
    'crossing_paint': ('dcdcd4', 'f6f6f4'),
    'stripe': ((0.4, 0.8), (0.5, 0.5)),
    'stripe_opacity': (0.95, 1.0),
    'border_opacity': (1.0, 0.0),
    'kerb': ('a8a49c', 'e2e0d8'),
    'pavement': ('9c9489', 'c0a08c'),
    'pavement_joint': ('857d73', 'a88674'),
    'slab': (1.6, 0.8),
    'vegetation': ('857a55', '4f8a3a'),
    'vegetation_grain': (14.0, 18.0),
    'sky_top': ('4f86c9', 'b9c9d3'),
    'sky_horizon': ('c6d6e6', 'e4e8e6'),
    'fog_m': (420.0, 190.0),
    'sun_azimuth_deg': (215.0, 70.0),
    'sun_elevation_deg': (33.0, 68.0),
    'sun_strength': (0.62, 0.34),
    'light_color': ((0.94, 1.0, 1.06), (1.0, 1.02, 1.0)),
    'walls': (
        '8c4a3a 7a4436 a3604a 9a8f80 5d6670 6f7d8c b0a48e 544a48',
        'e6e2d8 d9cfc0 e0c8b8 c9d6d8 f0ece2 d8dcc4 cfc4d0 e8d8a8',
    ),
    'glass': ('3d4f63', '6f8c94'),
    'wall_window_share': (0.46, 0.3),
    'building_height': ((17.0, 8.0), (30.0, 15.0)),
    'building_setback': (1.5, 5.0),
    'building_density': (0.85, 0.6),
    'tree_density': (0.3, 0.8),
    'tree_size': ((7.0, 1.9), (8.5, 3.0)),
    'leaves': ('a0642a 8a5a2c 7d7a36 b0782e', '2f6a2c 3f7d33 27592e 55883a'),
    'car_paint': (
        '20242a 3a3f47 8a8d91 b9bcc0 e4e4e2 24365c 6e1f22 31402f',
        'e8e8e6 f2f2f0 c4c8cc 2a5fa8 16a0a0 c8352c 2c2e33 d9c23a',
    ),
    'large_paint': ('d8d4cc 8c3b2c 2f4a7c 9a8f5a', 'e9ece9 3f8a5a d0762a 5f7f9c'),
    'bus_paint': ('e3b91f c9cdd2', 'c4343a 4f9a3c'),
    'clothes': (
        '3a4560 7a3338 4d5f48 8a7658 b8b2a6 7a7f88',
        'e8e4da d84f4a 4a8fd0 e0c04a 6fae6a 394150',
    ),
    'noise': (3.5, 2.0),
    'contrast': (1.06, 0.94),
}


def style_for(location: str, domain_gap: float = 1.0) -> CityStyle:
    """The look of a location.

    Args:
        location: nuScenes location; its first part names the city, e.g. ``'boston-seaport'``.
        domain_gap: 0 gives all cities the same mean look, 1 each its own; between, a linear blend.

    Returns:
        The style.

    Raises:
        ValueError: If the city is unknown or the gap is outside [0, 1].
    """
    city = location.split('-')[0]
    if city not in _CITIES:
        raise ValueError(f"location: no style for '{location}'; it must start with {_CITIES}")
    if not 0.0 <= domain_gap <= 1.0:
        raise ValueError(f'domain_gap: must lie in [0, 1], got {domain_gap}')
    values: dict[str, Any] = {}
    for name, cities in _LOOKS.items():
        looks = [_numbers(value) for value in cities]
        mean = np.mean(looks, axis=0)
        blend = mean + domain_gap * (looks[_CITIES.index(city)] - mean)
        values[name] = blend if blend.ndim else float(blend)
    return CityStyle(**values)


def _numbers(value: _Value) -> NDArrayFloat:
    """A value of the table as an array; colours as (3,) BGR or (K, 3) in [0, 255]."""
    if not isinstance(value, str):
        return np.array(value, dtype=np.float64)
    colors = [[int(color[i : i + 2], 16) for i in (4, 2, 0)] for color in value.split()]
    return np.array(colors if len(colors) > 1 else colors[0], dtype=np.float64)
