#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Train a model from a config file; the flags are mmdet3d's."""

from __future__ import annotations

import argparse

from mmengine.config import Config

from nexusflow.engine.cli import (
    add_common_arguments,
    build_runner,
    latest_checkpoint,
    load_config,
    require_checkpoint,
)


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='train config file')
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    parser.add_argument(
        '--sync_bn',
        choices=['none', 'torch', 'mmcv'],
        default='none',
        help='turn batch norms into synchronized ones of torch or mmcv',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size (auto_scale_lr of the config)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from the checkpoint, or from the latest one in the work dir',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def enable_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to mixed precision.

    Raises:
        ValueError: If the config's wrapper is neither plain nor already mixed.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind == 'AmpOptimWrapper':
        return
    if kind != 'OptimWrapper':
        raise ValueError(
            f"--amp needs optim_wrapper of type 'OptimWrapper', the config has '{kind}'"
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def enable_auto_scale_lr(cfg: Config) -> None:
    """Switch the scaling of the learning rate on.

    Raises:
        ValueError: If the config does not say what the learning rate is meant for.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ValueError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config'
        )
    cfg.auto_scale_lr.enable = True


def main() -> None:
    """Train."""
    args = parse_args()
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg)
    if args.sync_bn != 'none':
        cfg.sync_bn = args.sync_bn
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    if args.resume is not None:
        path = latest_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume
        # nothing to resume yet: weights that the config starts from are still those to start from
        if path is not None:
            cfg.resume, cfg.load_from = True, require_checkpoint(path)
    build_runner(cfg).train()


if __name__ == '__main__':
    main()
