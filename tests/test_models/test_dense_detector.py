# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The model of N dense tasks: trunks, partial labels, views for the regularisers."""

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from torch import nn
from torch.nn import functional as F

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.testing import DENSE_TASKS, make_dense_batch

SIZE = (32, 64)
HEADS = dict(
    segmentation=dict(type='NexusSegmentationHead', channels=13),
    depth=dict(type='NexusDepthHead', channels=1),
    normal=dict(type='NexusNormalHead', channels=3),
)
SEGNET = dict(type='NexusSegNet', widths=(8, 8, 12), convs=(1, 1, 2))
RESNET = dict(
    type='NexusEncoderDecoder',
    backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=8,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        norm_eval=False,
    ),
    neck=dict(type='NexusTopDownNeck', in_channels=[8, 16, 32], out_channels=16),
)
FPN = dict(
    RESNET, neck=dict(type='mmdet.FPN', in_channels=[8, 16, 32], out_channels=16, num_outs=3)
)
ONE_LABEL = [('segmentation',), ('depth',), ('normal',)]


@MODELS.register_module()
class RecordViews(nn.Module):
    """A regulariser that keeps what it is given and asks for what the test wants."""

    def __init__(self, channels, extra_views=0, needs_dense=True):
        super().__init__()
        self.extra_views, self.needs_dense, self.channels = extra_views, needs_dense, channels
        self.scale = nn.Parameter(torch.rand(()))

    def forward(self, views, samples):
        self.views, self.samples = views, samples
        means = [tap['feature'].mean() for tap in views[0].features.values()]
        return dict(
            loss_toy=self.scale * torch.stack(means).sum() ** 2,
            toy_views=torch.tensor(float(len(views))),
        )


@pytest.fixture(autouse=True, scope='module')
def _modules():
    register_all_modules()


def build(trunk=SEGNET, regulariser=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(type='NexusDenseDetector', trunk=trunk, heads=HEADS, regulariser=regulariser)
    return MODELS.build(dict(cfg, **kwargs))


def batch(model, tasks, size=SIZE, **kwargs):
    return model.data_preprocessor(make_dense_batch(len(tasks), size, tasks, **kwargs))


def backward(model, data):
    losses = model(**data, mode='loss')
    model.zero_grad()
    model.parse_losses(losses)[0].backward()
    return losses


def largest_gradient(module):
    return max(p.grad.abs().max().item() for p in module.parameters())


def test_published_segnet_has_the_published_size():
    model = MODELS.build(
        dict(type='NexusDenseDetector', trunk=dict(type='NexusSegNet'), heads=HEADS)
    )
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in model.named_children()}
    # the published count holds three weights of tasks that equal weighting does not use
    assert count['trunk'] + count['heads'] == 25_055_188 - 3
    assert count['trunk'] == 24_943_296


def test_the_bottleneck_is_the_published_one():
    model = MODELS.build(dict(type='NexusSegNet', widths=(2, 2, 2, 2, 5)))
    out = model(torch.rand(1, 3, 288, 384))
    assert out.bottleneck.shape == (1, 5, 9, 12)
    assert out.features.shape == (1, 2, 288, 384)


@pytest.mark.parametrize('trunk', [SEGNET, RESNET, FPN], ids=['segnet', 'topdown', 'fpn'])
def test_trains_and_predicts(trunk):
    model = build(dict(trunk, out_channels=16) if trunk is FPN else trunk)
    data = batch(model, ONE_LABEL)
    losses = backward(model, data)
    assert all(value.isfinite() for value in losses.values())
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    # mmdet's FPN also makes the levels that are not read
    assert all('fpn_convs' in name for name in missing)
    samples = model.eval()(**data, mode='predict')
    assert samples[0].pred_sem_seg.data.shape == (1, *SIZE)
    assert samples[0].pred_sem_seg.data.dtype == torch.int64
    assert samples[1].pred_depth.data.min() >= 0
    length = samples[2].pred_normal.data.norm(dim=0)
    torch.testing.assert_close(length, torch.ones(SIZE))
    with pytest.raises(ValueError, match='mode'):
        model(**data, mode='los')


