# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The whole model: training on partial labels, with and without the regulariser."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import load_state_dict

from nexusflow.models.bev.grid import BEVGrid
from nexusflow.models.map_track_detector import clip_motion, relative_pose
from nexusflow.models.track.carry import CarryRule
from nexusflow.models.track.lifecycle import TrackLifecycle
from nexusflow.testing import make_clip_batch

PARTIAL = [('map',), ('track',)]
SHIPPED = sorted((Path(__file__).parents[2] / 'configs' / 'nexusflow').glob('*.py'))
VARIANTS = [
    ('model_tiny', 'NexusVoxelLift', False),
    ('model_tiny', 'NexusLSSLift', True),
    ('model_r50', 'NexusVoxelLift', True),
    ('model_r50', 'NexusLSSLift', False),
]


def backward(model, data):
    """Losses of a batch; gradients are left in the parameters."""
    losses = model(**data, mode='loss')
    loss, log = model.parse_losses(losses)
    model.zero_grad()
    loss.backward()
    return losses, log


def without_gradient(module):
    return [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]


def largest_gradient(module):
    return max(p.grad.abs().max().item() for p in module.parameters())


def values(losses):
    return {name: value.item() for name, value in losses.items()}


@pytest.mark.parametrize(('base', 'lift', 'regulariser'), VARIANTS)
def test_trains_and_predicts(small_model, clips, base, lift, regulariser):
    model = small_model(base, lift, regulariser)
    losses, log = backward(model, clips(2, 2, (64, 96), PARTIAL))
    assert type(model.lift).__name__ == lift
    assert ('loss_align' in losses) == regulariser
    assert all(value.isfinite().all() for value in losses.values())
    assert log['loss'].item() == pytest.approx(
        sum(v.item() for k, v in losses.items() if 'loss' in k)
    )
    assert without_gradient(model) == []
    data = clips(2, 1, (64, 96))
    results = model.eval()(**data, mode='predict')
    assert [r.token for r in results] == ['clip0-frame0', 'clip1-frame0']
    for result in results:
        assert result.pred_map.pts_m.shape[1:] == (20, 2)
        assert len(result.pred_map.scores) == len(result.pred_map.labels)
        pred = result.pred_instances_3d
        assert pred.bboxes_3d.tensor.shape == (len(pred.scores_3d), 9)
        assert len(pred.track_ids) == len(pred.labels_3d) == len(pred.scores_3d)


@pytest.mark.parametrize(('base', 'lift', 'regulariser'), VARIANTS)
def test_learns_in_mixed_precision(
    small_model, clips, assert_learns_in_bfloat16, base, lift, regulariser
):
    model = small_model(base, lift, regulariser)
    assert_learns_in_bfloat16(model, clips(2, 2, (64, 96), PARTIAL))


def test_tensor_mode_gives_the_bev_and_other_modes_are_refused(small_model, clips):
    model, data = small_model(), clips(1, 2, (32, 64))
    assert model(**data).shape == (1, 2, 24, 16, 16)
    with pytest.raises(ValueError, match='mode'):
        model(**data, mode='los')


@pytest.mark.parametrize('frames', [1, 2, 3])
def test_every_parameter_gets_a_gradient_for_any_length_of_clip(small_model, clips, frames):
    model = small_model(regulariser=True)
    backward(model, clips(1, frames, (32, 64)))
    assert without_gradient(model) == []


@pytest.mark.parametrize(
    ('tasks', 'silent', 'heard'),
    [(('map',), 'track_head', 'map_head'), (('track',), 'map_head', 'track_head')],
)
def test_the_head_of_a_task_without_labels_gets_exactly_zero_gradient(
    small_model, clips, tasks, silent, heard
):
    model = small_model()
    losses, _ = backward(model, clips(2, 2, (32, 64), tasks))
    assert without_gradient(model) == []
    assert largest_gradient(getattr(model, silent)) == 0
    assert largest_gradient(getattr(model, heard)) > 0
    assert largest_gradient(model.img_backbone) > 0
    prefix = f'loss_{silent.removesuffix("_head")}_'
    assert {v for k, v in values(losses).items() if k.startswith(prefix)} == {0.0}


