# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures of dense tasks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from mmdet3d.registry import HOOKS
from mmengine.structures import BaseDataElement, PixelData

from nexusflow.visualization.canvas import id_color, read_image
from nexusflow.visualization.dense import PANEL_WIDTH, dense_panel, dense_sheet


def sample(token='7'):
    """A sample of 6 x 8 pixels whose predictions are its labels."""
    classes = torch.arange(48).view(1, 6, 8) % 3 - 1
    depth = torch.linspace(0, 4, 48).view(1, 6, 8)
    element = BaseDataElement(metainfo=dict(token=token))
    for name, data in (('sem_seg', classes), ('depth', depth)):
        for prefix in ('gt', 'pred'):
            element.set_field(PixelData(data=data), f'{prefix}_{name}')
    return element


def test_classes_get_colours_and_ignored_pixels_none():
    panel = dense_panel(np.array([[[-1, 0, 2]]]), 1.0)
    assert panel.shape == (1, 3, 3)
    assert panel[0].tolist() == [[0, 0, 0], list(id_color(0)), list(id_color(2))]


def test_normals_are_colours_and_missing_ones_black():
    values = np.array([[[1.0, 0.0]], [[0.0, 0.0]], [[-1.0, 0.0]]])
    assert dense_panel(values, 1.0)[0].tolist() == [[255, 128, 0], [0, 0, 0]]


def test_greater_numbers_are_brighter():
    panel = dense_panel(np.array([[[0.0, 1.0, 2.0, 9.0]]]), 2.0)[0].astype(int).sum(-1)
    assert panel[0] == 0 < panel[1] < panel[2] == panel[3]


def test_a_sheet_has_a_column_for_each_task():
    sheet = dense_sheet('image 7', np.zeros((3, 6, 8)), sample())
    assert 3 * PANEL_WIDTH < sheet.shape[1] < 3 * PANEL_WIDTH + 40
    assert 2 * PANEL_WIDTH * 6 / 8 < sheet.shape[0] < 2 * PANEL_WIDTH * 6 / 8 + 80


def test_the_hook_writes_a_picture_of_every_second_sample(tmp_path):
    hook = HOOKS.build(
        dict(type='NexusVisualizationHook', draw=True, interval=2, test_out_dir='shown')
    )
    runner = SimpleNamespace(work_dir=str(tmp_path))
    hook.before_test_epoch(runner)
    batch = dict(inputs=dict(img=[torch.rand(3, 6, 8) for _ in range(3)]))
    hook.after_test_iter(runner, 0, batch, [sample(token) for token in ('0', '1', '2')])
    pictures = sorted((tmp_path / 'shown').iterdir())
    assert [path.name for path in pictures] == ['0.png', '2.png']
    assert read_image(pictures[0]).shape[2] == 3
