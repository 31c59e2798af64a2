# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map and tracks from cameras: one backbone, one BEV, two heads, and a regulariser between them in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from ..supervision.masking import graph_zero, label_mask, labelled_count
from ..supervision.view import View
from .map.dense_view import map_dense_view
from .stream import SceneState, SceneStates, waves
from .track.dense_view import track_dense_view
from .track.lifecycle import TrackLifecycle
from .track.queries import batch_queries


@MODELS.register_module()
class NexusMapTrackDetector(BaseModel):
    """Camera backbone, lifting to BEV, temporal fusion, map head, track head.

    Args:
        img_backbone: Image backbone.
        img_neck: Feature pyramid; its first output is lifted.
        lift: Lifting to BEV.
        temporal: Fusion with the previous frame's BEV.
        map_head: Map head.
        track_head: Track head.
        near: A finer level of the BEV around the vehicle, which the map head then reads; by default both heads read
            the one level.
        regulariser: Cross-task regulariser; absent at inference, and a checkpoint without it loads.
        lifecycle: Arguments of :class:`TrackLifecycle`.
        stream: Arguments of :class:`SceneStates`.
        skip_unlabelled: Whether a head does not run in the training batches of which no sample, on any process, is
            labelled for its task. Saves its time; several processes then need ``find_unused_parameters = True`` in the
            config, and a regulariser has nothing to compare.
        data_preprocessor: Data preprocessor.
        init_cfg: mmengine's weight initialisation.

    Raises:
        ValueError: ``skip_unlabelled`` with a regulariser.
    """

    def __init__(
        self,
        img_backbone: dict,
        img_neck: dict,
        lift: dict,
        temporal: dict,
        map_head: dict,
        track_head: dict,
        near: dict | None = None,
        regulariser: dict | None = None,
        lifecycle: dict | None = None,
        stream: dict | None = None,
        skip_unlabelled: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='NexusDataPreprocessor'), init_cfg)
        self.img_backbone = MODELS.build(img_backbone)
        self.img_neck = MODELS.build(img_neck)
        self.lift = MODELS.build(lift)
        self.temporal = MODELS.build(temporal)
        self.near = MODELS.build(near) if near else None
        self.map_head = MODELS.build(map_head)
        self.track_head = MODELS.build(track_head)
        self.regulariser = None
        if regulariser:
            channels = dict(channels=self.track_head.channels)
            # the detector's own weights start the same with and without a regulariser
            with torch.random.fork_rng(devices=[]):
                self.regulariser = MODELS.build(regulariser, default_args=channels)
        self.lifecycle = TrackLifecycle(**(lifecycle or {}))
        self.streams = SceneStates(**(stream or {}))
        if skip_unlabelled and regulariser:
            raise ValueError(
                'skip_unlabelled is set, but a regulariser compares the features of both heads in every batch; '
                'remove one of them'
            )
        self.skip_unlabelled = skip_unlabelled

    def forward(
        self, inputs: dict, data_samples: list | None = None, mode: str = 'tensor'
    ) -> object:
        """Mmengine's entry point.

        Args:
            inputs: 'img' (B, T, N, 3, H, W).
            data_samples: B clips of T samples.
            mode: 'loss', 'predict' or 'tensor'.

        Returns:
            Losses; a flat list of samples with predictions; or the BEV (B, T, C, H, W).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_raw_bev(inputs['img'], data_samples)[0]
        raise ValueError(f"mode '{mode}' is not one of loss, predict, tensor")

    def extract_raw_bev(self, images: Tensor, samples: list) -> tuple[Tensor, ...]:
        """Lift each frame by itself, before temporal fusion.

        Args:
            images: (B, T, N, 3, H, W).
            samples: B clips of T samples.

        Returns:
            The levels of the BEV, each (B, T, C, h, w): the far one, and the near one if there is one.
        """
        batch, frames, cams = images.shape[:3]
        # channels last: else convolutions on a CPU reorder all that they read and write
        pixels = images.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        feats = self.img_neck(self.img_backbone(pixels))[0]
        feats = feats.unflatten(0, (batch * frames, cams))
        flat = [sample for clip in samples for sample in clip]
        lidar2img = float_tensor([s.lidar2img for s in flat], feats)
        img2lidar = float_tensor([s.img2lidar for s in flat], feats)
        levels = [self.lift(feats, lidar2img, img2lidar, tuple(images.shape[-2:]))]
        if self.near is not None:
            levels.append(self.near(images.flatten(0, 1), feats, lidar2img))
        return tuple(level.unflatten(0, (batch, frames)) for level in levels)

    def loss(self, inputs: dict, data_samples: list) -> dict[str, Tensor]:
        """Losses of both heads on the samples labelled for them, and of the regulariser on all."""
        raw = self.extract_raw_bev(inputs['img'], data_samples)
        prev2curr, seconds = clip_motion(data_samples, raw[0])
        map_bev, track_bev = self._fuse_clip(raw, prev2curr)
        flat = [sample for clip in data_samples for sample in clip]
        losses: dict[str, Tensor] = {}
        if self._is_taught(self.map_head.task, flat, map_bev):
            map_losses, map_out = self.map_head.loss(map_bev, flat)
            losses.update(map_losses)
        if self._is_taught(self.track_head.task, flat, track_bev):
            clips_bev = track_bev.unflatten(0, raw[0].shape[:2])
            track_losses, track_outs = self.track_head.loss(
                clips_bev, data_samples, prev2curr, seconds
            )
            losses.update(track_losses)
        if self.regulariser is not None:
            view = self._view(map_out, track_outs, track_bev, data_samples)
            losses.update(self.regulariser([view], flat))
        return losses or dict(loss_unlabelled=graph_zero(map_bev, track_bev))

    def _is_taught(self, task: str, samples: list, like: Tensor) -> bool:
        """Whether a head runs: the same on all processes, which wait for each other's numbers of labels."""
        if not self.skip_unlabelled:
            return True
        labelled = label_mask([sample.tasks for sample in samples], task, like.device)
        return bool(labelled_count(labelled))

    def _view(self, map_out: dict, track_outs: list, bev: Tensor, clips: list) -> View:
        """What the regulariser looks at: no second view, since a crop of a scene is not a scene for six cameras.

        Dense views lie on the map head's grid, and the shared BEV (B * T, C, H, W) is then read there too.
        """
        track_bev = torch.stack([out['bev'] for out in track_outs], dim=1).flatten(0, 1)
        map_features = {tap: map_out[tap] for tap in ('bev', 'queries')}
        features = dict(map=map_features, track=dict(bev=track_bev))
        if not getattr(self.regulariser, 'needs_dense', False):
            return View(features, shared=bev)
        grid = self.map_head.grid
        dense = dict(
            map=map_dense_view(self.map_head, map_out, [s for clip in clips for s in clip]),
            track=track_dense_view(self.track_head, track_outs, clips, grid),
        )
        shared = self.track_head.encoder.source.resample(bev, grid)
        return View(features, shared=shared, dense=dense)

    def _fuse_clip(self, raw: tuple[Tensor, ...], prev2curr: Tensor) -> tuple[Tensor, Tensor]:
        """Temporal fusion of all frames at once; the first of a clip has no previous one."""
        prev = [torch.cat([level[:, :1], level[:, :-1]], dim=1).flatten(0, 1) for level in raw]
        has_prev = torch.ones(raw[0].shape[:2], dtype=torch.bool, device=raw[0].device)
        has_prev[:, 0] = False
        raw = [level.flatten(0, 1) for level in raw]
        return self._fuse(raw, prev, torch.linalg.inv(prev2curr).flatten(0, 1), has_prev.flatten())

    def _fuse(
        self, raw: Sequence[Tensor], prev: Sequence[Tensor], curr2prev: Tensor, has_prev: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Levels (M, C, h, w) of frames and of those before them to the BEVs that the map and the track head read."""
        far = self.temporal(raw[0], prev[0], curr2prev, has_prev)
        if self.near is None:
            return far, far
        near = self.near.temporal(raw[1], prev[1], curr2prev, has_prev)
        return near, self.near.add_to(far, near)

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list) -> list:
        """Streaming inference: frame after frame, the state of each scene is kept between calls.

        Scenes may be mixed in a batch in any way, as long as each one's frames come in order. A scene starts anew when
        it is new, when time goes back and after a long gap, see :class:`SceneStates`.

        Returns:
            The samples, in order, with ``pred_map``, ``pred_instances_3d`` (tracks) and ``pred_detections_3d`` (all
            boxes above a low score, without ids).
        """
        raw = self.extract_raw_bev(inputs['img'], data_samples)
        raw = [level.flatten(0, 1) for level in raw]
        samples = [sample for clip in data_samples for sample in clip]
        self.streams.check_room({sample.scene_token for sample in samples})
        for wave in waves(samples):
            self._predict_frames([level[wave] for level in raw], [samples[i] for i in wave])
        return samples

    def _predict_frames(self, raw: Sequence[Tensor], samples: list) -> None:
        """Frames, each level (W, C, H, W), of W different scenes."""
        nothing = self.track_head.no_tracks(raw[0].device)
        frames = list(zip(*raw, strict=True))
        before = [self.streams.before(s, f, nothing) for s, f in zip(samples, frames, strict=True)]
        states = [state for state, _ in before]
        pairs = list(zip(states, samples, strict=True))
        motion = np.stack([relative_pose(a.lidar2global, b.lidar2global) for a, b in pairs])
        prev2curr = float_tensor(motion, raw[0])
        seconds = float_tensor([b.time_s - a.time_s for a, b in pairs], raw[0])
        has_prev = torch.tensor([continues for _, continues in before], device=raw[0].device)
        prev = [torch.stack(level) for level in zip(*(s.raw_bev for s in states), strict=True)]
        map_bev, bev = self._fuse(raw, prev, torch.linalg.inv(prev2curr), has_prev)
        tracks = batch_queries([s.tracks for s in states])
        tracks = self.track_head.motion.move(tracks, prev2curr, seconds)
        out = self.track_head.decode(self.track_head.dense_forward(bev), tracks)
        queries = out['queries']
        if self.lifecycle.reads_heat:
            queries = self.track_head.evidence(out['heat'], queries)
        for i, (lines, (state, sample)) in enumerate(
            zip(self.map_head.predict(map_bev), pairs, strict=True)
        ):
            live, shown, found, next_id = self.lifecycle.step(
                queries[i], state.next_id, self.track_head.motion
            )
            sample.pred_map = lines
            sample.pred_instances_3d, sample.pred_detections_3d = shown, found
            # a copy: a view would keep the whole batch's memory
            kept = tuple(level.clone() for level in frames[i])
            after = SceneState(kept, sample.lidar2global, sample.time_s, live, next_id)
            self.streams.remember(sample.scene_token, after)


def relative_pose(prev_lidar2global: np.ndarray, lidar2global: np.ndarray) -> np.ndarray:
    """(4, 4) from the earlier to the current lidar frame; in float64, since global coordinates are kilometres."""
    return np.linalg.inv(np.asarray(lidar2global)) @ np.asarray(prev_lidar2global)


def clip_motion(clips: list, like: Tensor) -> tuple[Tensor, Tensor]:
    """Motion and time between the frames of clips: prev2curr (B, T, 4, 4), seconds (B, T); identity and 0 first."""
    motions, seconds = [], []
    for clip in clips:
        poses = [sample.lidar2global for sample in clip]
        motions.append(
            [np.eye(4)] + [relative_pose(a, b) for a, b in zip(poses, poses[1:], strict=False)]
        )
        times = [sample.time_s for sample in clip]
        seconds.append([0.0] + [b - a for a, b in zip(times, times[1:], strict=False)])
    return float_tensor(motions, like), float_tensor(seconds, like)


def float_tensor(values: object, like: Tensor) -> Tensor:
    """Numbers on a tensor's device in single precision, whatever precision the features have."""
    return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=like.device)
