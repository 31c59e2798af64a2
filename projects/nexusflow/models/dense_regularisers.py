# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""MTPSL and JTR under MODELS: methods to compare NexusFlow with, by the same configuration key."""

from __future__ import annotations

from mmdet3d.registry import MODELS

from ..supervision.jtr import JTR
from ..supervision.mtpsl import MTPSL


@MODELS.register_module()
class MTPSLRegulariser(MTPSL):
    """Cross-task consistency (Li et al., 2022), see :class:`nexusflow.supervision.mtpsl.MTPSL`.

    Args:
        tasks: For each task ``kind`` and ``channels`` of its dense view.
        channels: Channels of the heads' features, which a detector fills in; not needed: it reads rasters.
        **settings: Other arguments of MTPSL; the last of ``widths`` must be the shared feature's channels.
    """

    def __init__(self, tasks: dict, channels: int | None = None, **settings: object) -> None:
        super().__init__(tasks, **settings)


@MODELS.register_module()
class JTRRegulariser(JTR):
    """Joint-task regularisation (Nishi et al., 2024), see :class:`nexusflow.supervision.jtr.JTR`.

    Args:
        tasks: For each task ``kind`` and ``channels`` of its dense view.
        channels: Channels of the heads' features, which a detector fills in; not needed: it reads rasters.
        **settings: Other arguments of JTR.
    """

    def __init__(self, tasks: dict, channels: int | None = None, **settings: object) -> None:
        super().__init__(tasks, **settings)