def test_a_training_step_makes_its_constants_on_the_device(small_model, clips, monkeypatch):
    """On a GPU the host waits for all that is queued whenever it copies numbers or a grid there."""
    model, data = small_model(), clips(1, 2, (32, 64))
    new_tensor, centers, copied, devices = torch.Tensor.new_tensor, BEVGrid.centers, [], []

    def copy(*args):
        copied.append(args)
        return new_tensor(*args)

    def make(grid, device=None):
        devices.append(device)
        return centers(grid, device)

    monkeypatch.setattr(torch.Tensor, 'new_tensor', copy)
    monkeypatch.setattr(BEVGrid, 'centers', make)
    model(**data, mode='loss')
    # the tracer's range
    assert len(copied) <= 1
    assert devices and None not in devices


def test_without_any_label_nothing_learns_but_nothing_is_missing(small_model, clips):
    model = small_model()
    backward(model, clips(1, 2, (32, 64), ()))
    assert without_gradient(model) == []
    assert largest_gradient(model) == 0


@pytest.mark.parametrize(
    ('tasks', 'silent', 'heard'),
    [(('map',), 'track_head', 'map_head'), (('track',), 'map_head', 'track_head')],
)
def test_a_skipped_head_changes_nothing_for_the_other_one(small_model, clips, tasks, silent, heard):
    data = clips(2, 2, (32, 64), tasks)
    whole, skipping = small_model(seed=1), small_model(seed=1)
    skipping.skip_unlabelled = True
    gradients = []
    for model in (whole, skipping):
        torch.manual_seed(0)
        losses, _ = backward(model, data)
        gradients.append({n: p.grad for n, p in model.named_parameters()})
        kept = {k: v for k, v in values(losses).items() if k.startswith(f'loss_{tasks[0]}_')}
        gradients[-1]['losses'] = torch.tensor([kept[name] for name in sorted(kept)])
    unread = set(without_gradient(skipping))
    assert unread >= {n for n, _ in skipping.named_parameters() if n.startswith(f'{silent}.')}
    # of what both share, only what the other head does not read
    assert all(not gradients[0][name].any() for name in unread)
    assert not [name for name in losses if not name.startswith(f'loss_{tasks[0]}_')]
    assert largest_gradient(getattr(skipping, heard)) > 0
    for name, gradient in gradients[1].items():
        if gradient is not None:
            torch.testing.assert_close(gradient, gradients[0][name], msg=name)


def test_with_labels_of_both_tasks_no_head_is_skipped(small_model, clips):
    model = small_model()
    model.skip_unlabelled = True
    losses, _ = backward(model, clips(2, 2, (32, 64), PARTIAL))
    assert {name.split('_')[1] for name in losses} == {'map', 'track'}


def test_a_batch_without_labels_can_be_skipped(small_model, clips):
    model = small_model()
    model.skip_unlabelled = True
    losses, _ = backward(model, clips(1, 2, (32, 64), ()))
    assert values(losses) == dict(loss_unlabelled=0.0)
    assert largest_gradient(model.img_backbone) == 0


def test_a_regulariser_needs_both_heads(small_config):
    with pytest.raises(ValueError, match='skip_unlabelled is set, but a regulariser'):
        MODELS.build(dict(small_config(regulariser=True), skip_unlabelled=True))


def test_the_regulariser_teaches_the_features_of_the_unlabelled_task(small_model, clips):
    model = small_model(regulariser=True)
    backward(model, clips(2, 2, (32, 64), ('map',)))
    head = model.track_head
    assert largest_gradient(head.encoder) > 0
    assert largest_gradient(model.regulariser.nexus.surrogates['track'].aggregator) > 0
    assert largest_gradient(head.decoder) == 0
    assert largest_gradient(head.center_heat) == 0


def test_labels_that_may_not_be_used_change_no_loss(small_model, clips):
    data = clips(2, 2, (32, 64), PARTIAL)
    spoilt = copy.deepcopy(data)
    for sample in spoilt['data_samples'][1]:
        sample.gt_map.pts_m += 3
    for sample in spoilt['data_samples'][0]:
        sample.gt_instances_3d.bboxes_3d.tensor[:, :2] *= -0.5
    results = []
    for batch in (data, spoilt):
        model = small_model(regulariser=True)
        results.append(values(model(**batch, mode='loss')))
    assert results[0] == results[1]


def test_same_seed_same_losses(small_model, clips):
    results = []
    for seed in (0, 0, 1):
        model = small_model(regulariser=True, seed=seed)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        log = []
        for _ in range(2):
            losses, _ = backward(model, clips(1, 2, (32, 64)))
            optimizer.step()
            log.append(values(losses))
        results.append(log)
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_step_keeps_the_model_finite_and_changes_it(small_model):
    model = small_model(regulariser=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), 1e-3))
    log = model.train_step(make_clip_batch(2, 3, (32, 64), PARTIAL), wrapper)
    after = model.state_dict()
    assert log['loss'].isfinite()
    assert all(value.isfinite().all() for value in after.values())
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert {k.split('.')[0] for k in changed} == {name for name, _ in model.named_children()} - {
        'data_preprocessor'
    }