@pytest.mark.parametrize('task', DENSE_TASKS)
def test_the_head_of_a_task_without_labels_gets_exactly_zero_gradient(task):
    model = build()
    others = [name for name in DENSE_TASKS if name != task]
    losses = backward(model, batch(model, [others[:1], others, others[1:]]))
    assert all(p.grad is not None for p in model.parameters())
    assert largest_gradient(model.heads[task]) == 0
    assert min(largest_gradient(model.heads[name]) for name in others) > 0
    assert largest_gradient(model.trunk) > 0
    assert {v.item() for k, v in losses.items() if k.startswith(f'loss_{task}_')} == {0.0}


def test_an_unlabelled_batch_teaches_nothing_but_misses_nothing():
    model = build()
    backward(model, batch(model, [(), ()]))
    assert largest_gradient(model) == 0


@pytest.mark.parametrize('views', [0, 2])
def test_labels_that_may_not_be_used_change_nothing(views):
    seen = []
    for spoil in (False, True):
        model = build(regulariser=dict(type='RecordViews', extra_views=views))
        data = batch(model, ONE_LABEL)
        if spoil:
            data['data_samples'][0].gt_depth.data += 1
            data['data_samples'][1].gt_normal.data *= -1
            data['data_samples'][2].gt_sem_seg.data.fill_(3)
        losses = backward(model, data)
        dense = [dense for view in model.regulariser.views for dense in view.dense.values()]
        seen.append([*losses.values(), *(d.target for d in dense), *(d.valid for d in dense)])
    for a, b in zip(*seen, strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_the_regulariser_changes_no_weight_of_the_rest_and_is_not_needed_at_test():
    plain, with_it = build(), build(regulariser=dict(type='RecordViews'))
    state = with_it.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, state[name])
    result = plain.load_state_dict(state, strict=False)
    assert result.unexpected_keys == ['regulariser.scale'] and not result.missing_keys
    data = batch(plain, ONE_LABEL)
    with_it.regulariser.forward = None
    out = [model.eval()(**data) for model in (plain, with_it)]
    assert all(torch.equal(out[0][task], out[1][task]) for task in DENSE_TASKS)


def test_view_of_the_batch():
    model = build(regulariser=dict(type='RecordViews'))
    data = batch(model, ONE_LABEL)
    losses = backward(model, data)
    (view,) = model.regulariser.views
    assert model.regulariser.channels == 8 and losses['toy_views'] == 1
    assert {task: tap['feature'].shape for task, tap in view.features.items()} == dict.fromkeys(
        DENSE_TASKS, (3, 8, *SIZE)
    )
    assert view.shared.shape == (3, 12, 4, 8) and view.shared.requires_grad
    sample = data['data_samples'][0]
    seg, depth, normal = (view.dense[task] for task in DENSE_TASKS)
    assert (seg.kind, depth.kind, normal.kind) == ('classes', 'depth', 'normals')
    assert seg.labelled.tolist() == [True, False, False]
    label = sample.gt_sem_seg.data[0]
    assert torch.equal(seg.valid[0, 0], label >= 0)
    one_hot = F.one_hot(label.clamp(min=0), 13) * (label >= 0)[..., None]
    assert torch.equal(seg.target[0], one_hot.permute(2, 0, 1).float())
    assert not seg.valid[1:].any() and not seg.target[1:].any()
    assert torch.equal(depth.target[1], data['data_samples'][1].gt_depth.data)
    assert torch.equal(normal.target[2], data['data_samples'][2].gt_normal.data)
    for dense in (seg, depth, normal):
        assert dense.prediction.requires_grad
        assert dense.prediction.shape == dense.target.shape


