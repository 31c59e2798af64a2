# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MTPSL against the published formula, worked out sample by sample and pair by pair."""

import numpy as np
import pytest
import torch

from nexusflow.supervision.dense_tasks import sample_classes
from nexusflow.supervision.mtpsl import MTPSL, ordered_pairs
from nexusflow.supervision.view import DenseView, View

NONE, ALL = (0, 0, 0, 0), (1, 1, 1, 1)
MIXED = [(1, 0, 0, 0), (0, 1, 0, 1), NONE, ALL, (0, 0, 1, 0)]
MIXED_PAIRS = 3 + 4 + 0 + 12 + 3


def make_module(tasks, **kwargs):
    torch.manual_seed(7)
    made = MTPSL(tasks, widths=(4, 4), depths=(1, 1), **kwargs).double()
    with torch.no_grad():
        made.film_scale.normal_(1.0, 0.3)
        made.film_shift.normal_(0.0, 0.3)
    return made


def conv3x3(x, conv):
    """(C, H, W) through a padded 3x3 convolution, in numpy."""
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum('ocij,chwij->ohw', weight, windows) + bias[:, None, None]


def batch_norm(x, norm):
    """Batch normalisation of one image with its own statistics, in numpy."""
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    return (x - mean) / np.sqrt(var + 1e-5) * weight[:, None, None] + bias[:, None, None]


def mapping(made, task, pair, x):
    """M on one map."""
    stem = made.stems[task]
    x = np.maximum(batch_norm(conv3x3(x, stem.conv), stem.norm), 0)
    for k, (layer,) in enumerate(made.trunk.stages):
        columns = slice(4 * k, 4 * k + 4)
        scale, shift = (
            table[pair, columns].detach().numpy()[:, None, None]
            for table in (made.film_scale, made.film_shift)
        )
        x = batch_norm(conv3x3(x, layer.conv), layer.norm) * scale + shift
        height, width = x.shape[1] // 2, x.shape[2] // 2
        x = np.maximum(x, 0)[:, : 2 * height, : 2 * width]
        x = x.reshape(4, height, 2, width, 2).max((2, 4))
    return x


def as_input(kind, x):
    if kind == 'depth':
        return x / (x.max() + 1e-12)
    return (x + 1) / 2 if kind == 'normals' else x


def cosine_distance(a, b):
    """One minus the cosine over channels of (C, H, W), mean over pixels."""
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return float(np.mean(1 - (a * b).sum(0) / np.maximum(norms, 1e-12)))


def shown(view, kind, b, valid):
    """Prediction of a sample as M reads it, blanked where the other task's label is not valid."""
    x = view.prediction.detach()[b].numpy()
    if kind == 'classes':
        x = (x == x.max(0)).astype(float)
    if kind == 'masks':
        x = 1 / (1 + np.exp(-x))
    return as_input(kind, x * valid)


def reference(made, view):
    """The published formula in a loop over samples and pairs; without the factor 2."""
    dense, total = [view.dense[name] for name in made.tasks], 0.0
    shared = view.shared.detach().numpy()
    order = [(s, t) for s in range(4) for t in range(4) if s != t]
    for b, feature in enumerate(shared):
        on = [bool(own.labelled[b]) for own in dense]
        # two stages make 2 x 1 of 8 x 6
        f = np.stack([feature[:, :2].mean((1, 2)), feature[:, 2:].mean((1, 2))], 1)[..., None]
        for s, t in order:
            if not on[t] or (on[s] and not all(on)):
                continue
            source = shown(dense[s], dense[s].kind, b, dense[t].valid[b].numpy())
            label = as_input(dense[t].kind, dense[t].target[b].numpy())
            m_s = mapping(made, s, order.index((s, t)), source)
            m_t = mapping(made, t, order.index((s, t)), label)
            to_feature = cosine_distance(m_s, f) + cosine_distance(m_t, f)
            total += cosine_distance(m_s, m_t) + 0.5 * to_feature
    return total / len(shared)


