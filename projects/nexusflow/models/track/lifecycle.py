# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Birth, survival and death of tracks in streaming inference."""

from __future__ import annotations

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .box_code import XY, decode_boxes
from .queries import TrackQueries


class TrackLifecycle:
    """Decides which queries of a frame are tracks, and hands out ids.

    Args:
        birth_score: A newborn query becomes a track from this score on.
        keep_score: A track scoring less counts as missed.
        patience: A track missed this many frames in a row ends.
        duplicate_m: A newborn within this distance of a better box of its class is no new track.
    """

    def __init__(
        self,
        birth_score: float = 0.25,
        keep_score: float = 0.15,
        patience: int = 3,
        duplicate_m: float = 2.0,
    ) -> None:
        self.birth_score, self.keep_score = birth_score, keep_score
        self.patience, self.duplicate_m = patience, duplicate_m

    def step(
        self, out: dict, prev: TrackQueries, next_id: int
    ) -> tuple[TrackQueries, InstanceData, int]:
        """One frame of one sample.

        Args:
            out: The head's :meth:`decode` of this frame, batch of one.
            prev: The tracks that went in, (M,), without padding.
            next_id: First free track id of the scene.

        Returns:
            The tracks that live on, the frame's output (``bboxes_3d``, ``labels_3d``, ``scores_3d``,
            ``track_ids``) and the next free id.
        """
        logits, code = (x[0] for x in out['layers'][-1])
        labels = out['labels'][0]
        scores = logits.sigmoid().gather(1, labels.unsqueeze(-1)).squeeze(-1)
        num_new = len(scores) - out['num_tracks']
        tracked = torch.arange(num_new, num_new + len(prev), device=scores.device)
        seen = scores[tracked] >= self.keep_score
        missed = torch.where(seen, 0, prev.missed + 1)
        born = self._births(
            scores[:num_new],
            labels[:num_new],
            code[:num_new],
            code[tracked][seen],
            labels[tracked][seen],
        )
        rows = torch.cat([tracked, born])
        new_ids = torch.arange(next_id, next_id + len(born), device=scores.device)
        tracks = TrackQueries(
            content=out['content'][0, rows],
            code=code[rows],
            ids=torch.cat([prev.ids, new_ids]),
            labels=labels[rows],
            scores=scores[rows],
            missed=torch.cat([missed, torch.zeros_like(new_ids)]),
            valid=torch.ones_like(rows, dtype=torch.bool),
        )
        shown = tracks[tracks.missed == 0]
        result = InstanceData(
            bboxes_3d=decode_boxes(shown.code),
            labels_3d=shown.labels,
            scores_3d=shown.scores,
            track_ids=shown.ids,
        )
        return tracks[tracks.missed < self.patience], result, next_id + len(born)

    def _births(
        self, scores: Tensor, labels: Tensor, code: Tensor, live_code: Tensor, live_labels: Tensor
    ) -> Tensor:
        """Newborn rows, best first, that are no duplicate of a live track or of a better newborn."""
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= self.birth_score]
        near = torch.cdist(code[order][:, XY], code[order][:, XY]) < self.duplicate_m
        near &= labels[order][:, None] == labels[order][None]
        close = torch.cdist(code[order][:, XY], live_code[:, XY]) < self.duplicate_m
        taken = (close & (labels[order][:, None] == live_labels[None])).any(1).tolist()
        kept: list[int] = []
        for i, dropped in enumerate(taken):
            if not dropped and not near[i, kept].any():
                kept.append(i)
        return order[kept]
