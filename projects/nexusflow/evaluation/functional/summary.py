# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Metric names of a run, sorted by city."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ['city_names', 'metrics_by_city']

_PREFIXES = {'map': '', 'track': '', 'track_greedy': 'greedy_'}


def city_names(locations: set[str]) -> dict[str, str]:
    """Short names of locations: the city, or the whole name where a city has several locations.

    Example:
        >>> city_names({'boston-seaport', 'singapore-onenorth'})['boston-seaport']
        'boston'
        >>> city_names({'singapore-queenstown', 'singapore-onenorth'})['singapore-onenorth']
        'singapore-onenorth'
    """
    cities = [location.split('-')[0] for location in locations]
    return {
        location: city if cities.count(city) == 1 else location
        for location, city in zip(locations, cities, strict=True)
    }


def metrics_by_city(metrics: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """Sort the metrics of the map and the track evaluator by city.

    Args:
        metrics: ``'map/mAP'``, ``'map/boston-seaport/mAP'``, ``'track/boston/AMOTA'``,
            ``'track_greedy/AMOTA'`` ...

    Returns:
        ``'all'`` and each city to metric names without a prefix, those of the greedy baseline with
        ``greedy_``; NaN (no ground truth) becomes None, so that it can be written as JSON.

    Example:
        >>> metrics_by_city({'map/mAP': 0.5, 'map/boston-seaport/mAP': 0.6, 'track/boston/AMOTA': 0.1})
        {'all': {'mAP': 0.5}, 'boston': {'mAP': 0.6, 'AMOTA': 0.1}}
    """
    places = {
        name.split('/')[1] for name in metrics if name.count('/') == 2 and name.startswith('map/')
    }
    short = city_names(places)
    out: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        parts = name.split('/')
        if parts[0] not in _PREFIXES or len(parts) > 3:
            continue
        city = 'all' if len(parts) == 2 else short.get(parts[1], parts[1])
        number = float(value)
        out.setdefault(city, {})[_PREFIXES[parts[0]] + parts[-1]] = (
            None if math.isnan(number) else number
        )
    return out
