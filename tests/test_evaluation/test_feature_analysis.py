# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Features of the tasks: what is recorded, and what is said of it."""

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn

from nexusflow.evaluation.feature_analysis import (
    FeatureRecorder,
    analyse_space,
    collect_features,
    flat,
    jointly_standardised,
    tsne,
)
from nexusflow.models.regulariser import NexusFlowRegulariser
from nexusflow.supervision.view import View


class Detector(nn.Module):
    """Gives a regulariser two rasters and a set of queries; refuses labels."""

    def __init__(self, regulariser=None):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.regulariser = regulariser

    def data_preprocessor(self, data, training):
        assert not training
        return data

    def forward(self, inputs, data_samples, mode):
        assert mode == 'loss' and not self.training
        samples = flat(data_samples)
        assert all(sample.tasks == () for sample in samples)
        raster = self.norm(inputs)
        features = dict(map=dict(queries=raster[:, 0], bev=raster), track=dict(bev=2 * raster))
        return self.regulariser([View(features)], samples)


def sample(place):
    return BaseDataElement(metainfo=dict(location=place, tasks=('map',)))


@pytest.fixture
def batches():
    torch.manual_seed(0)
    places = iter('abcde')
    return [
        dict(inputs=torch.rand(n, 3, 4, 5), data_samples=[[sample(next(places))] for _ in range(n)])
        for n in (3, 2)
    ]


@pytest.fixture
def regulariser():
    tasks = dict(map=dict(type='bev', tap='bev'), track=dict(type='bev', tap='bev'))
    torch.manual_seed(0)
    return NexusFlowRegulariser(tasks, channels=3, dim=8, flow=dict(num_layers=2))


def test_pooled_features_of_a_model_without_a_regulariser(batches):
    model = Detector()
    spaces, places = collect_features(model, batches)
    assert places == list('abcde') and list(spaces) == ['pooled']
    images = torch.cat([batch['inputs'] for batch in batches])
    # fresh norms at inference: x / sqrt(1 + eps)
    expected = images.mean(dim=(2, 3)) / (1 + model.norm.eps) ** 0.5
    torch.testing.assert_close(spaces['pooled']['map'], expected)
    torch.testing.assert_close(spaces['pooled']['track'], 2 * expected)
    assert model.regulariser is None and model.training


def test_embeddings_of_nexusflow_are_recorded_and_the_model_is_as_before(batches, regulariser):
    model = Detector(regulariser)
    spaces, _ = collect_features(model, batches)
    assert list(spaces) == ['pooled', 'embedding', 'z']
    assert model.regulariser is regulariser
    for task, surrogate in regulariser.nexus.surrogates.items():
        assert not surrogate._forward_hooks
        assert spaces['embedding'][task].shape == (5, 8)
        regulariser.eval()
        torch.testing.assert_close(spaces['z'][task], surrogate.flow(spaces['embedding'][task]))


def test_recorder_of_another_regulariser_keeps_pooled_features_only():
    recorder = FeatureRecorder(nn.Linear(2, 2))
    view = View(
        dict(a=dict(feature=torch.ones(2, 3, 4, 4)), b=dict(feature=torch.ones(2, 3, 4, 4)))
    )
    assert recorder([view], [sample('x'), sample('y')]) == {}
    assert list(recorder.vectors()) == ['pooled']
    with pytest.raises(ValueError, match=r"task 'a': none of its features \['queries'\]"):
        recorder([View(dict(a=dict(queries=torch.ones(2, 3))))], [])


def test_standardisation_keeps_the_difference_between_tasks():
    rows = dict(a=torch.tensor([[0.0, 5.0], [2.0, 5.0]]), b=torch.tensor([[4.0, 5.0], [6.0, 5.0]]))
    out = jointly_standardised(rows)
    # mean 3; sample deviation sqrt((9 + 1 + 1 + 9) / 3); a constant dimension becomes 0
    expected = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / (20 / 3) ** 0.5
    torch.testing.assert_close(torch.cat([out['a'], out['b']])[:, 0], expected)
    assert not torch.cat([out['a'], out['b']])[:, 1].any()


def test_figures_of_equal_and_of_different_features():
    torch.manual_seed(0)
    noise = torch.randn(40, 6)
    found = analyse_space(dict(a=noise, b=noise.clone(), c=torch.randn(40, 4)))
    assert found['mmd2'] == {'a-b': pytest.approx(0, abs=1e-6)}  # c has another length
    assert found['relative'] == {'a-b': pytest.approx(0, abs=1e-6)}
    assert found['cka']['a-b'] == pytest.approx(1) and found['cka']['a-c'] < 0.5
    assert 5 < found['effective_rank']['a'] <= 6
    assert sum(found['spectrum']['c']) == pytest.approx(1) and len(found['spectrum']['c']) == 4
    far = analyse_space(dict(a=noise, b=noise + 50))
    assert far['mmd2']['a-b'] > 0.5
    line = torch.arange(40.0)[:, None] * torch.ones(6)
    assert analyse_space(dict(a=line, b=line))['effective_rank']['a'] == pytest.approx(1, abs=1e-3)


def test_tsne_parts_clusters_and_is_the_same_again():
    torch.manual_seed(0)
    rows = dict(a=torch.randn(15, 5), b=torch.randn(15, 5) + 30)
    points = tsne(rows, seed=3)
    assert points['a'].shape == (15, 2)
    between = np.linalg.norm(points['a'].mean(0) - points['b'].mean(0))
    assert between > 2 * max(points[task].std() for task in rows)
    np.testing.assert_array_equal(points['b'], tsne(rows, seed=3)['b'])
