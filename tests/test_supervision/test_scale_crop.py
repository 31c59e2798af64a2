# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from nexusflow.supervision.scale_crop import (
    SCALES,
    ScaleCrops,
    crop_image,
    crop_target,
    draw_crops,
)

SIZE = (24, 36)


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture
def crops():
    """One window of each scale."""
    size = torch.tensor([[24, 36], [20, 30], [16, 24]])
    return ScaleCrops(
        torch.tensor(SCALES, dtype=torch.float64), size, torch.tensor([[0, 0], [3, 1], [8, 12]])
    )


def reference(tensor, crops, **how):
    """The published way: cut each sample, let torch resize it."""
    rows = []
    for k, (size, start) in enumerate(zip(crops.size.tolist(), crops.start.tolist(), strict=True)):
        (h, w), (top, left) = size, start
        window = tensor[k : k + 1, :, top : top + h, left : left + w]
        rows.append(F.interpolate(window, tensor.shape[-2:], **how))
    return torch.cat(rows)


def test_images_are_those_of_torch_with_aligned_corners(crops):
    image = torch.rand(3, 3, *SIZE, dtype=torch.float64)
    want = reference(image, crops, mode='bilinear', align_corners=True)
    torch.testing.assert_close(crop_image(image, crops), want)


def test_a_window_of_the_whole_image_changes_no_bit(crops):
    image = torch.rand(3, 3, *SIZE)
    assert torch.equal(crop_image(image, crops)[0], image[0])


def test_classes_and_masks_are_the_nearest_pixels(crops):
    label = torch.randint(-1, 13, (3, 1, *SIZE))
    want = reference(label.double(), crops, mode='nearest').long()
    assert torch.equal(crop_target('classes', label, crops), want)
    assert torch.equal(crop_target('masks', label.float(), crops), want.float())


def test_depth_is_divided_by_the_scale_and_stays_invalid_where_it_was(crops):
    depth = torch.rand(3, 1, *SIZE, dtype=torch.float64) * 5
    depth[depth < 1] = 0
    want = reference(depth, crops, mode='nearest')
    out = crop_target('depth', depth, crops)
    torch.testing.assert_close(out[1] * 1.2, want[1])
    torch.testing.assert_close(out[2] * 1.5, want[2])
    assert torch.equal(out == 0, want == 0)


def test_normals_keep_their_unit_length(crops):
    normal = F.normalize(torch.randn(3, 3, *SIZE, dtype=torch.float64), dim=1)
    normal[:, :, 10:14, 10:20] = 0
    out = crop_target('normals', normal, crops)
    length = out.norm(dim=1)
    assert (((length - 1).abs() < 1e-9) | (length == 0)).all()
    assert (length == 0).any()
    want = reference(normal, crops, mode='bilinear', align_corners=True)
    torch.testing.assert_close(out * want.norm(dim=1, keepdim=True), want)


def test_draws_stay_in_the_image_and_reach_its_borders():
    crops = draw_crops(3000, SIZE)
    assert set(crops.scale.tolist()) == set(SCALES)
    sizes = {(1.0, 24, 36), (1.2, 20, 30), (1.5, 16, 24)}
    drawn = zip(crops.scale.tolist(), *crops.size.T.tolist(), strict=True)
    assert set(drawn) == sizes
    end = crops.start + crops.size
    assert crops.start.min() == 0
    assert torch.equal(end.max(dim=0).values, torch.tensor(SIZE))
    small = crops.scale > 1.4
    assert set(crops.start[small, 0].tolist()) == set(range(9))


def test_scales_below_one_are_refused():
    with pytest.raises(ValueError, match='at least 1'):
        draw_crops(2, SIZE, (0.5, 1.0))