@pytest.mark.parametrize('extra', [1, 2])
def test_further_views_are_scale_crops_of_images_and_labels(extra, monkeypatch):
    """With the depth label painted into the image both must show the same window."""
    model = build(regulariser=dict(type='RecordViews', extra_views=extra))
    data = batch(model, [('depth', 'segmentation')] * 4)
    ramp = torch.linspace(1, 2, SIZE[1]).expand(1, *SIZE)
    for image, sample in zip(data['inputs']['img'], data['data_samples'], strict=True):
        sample.gt_depth.data = ramp
        image[:] = ramp
    images = []
    trunk = model.trunk.forward
    monkeypatch.setattr(model.trunk, 'forward', lambda x: images.append(x) or trunk(x))
    losses = model(**data, mode='loss')
    (image,) = images
    assert image.shape == (4 * (1 + extra), 3, *SIZE)
    views = model.regulariser.views
    assert len(views) == 1 + extra and losses['toy_views'] == 1 + extra
    torch.testing.assert_close(views[0].dense['depth'].target, ramp.expand(4, 1, *SIZE))
    scales = set()
    for k in range(1, 1 + extra):
        depth, shown = views[k].dense['depth'], image[4 * k : 4 * k + 4, :1]
        ratio = (shown / depth.target).mean(dim=(1, 2, 3))
        scales |= {round(value, 1) for value in ratio.tolist()}
        torch.testing.assert_close(
            shown, depth.target * ratio[:, None, None, None], atol=0.02, rtol=0.02
        )
        assert depth.prediction.shape == (4, 1, *SIZE)
        assert views[k].shared.shape == views[0].shared.shape
    assert scales <= {1.0, 1.2, 1.5} and len(scales) > 1


def test_supervised_losses_see_the_first_view_only():
    """In eval mode, where views share no batch statistics, the losses equal those of the model without."""
    plain = build().eval()
    with_views = build(regulariser=dict(type='RecordViews', extra_views=2)).eval()
    data = batch(plain, ONE_LABEL)
    want, losses = plain(**data, mode='loss'), with_views(**data, mode='loss')
    for name, value in want.items():
        torch.testing.assert_close(losses[name], value)


def test_maps_for_the_regulariser_may_be_coarser():
    fine = build(regulariser=dict(type='RecordViews')).eval()
    coarse = build(regulariser=dict(type='RecordViews'), view_stride=2).eval()
    data = batch(fine, ONE_LABEL)
    losses = [model(**data, mode='loss') for model in (fine, coarse)]
    assert losses[0]['loss_depth_l1'] == losses[1]['loss_depth_l1']
    for task in DENSE_TASKS:
        a, b = (model.regulariser.views[0].dense[task] for model in (fine, coarse))
        for name in ('prediction', 'target', 'valid'):
            assert torch.equal(getattr(a, name)[..., ::2, ::2], getattr(b, name))


def test_without_need_no_dense_view_is_made():
    model = build(regulariser=dict(type='RecordViews', needs_dense=False))
    model(**batch(model, ONE_LABEL), mode='loss')
    assert model.regulariser.views[0].dense == {}


def test_images_of_different_sizes_are_refused():
    data = make_dense_batch(2, SIZE)
    data['inputs']['img'][1] = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match='NexusDenseResize'):
        build().data_preprocessor(data)


def test_a_neck_that_does_not_tell_its_width_is_refused():
    neck = dict(type='SECONDFPN', in_channels=[8], upsample_strides=[1], out_channels=[8])
    with pytest.raises(ValueError, match="SECONDFPN.*'out_channels'"):
        MODELS.build(dict(RESNET, neck=neck))


def test_a_head_that_does_not_say_its_kind_is_refused():
    heads = dict(edge=dict(type='mmdet.FPN', in_channels=[8], out_channels=8, num_outs=1))
    with pytest.raises(ValueError, match="task 'edge': its head FPN has no kind"):
        MODELS.build(dict(type='NexusDenseDetector', trunk=SEGNET, heads=heads))


@pytest.mark.parametrize('trunk', [SEGNET, RESNET], ids=['segnet', 'resnet'])
def test_learns_in_mixed_precision(assert_learns_in_bfloat16, trunk):
    aligned = {task: dict(type='bev', tap='feature') for task in DENSE_TASKS}
    model = build(trunk, dict(type='NexusFlowRegulariser', dim=8, tasks=aligned))
    assert_learns_in_bfloat16(model, batch(model, ONE_LABEL))
