# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map and track as dense tasks of one raster, and MTPSL and JTR on them."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gloo_group import gloo_group
from mmdet3d.registry import MODELS
from mmengine.config import Config
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nexusflow.models.map.dense_view import map_dense_view
from nexusflow.models.map.segmentation import line_masks
from nexusflow.models.track.assigner import FrameTargets
from nexusflow.models.track.dense_view import track_dense_view
from nexusflow.supervision.jtr import JTR
from nexusflow.supervision.mtpsl import MTPSL
from nexusflow.supervision.view import DenseView, View

BASES = Path(__file__).parents[2] / 'configs' / '_base_'
METHODS = ('mtpsl', 'jtr')
PARTIAL = [('map',), ('track',)]
SIZE = (32, 64)


@pytest.fixture
def make(small_config):
    """Function (method) -> small model with the shipped regulariser, as narrow as the model."""

    def build(method, seed=0):
        cfg = small_config()
        cfg.regulariser = Config.fromfile(BASES / f'regulariser_{method}.py').regulariser
        cfg.regulariser.widths = (8, cfg.track_head.channels)
        torch.manual_seed(seed)
        return MODELS.build(cfg)

    return build


@pytest.fixture
def seen(make, clips):
    """Function (tasks of two clips, frames) -> the model, its clips, and the view that the regulariser got."""

    def look(tasks, frames=2):
        model, data, views = make('mtpsl'), clips(2, frames, SIZE, tasks), []
        model.regulariser.register_forward_pre_hook(lambda module, args: views.extend(args[0]))
        model(**data, mode='loss')
        (view,) = views
        return model, data['data_samples'], view

    return look


def backward(model, data):
    torch.manual_seed(1)
    losses = model(**data, mode='loss')
    model.zero_grad()
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    return losses


def moved(module):
    return max(p.grad.abs().max().item() for p in module.parameters())


def test_both_tasks_lie_on_the_map_raster(seen):
    model, samples, view = seen(PARTIAL)
    grid = model.map_head.grid
    lines, bumps = view.dense['map'], view.dense['track']
    assert lines.prediction.shape == lines.target.shape == (4, 3, *grid.shape)
    assert bumps.prediction.shape == bumps.target.shape == (4, 7, *grid.shape)
    assert view.shared.shape == (4, 24, *grid.shape)
    assert lines.labelled.tolist() == [True, True, False, False]
    assert bumps.labelled.tolist() == [False, False, True, True]
    for own in (lines, bumps):
        assert own.kind == 'masks'
        assert own.prediction.requires_grad and not own.target.requires_grad
        assert own.valid.flatten(1).all(1).equal(own.labelled)
        assert own.valid.flatten(1).any(1).equal(own.labelled)
        assert not own.target[~own.labelled].any()
        assert own.target[own.labelled].flatten(1).any(1).all()


def test_targets_are_those_of_the_heads_losses(seen):
    model, clips, view = seen(('map', 'track'))
    samples = [sample for clip in clips for sample in clip]
    head = model.map_head
    masks = line_masks(head.targets([s.gt_map for s in samples]), head.grid, 3)
    assert torch.equal(view.dense['map'].target, masks)
    target = view.dense['track'].target
    head = model.track_head
    boxes = [s.gt_instances_3d for s in samples]
    centers = head.loss_fn.bumps(FrameTargets.stack(boxes, [True] * 4, torch.device('cpu')))
    spots = model.map_head.grid.centers()
    expected = head.grid.sample(centers, spots.expand(4, -1, -1, -1))
    torch.testing.assert_close(target, expected)
    assert 0 < target.max() <= 1


def test_a_clip_with_a_frame_without_labels_is_not_labelled_for_tracks(make, clips):
    model = make('jtr')
    (clip,) = clips(1, 2, SIZE)['data_samples']
    clip[1].set_metainfo(dict(tasks=('map',)))
    head = model.track_head
    bev = torch.randn(2, head.channels, *head.encoder.source.shape)
    frames = [head.dense_forward(bev[t : t + 1]) for t in range(2)]
    view = track_dense_view(head, frames, [clip], model.map_head.grid)
    assert view.labelled.tolist() == [False, False]
    assert not view.target.any() and not view.valid.any()


