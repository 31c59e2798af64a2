# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The number of processes changes no result: evaluation bit for bit, training up to the order of sums."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gloo_group import gloo_group
from mmdet3d.registry import MODELS
from torch.nn.parallel import DistributedDataParallel

from nexusflow.datasets.samplers import NexusSceneSampler
from nexusflow.models.track.carry import CarryRule

SIZE = (32, 64)
SCENE_LENGTHS = (2, 4, 3)


def _enter(rank, folder, work):
    """A process of a group: do the work, leave the result in a file."""
    with gloo_group(rank, folder):
        torch.save(work(), folder / f'{rank}.pth')


def on_two_processes(folder, work):
    """What ``work()`` gives in each of two processes that share a gloo group."""
    mp.start_processes(_enter, (folder, work), nprocs=2, start_method='fork')
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.fixture
def without_chance(monkeypatch):
    """Function of a model: itself without chance and batch statistics, which differ by a process's number of clips."""

    def prepare(model):
        monkeypatch.setattr(torch, 'randn_like', torch.zeros_like)
        monkeypatch.setattr(torch, 'rand', lambda *shape, **kw: torch.zeros(*shape, **kw) + 0.5)
        model.track_head.carry = CarryRule(drop_prob=0.0, insert_prob=1.0)
        model.lifecycle.birth_score = model.lifecycle.keep_score = 0.0
        model.lifecycle.min_hits = 1
        return model.eval()

    return prepare


@pytest.fixture
def model(small_model, without_chance):
    """The tiny model, shrunk."""
    return without_chance(small_model(seed=1))


def test_evaluation_is_the_same_bit_for_bit(model, clips, tmp_path):
    data = clips(len(SCENE_LENGTHS), max(SCENE_LENGTHS), SIZE)
    items = [(b, t) for b, length in enumerate(SCENE_LENGTHS) for t in range(length)]
    dataset = SimpleNamespace(item_scenes=[f'clip{b}' for b, _ in items])

    def evaluate():
        results = {}
        for index in NexusSceneSampler(dataset):
            b, t = items[index]
            images = data['inputs']['img'][b : b + 1, t : t + 1]
            (sample,) = model.predict(dict(img=images), [[data['data_samples'][b][t]]])
            tracks, lines = sample.pred_instances_3d, sample.pred_map
            fields = (tracks.bboxes_3d.tensor, tracks.scores_3d, tracks.track_ids, lines.pts_m)
            results[sample.token] = [field.clone() for field in fields]
        return results

    shares = on_two_processes(tmp_path, evaluate)
    model.streams.clear()
    expected = evaluate()
    assert min(map(len, shares)) >= 4
    assert sum(map(len, shares)) == len(expected) == len(items)
    merged = shares[0] | shares[1]
    for token, fields in expected.items():
        assert len(fields[2]) > 0
        assert all(map(torch.equal, fields, merged[token])), token


def train(model, data, which, steps=3):
    """Losses and weights after some steps on some of the clips."""
    wrapped = model
    if dist.is_initialized():
        wrapped = DistributedDataParallel(model, find_unused_parameters=model.skip_unlabelled)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    log = []
    for _ in range(steps):
        inputs = dict(img=data['inputs']['img'][which])
        losses = wrapped(inputs, [data['data_samples'][b] for b in which], mode='loss')
        loss = sum(value.sum() for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append(loss.detach())
    return dict(log=torch.stack(log), weights=dict(model.state_dict()))


def check_two_processes_train_as_one(model, data, folder):
    """A clip on each of two processes against both on one; gives the weights before and after."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    shares = on_two_processes(folder, lambda: train(model, data, [dist.get_rank()]))
    whole = train(model, data, [0, 1])
    mean = (shares[0]['log'] + shares[1]['log']) / 2
    torch.testing.assert_close(mean, whole['log'], atol=0, rtol=1e-5)
    for name, value in whole['weights'].items():
        for share in shares:
            torch.testing.assert_close(share['weights'][name], value, atol=1e-5, rtol=0, msg=name)
    return start, whole['weights']


@pytest.mark.parametrize('normalise', ['clip', 'frame'])
def test_two_processes_with_a_clip_each_train_as_one_with_both(model, clips, tmp_path, normalise):
    data = clips(2, 3, SIZE, [('map', 'track'), ('track',)])
    few = data['data_samples'][1]
    for sample in few:
        sample.gt_instances_3d = sample.gt_instances_3d[:2]
    model.track_head.loss_fn.normalise = normalise
    start, after = check_two_processes_train_as_one(model, data, tmp_path)
    assert max((after[name] - value).abs().max() for name, value in start.items()) > 0.01


@pytest.mark.parametrize('labels', [('map', 'track'), ('track',)], ids='+'.join)
def test_a_head_is_skipped_on_all_processes_or_on_none(model, clips, tmp_path, labels):
    """The second clip has no labels: its process runs the heads that the first one's runs."""
    model.skip_unlabelled = True
    start, after = check_two_processes_train_as_one(
        model, clips(2, 2, SIZE, [labels, ()]), tmp_path
    )
    assert any(
        not torch.equal(after[name], value)
        for name, value in start.items()
        if name.startswith('map_head.')
    ) == ('map' in labels)


OBJECTIVES = {
    'center': dict(objective=dict(type='center', unlabelled=0.3)),
    'guard': dict(guard=dict(weight=0.1, on='z')),
    'mmd': dict(objective=dict(type='mmd')),
    'sinkhorn': dict(objective=dict(type='sinkhorn')),
}


@pytest.mark.parametrize('objective', OBJECTIVES)
@pytest.mark.parametrize('labels', [('map', 'track'), ('track',)], ids='+'.join)
def test_a_process_without_labels_trains_as_one_with_the_whole_batch(
    small_config, without_chance, clips, tmp_path, objective, labels
):
    """The second clip has no labels; with labels for the tracks only, nobody has any for the map."""
    settings = small_config(regulariser=True)
    settings.regulariser.update(OBJECTIVES[objective], weight=1.0)
    torch.manual_seed(1)
    model = without_chance(MODELS.build(settings))
    data = clips(2, 2, SIZE, [labels, ()])
    start, after = check_two_processes_train_as_one(model, data, tmp_path)

    def moved(prefix):
        return max((after[n] - v).abs().max() for n, v in start.items() if n.startswith(prefix))

    assert moved('regulariser.') > 1e-5
    assert (moved('map_head.decoder') == 0) == ('map' not in labels)
    assert moved('track_head.decoder') > 0 and moved('img_backbone') > 0
