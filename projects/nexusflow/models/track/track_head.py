# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MOTR-style tracking head in 3D: detect queries that are born each frame, track queries carried through time.

After MOTR (Zeng et al., 2022) and its 3D form MUTR3D (Zhang et al., 2022): a track query keeps its object's id from
frame to frame, so that tracking is one forward pass and no association step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..bev.encoder import BEVEncoder
from ..bev.grid import BEVGrid
from ..heatmap import prior_bias
from .assigner import FrameTargets, assign
from .carry import CarryRule
from .decoder import QueryInteraction, TrackDecoder
from .evidence import HeatEvidence
from .loss import TrackLoss
from .memory import MemoryBank
from .motion import MotionModel
from .newborns import RARE, SOURCES
from .queries import TrackQueries, concat


@MODELS.register_module()
class NexusTrackHead(nn.Module):
    """Track head.

    Args:
        channels: Channels of the BEV and of the queries.
        bev_grid: Arguments of the shared BEV's :class:`BEVGrid`.
        grid: Arguments of the head's own grid; its range is the tracking range.
        num_classes: Track classes.
        num_queries: Detect queries a frame.
        num_layers: Decoder layers.
        num_blocks: Residual blocks of the head's BEV encoder.
        query_source: 'peaks': detect queries start from the peaks of a centre heatmap (learns in few steps);
            'learned': from learned 3D reference points (MUTR3D).
        newborns: Further arguments of :class:`PeakQueries` or :class:`LearnedQueries`.
        decoder: Further arguments of :class:`TrackDecoder`: ``num_heads``, ``checkpoint``.
        memory: Arguments of :class:`MemoryBank`; None: no memory bank.
        motion: Arguments of :class:`MotionModel`.
        carry: Arguments of :class:`CarryRule`: ``drop_prob``, ``insert_prob``.
        loss: Arguments of :class:`TrackLoss`.

    Raises:
        ValueError: For another ``query_source``.
    """

    task = 'track'
    required_targets = ('gt_instances_3d',)

    def __init__(
        self,
        channels: int,
        bev_grid: dict,
        grid: dict,
        num_classes: int = 7,
        num_queries: int = 50,
        num_layers: int = 2,
        num_blocks: int = 2,
        query_source: str = 'peaks',
        newborns: dict | None = None,
        decoder: dict | None = None,
        memory: dict | None = None,
        motion: dict | None = None,
        carry: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.grid = BEVGrid(**grid)
        self.encoder = BEVEncoder(channels, BEVGrid(**bev_grid), self.grid, num_blocks)
        self.dense = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.center_heat = nn.Conv2d(channels, num_classes, 1)
        self.segmentation = nn.Conv2d(channels, num_classes, 1)
        if query_source not in SOURCES:
            raise ValueError(
                f"track head: query_source '{query_source}' is not one of {', '.join(SOURCES)}"
            )
        self.motion = MotionModel(num_classes, **(motion or {}))
        self.newborns = SOURCES[query_source](
            channels, self.grid, num_classes, num_queries, self.motion, **(newborns or {})
        )
        self.interaction = QueryInteraction(channels)
        self.decoder = TrackDecoder(channels, self.grid, num_classes, num_layers, **(decoder or {}))
        self.memory = MemoryBank(channels, **memory) if memory is not None else None
        self.evidence = HeatEvidence(self.grid)
        self.carry = CarryRule(**(carry or {}))
        self.loss_fn = TrackLoss(self.grid, num_classes, **(loss or {}))
        nn.init.constant_(self.center_heat.bias, prior_bias(RARE))
        nn.init.constant_(self.segmentation.bias, prior_bias(0.05))

    def no_tracks(self, device: torch.device, shape: Sequence[int] = (0,)) -> TrackQueries:
        """Padding only, (M,) or (B, M): what a scene starts with."""
        slots = self.memory.length if self.memory is not None else 0
        return TrackQueries.empty(self.channels, device, shape, slots, self.num_classes)

    def dense_forward(self, bev: Tensor) -> dict:
        """What does not depend on the tracks; all frames of a clip at once.

        Args:
            bev: (B, C, H, W) shared BEV.

        Returns:
            'bev' (B, C, h, w); 'dense' (B, C, h, w); 'heat' and 'segmentation' (B, L, h, w) logits; with queries from
            peaks 'dense_code' (B, h * w, 10) boxes.
        """
        feature = self.encoder(bev)
        dense = self.dense(feature)
        return dict(
            bev=feature,
            dense=dense,
            heat=self.center_heat(dense),
            segmentation=self.segmentation(dense),
            **self.newborns.dense_forward(dense),
        )

    def decode(self, dense: dict, tracks: TrackQueries) -> dict:
        """Detect and track queries through the decoder.

        Args:
            dense: What :meth:`dense_forward` returns, for one frame.
            tracks: Padded batch (B, M), already moved to this frame.

        Returns:
            ``dense`` and 'queries', the Q = num + M queries, newborns first, after the last layer; 'layers', a list of
            (logits (B, Q, L), code (B, Q, 10)).
        """
        if self.memory is not None:
            tracks = self.memory(tracks)
        tracks = replace(tracks, content=self.interaction(tracks.content, tracks.valid))
        newborns, tracks = self.newborns(dense, tracks)
        queries = concat([newborns, tracks], dim=1)
        content, layers = self.decoder(
            queries.content,
            queries.code,
            ~queries.valid,
            dense['dense'],
            lambda code: self.newborns.prior(dense, code),
        )
        logits, code = layers[-1]
        num = self.newborns.num
        born = self.newborns.classes(newborns.labels, logits[:, :num])
        labels = torch.cat([born, tracks.labels], dim=1)
        scores = logits.detach().sigmoid().gather(2, labels.unsqueeze(-1)).squeeze(-1)
        queries = replace(queries, content=content, code=code, labels=labels, scores=scores)
        return dict(dense, queries=queries, layers=layers)

    def loss(
        self, bevs: Tensor, samples: Sequence[Sequence], prev2curr: Tensor, seconds: Tensor
    ) -> tuple[dict[str, Tensor], list[dict]]:
        """Losses of the clips of which every frame is labelled.

        Args:
            bevs: (B, T, C, H, W) shared BEV of the clips' frames.
            samples: B clips of T data samples with ``gt_instances_3d`` and ``tasks``.
            prev2curr: (B, T, 4, 4) from the previous to the current lidar frame (identity at the first).
            seconds: (B, T) since the previous frame.

        Returns:
            ``loss_track_*`` scalars, and each frame's outputs.
        """
        batch, num_frames = bevs.shape[:2]
        dense = self.dense_forward(bevs.flatten(0, 1))
        dense = {name: value.unflatten(0, (batch, num_frames)) for name, value in dense.items()}
        labelled = [all(self.task in sample.tasks for sample in clip) for clip in samples]
        keep = torch.tensor(labelled, device=bevs.device, dtype=bevs.dtype)
        tracks = self.no_tracks(bevs.device, (batch, 1))
        frames, outputs = [], []
        for t in range(num_frames):
            gts = [clip[t].gt_instances_3d for clip in samples]
            targets = FrameTargets.stack(gts, labelled, bevs.device)
            moved = self.motion.move(tracks, prev2curr[:, t], seconds[:, t])
            out = self.decode({name: value[:, t] for name, value in dense.items()}, moved)
            queries = out['queries']
            labels = queries.labels if self.newborns.keeps_class else None
            matched = assign(
                out['layers'], queries.ids, targets, **self.loss_fn.matching, query_labels=labels
            )
            frames.append(self.loss_fn.frame(out, targets, matched, keep, labels))
            outputs.append(out)
            tracks = self.carry(queries, matched[-1], targets, self.motion)
        return self.loss_fn.collect(frames), outputs
