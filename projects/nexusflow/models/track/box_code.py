# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The box code of ten numbers, decided once: cx, cy, log l, log w, cz, log h, sin, cos, vx, vy.

Metres, radians and metres a second in the lidar frame; (cx, cy, cz) is the centre of the box, not of its bottom
(MUTR3D trains on the bottom and subtracts half the height again: boxes too low, which no 2D metric sees).
"""

from __future__ import annotations

import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from torch import Tensor

CODE_SIZE = 10
XY = slice(0, 2)
LOG_LENGTH = 2
VELOCITY = slice(8, 10)


def encode_boxes(boxes: LiDARInstance3DBoxes) -> Tensor:
    """Boxes with velocity (M, 9) to codes (M, 10); an unknown velocity stays NaN."""
    center, (length, width, height) = boxes.gravity_center, boxes.dims.clamp(min=0.01).unbind(-1)
    yaw, velocity = boxes.yaw, boxes.tensor[:, 7:9]
    columns = [
        center[:, 0],
        center[:, 1],
        length.log(),
        width.log(),
        center[:, 2],
        height.log(),
        yaw.sin(),
        yaw.cos(),
        velocity[:, 0],
        velocity[:, 1],
    ]
    return torch.stack(columns, dim=-1)


def decode_boxes(code: Tensor) -> LiDARInstance3DBoxes:
    """Codes (M, 10) to boxes with velocity (M, 9)."""
    cx, cy, log_l, log_w, cz, log_h, sin, cos, vx, vy = code.unbind(-1)
    columns = [cx, cy, cz, log_l.exp(), log_w.exp(), log_h.exp(), torch.atan2(sin, cos), vx, vy]
    tensor = torch.stack(columns, dim=-1)
    return LiDARInstance3DBoxes(tensor, box_dim=9, origin=(0.5, 0.5, 0.5))


def move_boxes(code: Tensor, prev2curr: Tensor, seconds: Tensor) -> Tensor:
    """Where boxes are expected in the next frame: constant velocity, then the ego's motion.

    In float32 whatever autocast says.

    Args:
        code: (B, M, 10) in the earlier lidar frame.
        prev2curr: (B, 4, 4) from the earlier to the current lidar frame.
        seconds: (B,) time between the frames.

    Returns:
        (B, M, 10) in the current lidar frame.
    """
    rotation, shift = prev2curr[:, :3, :3], prev2curr[:, None, :3, 3]
    cx, cy, log_l, log_w, cz, log_h, sin, cos, vx, vy = code.float().unbind(-1)
    dt = seconds.view(-1, 1)
    place = torch.stack([cx + vx * dt, cy + vy * dt, cz], dim=-1)
    planar = rotation[:, :2, :2].transpose(1, 2)
    with torch.autocast(code.device.type, enabled=False):
        center = place @ rotation.transpose(1, 2) + shift
        heading = torch.stack([cos, sin], dim=-1) @ planar
        velocity = torch.stack([vx, vy], dim=-1) @ planar
    columns = [
        center[..., 0],
        center[..., 1],
        log_l,
        log_w,
        center[..., 2],
        log_h,
        heading[..., 1],
        heading[..., 0],
        velocity[..., 0],
        velocity[..., 1],
    ]
    return torch.stack(columns, dim=-1)
