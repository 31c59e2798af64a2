#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Export a trained model's map head to ONNX, and compare onnxruntime with torch.

The graph takes the shared BEV ('bev', 1 x C x H x W) and gives class scores ('scores', 1 x N x L) and points
('points_m', 1 x N x P x 2, metres, lidar frame). Needs the extra ``export``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from nexusflow.engine.cli import require_checkpoint
from nexusflow.engine.loading import build_model
from nexusflow.evaluation.functional.files import write_bytes
from nexusflow.models.map.export import MapHeadGraph, example_bev, onnx_map_head, run_onnx
from nexusflow.models.map.map_head import NexusMapHead

TOLERANCE = 1e-4


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the model was trained with')
    parser.add_argument('checkpoint', help='checkpoint file, or a work dir: its latest')
    parser.add_argument(
        '--out', help='file to write (default: map_head.onnx beside the checkpoint)'
    )
    parser.add_argument(
        '--on-data',
        action='store_true',
        help="compare on the BEV of the config's first validation sample, not on noise; traced "
        'queries need it: their walks through noise are chaotic',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    return parser.parse_args(argv)


def data_bev(model: nn.Module, cfg: Config) -> Tensor:
    """The shared BEV (1, C, H, W) that the map head reads in the config's first validation sample."""
    seen: list[Tensor] = []
    handle = model.map_head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    with handle, torch.no_grad():
        model.test_step(pseudo_collate([dataset[0]]))
    return seen[0]


def largest_difference(head: NexusMapHead, graph: bytes, bev: Tensor) -> float:
    """Largest difference between onnxruntime and torch on a shared BEV (1, C, H, W)."""
    with torch.no_grad():
        expected = MapHeadGraph(head)(bev)
    found = run_onnx(graph, bev)
    pairs = zip(expected, found, strict=True)
    return max((a - torch.from_numpy(b)).abs().max().item() for a, b in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    """Export, compare, write.

    Raises:
        SystemExit: The two differ by more than 1e-4; nothing is written.
    """
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet3d'))
    checkpoint = require_checkpoint(args.checkpoint)
    model = build_model(cfg, checkpoint)
    head = model.map_head
    graph = onnx_map_head(head, example_bev(head))
    bev = data_bev(model, cfg) if args.on_data else example_bev(head, seed=1)
    difference = largest_difference(head, graph, bev)
    if not difference <= TOLERANCE:
        hint = '' if args.on_data else '; on noise that may be chance, see --on-data'
        raise SystemExit(
            f'onnxruntime differs from torch by {difference:.1e} > {TOLERANCE:.0e}{hint}'
        )
    path = write_bytes(args.out or Path(checkpoint).parent / 'map_head.onnx', graph)
    print(f'{path}: {len(graph) / 1e6:.1f} MB, onnxruntime differs from torch by {difference:.1e}')


if __name__ == '__main__':
    main()
