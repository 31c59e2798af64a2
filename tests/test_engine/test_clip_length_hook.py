# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Clips that grow during training, in both of mmengine's loops and after a resume."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from nexusflow.engine import NexusClipLengthHook

ROOT = Path(__file__).parents[2]


@MODELS.register_module()
class ClipLengthRecorder(BaseModel):
    """Writes down the clips that it is trained on."""

    seen: list = []

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        frames = [[sample[b] for sample in data_samples] for b in range(len(inputs['img']))]
        assert [clip.tolist() for clip in inputs['img']] == frames
        self.seen.append(frames)
        return dict(loss=self.weight.sum())


@DATASETS.register_module()
class NumberedClips(Dataset):
    """Six clips of five frames; a frame is 10 * clip + position."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        frames = torch.arange(5) + 10 * index
        return dict(inputs=dict(img=frames), data_samples=frames.tolist())


@DATASETS.register_module()
class ShortenedClips(NumberedClips):
    """The same clips, cut before they are loaded; counts the frames, in all processes."""

    loaded = torch.zeros((), dtype=torch.long).share_memory_()
    clip_length = 5

    def __init__(self):
        self.frames = torch.tensor(5).share_memory_()

    def load_frames(self, count):
        self.frames.fill_(count)

    def __getitems__(self, indices):
        count = int(self.frames)
        self.loaded += count * len(indices)
        clips = [(torch.arange(5) + 10 * index)[:count] for index in indices]
        return [dict(inputs=dict(img=clip), data_samples=clip.tolist()) for clip in clips]


def train(work_dir, hook, train_cfg, sampler, num_workers=0, resume=False, dataset='NumberedClips'):
    """Clips of each iteration: lists of the batch's clips of frames."""
    ClipLengthRecorder.seen = []
    cfg = Config(
        dict(
            default_scope='mmdet3d',
            work_dir=str(work_dir),
            model=dict(type='mmengine.ClipLengthRecorder'),
            train_dataloader=dict(
                batch_size=2,
                num_workers=num_workers,
                persistent_workers=num_workers > 0,
                sampler=dict(type=sampler, shuffle=True),
                dataset=dict(type=f'mmengine.{dataset}'),
                collate_fn=dict(type='pseudo_collate'),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            train_cfg=train_cfg,
            custom_hooks=[] if hook is None else [hook],
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', interval=1, by_epoch='Epoch' in train_cfg['type']
                )
            ),
            randomness=dict(seed=1),
            resume=resume,
        )
    )
    cfg.experiment_name = (
        f'{work_dir.parent.name}_{work_dir.name}_{len(ClipLengthRecorder.seen)}_{id(cfg)}'
    )
    Runner.from_cfg(cfg).train()
    return ClipLengthRecorder.seen


def lengths(seen):
    assert all(len(clip) == len(batch[0]) for batch in seen for clip in batch)
    return [len(batch[0]) for batch in seen]


def test_lengths_by_epoch(tmp_path):
    hook = dict(type='NexusClipLengthHook', lengths=(2, 3, 5), milestones=(1, 3))
    cfg = dict(type='EpochBasedTrainLoop', max_epochs=4)
    seen = train(tmp_path / 'a', hook, cfg, 'DefaultSampler', num_workers=1)
    assert lengths(seen) == [2] * 3 + [3] * 6 + [5] * 3
    # the clips and their order are those of a run without the hook
    plain = train(tmp_path / 'b', None, cfg, 'DefaultSampler')
    assert [
        [clip[: len(cut[0])] for clip in batch] for batch, cut in zip(plain, seen, strict=True)
    ] == seen


def test_lengths_by_iteration_and_after_a_resume(tmp_path):
    hook = dict(type='NexusClipLengthHook', lengths=(1, 4), milestones=(4,), by_epoch=False)

    def run(name, max_iters, resume=False):
        cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=100)
        return train(tmp_path / name, hook, cfg, 'InfiniteSampler', resume=resume)

    seen = run('whole', 7)
    assert lengths(seen) == [1] * 4 + [4] * 3
    for stop in (3, 5):
        first = run(f'stop{stop}', stop)
        assert first + run(f'stop{stop}', 7, resume=True) == seen


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_frames_that_are_not_used_are_not_loaded(tmp_path, num_workers, by_epoch):
    """Six batches of one frame, then six of four; the first ones are loaded before the hook can tell."""
    milestone = 2 if by_epoch else 6
    hook = dict(
        type='NexusClipLengthHook', lengths=(1, 4), milestones=(milestone,), by_epoch=by_epoch
    )
    cfg, sampler = (
        dict(type='IterBasedTrainLoop', max_iters=12, val_interval=100),
        'InfiniteSampler',
    )
    if by_epoch:
        cfg, sampler = dict(type='EpochBasedTrainLoop', max_epochs=4), 'DefaultSampler'
    args = hook, cfg, sampler, num_workers
    whole = train(tmp_path / 'whole', *args)
    ShortenedClips.loaded.zero_()
    assert train(tmp_path / 'short', *args, dataset='ShortenedClips') == whole
    assert lengths(whole) == [1] * 6 + [4] * 6
    # batches of two clips of five frames
    assert 2 * (6 + 6 * 4) <= ShortenedClips.loaded < 2 * 12 * 5


@pytest.mark.parametrize(
    ('lengths', 'milestones'), [((2, 3), ()), ((3, 2), (1,)), ((2, 3, 4), (5, 5)), ((0, 1), (1,))]
)
def test_schedules_that_do_not_fit_are_refused(lengths, milestones):
    with pytest.raises(ValueError, match='clip length schedule: .*must ascend'):
        NexusClipLengthHook(lengths, milestones)


def test_clips_that_are_too_short_are_named():
    hook = NexusClipLengthHook((2, 4), (1,))
    batch = dict(inputs=dict(img=[torch.zeros(3)]), data_samples=[0, 1, 2])
    runner = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=NumberedClips()))
    with pytest.raises(ValueError, match='end with 4, but the data set gives 3 frames; set train_'):
        hook.before_train_iter(runner, 0, batch)


def test_the_published_configuration_grows_from_three_to_five_frames():
    cfg = Config.fromfile(ROOT / 'configs/nexusflow/nexusflow_r50_baseline_8xb1-24e_nus.py')
    (hook,) = [dict(h) for h in cfg.custom_hooks if h['type'] == 'NexusClipLengthHook']
    hook.pop('type')
    lengths = [NexusClipLengthHook(**hook).length_at(e) for e in range(cfg.max_epochs)]
    assert lengths[0] == 3 and lengths[-1] == cfg.train_dataloader.dataset.clip_length == 5
    assert lengths == sorted(lengths) and set(lengths) == {3, 4, 5}
    head = cfg.model.track_head
    assert (head.num_queries, head.num_layers, head.channels) == (900, 6, 256)
    assert head.query_source == 'learned'
    life = cfg.model.lifecycle
    assert (life.birth_score, life.keep_score, life.patience) == (0.4, 0.35, 5)
