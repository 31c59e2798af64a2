# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Mirror and turn the lidar frame of a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from nexusflow.datasets.frames import Frame, in_range
from nexusflow.datasets.transforms.pixels import worker_rng
from nexusflow.geometry.frames import invert_rigid, wrap_angle
from nexusflow.geometry.polylines import resample


@TRANSFORMS.register_module()
class NexusBevAug(BaseTransform):
    """Replaces the lidar frame of all frames of a clip by a mirrored or turned one.

    Images stay; ``lidar2img``, ``ori_lidar2img``, ``lidar2global``, boxes, velocities and map points
    change. Mirrors reverse the order of map points, so that the road stays to their right. After a
    rotation, objects and map lines outside of their ranges are dropped and cut; the corners that the
    rotation brings into the map range have no map labels, so keep it to a few degrees.

    Args:
        flip_x_prob: Probability to mirror left and right (x).
        flip_y_prob: Probability to mirror front and back (y).
        rotation_deg: Largest rotation about z, drawn uniformly.
    """

    def __init__(
        self, flip_x_prob: float = 0.0, flip_y_prob: float = 0.0, rotation_deg: float = 0.0
    ) -> None:
        self.flip_probs = (flip_x_prob, flip_y_prob)
        self.rotation_deg = rotation_deg

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment all frames of ``results['frames']`` alike."""
        rng = worker_rng()
        signs = np.where(rng.random(2) < self.flip_probs, -1.0, 1.0)
        angle = np.deg2rad(rng.uniform(-1, 1) * self.rotation_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        plane = turn @ np.diag(signs)
        for frame in results['frames']:
            change_lidar_frame(frame, plane)
            if angle:
                _crop(frame)
        return results


def change_lidar_frame(frame: Frame, plane: np.ndarray) -> None:
    """Express a frame in another lidar frame, in place.

    Args:
        frame: See :meth:`nexusflow.datasets.frames.FrameSpec.frame`.
        plane: (2, 2) orthogonal matrix from old to new x, y.
    """
    old2new = np.eye(4)
    old2new[:2, :2] = plane
    new2old = invert_rigid(old2new)
    for key in ('lidar2img', 'ori_lidar2img', 'lidar2global'):
        if key in frame:
            frame[key] = frame[key] @ new2old
    boxes = frame['boxes'].copy()
    heading = np.stack([np.cos(boxes[:, 6]), np.sin(boxes[:, 6])], axis=1) @ plane.T
    boxes[:, :2] = boxes[:, :2] @ plane.T
    boxes[:, 6] = wrap_angle(np.arctan2(heading[:, 1], heading[:, 0]))
    boxes[:, 7:9] = boxes[:, 7:9] @ plane.T
    frame['boxes'] = boxes
    points = frame['map_pts'] @ plane.T
    frame['map_pts'] = points[:, ::-1] if np.linalg.det(plane) < 0 else points


def _crop(frame: Frame) -> None:
    """Drop objects and cut map elements that left their ranges, in place."""
    keep = in_range(frame['boxes'][:, :2], frame['track_range_m'])
    for key in ('boxes', 'labels', 'instance_ids'):
        frame[key] = frame[key][keep]
    lines, owners = [], []
    patch = shapely.box(*frame['map_range_m'])
    for owner, points in enumerate(frame['map_pts']):
        pieces = _cut(points, bool(frame['map_closed'][owner] and frame['map_areas'][owner]), patch)
        lines += pieces
        owners += [owner] * len(pieces)
    closed = [np.array_equal(line[0], line[-1]) for line in lines]
    frame['map_pts'] = resample(lines, frame['map_pts'].shape[1])
    for key in ('map_labels', 'map_areas'):
        frame[key] = frame[key][np.array(owners, dtype=np.int64)]
    frame['map_closed'] = np.array(closed, dtype=bool)


def _cut(points: np.ndarray, area: bool, patch: shapely.Polygon) -> list[np.ndarray]:
    """Parts of a map element within a patch; an area's ring that is cut stays a ring, along the edge."""
    if area:
        inside = shapely.make_valid(shapely.Polygon(points)).intersection(patch)
        parts = [p.exterior for p in shapely.get_parts(inside) if p.geom_type == 'Polygon']
        clockwise = not shapely.is_ccw(shapely.LinearRing(points))
        parts = [r.reverse() if r.is_ccw == clockwise else r for r in parts]
    else:
        # a ring that leaves the patch goes on over its first point
        inside = shapely.line_merge(shapely.LineString(points).intersection(patch), directed=True)
        parts = [p for p in shapely.get_parts(inside) if p.geom_type == 'LineString']
    return [np.asarray(p.coords) for p in parts if p.length > 1e-2]
