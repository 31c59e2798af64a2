# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from nexusflow.world.mesh import Mesh, MeshBuilder


def _outward(mesh):
    """Whether the faces of a mesh around the origin look away from it."""
    normal = np.cross(mesh.quads[:, 1] - mesh.quads[:, 0], mesh.quads[:, 2] - mesh.quads[:, 0])
    return (normal * mesh.quads.mean(axis=1))[:, :2].sum(axis=1) > 0


@pytest.mark.parametrize('axis', [0, 1])
def test_panels_are_decals_on_two_walls(axis):
    span, z = np.array([[-1.0, 0.5], [1.0, 2.0]]), np.array([[0.2, 1.2], [1.4, 2.0]])
    colors = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    panels = Mesh.panels(axis, 3.0, span, z, colors, 2.0, 9.0)
    builder = MeshBuilder()
    for facing in (1, -1):
        for (a, b), (low, high), color in zip(span, z, colors, strict=True):
            if axis == 0:
                builder.decal_x(3.0 * facing, (a, b), (low, high), color, facing, 2.0, min_px=9.0)
            else:
                builder.decal_y((a, b), 3.0 * facing, (low, high), color, facing, 2.0, min_px=9.0)
    decals = builder.build()
    np.testing.assert_array_equal(panels.looks, decals.looks)
    assert _outward(panels).all() and _outward(decals).all()
    for one, other in zip(panels.quads, decals.quads, strict=True):
        assert {tuple(c) for c in one.tolist()} == {tuple(c) for c in other.tolist()}


def test_one_span_serves_all_heights():
    z = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    panels = Mesh.panels(1, 2.0, np.array([[-4.0, 4.0]]), z, np.ones(3), 1.0, 0.0)
    assert panels.quads.shape == (6, 4, 3)
    assert panels.rank.tolist() == [1.0] * 6 and not panels.glow.any()


def test_boxes_look_outward_and_meshes_join():
    builder = MeshBuilder()
    builder.box((-1, 1), (-2, 2), (-1, 1), (10, 20, 30), rank=3.0, roof=(40, 50, 60))
    box = builder.build()
    sides = np.abs(box.quads.mean(axis=1)[:, 2]) < 0.5
    assert sides.sum() == 4 and _outward(box)[sides].all()
    both = Mesh.concatenate([box, box])
    assert len(both.quads) == 10 and both.colors[4].tolist() == [40, 50, 60]
    assert len(Mesh.concatenate([]).quads) == 0