def test_the_optimiser_learns_a_fixed_batch(small_model, clips):
    model, data = small_model(regulariser=True), clips(1, 2, (32, 64))
    model.track_head.carry = CarryRule(drop_prob=0.0, insert_prob=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    first = backward(model, data)[1]['loss']
    for _ in range(12):
        optimizer.step()
        last = backward(model, data)[1]['loss']
    assert last < 0.7 * first


def test_predictions_do_not_need_the_regulariser(small_model, clips):
    trained, plain = small_model(regulariser=True, seed=0), small_model(seed=5)
    wrapper = OptimWrapper(torch.optim.AdamW(trained.parameters(), 1e-3))
    trained.train_step(make_clip_batch(1, 2, (32, 64)), wrapper)
    state = trained.state_dict()
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert missing == []
    assert {key.split('.')[0] for key in unexpected} == {'regulariser'}
    outputs = []
    for model in (trained, plain):
        model.lifecycle = TrackLifecycle(birth_score=0.0)
        (result,) = model.eval()(**clips(1, 1, (32, 64)), mode='predict')
        outputs.append(result)
    a, b = outputs
    assert len(a.pred_instances_3d) > 0
    assert torch.equal(a.pred_map.pts_m, b.pred_map.pts_m)
    assert torch.equal(a.pred_map.scores, b.pred_map.scores)
    assert torch.equal(a.pred_instances_3d.scores_3d, b.pred_instances_3d.scores_3d)
    boxes = (r.pred_instances_3d.bboxes_3d.tensor for r in outputs)
    assert torch.equal(*boxes)


def test_a_checkpoint_without_the_regulariser_loads_into_a_model_with_it(small_model, tmp_path):
    torch.save(small_model(seed=5).state_dict(), tmp_path / 'plain.pth')
    state = torch.load(tmp_path / 'plain.pth', weights_only=True)
    model = small_model(regulariser=True)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == []
    assert {key.split('.')[0] for key in missing} == {'regulariser'}
    load_state_dict(model, state, strict=False)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_a_tap_that_the_head_does_not_have_is_named(small_config, clips):
    cfg = small_config(regulariser=True)
    cfg.regulariser.tasks.track.tap = 'nothing'
    model = MODELS.build(cfg)
    with pytest.raises(KeyError, match="'track' has no tap 'nothing'"):
        model(**clips(1, 1, (32, 64)), mode='loss')


def test_queries_can_be_aligned_too(small_config, clips):
    cfg = small_config(regulariser=True)
    cfg.regulariser.tasks.map = dict(type='queries', tap='queries')
    model = MODELS.build(cfg)
    losses, _ = backward(model, clips(1, 2, (32, 64), ('track',)))
    assert losses['loss_align'] > 0
    assert largest_gradient(model.map_head.decoder) > 0


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_build(small_config, path):
    cfg = Config.fromfile(path).model
    cfg.img_backbone.init_cfg = None
    model = MODELS.build(cfg)
    aligned = cfg.get('regulariser') is not None
    assert (model.regulariser is not None) == aligned
    assert sum(p.numel() for p in model.parameters()) > 1e5


def test_time_and_place_are_subtracted_in_double_precision(clips):
    (clip,) = clips(1, 3, (32, 64))['data_samples']
    poses = [sample.lidar2global.copy() for sample in clip]
    for t, sample in enumerate(clip):
        far = poses[t].copy()
        far[:2, 3] += (4e6, -7e6)
        sample.set_metainfo(dict(time_s=1.5e9 + 0.5 * t, lidar2global=far))
    prev2curr, seconds = clip_motion([clip], torch.zeros(1))
    assert seconds.tolist() == [[0.0, 0.5, 0.5]]
    assert torch.equal(prev2curr[0, 0], torch.eye(4))
    for t in (1, 2):
        expected = np.linalg.inv(poses[t]) @ poses[t - 1]
        np.testing.assert_allclose(prev2curr[0, t].numpy(), expected, atol=1e-5)


def test_relative_pose_maps_the_earlier_frame_to_the_current_one():
    before, after = np.eye(4), np.eye(4)
    after[1, 3] = 3.0
    point = relative_pose(before, after) @ np.array([0.0, 10.0, 0.0, 1.0])
    np.testing.assert_allclose(point, [0.0, 7.0, 0.0, 1.0])
