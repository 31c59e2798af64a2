# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The fixed rows of a nuScenes data set: categories, attributes, visibility levels, channels.

The names are those of nuScenes v1.0, so that the devkit's class mappings and mmdet3d's converter
understand them.
"""

from __future__ import annotations

from typing import Any, Final

from nexusflow.world.tokens import token

Row = dict[str, Any]
Tables = dict[str, list[Row]]

VERSION: Final = 'v1.0-world'
TABLES: Final = (
    'category',
    'attribute',
    'visibility',
    'instance',
    'sensor',
    'calibrated_sensor',
    'ego_pose',
    'log',
    'scene',
    'sample',
    'sample_data',
    'sample_annotation',
    'map',
)
LIDAR: Final = 'LIDAR_TOP'

CATEGORIES: Final = (
    'animal',
    'human.pedestrian.adult',
    'human.pedestrian.child',
    'human.pedestrian.construction_worker',
    'human.pedestrian.personal_mobility',
    'human.pedestrian.police_officer',
    'human.pedestrian.stroller',
    'human.pedestrian.wheelchair',
    'movable_object.barrier',
    'movable_object.debris',
    'movable_object.pushable_pullable',
    'movable_object.trafficcone',
    'static_object.bicycle_rack',
    'vehicle.bicycle',
    'vehicle.bus.bendy',
    'vehicle.bus.rigid',
    'vehicle.car',
    'vehicle.construction',
    'vehicle.emergency.ambulance',
    'vehicle.emergency.police',
    'vehicle.motorcycle',
    'vehicle.trailer',
    'vehicle.truck',
)

ATTRIBUTES: Final = {
    'vehicle.moving': 'Vehicle is moving.',
    'vehicle.stopped': 'Vehicle stands still but moves at another time of the scene.',
    'vehicle.parked': 'Vehicle stands still during the whole scene.',
    'cycle.with_rider': 'There is a rider on the bicycle or motorcycle.',
    'cycle.without_rider': 'There is no rider on the bicycle or motorcycle.',
    'pedestrian.moving': 'The human is moving.',
    'pedestrian.standing': 'The human is standing.',
}

VISIBILITY: Final = {'1': 'v0-40', '2': 'v40-60', '3': 'v60-80', '4': 'v80-100'}

_MOVING_MPS: Final = 0.3
_CYCLES: Final = ('vehicle.bicycle', 'vehicle.motorcycle')


def category_token(name: str) -> str:
    """Gives the token of a category.

    Raises:
        ValueError: If nuScenes has no such category.
    """
    if name not in CATEGORIES:
        raise ValueError(f"unknown nuScenes category '{name}'; one of {', '.join(CATEGORIES)}")
    return token('category', name)


def visibility_token(visible_fraction: float) -> str:
    """Bins the visible fraction of an object (all cameras together) as nuScenes does.

    Example:
        >>> [visibility_token(f) for f in (0.0, 0.39, 0.4, 0.6, 0.8, 1.0)]
        ['1', '1', '2', '3', '4', '4']
    """
    return str(1 + sum(visible_fraction >= bound for bound in (0.4, 0.6, 0.8)))


def attribute_name(category: str, speed_mps: float, top_speed_mps: float) -> str | None:
    """Chooses the attribute of one annotation.

    Args:
        category: nuScenes category.
        speed_mps: Speed now.
        top_speed_mps: Largest speed of the object in the scene; a vehicle that never moves is
            parked, and a cycle that never moves has no rider.

    Returns:
        The attribute's name; None for objects without one.

    Example:
        >>> attribute_name('vehicle.car', 0.0, 8.0), attribute_name('vehicle.car', 0.0, 0.1)
        ('vehicle.stopped', 'vehicle.parked')
        >>> attribute_name('movable_object.trafficcone', 0.0, 0.0) is None
        True
    """
    moving = speed_mps > _MOVING_MPS
    ever_moving = top_speed_mps > _MOVING_MPS
    if category in _CYCLES:
        return 'cycle.with_rider' if ever_moving else 'cycle.without_rider'
    if category.startswith('vehicle.'):
        still = 'vehicle.stopped' if ever_moving else 'vehicle.parked'
        return 'vehicle.moving' if moving else still
    if category.startswith('human.pedestrian.'):
        return 'pedestrian.moving' if moving else 'pedestrian.standing'
    return None


def fixed_tables() -> Tables:
    """Gives the tables that are the same in every world: category, attribute, visibility."""
    return {
        'category': [
            {'token': category_token(name), 'name': name, 'description': ''} for name in CATEGORIES
        ],
        'attribute': [
            {'token': token('attribute', name), 'name': name, 'description': text}
            for name, text in ATTRIBUTES.items()
        ],
        'visibility': [
            {'token': key, 'level': level, 'description': f'visibility of whole object is {level}'}
            for key, level in VISIBILITY.items()
        ],
    }
