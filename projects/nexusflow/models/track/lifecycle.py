# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Birth, survival and death of tracks in streaming inference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .box_code import XY, decode_boxes
from .motion import MotionModel
from .queries import NEWBORN, TrackQueries, concat


@dataclass
class TrackLifecycle:
    """Decides which queries of a frame are tracks, and hands out ids.

    Attributes:
        birth_score: A newborn query becomes a track from this score on.
        keep_score: A track scoring less counts as missed.
        patience: A track missed this many frames in a row ends.
        min_hits: A track is shown once it has been seen in this many frames; what flickers never is.
        evidence_frames: A track's score is shown times 1 - exp(-n / evidence_frames), n the frames it was seen in: what
            lasts is truer than what was seen once. 0: the frame's own score.
        class_sharpness: A track's score is shown times the probability of its class given all its frames: the softmax
            of the classes' summed log heat times this number, less than 1, since frames resemble each other. 0: not at
            all.
        concentration: A track's score is shown times the share of its heat that lies close to it, in all its frames,
            to this power: a place that is known is more likely to be the right one. 0: not at all.
        duplicate_m: A newborn within this distance of a better box of its class is no new track.
        max_tracks: Live tracks at most; the lowest scores end first. It bounds time and memory, whatever is seen.
        detection_score: Boxes from this score on are listed as detections.
        max_detections: Detections at most, the best.
    """

    birth_score: float = 0.25
    keep_score: float = 0.15
    patience: int = 3
    min_hits: int = 1
    evidence_frames: float = 0.0
    class_sharpness: float = 0.0
    concentration: float = 0.0
    duplicate_m: float = 2.0
    max_tracks: int = 500
    detection_score: float = 0.05
    max_detections: int = 500

    @property
    def reads_heat(self) -> bool:
        """Whether scores depend on what :class:`HeatEvidence` adds up."""
        return bool(self.class_sharpness or self.concentration)

    def step(
        self, queries: TrackQueries, next_id: int, motion: MotionModel
    ) -> tuple[TrackQueries, InstanceData, InstanceData, int]:
        """One frame of one sample.

        Args:
            queries: (Q,) what the decoder made of the frame, with the ids that went in.
            next_id: First free track id of the scene.
            motion: What the tracks are known to do after this frame.

        Returns:
            The tracks that live on; the frame's tracks (``bboxes_3d``, ``labels_3d``, ``scores_3d``, ``track_ids``);
            all its boxes, newborn or tracked (``bboxes_3d``, ``labels_3d``, ``scores_3d``, the best first), for a
            tracker that starts from detections; and the next free id.
        """
        old = queries[queries.ids >= 0]
        seen = old.scores >= self.keep_score
        old = replace(
            motion.observe(old, seen),
            missed=torch.where(seen, 0, old.missed + 1),
            hits=old.hits + seen,
        )
        born = self._births(queries[queries.ids == NEWBORN], old[seen])
        born = motion.observe(born, born.valid)
        ids = torch.arange(next_id, next_id + len(born), device=born.ids.device)
        tracks = concat([old, replace(born, ids=ids, hits=born.hits + 1)])
        tracks = tracks[tracks.missed < self.patience]
        if len(tracks) > self.max_tracks:
            tracks = tracks[tracks.scores.topk(self.max_tracks).indices.sort().values]
        shown = tracks[(tracks.missed == 0) & (tracks.hits >= self.min_hits)]
        shown = replace(shown, scores=shown.scores * self._trust(shown))
        result = InstanceData(**boxes_of(shown), track_ids=shown.ids)
        return tracks, result, self._detections(queries), next_id + len(born)

    def _trust(self, tracks: TrackQueries) -> Tensor:
        """Share of each track's score that counts after all its frames."""
        share = torch.ones_like(tracks.scores)
        if self.evidence_frames:
            share = share * (1 - torch.exp(-tracks.hits / self.evidence_frames))
        if self.class_sharpness:
            classes = (self.class_sharpness * tracks.class_log).softmax(-1)
            share = share * classes.gather(-1, tracks.labels.unsqueeze(-1)).squeeze(-1)
        if self.concentration:
            close, around = tracks.mass.unbind(-1)
            share = share * (close / around.clamp(min=1e-9)) ** self.concentration
        return share

    def _detections(self, queries: TrackQueries) -> InstanceData:
        """Boxes above a floor, no non-maximum suppression."""
        queries = queries[queries.valid & (queries.scores >= self.detection_score)]
        order = queries.scores.argsort(descending=True, stable=True)[: self.max_detections]
        return InstanceData(**boxes_of(queries[order]))

    def _births(self, newborns: TrackQueries, live: TrackQueries) -> TrackQueries:
        """Newborns, best first, that are no duplicate of a live track or of a better newborn."""
        order = newborns.scores.argsort(descending=True, stable=True)
        newborns = newborns[order]
        newborns = newborns[newborns.scores >= self.birth_score]
        newborns = newborns[~self._near(newborns, live).any(1)]
        return newborns[greedy_keep(self._near(newborns, newborns))]

    def _near(self, a: TrackQueries, b: TrackQueries) -> Tensor:
        """(A, B) pairs of one class within the distance of duplicates."""
        distance = torch.cdist(a.code[:, XY], b.code[:, XY])
        return (distance < self.duplicate_m) & (a.labels[:, None] == b.labels[None])


def boxes_of(queries: TrackQueries) -> dict[str, object]:
    """Boxes, classes and scores as fields of an instance container."""
    return dict(
        bboxes_3d=decode_boxes(queries.code), labels_3d=queries.labels, scores_3d=queries.scores
    )


def greedy_keep(near: Tensor) -> Tensor:
    """What greedy suppression keeps of rows sorted by score: all that no better kept row is near to.

    Rows without an undecided better neighbour are decided together, so that the number of rounds is the length of the
    longest chain of neighbours, not the number of rows.

    Args:
        near: (N, N) symmetric.

    Returns:
        (N,) true: kept.

    Example:
        >>> near = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
        >>> greedy_keep(near).tolist()
        [True, False, True]
    """
    better = near.tril(-1)
    kept = torch.zeros(len(near), dtype=torch.bool, device=near.device)
    undecided = ~kept
    while undecided.any():
        chosen = undecided & ~(better & undecided).any(1)
        kept |= chosen
        undecided &= ~chosen & ~(better & chosen).any(1)
    return kept
