# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Streaming inference: one scene after the other, frame by frame."""

import numpy as np
import pytest
import torch

SIZE = (32, 64)


@pytest.fixture(scope='module')
def model(small_model):
    """A model whose every query is good enough for a track, with batch statistics that are not trivial."""
    model = small_model(seed=1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.lifecycle.birth_score = model.lifecycle.keep_score = 0.0
    model.lifecycle.patience = 100
    return model.eval()


@pytest.fixture(autouse=True)
def _forget(model):
    model._stream = None


def stream(model, data, clip, frames=None):
    """Predictions of a clip's frames, one call a frame."""
    results = []
    for t in range(len(data['data_samples'][clip])) if frames is None else frames:
        images = data['inputs']['img'][clip : clip + 1, t : t + 1]
        results += model.predict(dict(img=images), [[data['data_samples'][clip][t]]])
    return [summary(result) for result in results]


def summary(result):
    """Everything predicted, as tensors."""
    boxes, lines = result.pred_instances_3d, result.pred_map
    return dict(
        boxes=boxes.bboxes_3d.tensor.clone(),
        scores=boxes.scores_3d,
        labels=boxes.labels_3d,
        ids=boxes.track_ids,
        lines=lines.pts_m,
        line_scores=lines.scores,
    )


def same(a, b):
    return all(
        x[k].shape == y[k].shape and torch.equal(x[k], y[k])
        for x, y in zip(a, b, strict=True)
        for k in x
    )


def test_the_same_scene_twice_gives_the_same(model, clips):
    data = clips(1, 3, SIZE)
    first = stream(model, data, 0)
    assert same(first, stream(model, data, 0))


def test_a_new_scene_starts_anew(model, clips):
    data = clips(2, 3, SIZE)
    alone = stream(model, data, 1)
    model._stream = None
    stream(model, data, 0)
    assert same(alone, stream(model, data, 1))


def test_a_scene_with_the_same_times_but_another_token_starts_anew(model, clips):
    data = clips(2, 2, SIZE)
    alone = stream(model, data, 1, [1])
    stream(model, data, 0, [0])
    assert same(alone, stream(model, data, 1, [1]))


def test_streaming_fuses_as_training_does(model, clips):
    data = clips(1, 3, SIZE)
    seen = []
    hook = model.temporal.register_forward_hook(lambda module, args, output: seen.append(output))
    model(**data, mode='loss')
    stream(model, data, 0)
    hook.remove()
    together, *apart = seen
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-4, rtol=1e-4)


def test_the_past_of_the_scene_matters(model, clips):
    data = clips(1, 2, SIZE)
    after = stream(model, data, 0)[1]
    model._stream = None
    alone = stream(model, data, 0, [1])[0]
    assert not torch.equal(after['lines'], alone['lines'])


def test_ids_are_unique_in_a_frame_and_live_on(model, clips):
    results = stream(model, clips(1, 3, SIZE), 0)
    for result in results:
        assert len(result['ids'].unique()) == len(result['ids']) > 0
        assert len(result['ids']) == len(result['boxes']) == len(result['scores'])
    kept = [set(result['ids'].tolist()) for result in results]
    assert kept[0] <= kept[1] <= kept[2]
    assert min(kept[0]) == 0


def test_tracks_follow_the_ego_motion(model, clips):
    """With refinement off, a box of the first frame is met where velocity and ego motion bring it."""
    data = clips(1, 2, SIZE)
    layers, model.track_head.layers = model.track_head.layers, torch.nn.ModuleList()
    try:
        for layer in layers:
            model.track_head.layers.append(_Still(layer))
        first, second = stream(model, data, 0)
    finally:
        model.track_head.layers = layers
    poses = [sample.lidar2global for sample in data['data_samples'][0]]
    motion = torch.tensor(np.linalg.inv(poses[1]) @ poses[0], dtype=torch.float32)
    for track, box in zip(first['ids'].tolist(), first['boxes'], strict=True):
        place = box[:2] + 0.5 * box[7:9]
        expected = motion[:2, :2] @ place + motion[:2, 3]
        found = second['boxes'][second['ids'] == track][0, :2]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


class _Still(torch.nn.Module):
    """A decoder layer that scores but leaves boxes where they are."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, content, code, *args):
        content, logits, _ = self.layer(content, code, *args)
        return content, logits, code


def test_a_batch_of_clips_gives_a_flat_list_in_order(model, clips):
    data = clips(2, 2, SIZE)
    results = model(**data, mode='predict')
    assert [r.token for r in results] == [f'clip{b}-frame{t}' for b in range(2) for t in range(2)]
    together = [summary(result) for result in results]
    apart = stream(model, data, 0) + stream(model, data, 1)
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a['ids'], b['ids'])
        torch.testing.assert_close(a['lines'], b['lines'], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(a['boxes'], b['boxes'], atol=1e-4, rtol=1e-4)


def test_prediction_keeps_no_graph_and_the_state_is_not_saved(model, clips):
    keys = set(model.state_dict())
    data = clips(1, 1, SIZE)
    (result,) = model(**data, mode='predict')
    assert not result.pred_map.pts_m.requires_grad
    assert not model._stream.raw_bev.requires_grad
    assert not model._stream.tracks.content.requires_grad
    assert set(model.state_dict()) == keys
