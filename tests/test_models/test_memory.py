# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The memory bank: what a track remembers, and that only its own past matters."""

from dataclasses import replace

import pytest
import torch

from nexusflow.models.track.memory import MemoryBank
from nexusflow.models.track.queries import TrackQueries

CPU = torch.device('cpu')
CHANNELS, LENGTH = 8, 4


@pytest.fixture
def bank():
    return MemoryBank(CHANNELS, LENGTH)


def make_tracks(age, rows=3):
    tracks = TrackQueries.empty(CHANNELS, CPU, (1, rows), LENGTH)
    return replace(
        tracks,
        content=torch.randn(1, rows, CHANNELS),
        memory=torch.randn(1, rows, LENGTH, CHANNELS),
        age=torch.full((1, rows), age),
    )


def test_the_last_embeddings_are_kept_the_latest_first(bank):
    tracks, stored = make_tracks(0), []
    for age in range(1, LENGTH + 3):
        content = torch.randn_like(tracks.content)
        tracks = bank(replace(tracks, content=content))
        stored.insert(0, bank.save(content))
        assert tracks.age.unique().item() == age
    torch.testing.assert_close(tracks.memory, torch.stack(stored[:LENGTH], dim=2))


@pytest.mark.parametrize('age', [0, 2, 3, 9])
def test_only_what_was_stored_is_seen(bank, age):
    """The content itself and the embeddings before it, of which the oldest makes place."""
    tracks = make_tracks(age)
    expected = bank(tracks).content
    for slot in range(LENGTH):
        memory = tracks.memory.clone()
        memory[:, :, slot] += 1.0
        found = bank(replace(tracks, memory=memory)).content
        unseen = slot >= age or slot == LENGTH - 1
        assert torch.allclose(found, expected, atol=1e-6) == unseen


def test_tracks_do_not_see_each_other(bank):
    tracks = make_tracks(4)
    memory = tracks.memory.clone()
    memory[:, 0] += 1.0
    a, b = bank(tracks).content, bank(replace(tracks, memory=memory)).content
    torch.testing.assert_close(a[:, 1:], b[:, 1:])
    assert not torch.allclose(a[:, 0], b[:, 0])


def test_a_bank_of_no_length_is_refused():
    with pytest.raises(ValueError, match='memory.length is 0, it must be at least 1'):
        MemoryBank(CHANNELS, 0)
