# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Streaming inference: one scene after the other, frame by frame."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS

from nexusflow.models.stream import SceneState, SceneStates
from nexusflow.models.track.queries import TrackQueries

SIZE = (32, 64)


HEADS = dict(peaks={}, learned=dict(query_source='learned', newborns=None, memory=dict(length=2)))


@pytest.fixture(scope='module', params=HEADS)
def model(request, small_config):
    """A model whose every query is good enough for a track, with batch statistics that are not trivial."""
    config = small_config()
    config.track_head.update(HEADS[request.param])
    torch.manual_seed(1)
    model = MODELS.build(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.lifecycle.birth_score = model.lifecycle.keep_score = 0.0
    model.lifecycle.patience, model.lifecycle.detection_score = 100, 0.0
    model.lifecycle.min_hits = 1
    return model.eval()


@pytest.fixture(autouse=True)
def _forget(model):
    model.streams.clear()


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
    model.streams.clear()
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
    model.streams.clear()
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


def test_tracks_follow_the_ego_motion(model, clips, monkeypatch):
    """With refinement off, a box of the first frame is met where velocity and ego motion bring it."""
    data = clips(1, 2, SIZE)
    # and no peak of the second frame in reach
    monkeypatch.setattr(model.track_head.motion, 'gate', 0.0)
    decoder = model.track_head.decoder
    layers, decoder.layers = decoder.layers, torch.nn.ModuleList(map(_Still, decoder.layers))
    try:
        first, second = stream(model, data, 0)
    finally:
        decoder.layers = layers
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
    state = model.streams['clip0']
    assert [level.shape[0] for level in state.raw_bev] == [24, 24]
    assert not any(level.requires_grad for level in state.raw_bev)
    assert not state.tracks.content.requires_grad
    assert set(model.state_dict()) == keys
    assert set(result.pred_detections_3d.keys()) == {'bboxes_3d', 'labels_3d', 'scores_3d'}
    assert len(result.pred_detections_3d) >= len(result.pred_instances_3d)


def assert_close(a, b):
    """Predictions of the same frames; batched convolutions may differ in the last bits."""
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x['ids'], y['ids'])
        assert torch.equal(x['labels'], y['labels'])
        for key in ('boxes', 'scores', 'lines', 'line_scores'):
            torch.testing.assert_close(x[key], y[key], atol=1e-4, rtol=1e-4)


def predict(model, data, frames):
    """One call for a batch of (clip, frame) pairs."""
    images = torch.stack([data['inputs']['img'][b, t : t + 1] for b, t in frames])
    results = model.predict(dict(img=images), [[data['data_samples'][b][t]] for b, t in frames])
    return [summary(result) for result in results]


def test_scenes_mixed_in_batches_give_what_each_gives_alone(model, clips):
    """Scenes that start at different times, another order in every batch, two frames of one scene in a batch."""
    data = clips(3, 3, SIZE)
    alone = {}
    for b in range(3):
        model.streams.clear()
        alone |= {(b, t): result for t, result in enumerate(stream(model, data, b))}
    model.streams.clear()
    batches = [[(0, 0), (1, 0)], [(2, 0), (0, 1)], [(1, 1), (1, 2), (2, 1)], [(2, 2), (0, 2)]]
    for batch in batches:
        assert_close(predict(model, data, batch), [alone[pair] for pair in batch])


def test_the_number_of_remembered_scenes_is_bounded(model, clips):
    data = clips(3, 2, SIZE)
    fresh = stream(model, data, 0, [1])
    model.streams.clear()
    model.streams.max_scenes = 2
    try:
        first, *_ = [stream(model, data, b, [0]) for b in range(3)]
        assert len(model.streams) == 2
        # the scene seen longest ago was forgotten, but not which ids it has used
        used = int(first[0]['ids'].max())
        again = stream(model, data, 0, [1])
        assert again[0]['ids'].min() == used + 1
        again[0]['ids'] = again[0]['ids'] - used - 1
        assert same(again, fresh)
        with pytest.raises(ValueError, match='max_scenes is 2, but a batch holds 3 scenes'):
            predict(model, data, [(0, 1), (1, 1), (2, 1)])
    finally:
        model.streams.max_scenes = 8


def test_a_dropped_frame_moves_tracks_by_twice_the_time(model, clips, monkeypatch):
    """Frame 1 never arrives: ids live on, and boxes start where two steps of motion bring them."""
    data = clips(1, 3, SIZE)
    # no peak is near enough
    monkeypatch.setattr(model.track_head.motion, 'gate', 0.0)
    decoder = model.track_head.decoder
    layers, decoder.layers = decoder.layers, torch.nn.ModuleList(map(_Still, decoder.layers))
    try:
        first, last = stream(model, data, 0, [0, 2])
    finally:
        decoder.layers = layers
    poses = [sample.lidar2global for sample in data['data_samples'][0]]
    motion = torch.tensor(np.linalg.inv(poses[2]) @ poses[0], dtype=torch.float32)
    assert len(first['ids']) > 0
    for track, box in zip(first['ids'].tolist(), first['boxes'], strict=True):
        expected = motion[:2, :2] @ (box[:2] + 1.0 * box[7:9]) + motion[:2, 3]
        found = last['boxes'][last['ids'] == track][0, :2]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_after_a_long_gap_the_scene_starts_anew_with_new_ids(model, clips):
    data = clips(1, 2, SIZE)
    alone = stream(model, data, 0, [1])
    model.streams.clear()
    first = stream(model, data, 0, [0])
    data['data_samples'][0][1].set_metainfo(dict(time_s=3.5))
    late = stream(model, data, 0, [1])
    assert late[0]['ids'].min() == first[0]['ids'].max() + 1
    late[0]['ids'] = late[0]['ids'] - late[0]['ids'].min()
    assert same(late, alone)


