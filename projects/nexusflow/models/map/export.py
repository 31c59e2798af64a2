# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The map head as a graph of its own: BEV in, elements out, with a fixed number of queries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from .map_head import NexusMapHead

# the first with GridSample is 16; 18 is the one torch writes without a conversion
OPSET = 18
INPUT, OUTPUTS = 'bev', ('scores', 'points_m')


class MapHeadGraph(nn.Module):
    """The head's inference as tensors only.

    Args:
        head: The head; it is put into evaluation mode.
    """

    def __init__(self, head: NexusMapHead) -> None:
        super().__init__()
        self.head = head.eval()

    def forward(self, bev: Tensor) -> tuple[Tensor, Tensor]:
        """Shared BEV (B, C, H, W) to class scores (B, N, L) in [0, 1] and points (B, N, P, 2), metres, lidar frame."""
        logits, points_m = self.head(bev)['layers'][-1]
        return logits.sigmoid(), points_m


def example_bev(head: NexusMapHead, batch: int = 1, seed: int = 0) -> Tensor:
    """Normal noise of the shape of the shared BEV that a head reads, (B, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, head.channels, *head.encoder.source.shape, generator=generator)


def trace_map_head(head: NexusMapHead, bev: Tensor) -> torch.export.ExportedProgram:
    """The head by torch.export, for BEVs of the shape of ``bev`` (B, C, H, W)."""
    with torch.no_grad():
        return torch.export.export(MapHeadGraph(head), (bev,))


def onnx_map_head(head: NexusMapHead, bev: Tensor) -> bytes:
    """The head as an ONNX file, for BEVs of the shape of ``bev`` (B, C, H, W); needs onnxscript (extra ``export``)."""
    program = torch.onnx.export(
        trace_map_head(head, bev),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto.SerializeToString()


def run_onnx(model: bytes, bev: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Scores and points by onnxruntime on the CPU, as :class:`MapHeadGraph` gives them (extra ``export``)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    scores, points_m = session.run(list(OUTPUTS), {INPUT: bev.numpy()})
    return scores, points_m
