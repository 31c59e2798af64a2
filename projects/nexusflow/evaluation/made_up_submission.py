# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Made-up tracking submissions with all faults that trackers have, for tests and the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .functional.files import read_json
from .made_up_tables import CLASS_OF, VERSION

__all__ = ['TrackerFaults', 'make_submission']

_NAMES = sorted({name for name in CLASS_OF.values() if name})

Row = dict[str, Any]


@dataclass(frozen=True)
class TrackerFaults:
    """How often a tracker makes each fault.

    Attributes:
        miss: Share of boxes that are missed; tracks get gaps.
        noise_m: Standard deviation of the centres, metres.
        switch: Chance of a new track id, per box.
        swap: Chance that an object takes the track id of another, per box.
        double: Share of boxes that come twice at the same place.
        false_boxes: Mean number of boxes without an object, per sample; some are out of range.
        digits: Digits of the scores: with few, many tie.
        class_change: Chance of a wrong class, per box.
        silent: Whether a scene gets no boxes.
        blind: Whether a class gets no boxes.
    """

    miss: float = 0.1
    noise_m: float = 0.3
    switch: float = 0.02
    swap: float = 0.01
    double: float = 0.02
    false_boxes: float = 2.0
    digits: int = 8
    class_change: float = 0.002
    silent: bool = False
    blind: bool = False

    @classmethod
    def random(cls, rng: np.random.Generator) -> TrackerFaults:
        """A tracker of any quality; each fault may be absent."""
        return cls(
            miss=rng.choice([0.0, 0.1, 0.5]),
            noise_m=rng.choice([0.0, 0.2, 0.8]),
            switch=rng.choice([0.0, 0.05, 0.2]),
            swap=rng.choice([0.0, 0.1]),
            double=rng.choice([0.0, 0.1]),
            false_boxes=rng.choice([0.0, 1.0, 6.0]),
            digits=int(rng.choice([0, 1, 8])),
            class_change=rng.choice([0.0, 0.02]),
            silent=bool(rng.integers(2)),
            blind=bool(rng.integers(2)),
        )


def make_submission(root: Path, seed: int, faults: TrackerFaults | None = None) -> Row:
    """A tracking submission for the tables that ``make_tables`` wrote.

    Args:
        root: Data root.
        seed: Another seed gives another submission.
        faults: What goes wrong; by default the seed decides.

    Returns:
        Content of the submission.
    """
    rng = np.random.default_rng(seed)
    faults = faults or TrackerFaults.random(rng)
    truth = _true_boxes(root)
    scenes = sorted({frame['scene'] for frame in truth.values()})
    silent = rng.choice(scenes) if faults.silent else None
    blind = rng.choice(_NAMES) if faults.blind else None
    results: dict[str, list[Row]] = {}
    memory: dict[str, Row] = {}
    for token, frame in truth.items():
        boxes = [] if frame['scene'] == silent else _seen(rng, frame, faults, memory)
        kept = [box for box in boxes if box['tracking_name'] != blind]
        results[token] = [box | {'sample_token': token} for box in kept]
    return {'meta': {'use_camera': True}, 'results': results}


def _seen(
    rng: np.random.Generator, frame: Row, faults: TrackerFaults, memory: dict[str, Row]
) -> list[Row]:
    """What the tracker reports of one key frame; ``memory`` holds its tracks."""
    out = _false_boxes(rng, frame, faults)
    last = None
    for box in frame['boxes']:
        track = memory.setdefault(
            box['instance'], {'id': box['instance'], 'score': rng.uniform(0.1, 1), 'count': 0}
        )
        track['count'] += int(rng.random() < faults.switch)
        if last is not None and rng.random() < faults.swap:
            track['id'], last['id'] = last['id'], track['id']
        last = track
        if rng.random() < faults.miss:
            continue
        name = 'truck' if rng.random() < faults.class_change else box['tracking_name']
        center = np.array(box['translation']) + rng.normal(size=3) * faults.noise_m
        score = np.clip(track['score'] + 0.05 * rng.normal(), 0, 1).round(faults.digits)
        new = {k: v for k, v in box.items() if k != 'instance'}
        new |= {'tracking_name': name, 'translation': center.tolist()}
        new |= {'tracking_id': f'{track["id"]}/{track["count"]}', 'tracking_score': float(score)}
        out.append(new)
        if rng.random() < faults.double:
            out.append(new | {'tracking_id': f'{new["tracking_id"]}/double'})
    return list({box['tracking_id']: box for box in out}.values())


def _false_boxes(rng: np.random.Generator, frame: Row, faults: TrackerFaults) -> list[Row]:
    """Boxes without an object; their tracks jump."""
    out = []
    for index in range(rng.poisson(faults.false_boxes)):
        place = frame['ego'] + np.append(rng.uniform(-60, 60, 2), 1.0)
        box = {'translation': place.tolist(), 'size': [1.0, 2.0, 1.0], 'velocity': [0.0, 0.0]}
        box |= {'rotation': [1.0, 0.0, 0.0, 0.0], 'tracking_name': str(rng.choice(_NAMES))}
        score = round(rng.uniform(0, 0.6), faults.digits)
        out.append(
            box | {'tracking_id': f'{frame["scene"]}/false/{index}', 'tracking_score': score}
        )
    return out


def _true_boxes(root: Path) -> dict[str, Row]:
    """Sample token to its scene, its ego position and its annotations as boxes to submit."""
    folder = root / VERSION
    instances = {r['token']: r for r in read_json(folder / 'instance.json')}
    poses = read_json(folder / 'ego_pose.json')
    ego = {r['token'].removeprefix('pose-'): np.array(r['translation']) for r in poses}
    out: dict[str, Row] = {
        r['token']: {'scene': r['scene_token'], 'ego': ego[r['token']], 'boxes': []}
        for r in read_json(folder / 'sample.json')
    }
    for row in read_json(folder / 'sample_annotation.json'):
        name = CLASS_OF.get(instances[row['instance_token']]['category_token'])
        if name is not None:
            box = {key: row[key] for key in ('translation', 'size', 'rotation')}
            box |= {'velocity': [0.0, 0.0], 'tracking_name': name}
            out[row['sample_token']]['boxes'].append(box | {'instance': row['instance_token']})
    return out