def run(made, view):
    """Losses, after the backward pass."""
    found = made([view])
    found['loss_mtpsl'].backward()
    return found


def gradient(view, task):
    """(B, numbers) gradients of the predictions of a task."""
    return view.dense[task].prediction.grad.flatten(1)


def test_formula_in_float64(dense_tasks, dense_view, fixed_draw):
    made, view = make_module(dense_tasks), dense_view(MIXED)
    found = run(made, view)
    expected = 2.0 * reference(made, view)
    assert found['loss_mtpsl'].item() == pytest.approx(expected, rel=1e-10)
    assert found['mtpsl_pairs'].item() == pytest.approx(MIXED_PAIRS / len(MIXED))


def test_two_pixels_by_hand():
    """A mapping that only pools: every number can be followed on paper."""
    tasks = dict(a=dict(kind='masks', channels=2), b=dict(kind='masks', channels=2))
    made = MTPSL(tasks, widths=(2,), depths=(1,)).double()
    made.stems = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    made.trunk.forward = lambda x, film: (x[..., :1, :1], [])
    target = torch.tensor([3.0, 4.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    # probabilities 0.8 and 0.6
    logits = torch.tensor([4.0, 1.5], dtype=torch.float64).log().view(1, 2, 1, 1).expand(1, 2, 2, 2)
    yes, no = torch.tensor([True]), torch.tensor([False])
    valid = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    dense = dict(
        a=DenseView('masks', logits, torch.zeros_like(target), ~valid, no),
        b=DenseView('masks', logits, target, valid, yes),
    )
    shared = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    found = made([View({}, shared=shared, dense=dense)])
    # cosines: (0.8, 0.6) with (0.6, 0.8) is 0.96; with (1, 0) they are 0.8 and 0.6
    assert found['loss_mtpsl'].item() == pytest.approx(2 * (0.04 + 0.5 * (0.2 + 0.4)))
    assert found['mtpsl_distance'].item() == pytest.approx(0.04)


def test_gradient_reaches_unlabelled_predictions_only(dense_tasks, dense_view):
    made, labels = make_module(dense_tasks), MIXED[:3]
    view = dense_view(labels)
    run(made, view)
    for k, task in enumerate(dense_tasks):
        reached = gradient(view, task).abs().amax(1) > 0
        assert reached.tolist() == [any(row) and not row[k] for row in labels]
    assert view.shared.grad is None
    assert all(p.grad is not None for p in made.parameters())
    assert made.film_scale.grad.abs().amax(1).gt(0).sum() == 3 + 4


def test_pixels_without_a_label_play_no_part(dense_tasks, dense_view, fixed_draw):
    made, view = make_module(dense_tasks), dense_view([(0, 1, 0, 0)])
    run(made, view)
    invalid = ~view.dense['depth'].valid
    for task in ('seg', 'normals', 'edges'):
        grad = view.dense[task].prediction.grad
        assert grad[invalid.expand_as(grad)].abs().max() == 0
        assert grad.abs().max() > 0


@pytest.mark.parametrize('labels', [[NONE], [NONE, NONE]])
def test_no_pair_gives_zero_and_zero_gradients(dense_tasks, dense_view, labels):
    made, view = make_module(dense_tasks), dense_view(labels)
    found = run(made, view)
    assert set(found) == {'loss_mtpsl', 'mtpsl_pairs'}
    assert found['loss_mtpsl'].item() == found['mtpsl_pairs'].item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in made.parameters())
    assert not any(gradient(view, task).any() for task in dense_tasks)


def test_all_labels_compare_all_pairs(dense_tasks, dense_view):
    made, view = make_module(dense_tasks), dense_view([ALL])
    assert run(made, view)['mtpsl_pairs'].item() == 12
    assert all(gradient(view, task).any() for task in dense_tasks)


def test_a_task_that_nobody_labels_still_learns(dense_tasks, dense_view):
    made, view = make_module(dense_tasks), dense_view([(1, 0, 0, 0), (1, 0, 0, 0)])
    run(made, view)
    assert gradient(view, 'edges').abs().amax(1).gt(0).all()


def test_the_last_view_is_read(dense_tasks, dense_view, fixed_draw):
    made = make_module(dense_tasks)
    first, second = dense_view(MIXED, seed=1), dense_view(MIXED, seed=2)
    assert made([first, second])['loss_mtpsl'] == made([second])['loss_mtpsl']
    assert made([first, second])['loss_mtpsl'] != made([first])['loss_mtpsl']


def test_weight_and_warm_up(dense_tasks, dense_view, fixed_draw):
    view = dense_view(MIXED)
    full = make_module(dense_tasks)([view])['loss_mtpsl'].item()
    half = make_module(dense_tasks, weight=1.0)([view])['loss_mtpsl'].item()
    assert half == pytest.approx(full / 2)
    made = make_module(dense_tasks, warmup_iters=2)
    values = [made([view])['loss_mtpsl'].item() for _ in range(4)]
    assert values == pytest.approx([0.0, full / 2, full, full])
    resumed = make_module(dense_tasks, warmup_iters=2)
    resumed.load_state_dict(made.state_dict())
    assert resumed([view])['loss_mtpsl'].item() == pytest.approx(full)


def test_a_head_that_predicts_no_depth_at_all_is_no_explosion(dense_tasks, dense_view):
    made, view = make_module(dense_tasks), dense_view([(1, 0, 0, 0)])
    with torch.no_grad():
        view.dense['depth'].prediction.fill_(-1e-3)
    run(made, view)
    assert gradient(view, 'depth').isfinite().all()


def test_what_does_not_fit_is_named(dense_tasks, dense_view):
    view = dense_view([(1, 0, 0, 0)])
    with pytest.raises(ValueError, match=r"channels \(4\) must be the last of 'widths' \(6\)"):
        MTPSL(dense_tasks, widths=(4, 6), depths=(1, 1)).double()([view])
    with pytest.raises(KeyError, match=r"no dense view of task\(s\) \['lanes'\]"):
        MTPSL({**dense_tasks, 'lanes': dict(kind='masks', channels=1)}, widths=(4,))([view])
    with pytest.raises(ValueError, match="'edges': configured as 5 channels of kind 'masks'"):
        MTPSL({**dense_tasks, 'edges': dict(kind='masks', channels=5)}, widths=(4,))([view])
    with pytest.raises(ValueError, match='at least two'):
        MTPSL(dict(seg=dense_tasks['seg']))
    with pytest.raises(ValueError, match="'depth' cannot have 2"):
        MTPSL(dict(a=dict(kind='depth', channels=2), b=dict(kind='masks', channels=2)))


def test_ordered_pairs():
    labelled = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    found = [each.nonzero().tolist() for each in ordered_pairs(labelled)]
    assert found[0] == [[2, 0], [2, 1]]
    assert found[1] == []
    assert len(found[2]) == 6


def test_drawn_classes_are_one_hot_and_follow_their_probabilities():
    torch.manual_seed(0)
    share = torch.tensor([0.2, 0.5, 0.3])
    logits = share.log().view(1, 3, 1, 1).expand(1, 3, 100, 100).clone().requires_grad_()
    drawn = sample_classes(logits)
    one_hot = drawn.detach().round()
    torch.testing.assert_close(drawn.detach(), one_hot, atol=1e-6, rtol=0)
    assert one_hot.sum(1).eq(1).all()
    torch.testing.assert_close(one_hot.mean((0, 2, 3)), share, atol=0.02, rtol=0)
    (drawn * torch.randn_like(drawn)).sum().backward()
    assert logits.grad.isfinite().all() and logits.grad.any()
