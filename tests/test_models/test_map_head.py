# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map head: what it gives and what it learns from, with every source of queries."""

from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from nexusflow.models.map.anchors import AnchorQueries
from nexusflow.models.map.map_head import NexusMapHead
from nexusflow.testing import make_clip_batch

CHANNELS, QUERIES, POINTS = 16, 6, 20
CONFIGS = Path(__file__).parents[2] / 'configs'


VARIANTS = {
    'anchors': dict(query_source='anchors'),
    'learned': dict(
        query_source='learned',
        decoder=dict(attentions=('across', 'along', 'cross'), cls_hidden=2, reg_hidden=2),
        order_pattern='v2',
        loss=dict(seg_weight=0.0, max_distance_m=None),
    ),
    'anchors-many': dict(query_source='anchors', one_to_many=dict(num_queries=9, repeats=3)),
    'learned-many': dict(
        query_source='learned',
        decoder=dict(attentions=('across', 'along', 'cross')),
        one_to_many=dict(num_queries=9, repeats=3, weight=0.5),
    ),
}
# not among those above: its field loss draws random spots, and two losses of one batch differ
TRACED = dict(
    query_source='traced', tracing=dict(num_rings=2, tracer=dict(num_seeds=10, num_steps=4))
)
SOURCES = VARIANTS | {'traced': TRACED}


@pytest.fixture
def make_head(bev_grid, map_grid):
    """Function (variant, other arguments) -> head of two decoder layers."""
    grids = [dict(range_m=grid.range_m, cell_m=grid.cell_m) for grid in (bev_grid, map_grid)]

    def make(variant, **kwargs):
        return NexusMapHead(
            CHANNELS, *grids, **{'num_queries': QUERIES, **SOURCES[variant], **kwargs}
        )

    return make


@pytest.fixture(params=list(VARIANTS))
def head(make_head, request):
    return make_head(request.param)


@pytest.fixture
def bev():
    return torch.randn(2, CHANNELS, 16, 16)


def samples_of(*tasks):
    """One sample for each sequence of labelled tasks."""
    return make_clip_batch(len(tasks), 1, (32, 32), tasks)['data_samples'][0]


def without_elements(sample):
    sample.gt_map = sample.gt_map[torch.zeros(0, dtype=torch.long)]
    return sample


def total(losses):
    return sum(losses.values())


def test_outputs(head, bev, map_grid):
    rows, cols = map_grid.shape
    out = head.eval()(bev)
    assert out['bev'].shape == (2, CHANNELS, rows, cols)
    assert out['queries'].shape == (2, QUERIES, CHANNELS)
    assert len(out['layers']) == 1 + len(head.decoder.layers) == 3
    for logits, points in out['layers']:
        assert logits.shape == (2, QUERIES, 3)
        assert points.shape == (2, QUERIES, POINTS, 2)
    assert 'extra_layers' not in out
    assert [len(layer[0][0]) for layer in head.train()(bev).get('extra_layers', [])] == [9, 9, 9][
        : 3 * bool(head.num_extra)
    ]


def test_dense_outputs(make_head, bev, map_grid):
    rows, cols = map_grid.shape
    out = make_head('anchors')(bev)
    assert out['heat'].shape == out['segmentation'].shape == (2, 3, rows, cols)
    assert out['anchor_pts_m'].shape == (2, rows * cols, POINTS, 2)
    assert set(make_head('learned')(bev)) == {'bev', 'queries', 'layers'}


def test_predictions_are_sorted_and_in_range(head, bev):
    for pred in head.eval().predict(bev * 10):
        assert len(pred) == QUERIES
        assert (pred.scores.diff() <= 0).all()
        assert ((pred.scores >= 0) & (pred.scores <= 1)).all()
        assert ((pred.labels >= 0) & (pred.labels < 3)).all()
        assert pred.pts_m.shape == (QUERIES, POINTS, 2)
        assert (pred.pts_m.abs() <= torch.tensor([15.0, 30.0])).all()


