# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Metrics of whole tracks against counts by hand."""

from __future__ import annotations

import numpy as np

from nexusflow.evaluation.functional.box_columns import BoxColumns
from nexusflow.evaluation.functional.track_spans import track_spans


def spans(*tracks):
    """Metrics of tracks given as strings: ``x`` found, ``.`` missed; their rows are interleaved."""
    rows = sorted((k, t) for t, found in enumerate(tracks) for k in range(len(found)))
    frame, track = np.array(rows).T
    found = np.array([[tracks[t][k] == 'x'] for k, t in rows])
    none = np.zeros(len(rows))
    true = BoxColumns(frame, track, none.astype(int), np.zeros((len(rows), 3)), none)
    return {name: float(value[0]) for name, value in track_spans(true, found).items()}


def test_counts_of_three_tracks():
    out = spans('..x.x.', 'xxxx.', '.....')
    assert (out['mt'], out['ml']) == (1.0, 1.0)  # 0.8 of the second one, nothing of the third
    assert out['frag'] == 1.0  # only a loss that ends
    assert out['tid'] == 0.5 * (2 + 0) / 2
    assert out['lgd'] == 0.5 * (2 + 1) / 2


def test_delays_are_unknown_when_nothing_is_found():
    out = spans('...', '..')
    assert (out['mt'], out['ml'], out['frag']) == (0.0, 2.0, 0.0)
    assert np.isnan(out['tid']) and np.isnan(out['lgd'])


def test_a_gap_does_not_reach_into_the_next_track():
    out = spans('x...', '...x')
    assert out['lgd'] == 0.5 * (3 + 3) / 2
    assert out['frag'] == 0.0
