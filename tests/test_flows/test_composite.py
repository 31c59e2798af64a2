# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import io

import pytest
import torch

from nexusflow.flows import (
    LevelsAggregator,
    MixtureAggregator,
    VectorAggregator,
    aggregate,
    build_aggregator,
)

BEV, QUERIES = dict(type='bev', in_channels=6, grid=2), dict(type='queries', num_heads=2)
PYRAMID = dict(type='levels', levels=[BEV, dict(type='bev', in_channels=4)])
INNER = dict(type='mixture', parts=dict(scene=dict(type='vector')))
CONFIGS = [
    BEV,
    QUERIES,
    dict(type='vector'),
    PYRAMID,
    dict(type='levels', join='mean', levels=[BEV, QUERIES, dict(type='vector')]),
    dict(type='mixture', parts=dict(bev=PYRAMID, queries=QUERIES)),
    dict(type='mixture', join='mean', parts=dict(bev=BEV, more=INNER)),
]


def make_feature(cfg, batch=3):
    """A feature that fits a configuration."""
    kind = cfg['type']
    if kind == 'levels':
        return [make_feature(level, batch) for level in cfg['levels']]
    if kind == 'mixture':
        return {name: make_feature(part, batch) for name, part in cfg['parts'].items()}
    shape = {'bev': (9, 5), 'queries': (), 'vector': ()}[kind]
    length = (7,) if kind == 'queries' else ()
    feature = torch.randn(batch, *length, cfg.get('in_channels', 8), *shape, dtype=torch.float64)
    if kind == 'queries':
        return dict(feature=feature, padding_mask=torch.arange(7).expand(batch, 7) > 4)
    return feature


def make(cfg):
    torch.manual_seed(0)
    return build_aggregator(cfg, dim=16, channels=8).double()


@pytest.mark.parametrize('cfg', CONFIGS)
def test_any_configuration_gives_a_normalised_vector_and_gradients(cfg):
    aggregator, feature = make(cfg), make_feature(cfg)
    embedding = aggregate(aggregator, feature)
    assert embedding.shape == (3, 16)
    assert embedding.mean(dim=1).abs().max() < 1e-10
    assert torch.allclose(embedding.square().mean(dim=1), torch.ones(3).double(), atol=1e-2)
    (embedding * torch.randn_like(embedding)).sum().backward()
    for name, parameter in aggregator.named_parameters():
        # A shift of all scores leaves a softmax as it is.
        if not name.endswith(('score.bias', 'norm.bias')):
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('cfg', CONFIGS)
def test_samples_do_not_see_each_other(cfg):
    aggregator = make(cfg)
    torch.manual_seed(1)
    whole = make_feature(cfg)

    def first(feature):
        if isinstance(feature, dict):
            return {name: first(part) for name, part in feature.items()}
        if isinstance(feature, list):
            return [first(level) for level in feature]
        return feature[:1]

    alone = aggregate(aggregator, first(whole))
    assert torch.allclose(alone, aggregate(aggregator, whole)[:1], atol=1e-12)


@pytest.mark.parametrize('cfg', CONFIGS)
def test_saved_and_loaded_it_is_bit_identical(cfg):
    aggregator, other, feature = make(cfg), build_aggregator(cfg, 16, 8).double(), make_feature(cfg)
    file = io.BytesIO()
    torch.save(aggregator.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(aggregate(aggregator, feature), aggregate(other, feature))


def test_mean_by_hand():
    parts = [VectorAggregator(3, 4).double() for _ in range(2)]
    a, b = torch.randn(2, 5, 3, dtype=torch.float64)
    mean = (parts[0](a) + parts[1](b)) / 2
    expected = (mean - mean.mean(1, True)) / (mean.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(LevelsAggregator(parts, 4, join='mean')([a, b]), expected)
    named = MixtureAggregator(dict(zip('ab', parts, strict=True)), 4, join='mean')
    assert torch.allclose(named(b=b, a=a), expected)


def test_padding_inside_a_mixture_is_ignored():
    cfg = dict(type='mixture', parts=dict(bev=BEV, queries=QUERIES))
    aggregator, feature = make(cfg), make_feature(cfg)
    expected = aggregate(aggregator, feature)
    queries = feature['queries']['feature']
    queries[:, 5:] = 1e3
    assert torch.equal(aggregate(aggregator, feature), expected)
    cut = dict(feature, queries=queries[:, :5])
    assert torch.allclose(aggregate(aggregator, cut), expected)


def test_a_set_without_queries():
    aggregator = make(QUERIES)
    empty = aggregator(torch.zeros(2, 0, 8).double())
    padding = torch.ones(2, 3, dtype=torch.bool)
    assert torch.isfinite(empty).all()
    assert torch.equal(empty, aggregator(torch.randn(2, 3, 8).double(), padding))


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        (dict(type='bevv'), ValueError, "aggregator: unknown aggregator 'bevv'; choose from .*bev"),
        (dict(), ValueError, 'aggregator: unknown aggregator None'),
        (dict(type='bev', grids=3), TypeError, "aggregator: .*'grids'"),
        (dict(type='levels'), ValueError, 'aggregator: there must be at least one'),
        (dict(type='levels', levels=[BEV], join='sum'), ValueError, "'join' must be one of mean"),
        (
            dict(type='mixture', parts=dict(a=dict(type='levels', levels=[BEV, dict(type='x')]))),
            ValueError,
            r"aggregator\.parts\.a\.levels\[1\]: unknown aggregator 'x'",
        ),
    ],
)
def test_bad_configurations_are_named(cfg, error, message):
    with pytest.raises(error, match=message):
        build_aggregator(cfg, 16, channels=8)


def test_channels_may_be_given_or_not():
    assert build_aggregator(dict(type='vector', in_channels=3), 4).project[0].in_features == 3
    with pytest.raises(TypeError, match="task 'map': .*in_channels"):
        build_aggregator(dict(type='vector'), 4, where="task 'map'")


def test_wrong_features_are_named():
    with pytest.raises(ValueError, match="'levels' has 2 aggregators, got 1 levels"):
        make(PYRAMID)(make_feature(PYRAMID)[:1])
    mixture = make(dict(type='mixture', parts=dict(bev=BEV, queries=QUERIES)))
    with pytest.raises(KeyError, match=r"'parts' are \['bev', 'queries'\], .* for \['bev'\]"):
        mixture(bev=make_feature(BEV))