def shake(head):
    """Away from the start, where the branches are zero."""
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return head


def test_an_element_may_be_predicted_as_several_classes_but_keeps_its_points(head, bev):
    logits, points = shake(head).eval()(bev)['layers'][-1]
    pred = head.predict(bev)[0]
    # of the whole batch, as the head does: vectors round differently where they end
    prob = logits.sigmoid()[0]
    clamped = points[0].clamp(-torch.tensor([15.0, 30.0]), torch.tensor([15.0, 30.0]))
    for score, label, pts in zip(pred.scores, pred.labels, pred.pts_m, strict=True):
        which = (prob[:, label] == score).nonzero().flatten()
        assert (clamped[which] == pts).all((1, 2)).any()


def test_losses_reach_every_parameter(head, bev):
    losses, _ = shake(head).loss(bev, samples_of(('map',), ('map',)))
    assert all(name.startswith('loss_map_') for name in losses)
    assert ('loss_map_heat' in losses) == isinstance(head.queries, AnchorQueries)
    assert ('loss_map_seg' in losses) == (head.segmentation is not None)
    assert ('loss_map_extra_d1_pts' in losses) == bool(head.num_extra)
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    assert sum(p.grad.abs().sum() > 0 for p in head.parameters()) > 0.9 * len(
        list(head.parameters())
    )


def test_without_any_element_the_losses_are_finite_and_reach_every_parameter(head, bev):
    samples = [without_elements(sample) for sample in samples_of(('map',), ('map',))]
    losses, _ = head.loss(bev, samples)
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in head.parameters())
    assert losses['loss_map_d0_pts'] == losses['loss_map_d0_dir'] == 0
    assert losses['loss_map_d0_cls'] > 0


def test_unlabelled_samples_give_exactly_zero_gradient(head, bev):
    bev.requires_grad_()
    losses, _ = head.loss(bev, samples_of(('track',), ()))
    assert all(value == 0 for value in losses.values())
    total(losses).backward()
    for name, p in head.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() == 0, name
    assert bev.grad.abs().max() == 0


def test_an_unlabelled_neighbour_changes_no_gradient(head, bev):
    head.eval()
    total(head.loss(bev, samples_of(('map',), ('track',)))[0]).backward()
    mixed = {name: p.grad.clone() for name, p in head.named_parameters()}
    head.zero_grad()
    total(head.loss(bev[:1], samples_of(('map',)))[0]).backward()
    for name, p in head.named_parameters():
        torch.testing.assert_close(p.grad, mixed[name], atol=1e-5, rtol=1e-4, msg=name)


def test_labels_of_unlabelled_samples_are_not_read(head, bev):
    samples = samples_of(('map',), ('track',))
    before, _ = head.loss(bev, samples)
    samples[1].gt_map.pts_m.fill_(float('nan'))
    samples[1].gt_map.labels.fill_(99)
    after, _ = head.loss(bev, samples)
    assert {k: v.item() for k, v in before.items()} == {k: v.item() for k, v in after.items()}


def test_an_element_of_one_point_and_one_of_many(head, bev):
    samples = samples_of(('map',), ('map',))
    samples[0].gt_map = samples[0].gt_map[:1]
    samples[0].gt_map.pts_m = torch.full((1, POINTS, 2), 3.0)
    losses, _ = head.loss(bev, samples)
    total(losses).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('source', list(SOURCES))
def test_in_half_precision_it_learns_with_full_losses_and_predicts(make_head, bev, source, dtype):
    head = shake(make_head(source))
    with torch.autocast('cpu', dtype):
        losses, _ = head.loss(bev, samples_of(('map',), ('map',)))
        predictions = head.eval().predict(bev)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    for pred in predictions:
        assert pred.pts_m.dtype == torch.float32
        assert pred.pts_m.shape == (QUERIES, POINTS, 2) and pred.pts_m.isfinite().all()
        assert ((pred.scores > 0) & (pred.scores < 1)).all()


