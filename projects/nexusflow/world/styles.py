# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""How a city looks. Two cities with a real domain gap, and every look between them.

Every field is a number or an array of numbers, so that looks blend linearly: at ``domain_gap`` 0
both cities have the mean look, at 1 each its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from nexusflow.world.scene import NDArrayFloat


def _rgb(*colors: str) -> NDArrayFloat:
    """Hexadecimal RGB colours as (K, 3) BGR values in [0, 255]; one colour gives (3,)."""
    values = np.array(
        [[int(c[i : i + 2], 16) for i in (4, 2, 0)] for c in colors], dtype=np.float64
    )
    return values[0] if len(colors) == 1 else values


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


#: Autumn afternoon: brick and glass, dark worn asphalt, yellow double lines, ladder crossings, blue sky, low sun.
BOSTON: Final = CityStyle(
    asphalt=_rgb('5b5d61'),
    junction=_rgb('54565b'),
    asphalt_grain=9.0,
    lane_paint=_rgb('d9d9d2'),
    lane_dash=np.array([3.0, 6.0]),
    road_paint=_rgb('d9a520'),
    road_dash=np.array([3.0, 0.0]),
    road_line_spacing=0.36,
    edge_paint=_rgb('d4d4cc'),
    edge_opacity=0.75,
    line_width=0.15,
    paint_wear=0.2,
    crossing_paint=_rgb('dcdcd4'),
    stripe=np.array([0.4, 0.8]),
    stripe_opacity=0.95,
    border_opacity=1.0,
    kerb=_rgb('a8a49c'),
    pavement=_rgb('9c9489'),
    pavement_joint=_rgb('857d73'),
    slab=1.6,
    vegetation=_rgb('857a55'),
    vegetation_grain=14.0,
    sky_top=_rgb('4f86c9'),
    sky_horizon=_rgb('c6d6e6'),
    fog_m=420.0,
    sun_azimuth_deg=215.0,
    sun_elevation_deg=33.0,
    sun_strength=0.62,
    light_color=np.array([0.94, 1.0, 1.06]),
    walls=_rgb('8c4a3a', '7a4436', 'a3604a', '9a8f80', '5d6670', '6f7d8c', 'b0a48e', '544a48'),
    glass=_rgb('3d4f63'),
    wall_window_share=0.46,
    building_height=np.array([17.0, 8.0]),
    building_setback=1.5,
    building_density=0.85,
    tree_density=0.3,
    tree_size=np.array([7.0, 1.9]),
    leaves=_rgb('a0642a', '8a5a2c', '7d7a36', 'b0782e'),
    car_paint=_rgb('20242a', '3a3f47', '8a8d91', 'b9bcc0', 'e4e4e2', '24365c', '6e1f22', '31402f'),
    large_paint=_rgb('d8d4cc', '8c3b2c', '2f4a7c', '9a8f5a'),
    bus_paint=_rgb('e3b91f', 'c9cdd2'),
    clothes=_rgb('3a4560', '7a3338', '4d5f48', '8a7658', 'b8b2a6', '7a7f88'),
    noise=3.5,
    contrast=1.06,
)

#: Tropical haze: white and pastel blocks, light asphalt, white dashes, zebra crossings, lush green, high diffuse sun.
SINGAPORE: Final = CityStyle(
    asphalt=_rgb('85827b'),
    junction=_rgb('8d8980'),
    asphalt_grain=5.0,
    lane_paint=_rgb('f4f4f0'),
    lane_dash=np.array([2.0, 3.0]),
    road_paint=_rgb('f6f6f2'),
    road_dash=np.array([5.0, 1.4]),
    road_line_spacing=0.0,
    edge_paint=_rgb('e0b93a'),
    edge_opacity=0.9,
    line_width=0.2,
    paint_wear=0.02,
    crossing_paint=_rgb('f6f6f4'),
    stripe=np.array([0.5, 0.5]),
    stripe_opacity=1.0,
    border_opacity=0.0,
    kerb=_rgb('e2e0d8'),
    pavement=_rgb('c0a08c'),
    pavement_joint=_rgb('a88674'),
    slab=0.8,
    vegetation=_rgb('4f8a3a'),
    vegetation_grain=18.0,
    sky_top=_rgb('b9c9d3'),
    sky_horizon=_rgb('e4e8e6'),
    fog_m=190.0,
    sun_azimuth_deg=70.0,
    sun_elevation_deg=68.0,
    sun_strength=0.34,
    light_color=np.array([1.0, 1.02, 1.0]),
    walls=_rgb('e6e2d8', 'd9cfc0', 'e0c8b8', 'c9d6d8', 'f0ece2', 'd8dcc4', 'cfc4d0', 'e8d8a8'),
    glass=_rgb('6f8c94'),
    wall_window_share=0.3,
    building_height=np.array([30.0, 15.0]),
    building_setback=5.0,
    building_density=0.6,
    tree_density=0.8,
    tree_size=np.array([8.5, 3.0]),
    leaves=_rgb('2f6a2c', '3f7d33', '27592e', '55883a'),
    car_paint=_rgb('e8e8e6', 'f2f2f0', 'c4c8cc', '2a5fa8', '16a0a0', 'c8352c', '2c2e33', 'd9c23a'),
    large_paint=_rgb('e9ece9', '3f8a5a', 'd0762a', '5f7f9c'),
    bus_paint=_rgb('c4343a', '4f9a3c'),
    clothes=_rgb('e8e4da', 'd84f4a', '4a8fd0', 'e0c04a', '6fae6a', '394150'),
    noise=2.0,
    contrast=0.94,
)

_STYLES: Final = {'boston': BOSTON, 'singapore': SINGAPORE}


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
    if city not in _STYLES:
        raise ValueError(
            f"location: no style for '{location}'; it must start with {sorted(_STYLES)}"
        )
    if not 0.0 <= domain_gap <= 1.0:
        raise ValueError(f'domain_gap: must lie in [0, 1], got {domain_gap}')
    values: dict[str, Any] = {}
    for f in fields(CityStyle):
        mean = np.mean([np.asarray(getattr(s, f.name)) for s in _STYLES.values()], axis=0)
        blend = mean + domain_gap * (np.asarray(getattr(_STYLES[city], f.name)) - mean)
        values[f.name] = blend if blend.ndim else float(blend)
    return CityStyle(**values)
