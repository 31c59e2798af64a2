# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What makes the two cities differ before a single picture is drawn: roads and traffic mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Kind:
    """One model of road user.

    Attributes:
        name: Unique; it is the SUMO vehicle type's id.
        category: nuScenes category name.
        sumo_class: SUMO vClass, which decides the lanes that it may use.
        size_wlh_m: Width, length, height of its (first) box.
        max_speed_mps: Highest speed.
        trailer_wlh_m: The towed box, if any.
    """

    name: str
    category: str
    sumo_class: str
    size_wlh_m: tuple[float, float, float]
    max_speed_mps: float
    trailer_wlh_m: tuple[float, float, float] | None = None


HITCH_GAP_M = 0.6
KINDS = {
    kind.name: kind
    for kind in (
        Kind('hatchback', 'vehicle.car', 'passenger', (1.75, 4.0, 1.5), 14.0),
        Kind('sedan', 'vehicle.car', 'passenger', (1.85, 4.7, 1.5), 14.0),
        Kind('suv', 'vehicle.car', 'passenger', (1.95, 4.9, 1.8), 14.0),
        Kind('van', 'vehicle.car', 'delivery', (2.0, 5.3, 2.1), 13.0),
        Kind('boxtruck', 'vehicle.truck', 'truck', (2.4, 7.2, 3.1), 12.0),
        Kind('roadtrain', 'vehicle.truck', 'trailer', (2.5, 6.0, 3.2), 11.0, (2.5, 8.5, 3.6)),
        Kind('citybus', 'vehicle.bus.rigid', 'bus', (2.6, 11.0, 3.3), 12.0),
        Kind('motorcycle', 'vehicle.motorcycle', 'motorcycle', (0.8, 2.1, 1.5), 14.0),
        Kind('bicycle', 'vehicle.bicycle', 'bicycle', (0.6, 1.75, 1.4), 5.5),
        Kind('walker', 'human.pedestrian.adult', 'pedestrian', (0.65, 0.7, 1.75), 1.4),
        Kind('small_walker', 'human.pedestrian.adult', 'pedestrian', (0.6, 0.6, 1.6), 1.3),
    )
}


@dataclass(frozen=True)
class CityTraits:
    """How one city's networks and traffic are drawn.

    Attributes:
        location: nuScenes location name.
        left_hand: Whether traffic keeps to the left.
        is_grid: Blocks on a grid, or streets grown at random.
        block_m: Length of a link: least and most.
        dropped_links: Share of grid links left out, which makes T junctions.
        warp_m: Amplitude of the smooth displacement that bends the streets.
        lane_width_m: Width of a driving lane.
        lane_shares: Share of streets with 1, 2 and 3 lanes per direction.
        parking_share: Share of directed streets with a parking lane at the kerb.
        bike_lane_share: The same for a bicycle lane (where nobody parks).
        median_share: Share of streets of two lanes or more with an island between directions.
        signal_share: Share of junctions of three streets or more that have traffic lights.
        speed_mps: Speed limit.
        vehicles_per_km: Vehicles at once per kilometre of street.
        pedestrians_per_km: Pedestrians at once per kilometre of street.
        mix: Share of each kind among the moving vehicles.
        parked_share: Share of parking places taken.
    """

    location: str
    left_hand: bool
    is_grid: bool
    block_m: tuple[float, float]
    dropped_links: float
    warp_m: float
    lane_width_m: float
    lane_shares: tuple[float, float, float]
    parking_share: float
    bike_lane_share: float
    median_share: float
    signal_share: float
    speed_mps: float
    vehicles_per_km: float
    pedestrians_per_km: float
    mix: dict[str, float]
    parked_share: float


_VEHICLES_PER_KM: Final = 31.0
#: The two cities side by side, but for the mix of traffic.
_TRAITS: Final[dict[str, tuple[Any, Any]]] = {
    'location': ('boston-seaport', 'singapore-onenorth'),
    'left_hand': (False, True),
    'is_grid': (True, False),
    'block_m': ((95.0, 125.0), (85.0, 150.0)),
    'dropped_links': (0.2, 0.0),
    'warp_m': (5.0, 14.0),
    'lane_width_m': (3.4, 3.2),
    'lane_shares': ((0.45, 0.4, 0.15), (0.5, 0.4, 0.1)),
    'parking_share': (0.55, 0.35),
    'bike_lane_share': (0.5, 0.35),
    'median_share': (0.3, 0.45),
    'signal_share': (0.7, 0.4),
    'speed_mps': (11.0, 12.0),
    'pedestrians_per_km': (24.0, 26.0),
    'parked_share': (0.4, 0.35),
}
#: Share of each kind among the moving vehicles of the two cities.
_MIX: Final = {
    'hatchback': (0.09, 0.11),
    'sedan': (0.14, 0.11),
    'suv': (0.14, 0.07),
    'van': (0.05, 0.04),
    'boxtruck': (0.07, 0.06),
    'roadtrain': (0.14, 0.15),
    'citybus': (0.1, 0.13),
    'motorcycle': (0.1, 0.17),
    'bicycle': (0.17, 0.16),
}


def _traits(city: int) -> CityTraits:
    values = {name: cities[city] for name, cities in _TRAITS.items()}
    mix = {kind: shares[city] for kind, shares in _MIX.items()}
    return CityTraits(**values, vehicles_per_km=_VEHICLES_PER_KM, mix=mix)


CITIES: Final = {traits.location: traits for traits in (_traits(0), _traits(1))}


def city_traits(location: str) -> CityTraits:
    """The traits of a location.

    Raises:
        ValueError: If the location is unknown; names the known ones.
    """
    if location not in CITIES:
        raise ValueError(f"unknown location '{location}': known are {sorted(CITIES)}")
    return CITIES[location]