def test_unknown_sources_are_refused(make_head):
    with pytest.raises(
        ValueError, match="query_source 'peaks' is not one of anchors, traced, learned"
    ):
        make_head('anchors', query_source='peaks')


@pytest.mark.parametrize('source', ['anchors', 'learned'])
def test_one_to_many_queries_change_no_one_to_one_query(make_head, bev, source):
    many = make_head(f'{source}-many').train()
    for module in many.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    out = many(bev)
    plain = many.eval()(bev)
    for (a, b), (c, d) in zip(out['layers'], plain['layers'], strict=True):
        torch.testing.assert_close(a, c, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(b, d, atol=1e-5, rtol=1e-5)


def test_without_segmentation_there_is_no_branch(make_head):
    names = [name for name, _ in make_head('anchors', loss=dict(seg_weight=0.0)).named_parameters()]
    assert not any('segmentation' in name for name in names)
    assert any('segmentation' in name for name, _ in make_head('anchors').named_parameters())


def elements(number, points):
    """Open lines here and there."""
    pts = torch.rand(number, 1, 2) * 20 - 10 + torch.linspace(0, 5, points).view(-1, 1)
    return InstanceData(
        labels=torch.arange(number) % 3,
        pts_m=pts,
        is_closed=torch.arange(number) % 2 == 1,
    )


@pytest.mark.parametrize('source', ['anchors', 'learned'])
def test_operations_do_not_grow_with_instances_and_points(make_head, operations, bev, source):
    counts = []
    for num, points, instances in ((5, 4, 2), (17, 20, 12)):
        head = make_head(f'{source}-many', num_queries=num, num_points=points)
        samples = samples_of(('map',), ('map',))
        for sample in samples:
            sample.gt_map = elements(instances, points)

        def step(head=head, samples=samples):
            total(head.loss(bev, samples)[0]).backward()

        counts.append(len(operations(step)))
    assert counts[0] == counts[1] > 500


def sizes(head):
    """Parameters of the part that MapTR's decoder and branches are, and of all."""
    parts = [head.queries, head.decoder]
    return sum(p.numel() for part in parts for p in part.parameters())


def test_the_r50_head_has_the_published_sizes():
    head = MODELS.build(Config.fromfile(CONFIGS / '_base_' / 'model_r50.py').model.map_head)
    assert (head.num_queries, head.targets.num_points, len(head.decoder.layers)) == (50, 20, 6)
    assert head.channels == 256
    # MapTR: embeddings, reference points, then attention, deformable attention, FFN, norms, branches of a layer
    queries = (50 + 20) * 512 + (256 * 2 + 2)
    attention = 4 * (256 * 256 + 256)
    deformable = 2 * (256 * 256 + 256) + (256 + 1) * (8 * 4 * 2) + (256 + 1) * (8 * 4)
    ffn = 256 * 512 + 512 + 512 * 256 + 256
    cls = 2 * (256 * 256 + 256 + 512) + 256 * 3 + 3
    reg = 2 * (256 * 256 + 256) + 256 * 2 + 2
    maptr = queries + 6 * (attention + deformable + ffn + 3 * 512 + cls + reg)
    assert maptr == 5_732_448
    # decoupled self-attention has one more attention and norm a layer
    assert sizes(head) == maptr + 6 * (attention + 512) == 7_314_528


def test_the_maptrv2_configuration_has_its_one_to_many_queries():
    path = CONFIGS / 'nexusflow' / 'nexusflow_r50_maptrv2_8xb1-24e_nus.py'
    head = MODELS.build(Config.fromfile(path).model.map_head)
    assert (head.num_extra, head.loss_fn.repeats, head.loss_fn.extra_weight) == (300, 6, 1.0)
    assert head.segmentation is not None
    assert sizes(head) == 7_314_528 + 300 * 512
