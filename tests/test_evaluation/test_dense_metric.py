# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The metric of N dense tasks: independent of batches and processes."""

import copy
import math

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from nexusflow.evaluation.metrics import NexusDenseMetric
from nexusflow.testing import make_dense_batch

SAMPLES = 7


@pytest.fixture(scope='module')
def samples():
    """Samples with predictions; how much is valid differs much between them."""
    torch.manual_seed(0)
    samples = make_dense_batch(SAMPLES, (12, 16))['data_samples']
    for k, sample in enumerate(samples):
        sample.gt_depth.data[:, k:] = 0
        sample.gt_normal.data[:, :, 2 * k + 1 :] = 0
        sample.pred_sem_seg = PixelData(data=torch.randint(13, (1, 12, 16)))
        sample.pred_depth = PixelData(data=torch.rand(1, 12, 16) * 8)
        sample.pred_normal = PixelData(
            data=torch.nn.functional.normalize(torch.randn(3, 12, 16), dim=0)
        )
    return samples


def evaluate(samples, batch, **kwargs):
    evaluator = Evaluator(NexusDenseMetric(**kwargs))
    for start in range(0, len(samples), batch):
        evaluator.process(copy.deepcopy(samples[start : start + batch]))
    return evaluator.evaluate(len(samples))


def test_names_and_pooled_values(samples):
    metrics = evaluate(samples, 2)
    assert set(metrics) == {
        'segmentation/mIoU',
        'segmentation/pixel_accuracy',
        *(f'depth/{name}' for name in ('abs_err', 'rel_err', 'rmse')),
        *(f'normal/{name}' for name in ('mean_deg', 'median_deg', 'rmse_deg')),
        *(f'normal/within_{limit}' for limit in ('11.25', '22.5', '30')),
    }
    depth, label = (
        torch.stack([s.get(f'{k}_depth').data for s in samples]).double() for k in ('pred', 'gt')
    )
    error = (depth - label)[label > 0]
    assert metrics['depth/abs_err'] == pytest.approx(error.abs().mean().item())
    assert metrics['depth/rmse'] == pytest.approx(error.square().mean().sqrt().item())
    normal, label = (
        torch.stack([s.get(f'{k}_normal').data for s in samples]).double() for k in ('pred', 'gt')
    )
    cosine = (normal * label).sum(1)[label.norm(dim=1) > 0]
    angles = torch.rad2deg(cosine.clamp(-1, 1).acos())
    assert metrics['normal/mean_deg'] == pytest.approx(angles.mean().item(), rel=1e-5)
    assert metrics['normal/median_deg'] == pytest.approx(angles.quantile(0.5).item(), rel=1e-5)


def test_batch_size_and_order_change_nothing(samples):
    want = evaluate(samples, 1)
    for batch in (2, 3, SAMPLES):
        assert evaluate(samples, batch) == pytest.approx(want, rel=1e-12)
    assert evaluate(samples[::-1], 4) == pytest.approx(want, rel=1e-12)


def test_padded_samples_of_other_processes_count_once(samples):
    want = evaluate(samples, 2)
    shares = [samples[0::2], samples[1::2] + samples[:1]]
    metric = NexusDenseMetric()
    parts = []
    for share in shares:
        part = NexusDenseMetric()
        part.process(None, [s.to_dict() for s in share])
        parts += part.results
    assert metric.compute_metrics(parts) == pytest.approx(want, rel=1e-12)


def test_delta_against_a_stated_baseline(samples):
    before = evaluate(samples, 2)
    baseline = {'segmentation/mIoU': before['segmentation/mIoU'] / 2, 'depth/abs_err': 2e3}
    metrics = evaluate(samples, 2, baseline=baseline)
    gain = (1.0 + (2e3 - before['depth/abs_err']) / 2e3) / 2
    assert metrics['delta_percent'] == pytest.approx(100 * gain)


def test_tasks_can_be_chosen(samples):
    tasks = dict(segmentation=None, normal=None)
    assert {name.split('/')[0] for name in evaluate(samples, 2, tasks=tasks)} == {'depth'}
    with pytest.raises(ValueError, match="task 'depth' has kind 'metres'"):
        NexusDenseMetric(tasks=dict(depth=dict(kind='metres')))
    tasks = dict(edge=dict(kind='masks', field='edge'))
    with pytest.raises(KeyError, match="'0' has no 'pred_edge', which task 'edge'"):
        evaluate(samples, 2, tasks=tasks)


def test_nothing_tested_gives_nan():
    metrics = NexusDenseMetric().compute_metrics([{}])
    assert metrics and all(math.isnan(value) for value in metrics.values())
