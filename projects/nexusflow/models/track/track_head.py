# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MOTR-style tracking head in 3D: detect queries from heatmap peaks, track queries carried through time.

After MOTR (Zeng et al., 2022) and its 3D form MUTR3D (Zhang et al., 2022): a track query keeps its object's id from
frame to frame, so that tracking is one forward pass and no association step. Newborns start from the peaks of a centre
heatmap (CenterPoint, Yin et al., 2021), which converges fast; peaks that a live track explains are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ..bev.encoder import BEVEncoder
from ..bev.grid import BEVGrid
from ..heatmap import prior_bias, top_peaks
from .assigner import FrameTargets, assign
from .box_code import CODE_SIZE, XY
from .decoder import QueryInteraction, TrackDecoderLayer
from .loss import TrackLoss
from .queries import TrackQueries, batch_queries, move_queries


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
        suppress_m: Heatmap peaks within this distance of a live track of the class start no query.
        drop_prob: A track query is dropped in training with this probability, to be born again.
        insert_prob: A matched query is accompanied by an inserted false positive with this probability.
        loss: Arguments of :class:`TrackLoss`.
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
        suppress_m: float = 2.0,
        drop_prob: float = 0.1,
        insert_prob: float = 0.3,
        loss: dict | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.num_classes, self.num_queries = channels, num_classes, num_queries
        self.suppress_m, self.drop_prob, self.insert_prob = suppress_m, drop_prob, insert_prob
        self.grid = BEVGrid(**grid)
        self.encoder = BEVEncoder(channels, BEVGrid(**bev_grid), self.grid, num_blocks)
        self.dense = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.center_heat = nn.Conv2d(channels, num_classes, 1)
        self.dense_box = nn.Conv2d(channels, CODE_SIZE, 1)
        self.segmentation = nn.Conv2d(channels, num_classes, 1)
        self.query_embed = nn.Linear(2 * channels + num_classes, channels)
        self.interaction = QueryInteraction(channels)
        self.layers = nn.ModuleList(
            TrackDecoderLayer(channels, self.grid, num_classes) for _ in range(num_layers)
        )
        self.loss_fn = TrackLoss(self.grid, num_classes, **(loss or {}))
        nn.init.constant_(self.center_heat.bias, prior_bias(0.01))
        nn.init.constant_(self.segmentation.bias, prior_bias(0.05))
        nn.init.normal_(self.dense_box.weight, std=1e-3)
        with torch.no_grad():
            # a car-sized box on the ground, facing forward
            self.dense_box.bias.copy_(torch.tensor([0, 0, 1.4, 0.6, -1.0, 0.4, 1, 0, 0, 0]))

    def dense_forward(self, bev: Tensor) -> dict:
        """What does not depend on the tracks; all frames of a clip at once.

        Args:
            bev: (B, C, H, W) shared BEV.

        Returns:
            'bev' (B, C, h, w); 'dense' (B, C, h, w); 'heat' and 'segmentation' (B, L, h, w) logits; 'dense_code'
            (B, h * w, 10) boxes.
        """
        feature = self.encoder(bev)
        dense = self.dense(feature)
        code = self.dense_box(dense).flatten(2).transpose(1, 2)
        center = self.encoder.centers_m.view(1, -1, 2)
        code = torch.cat([code[..., XY] + center, code[..., 2:]], dim=-1)
        return dict(
            bev=feature,
            dense=dense,
            heat=self.center_heat(dense),
            segmentation=self.segmentation(dense),
            dense_code=code,
        )

    def decode(self, dense: dict, tracks: TrackQueries) -> dict:
        """Detect and track queries through the decoder.

        Args:
            dense: What :meth:`dense_forward` returns, for one frame.
            tracks: Padded batch (B, M), already moved to this frame.

        Returns:
            ``dense`` and 'content' (B, Q, C), 'ids' (B, Q) (-1 newborn, -2 padding), 'labels' (B, Q) the peak's or
            the track's class, 'valid' (B, Q), 'layers': list of
            (logits (B, Q, L), code (B, Q, 10)); the Q = num_queries + M queries are newborns first.
        """
        content, code, labels = self._newborns(dense, tracks)
        updated = self.interaction(tracks.content, tracks.valid)
        content = torch.cat([content, updated], dim=1)
        code = torch.cat([code, tracks.code], dim=1)
        labels = torch.cat([labels, tracks.labels], dim=1)
        batch = len(content)
        newborn = tracks.ids.new_full((batch, self.num_queries), -1)
        ids = torch.cat([newborn, tracks.ids.masked_fill(~tracks.valid, -2)], dim=1)
        valid = ids > -2
        layers = []
        # outside the grid a sample is zero; a logit of zero would be a probability of one half
        heat, nothing = dense['heat'].detach(), prior_bias(0.01)
        for layer in self.layers:
            code = code.detach()
            prior = self.grid.sample(heat - nothing, code[..., XY]).transpose(1, 2) + nothing
            content, logits, code = layer(content, code, ~valid, dense['dense'], prior)
            layers.append((logits, code))
        return dict(dense, content=content, ids=ids, labels=labels, valid=valid, layers=layers)

    def _newborns(self, dense: dict, tracks: TrackQueries) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B, N, C), boxes (B, N, 10) and classes (B, N) of the peaks no live track explains."""
        heat = dense['heat'].detach().sigmoid()
        _, index, labels = top_peaks(heat, self.num_queries, self._unexplained(tracks, heat))
        both = torch.cat([dense['bev'], dense['dense'], dense['heat'].detach()], dim=1)
        both = both.flatten(2).transpose(1, 2)
        both = both.gather(1, index.unsqueeze(-1).expand(-1, -1, both.shape[-1]))
        code = dense['dense_code'].gather(1, index.unsqueeze(-1).expand(-1, -1, CODE_SIZE))
        return self.query_embed(both), code, labels

    def _unexplained(self, tracks: TrackQueries, heat: Tensor) -> Tensor:
        """(B, L, h, w) one, and zero around the live tracks of a class."""
        centers = self.encoder.centers_m.view(1, 1, -1, 2)
        near = (centers - tracks.code[..., None, XY]).norm(dim=-1) < self.suppress_m
        near = (near & tracks.valid.unsqueeze(-1)).to(heat.dtype)
        index = tracks.labels.unsqueeze(-1).expand(-1, -1, near.shape[-1])
        explained = torch.zeros_like(heat).flatten(2).scatter_reduce(1, index, near, reduce='amax')
        return 1 - explained.view_as(heat)

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
        tracks = [TrackQueries.empty(self.channels, bevs.device) for _ in range(batch)]
        frames, outputs, num_objects = [], [], keep.new_zeros(())
        for t in range(num_frames):
            targets = [
                FrameTargets(clip[t].gt_instances_3d, on, bevs.device)
                for clip, on in zip(samples, labelled, strict=True)
            ]
            moved = move_queries(batch_queries(tracks), prev2curr[:, t], seconds[:, t])
            out = self.decode({name: value[:, t] for name, value in dense.items()}, moved)
            matched = [
                self._assign(logits, code, out['ids'], targets) for logits, code in out['layers']
            ]
            frames.append(self.loss_fn.frame(out, targets, matched, keep))
            outputs.append(out)
            num_objects += sum(len(target.ids) for target in targets)
            tracks = [
                self._carry(out, b, matched[-1][b], target) for b, target in enumerate(targets)
            ]
        return self.loss_fn.collect(frames, num_objects), outputs

    @torch.no_grad()
    def _assign(
        self, logits: Tensor, code: Tensor, ids: Tensor, targets: Sequence[FrameTargets]
    ) -> Tensor:
        """(B, Q) indices into each sample's targets."""
        loss = self.loss_fn
        weights = loss.cls_weight, loss.box_weight, loss.max_distance_m
        return torch.stack(
            [assign(logits[b], code[b], ids[b], t, *weights) for b, t in enumerate(targets)]
        )

    def _carry(self, out: dict, b: int, matched: Tensor, target: FrameTargets) -> TrackQueries:
        """Training: matched queries live on (less dropped ones), some with a false positive beside them."""
        logits, code = out['layers'][-1]
        live = (matched >= 0).nonzero().flatten()
        live = live[torch.rand(len(live), device=live.device) >= self.drop_prob]
        inserted = (
            (torch.rand(len(live), device=live.device) < self.insert_prob).nonzero().flatten()
        )
        spare = ((matched < 0) & (out['ids'][b] == -1)).nonzero().flatten()
        labels = out['labels'][b].clone()
        labels[live] = target.labels[matched[live]]
        scores = logits[b].detach().sigmoid().gather(1, labels.unsqueeze(-1)).squeeze(-1)
        best = scores[spare].argsort(descending=True)[: len(inserted)]
        rows = torch.cat([live, spare[best]])
        ids = torch.full_like(rows, -1)
        ids[: len(live)] = target.ids[matched[live]]
        return TrackQueries(
            content=out['content'][b, rows],
            code=code[b, rows].detach(),
            ids=ids,
            labels=labels[rows],
            scores=scores[rows],
            missed=torch.zeros_like(rows),
            valid=torch.ones_like(rows, dtype=torch.bool),
        )
