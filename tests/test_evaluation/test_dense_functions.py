# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Numbers worked out by hand for each score of dense tasks."""

import math

import numpy as np
import pytest

from nexusflow.evaluation.functional.dense_delta import delta_percent
from nexusflow.evaluation.functional.dense_depth import depth_scores, depth_sums
from nexusflow.evaluation.functional.dense_masks import mask_counts, mask_scores
from nexusflow.evaluation.functional.dense_normals import angles_deg, normal_scores
from nexusflow.evaluation.functional.dense_segmentation import confusion, segmentation_scores


def test_segmentation_by_hand():
    label = np.array([[0, 0, 0, 1], [1, 2, -1, 9]])
    found = np.array([[0, 0, 1, 1], [1, 0, 2, 2]])
    matrix = confusion(found, label, 4)
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0] * 4])
    scores = segmentation_scores([matrix])
    # class 0: 2 of 4; class 1: 2 of 3; class 2: 0 of 1; class 3 does not occur
    assert scores['mIoU'] == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)
    assert scores['pixel_accuracy'] == pytest.approx(4 / 6)


def test_a_class_that_is_only_predicted_counts_against_the_others():
    scores = segmentation_scores([confusion(np.array([0, 3]), np.array([0, 0]), 4)])
    assert scores == {'mIoU': 0.5, 'pixel_accuracy': 0.5}


def test_depth_by_hand():
    label = np.array([[1.0, 2.0], [4.0, 0.0]])
    found = np.array([[2.0, 2.0], [1.0, 9.0]])
    scores = depth_scores([depth_sums(found, label)])
    assert scores['abs_err'] == pytest.approx((1 + 0 + 3) / 3)
    assert scores['rel_err'] == pytest.approx((1 / 1 + 0 + 3 / 4) / 3)
    assert scores['rmse'] == pytest.approx(math.sqrt((1 + 0 + 9) / 3))


def vectors(*degrees):
    """Unit vectors (3, n) at angles to z."""
    radians = np.deg2rad(np.array(degrees, dtype=np.float64))
    return np.stack([np.sin(radians), np.zeros_like(radians), np.cos(radians)])


def test_normals_by_hand():
    label = vectors(0, 0, 0, 0, 0)
    label[:, 4] = 0
    found = 3 * vectors(10, 20, 25, 65, 0)
    angles = angles_deg(found, label)
    np.testing.assert_allclose(angles, [10, 20, 25, 65], rtol=1e-6)
    scores = normal_scores([angles])
    want = dict(mean_deg=30.0, median_deg=22.5, rmse_deg=math.sqrt(5350 / 4))
    want |= {'within_11.25': 0.25, 'within_22.5': 0.5, 'within_30': 0.75}
    assert scores == pytest.approx(want, rel=1e-6)


def test_the_median_is_that_of_all_pixels_and_limits_are_strict():
    scores = normal_scores([np.array([1, 1, 1], 'f4'), np.array([30, 22.5, 11.25, 90], 'f4')])
    assert scores['median_deg'] == 11.25
    assert scores['within_11.25'] == pytest.approx(3 / 7)
    assert scores['within_22.5'] == pytest.approx(4 / 7)
    assert scores['within_30'] == pytest.approx(5 / 7)


def test_opposite_and_zero_vectors():
    label = vectors(0, 0)
    found = np.stack([-label[:, 0], np.zeros(3)], axis=1)
    np.testing.assert_allclose(angles_deg(found, label), [180, 90])


def test_components_that_sum_to_zero_are_no_reason_to_drop_a_normal():
    label = np.array([[1.0], [-1.0], [0.0]])
    assert len(angles_deg(label, label)) == 1


def test_masks_by_hand():
    label = np.array([1.0, 1.0, 0.0, 0.0, -1.0])
    found = np.array([0.9, 0.2, 0.7, 0.1, 0.9])
    counts = mask_counts(found, label)
    assert counts.tolist() == [1, 2, 2]
    assert mask_scores([counts]) == pytest.approx({'IoU': 1 / 3, 'F1': 0.5})


def test_perfect_predictions():
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 5, (20, 30))
    found = np.where(label < 0, 0, label)
    assert set(segmentation_scores([confusion(found, label, 5)]).values()) == {1.0}
    depth = rng.uniform(0.1, 9, (20, 30))
    assert set(depth_scores([depth_sums(depth, depth)]).values()) == {0.0}
    normal = rng.normal(size=(3, 20, 30))
    scores = normal_scores([angles_deg(normal, normal)])
    assert scores['rmse_deg'] < 1e-5 and scores['within_11.25'] == 1.0


def test_nothing_to_judge_gives_nan():
    none = np.full((2, 2), -1)
    scores = segmentation_scores([confusion(np.zeros((2, 2), int), none, 3)])
    scores |= depth_scores([depth_sums(np.ones((2, 2)), np.zeros((2, 2)))])
    scores |= normal_scores([angles_deg(np.ones((3, 2)), np.zeros((3, 2)))])
    scores |= mask_scores([mask_counts(np.ones(2), -np.ones(2))])
    assert len(scores) == 13 and all(math.isnan(value) for value in scores.values())


def test_shapes_and_classes_are_checked():
    small, large = np.zeros((2, 2)), np.zeros((3, 2))
    for judge in (depth_sums, angles_deg, mask_counts):
        with pytest.raises(ValueError, match='differ'):
            judge(small, large)
    with pytest.raises(ValueError, match='differ'):
        confusion(small.astype(int), large.astype(int), 3)
    with pytest.raises(ValueError, match='from 5 to 5, there are 3'):
        confusion(np.array([5]), np.array([0]), 3)


def test_delta_recomputes_the_published_ones():
    """JTR's poster: supervised 27.05 / 0.6624 / 33.58 -> +19.66 % and +21.92 %."""
    names = ('segmentation/mIoU', 'depth/abs_err', 'normal/mean_deg')
    baseline = dict(zip(names, (0.2705, 0.6624, 33.58), strict=True))
    rows = {'mtpsl': (0.3560, 0.5576, 29.70), 'jtr': (0.3708, 0.5541, 29.44)}
    deltas = {
        name: delta_percent(dict(zip(names, row, strict=True)), baseline)
        for name, row in rows.items()
    }
    # from the table's rounded values
    assert deltas == pytest.approx({'mtpsl': 19.66, 'jtr': 21.92}, abs=0.02)


def test_delta_names_what_is_wrong():
    with pytest.raises(KeyError, match='depth/abs'):
        delta_percent({'segmentation/mIoU': 0.1}, {'depth/abs': 1.0})
    with pytest.raises(ValueError, match="'depth/rmse' is 0"):
        delta_percent({'depth/rmse': 0.1}, {'depth/rmse': 0})
    with pytest.raises(ValueError, match='empty'):
        delta_percent({}, {})
