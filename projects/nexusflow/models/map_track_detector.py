# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Map and tracks from cameras: one backbone, one BEV, two heads, and a regulariser between them in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from .track.lifecycle import TrackLifecycle
from .track.queries import TrackQueries, batch_queries, move_queries


@dataclass
class StreamState:
    """What streaming inference keeps of a scene."""

    scene_token: str
    raw_bev: Tensor
    lidar2global: np.ndarray
    time_s: float
    tracks: TrackQueries
    next_id: int


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
        regulariser: Cross-task regulariser; absent at inference, and a checkpoint without it loads.
        lifecycle: Arguments of :class:`TrackLifecycle`.
        data_preprocessor: Data preprocessor.
        init_cfg: mmengine's weight initialisation.
    """

    def __init__(
        self,
        img_backbone: dict,
        img_neck: dict,
        lift: dict,
        temporal: dict,
        map_head: dict,
        track_head: dict,
        regulariser: dict | None = None,
        lifecycle: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='NexusDataPreprocessor'), init_cfg)
        self.img_backbone = MODELS.build(img_backbone)
        self.img_neck = MODELS.build(img_neck)
        self.lift = MODELS.build(lift)
        self.temporal = MODELS.build(temporal)
        self.map_head = MODELS.build(map_head)
        self.track_head = MODELS.build(track_head)
        self.regulariser = None
        if regulariser:
            channels = dict(channels=self.track_head.channels)
            # the detector's own weights start the same with and without a regulariser
            with torch.random.fork_rng(devices=[]):
                self.regulariser = MODELS.build(regulariser, default_args=channels)
        self.lifecycle = TrackLifecycle(**(lifecycle or {}))
        self._stream: StreamState | None = None

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
            return self.extract_raw_bev(inputs['img'], data_samples)
        raise ValueError(f"mode '{mode}' is not one of loss, predict, tensor")

    def extract_raw_bev(self, images: Tensor, samples: list) -> Tensor:
        """Lift each frame by itself: (B, T, N, 3, H, W) to (B, T, C, h, w), before temporal fusion."""
        batch, frames, cams = images.shape[:3]
        feats = self.img_neck(self.img_backbone(images.flatten(0, 2)))[0]
        feats = feats.unflatten(0, (batch * frames, cams))
        flat = [sample for clip in samples for sample in clip]
        lidar2img = self._stack([s.lidar2img for s in flat], feats)
        img2lidar = self._stack([s.img2lidar for s in flat], feats)
        bev = self.lift(feats, lidar2img, img2lidar, tuple(images.shape[-2:]))
        return bev.unflatten(0, (batch, frames))

    @staticmethod
    def _stack(matrices: list, like: Tensor) -> Tensor:
        return torch.as_tensor(np.stack(matrices), dtype=torch.float32, device=like.device)

    def loss(self, inputs: dict, data_samples: list) -> dict[str, Tensor]:
        """Losses of both heads on the samples labelled for them, and of the regulariser on all."""
        raw = self.extract_raw_bev(inputs['img'], data_samples)
        batch, frames = raw.shape[:2]
        prev2curr, seconds = clip_motion(data_samples, raw)
        bev = self._fuse_clip(raw, prev2curr)
        flat = [sample for clip in data_samples for sample in clip]
        losses, map_out = self.map_head.loss(bev.flatten(0, 1), flat)
        track_losses, track_outs = self.track_head.loss(bev, data_samples, prev2curr, seconds)
        losses.update(track_losses)
        if self.regulariser is not None:
            track_features = {
                tap: torch.stack([out[tap] for out in track_outs], dim=1).flatten(0, 1)
                for tap in ('bev',)
            }
            map_features = {tap: map_out[tap] for tap in ('bev', 'queries')}
            losses.update(self.regulariser(dict(map=map_features, track=track_features), flat))
        return losses

    def _fuse_clip(self, raw: Tensor, prev2curr: Tensor) -> Tensor:
        """Temporal fusion of all frames at once; the first of a clip has no previous one."""
        batch, frames = raw.shape[:2]
        prev = torch.cat([raw[:, :1], raw[:, :-1]], dim=1)
        has_prev = torch.ones(batch, frames, dtype=torch.bool, device=raw.device)
        has_prev[:, 0] = False
        curr2prev = torch.linalg.inv(prev2curr)
        fused = self.temporal(
            raw.flatten(0, 1), prev.flatten(0, 1), curr2prev.flatten(0, 1), has_prev.flatten()
        )
        return fused.unflatten(0, (batch, frames))

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list) -> list:
        """Streaming inference; the state of the scene is kept between calls and reset on another scene.

        Returns:
            The samples, in order, with ``pred_map`` and ``pred_instances_3d``.
        """
        results = []
        for b, clip in enumerate(data_samples):
            raw = self.extract_raw_bev(inputs['img'][b : b + 1], [clip])
            for t, sample in enumerate(clip):
                results.append(self._predict_frame(raw[:, t], sample))
        return results

    def _predict_frame(self, raw: Tensor, sample: object) -> object:
        """One frame (1, C, H, W) of the current scene."""
        state = self._stream
        continues = (
            state is not None
            and state.scene_token == sample.scene_token
            and sample.time_s > state.time_s
        )
        if continues:
            motion = relative_pose(state.lidar2global, sample.lidar2global)
            seconds = sample.time_s - state.time_s
        else:
            tracks = TrackQueries.empty(self.track_head.channels, raw.device)
            state = StreamState(
                sample.scene_token, raw, sample.lidar2global, sample.time_s, tracks, 0
            )
            motion, seconds = np.eye(4), 0.0
        prev2curr = raw.new_tensor(motion).unsqueeze(0)
        has_prev = torch.tensor([continues], device=raw.device)
        bev = self.temporal(raw, state.raw_bev, torch.linalg.inv(prev2curr), has_prev)
        sample.pred_map = self.map_head.predict(bev)[0]
        moved = move_queries(batch_queries([state.tracks]), prev2curr, raw.new_tensor([seconds]))
        out = self.track_head.decode(self.track_head.dense_forward(bev), moved)
        out['num_tracks'] = len(moved.ids[0])
        tracks, instances, next_id = self.lifecycle.step(out, state.tracks, state.next_id)
        sample.pred_instances_3d = instances
        self._stream = StreamState(
            sample.scene_token, raw, sample.lidar2global, sample.time_s, tracks, next_id
        )
        return sample


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
    return like.new_tensor(np.array(motions)), like.new_tensor(np.array(seconds))
