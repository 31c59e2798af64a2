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
from mmdet3d.registry import DATASETS, MODELS
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from nexusflow.engine.compat import register_safe_globals
from nexusflow.engine.loading import build_model
from nexusflow.evaluation.functional.files import write_bytes
from nexusflow.models.map.export import MapHeadGraph, example_bev, onnx_map_head, run_onnx
from nexusflow.models.map.map_head import NexusMapHead

TOLERANCE = 1e-4
_PREFIX = 'map_head.'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the model was trained with')
    parser.add_argument('checkpoint', help='its checkpoint (.pth)')
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


def build_head(cfg: Config, checkpoint: str) -> NexusMapHead:
    """The config's map head with the weights of a checkpoint of the whole model.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint's map head is another one.
    """
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f"checkpoint '{checkpoint}' does not exist")
    head = MODELS.build(cfg.model.map_head)
    register_safe_globals()
    content = torch.load(checkpoint, map_location='cpu', weights_only=True)
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in content.get('state_dict', content).items()
        if name.startswith(_PREFIX)
    }
    try:
        head.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f'{checkpoint}: its map head does not fit that of {cfg.filename}; give the config that it was '
            f'trained with ({str(error).splitlines()[1].strip()[:200]})'
        ) from error
    return head.eval()


def data_bev(cfg: Config, checkpoint: str) -> Tensor:
    """The shared BEV (1, C, H, W) that the map head reads in the config's first validation sample."""
    model, seen = build_model(cfg, checkpoint), []
    model.map_head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    with torch.no_grad():
        model.test_step(pseudo_collate([dataset[0]]))
    return seen[0]


def largest_difference(head: NexusMapHead, model: bytes, bev: Tensor) -> float:
    """Largest difference between onnxruntime and torch on a shared BEV (1, C, H, W)."""
    with torch.no_grad():
        expected = MapHeadGraph(head)(bev)
    found = run_onnx(model, bev)
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
    head = build_head(cfg, args.checkpoint)
    model = onnx_map_head(head, example_bev(head))
    bev = data_bev(cfg, args.checkpoint) if args.on_data else example_bev(head, seed=1)
    difference = largest_difference(head, model, bev)
    if not difference <= TOLERANCE:
        hint = '' if args.on_data else '; on noise that may be chance, see --on-data'
        raise SystemExit(
            f'onnxruntime differs from torch by {difference:.1e} > {TOLERANCE:.0e}{hint}'
        )
    path = write_bytes(args.out or Path(args.checkpoint).parent / 'map_head.onnx', model)
    print(f'{path}: {len(model) / 1e6:.1f} MB, onnxruntime differs from torch by {difference:.1e}')


if __name__ == '__main__':
    main()