def test_a_map_head_without_segmentation_has_no_dense_view(make):
    with pytest.raises(ValueError, match='seg_weight above 0'):
        map_dense_view(make('jtr').map_head, {}, [])


@pytest.mark.parametrize('method', METHODS)
def test_trains_the_head_of_the_unlabelled_task(make, clips, method):
    model = make(method)
    losses = backward(model, clips(2, 2, SIZE, ('map',)))
    assert all(value.isfinite() for value in losses.values())
    assert losses[{'mtpsl': 'loss_mtpsl', 'jtr': 'loss_jtr_distance'}[method]] > 0
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    head = model.track_head
    assert moved(head.center_heat) > 0 and moved(head.encoder) > 0
    assert moved(head.decoder) == moved(head.segmentation) == 0
    assert moved(model.regulariser) > 0


@pytest.mark.parametrize('method', METHODS)
def test_without_labels_the_model_learns_nothing(make, clips, method):
    model = make(method)
    backward(model, clips(1, 2, SIZE, ()))
    parts = [part for name, part in model.named_children() if name != 'regulariser']
    assert max(moved(part) for part in parts if list(part.parameters())) == 0


@pytest.mark.parametrize('method', METHODS)
def test_labels_that_may_not_be_used_change_no_loss(make, clips, method):
    data = clips(2, 2, SIZE, PARTIAL)
    spoilt = copy.deepcopy(data)
    for sample in spoilt['data_samples'][1]:
        sample.gt_map.pts_m += 3
    for sample in spoilt['data_samples'][0]:
        sample.gt_instances_3d.bboxes_3d.tensor[:, :2] *= -0.5
    results = []
    for batch in (data, spoilt):
        losses = backward(make(method), batch)
        results.append({name: value.item() for name, value in losses.items()})
    assert results[0] == results[1]


@pytest.mark.parametrize('method', METHODS)
def test_the_rest_of_the_model_starts_the_same_and_takes_its_checkpoint(make, small_model, method):
    model, plain = make(method), small_model()
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert missing == []
    assert {name.split('.')[0] for name in unexpected} == {'regulariser'}


class TwoTasks(nn.Module):
    """Two maps of one feature, and a regulariser between them."""

    def __init__(self, method):
        super().__init__()
        torch.manual_seed(0)
        masks = dict(kind='masks', channels=2)
        self.heads = nn.Conv2d(3, 4, 3, padding=1)
        self.regulariser = method(dict(a=masks, b=masks), widths=(3,), depths=(1,))

    def forward(self, images, targets, labelled):
        views = {}
        for k, name in enumerate('ab'):
            part, on = slice(2 * k, 2 * k + 2), labelled[:, k]
            valid = on[:, None, None, None].expand(-1, 1, *images.shape[2:])
            prediction = self.heads(images)[:, part]
            target = targets[:, part] * valid
            views[name] = DenseView('masks', prediction, target, valid, on)
        found = self.regulariser([View({}, shared=images, dense=views)])
        return sum(value for name, value in found.items() if name.startswith('loss'))


def _train(method, rows):
    torch.manual_seed(4)
    images, targets = torch.randn(2, 3, 8, 8), torch.rand(2, 4, 8, 8)
    # the second sample has no label, so its process has no pair
    labelled = torch.tensor([[True, False], [False, False]])
    model = TwoTasks(method)
    wrapped = DistributedDataParallel(model) if dist.is_initialized() else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(images[rows], targets[rows], labelled[rows]).backward()
        optimizer.step()
    return dict(model.state_dict())


def _enter(rank, folder, method):
    with gloo_group(rank, folder):
        torch.save(_train(method, [rank]), folder / f'{rank}.pth')


@pytest.mark.parametrize('method', [MTPSL, JTR])
def test_a_process_without_labels_trains_along(tmp_path, method):
    mp.start_processes(_enter, (tmp_path, method), nprocs=2, start_method='fork')
    whole = _train(method, [0, 1])
    start = TwoTasks(method).state_dict()
    assert (whole['heads.weight'] - start['heads.weight']).abs().max() > 1e-4
    for rank in range(2):
        share = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for name, value in whole.items():
            torch.testing.assert_close(share[name], value, atol=1e-5, rtol=0, msg=name)
