#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Test a checkpoint on the config's test set; the flags are mmdet3d's, --task chooses the judges."""

from __future__ import annotations

import argparse
import math

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process

from nexusflow.engine.cli import (
    METRIC_OF_TASK,
    add_common_arguments,
    build_runner,
    load_config,
    require_checkpoint,
    select_evaluators,
)
from nexusflow.evaluation.functional.files import write_json


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='test config file')
    parser.add_argument('checkpoint', help='checkpoint file, or a work dir: its latest')
    parser.add_argument(
        '--task', choices=[*METRIC_OF_TASK, 'all'], default='all', help='which task is evaluated'
    )
    parser.add_argument('--metrics-out', metavar='FILE', help='also write the metrics as JSON')
    parser.add_argument('--show', action='store_true', help='show pictures in a window')
    parser.add_argument('--show-dir', help='folder for pictures of predictions beside labels')
    parser.add_argument('--score-thr', type=float, default=0.1, help='lowest score in pictures')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds per shown picture')
    parser.add_argument('--tta', action='store_true', help='use tta_model and tta_pipeline')
    add_common_arguments(parser)
    return parser.parse_args()


def enable_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Switch the visualization hook on.

    Raises:
        ValueError: If the config has none.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need default_hooks.visualization in the config')
    hook.update(draw=True, score_thr=args.score_thr)
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        hook.update(test_out_dir=args.show_dir)


def enable_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation.

    Raises:
        ValueError: If the config does not say how.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise ValueError(f"--tta needs '{key}' in the config")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = require_checkpoint(args.checkpoint)
    cfg.test_evaluator = select_evaluators(cfg.test_evaluator, args.task)
    if args.show or args.show_dir:
        enable_pictures(cfg, args)
    if args.tta:
        enable_tta(cfg)
    metrics = build_runner(cfg).test()
    if args.metrics_out and is_main_process():
        finite = {name: None if math.isnan(value) else value for name, value in metrics.items()}
        write_json(args.metrics_out, finite, indent=2)


if __name__ == '__main__':
    main()
