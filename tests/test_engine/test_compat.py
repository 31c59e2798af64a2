# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import io
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

import nexusflow.engine  # noqa: F401


class Harmful:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return (print, ('this must not be printed',))


class Reaching:
    """Would reach from a HistoryBuffer into its module."""

    def __reduce__(self):
        return (getattr, (HistoryBuffer.min, '__globals__'))


def reload(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def test_history_buffers_are_read():
    buffer = HistoryBuffer()
    for value in (1.0, 2.5):
        buffer.update(value)
    again = reload(buffer)
    assert again.mean() == 1.75 and again.current() == 2.5


@pytest.mark.parametrize('dtype', ['bool', 'float32', 'float64', 'int32', 'int64', 'uint8'])
def test_arrays_and_scalars_are_read(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    again = reload({'array': array, 'scalar': array[1, 2]})
    assert again['array'].dtype == array.dtype and np.array_equal(again['array'], array)
    assert again['scalar'] == array[1, 2]


def test_attributes_are_not_reachable_through_a_checkpoint():
    with pytest.raises(AttributeError, match='may not ask for .__globals__.'):
        reload(Reaching())


def test_anything_else_is_still_refused(capsys):
    with pytest.raises(pickle.UnpicklingError, match='[Ww]eights'):
        reload(Harmful())
    with pytest.raises(pickle.UnpicklingError, match='[Ww]eights'):
        reload(np.array([Harmful()], dtype=object))
    assert capsys.readouterr().out == ''
