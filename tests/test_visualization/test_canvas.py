# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Colours, polygons, text and image files."""

from __future__ import annotations

import numpy as np
import pytest

from nexusflow.visualization.canvas import (
    blend_polygon,
    encode_image,
    id_color,
    put_text,
    read_image,
    write_image,
)


def test_neighbouring_identities_differ_clearly():
    colors = np.array([id_color(i) for i in range(8)], dtype=float)
    gaps = np.abs(colors[:, None] - colors[None]).sum(axis=-1) + 1e3 * np.eye(8)
    assert gaps.min() > 60
    assert id_color('scene-0001/7') == id_color(7)
    assert id_color('no number') == id_color('no number')


def test_polygon_is_blended_only_inside():
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    square = np.array([[4.0, 4], [12, 4], [12, 12], [4, 12]])
    blend_polygon(image, square, (200, 100, 0), 0.5)
    assert image[8, 8].tolist() == [100, 50, 0]
    assert not image[15:].any()
    blend_polygon(image, square + 100, (255, 255, 255), 1.0)
    assert image[8, 8].tolist() == [100, 50, 0]


def test_text_is_written_at_its_anchor():
    image = np.full((40, 120, 3), 255, dtype=np.uint8)
    put_text(image, (60, 20), 'front', 14, anchor='mm')
    rows, columns = np.nonzero((image < 128).any(axis=-1))
    assert abs(rows.mean() - 20) < 4
    assert abs(columns.mean() - 60) < 4


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_files_keep_colours_and_leave_nothing_else(tmp_path, suffix):
    image = np.zeros((16, 24, 3), dtype=np.uint8)
    image[:, :, 0] = 200
    path = write_image(tmp_path / 'new' / f'a{suffix}', image)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert np.abs(read_image(path).astype(int) - image).max() <= (0 if suffix == '.png' else 6)
    assert encode_image(image, suffix) == path.read_bytes()


def test_truncated_image_is_named(tmp_path):
    path = tmp_path / 'cut.png'
    path.write_bytes(b'\x89PNG')
    with pytest.raises(ValueError, match=r'cut\.png: not a readable image'):
        read_image(path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match='not a readable image'):
        read_image(path)
