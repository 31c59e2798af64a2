# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MTPSL and JTR under MODELS: methods to compare NexusFlow with, by the same configuration key."""

from __future__ import annotations

from mmdet3d.registry import MODELS

from ..supervision.jtr import JTR
from ..supervision.mtpsl import MTPSL


class _DenseRegulariser:
    """Takes the ``channels`` of the heads' features that a detector fills in, and has no use for them.

    Args:
        tasks: For each task ``kind`` and ``channels`` of its dense view.
        channels: Channels of the heads' features; what is read are rasters.
        **settings: Other arguments of the method.
    """

    def __init__(self, tasks: dict, channels: int | None = None, **settings: object) -> None:
        super().__init__(tasks, **settings)


@MODELS.register_module()
class MTPSLRegulariser(_DenseRegulariser, MTPSL):
    """Cross-task consistency (Li et al., 2022), see :class:`nexusflow.supervision.mtpsl.MTPSL`.

    The last of ``widths`` must be the shared feature's channels.
    """


@MODELS.register_module()
class JTRRegulariser(_DenseRegulariser, JTR):
    """Joint-task regularisation (Nishi et al., 2024), see :class:`nexusflow.supervision.jtr.JTR`."""