def test_a_camera_may_be_missing(model, clips):
    """Five cameras in one frame, six in those around it: another picture, but the tracks live on."""
    data = clips(1, 3, SIZE)
    full = stream(model, data, 0)
    model.streams.clear()
    sample = data['data_samples'][0][1]
    keep = [0, 1, 2, 4, 5]
    sample.set_metainfo({k: sample.get(k)[keep] for k in ('lidar2img', 'img2lidar')})
    results = stream(model, data, 0, [0])
    images = data['inputs']['img'][:1, 1:2, keep]
    results += [summary(r) for r in model.predict(dict(img=images), [[sample]])]
    results += stream(model, data, 0, [2])
    assert same(results[:1], full[:1])
    assert not torch.equal(results[1]['lines'], full[1]['lines'])
    ids = [set(result['ids'].tolist()) for result in results]
    assert ids[0] <= ids[1] <= ids[2]
    assert all(result['boxes'].isfinite().all() for result in results)


def test_a_scene_without_any_track(model, clips):
    birth, model.lifecycle.birth_score = model.lifecycle.birth_score, 1.1
    try:
        results = stream(model, clips(1, 2, SIZE), 0)
    finally:
        model.lifecycle.birth_score = birth
    assert [len(result['ids']) for result in results] == [0, 0]
    assert len(model.streams['clip0'].tracks) == 0


def make_sample(scene_token, time_s):
    return SimpleNamespace(scene_token=scene_token, time_s=time_s, lidar2global=np.eye(4))


def test_ids_never_repeat_in_a_scene_however_many_scenes_are_interleaved():
    """Every scene is forgotten between any two of its frames, in each of which three tracks are born."""
    states, raw = SceneStates(max_scenes=2), torch.zeros(1, 1, 1)
    nothing, given = TrackQueries.empty(4, torch.device('cpu')), {token: [] for token in 'abc'}
    for t in range(4):
        for token, ids in given.items():
            sample = make_sample(token, 0.5 * t)
            state, found = states.before(sample, raw, nothing)
            assert not found
            ids += range(state.next_id, state.next_id + 3)
            after = SceneState(raw, np.eye(4), sample.time_s, nothing, state.next_id + 3)
            states.remember(token, after)
            assert len(states) <= 2
    assert given == dict.fromkeys('abc', list(range(12)))
    # a scene that is played again, or after all is forgotten, counts from zero
    assert states.before(make_sample('a', 0.0), raw, nothing)[0].next_id == 0
    states.clear()
    assert states.before(make_sample('a', 9.0), raw, nothing)[0].next_id == 0


def test_what_a_frame_goes_on_from():
    states, raw = SceneStates(max_scenes=2, max_gap_s=1.0), torch.zeros(1, 1, 1)
    nothing = TrackQueries.empty(4, torch.device('cpu'))
    states.remember('a', SceneState(raw, np.eye(4), 5.0, nothing, next_id=7))
    cases = ((5.5, True, 7), (6.5, False, 7), (5.0, False, 0), (1.0, False, 0))
    for time_s, continues, next_id in cases:
        state, found = states.before(make_sample('a', time_s), raw, nothing)
        assert (found, state.next_id) == (continues, next_id)
    assert not states.before(make_sample('b', 5.5), raw, nothing)[1]
    with pytest.raises(ValueError, match='max_scenes is 0'):
        SceneStates(max_scenes=0)


@pytest.mark.parametrize(
    ('knob', 'reads'), [('class_sharpness', True), ('concentration', True), ('min_hits', False)]
)
def test_heat_is_added_up_over_a_scene_if_scores_depend_on_it(
    model, clips, monkeypatch, knob, reads
):
    monkeypatch.setattr(model.lifecycle, 'class_sharpness', 0)
    monkeypatch.setattr(model.lifecycle, 'concentration', 0)
    monkeypatch.setattr(model.lifecycle, knob, 1)
    data = clips(1, 2, SIZE)
    scene = data['data_samples'][0][0].scene_token
    around = []
    for t in range(2):
        stream(model, data, 0, [t])
        tracks = model.streams[scene].tracks
        around.append(dict(zip(tracks.ids.tolist(), tracks.mass[:, 1].tolist(), strict=True)))
    live = around[0].keys() & around[1].keys()
    # some boxes of a model without training lie outside the grid
    assert any(around[0][i] > 0 for i in live) is reads
    assert any(around[1][i] > around[0][i] > 0 for i in live) is reads
    assert all(around[1][i] >= around[0][i] for i in live)
