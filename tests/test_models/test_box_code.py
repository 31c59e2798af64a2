# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The box code: there and back, and moved to the next frame."""

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from nexusflow.geometry.boxes import boxes_to_lidar, velocity_to_lidar
from nexusflow.models.map_track_detector import relative_pose
from nexusflow.models.track.box_code import decode_boxes, encode_boxes, move_boxes
from nexusflow.models.track.loss import box_error


def make_boxes(rows):
    """Boxes from rows of x, y, z (gravity centre), l, w, h, yaw, vx, vy."""
    tensor = torch.as_tensor(np.array(rows), dtype=torch.float32).view(-1, 9)
    return LiDARInstance3DBoxes(tensor, box_dim=9, origin=(0.5, 0.5, 0.5))


@pytest.fixture
def boxes():
    low = torch.tensor([-50.0, -50, -3, 0.5, 0.5, 0.5, -3.14, -10, -10])
    high = torch.tensor([50.0, 50, 1, 12, 3, 4, 3.14, 10, 10])
    return make_boxes(low + torch.rand(50, 9) * (high - low))


def test_round_trip(boxes):
    back = decode_boxes(encode_boxes(boxes))
    torch.testing.assert_close(back.tensor, boxes.tensor, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.gravity_center, boxes.gravity_center, atol=1e-4, rtol=0)


def test_corners_survive_the_round_trip(boxes):
    back = decode_boxes(encode_boxes(boxes))
    torch.testing.assert_close(back.corners, boxes.corners, atol=1e-3, rtol=0)


def test_z_is_the_centre_not_the_bottom():
    boxes = make_boxes([0, 0, -1.0, 4, 2, 1.6, 0, 0, 0])
    assert boxes.tensor[0, 2] == pytest.approx(-1.8)
    assert encode_boxes(boxes)[0, 4] == pytest.approx(-1.0)
    assert decode_boxes(encode_boxes(boxes)).bottom_center[0, 2] == pytest.approx(-1.8)


def test_length_comes_before_width():
    code = encode_boxes(make_boxes([0, 0, 0, 4, 2, 1.5, 0.3, 0, 0]))[0]
    torch.testing.assert_close(code[[2, 3, 5]].exp(), torch.tensor([4.0, 2.0, 1.5]))
    torch.testing.assert_close(code[6:8], torch.tensor([np.sin(0.3), np.cos(0.3)]).float())


def test_an_unknown_velocity_stays_unknown():
    code = encode_boxes(make_boxes([1, 2, 0, 4, 2, 1.5, 0.3, np.nan, np.nan]))
    assert code[0, 8:].isnan().all()
    assert code[0, :8].isfinite().all()
    assert decode_boxes(code).tensor[0, 7:].isnan().all()


def test_no_box():
    code = encode_boxes(make_boxes(np.zeros((0, 9))))
    assert code.shape == (0, 10)
    assert decode_boxes(code).tensor.shape == (0, 9)


def test_error_leaves_an_unknown_velocity_out():
    known = encode_boxes(make_boxes([1, 2, 0, 4, 2, 1.5, 0.3, 3, 0]))
    unknown = known.clone()
    unknown[:, 8:] = float('nan')
    pred = (known + torch.randn_like(known)).requires_grad_()
    same_velocity = pred.detach().clone()
    same_velocity[:, 8:] = known[:, 8:]
    error = box_error(pred, unknown)
    torch.testing.assert_close(error, box_error(same_velocity, known))
    error.sum().backward()
    assert pred.grad.isfinite().all()
    assert (pred.grad[:, 8:] == 0).all()
    assert (pred.grad[:, :8] != 0).all()


def test_error_is_zero_for_the_target_itself(boxes):
    code = encode_boxes(boxes)
    assert box_error(code, code).abs().max() == 0
    assert (box_error(code + 1, code) > 0).all()


def lidar_pose(x, y, yaw):
    """(4, 4) lidar2global of an upright lidar."""
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:3, 3] = x, y, 1.84
    return pose


def code_in(pose, box, velocity, seconds):
    """Code (1, 1, 10) of a global box (7,) that has moved for a time, in a lidar frame."""
    moved = box.copy()
    moved[:2] += velocity * seconds
    row = np.concatenate(
        [boxes_to_lidar(moved[None], pose), velocity_to_lidar(velocity[None], pose)], 1
    )
    return encode_boxes(make_boxes(row)).unsqueeze(0)


@pytest.mark.parametrize('seconds', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('turn', [-2.5, 0.0, 0.2, np.pi / 2])
def test_a_constant_velocity_object_is_met_again(seconds, turn):
    box = np.array([1512.0, 883.0, 0.8, 4.2, 1.8, 1.6, 2.2])
    velocity = np.array([-3.0, 6.5])
    before = lidar_pose(1500.0, 900.0, 0.4)
    after = lidar_pose(1503.0, 897.0, 0.4 + turn)
    moved = move_boxes(
        code_in(before, box, velocity, 0.0),
        torch.tensor(relative_pose(before, after), dtype=torch.float32)[None],
        torch.tensor([seconds]),
    )
    expected = code_in(after, box, velocity, seconds)
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_boxes_move_in_float32_under_autocast(boxes, dtype):
    code = encode_boxes(boxes)[None].to(dtype)
    before, after = lidar_pose(1500.0, 900.0, 0.4), lidar_pose(1503.0, 897.0, 0.6)
    motion = torch.tensor(relative_pose(before, after), dtype=torch.float32)[None]
    seconds = torch.tensor([0.5])
    expected = move_boxes(code.float(), motion, seconds)
    with torch.autocast('cpu', torch.bfloat16):
        moved = move_boxes(code, motion, seconds)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_each_sample_moves_by_its_own_motion(boxes):
    code = encode_boxes(boxes)[None].expand(2, -1, -1)
    motion = torch.eye(4).repeat(2, 1, 1)
    motion[1, 1, 3] = -5.0
    moved = move_boxes(code, motion, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(moved[0], code[0])
    shift = moved[1, :, :2] - code[1, :, :2]
    torch.testing.assert_close(shift, code[1, :, 8:] + torch.tensor([0.0, -5.0]), atol=1e-4, rtol=0)
