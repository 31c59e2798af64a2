# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What tools/train.py and tools/test.py share: mmdet3d's flags, and the runner that they ask for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.dist import is_distributed
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from .cpu import keep_freed_memory, keep_numpy_to_one_thread
from .hooks.map_range_hook import NexusMapRangeHook

METRIC_OF_TASK = {
    'map': 'NexusMapMetric',
    'track': 'NexusTrackMetric',
    'dense': 'NexusDenseMetric',
}


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing have in common."""
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config: nested.key=value, list.0.key=value, key="[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, the first GPU by default where there is one, else the CPU."""
    device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', default=device, help=f'cpu or cuda:0 ... (default: {device})')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config file and apply the common flags.

    The work dir is the flag's, else the config's, else ``./work_dirs/<name of the config>``.
    Without a GPU, processes talk over gloo.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if not torch.cuda.is_available():
        cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
        # mmengine's default names a device, which a CPU has not
        wrapper = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        cfg.setdefault('model_wrapper_cfg', wrapper)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('./work_dirs', Path(args.config).stem)
    return cfg


def latest_checkpoint(work_dir: str) -> str | None:
    """The checkpoint that ``last_checkpoint`` of a work dir names; None before the first one.

    The file holds the path as it was when the checkpoint was written. Where the folder was moved or copied since, the
    checkpoint of that name in the folder is meant.
    """
    path = find_latest_checkpoint(work_dir)
    if path is None:
        return None
    beside = os.path.join(work_dir, os.path.basename(path))
    return beside if os.path.isfile(beside) else path


def require_checkpoint(path: str) -> str:
    """The path of a checkpoint, which must exist if it is local.

    Args:
        path: A file, an address, or the work dir of a training: its latest checkpoint.

    Raises:
        FileNotFoundError: If there is no such file, or no checkpoint in the work dir.
    """
    if os.path.isdir(path):
        latest = latest_checkpoint(path)
        if latest is None:
            raise FileNotFoundError(f"folder '{path}' holds no checkpoint; train first")
        path = latest
    if '://' not in path and not os.path.isfile(path):
        raise FileNotFoundError(f"checkpoint '{path}' does not exist; give an existing .pth file")
    return path


def build_runner(cfg: Config) -> Runner:
    """The default runner, or the one that the config's ``runner_type`` names; it checks the range of the map.

    The process keeps its memory and numpy one thread from now on, see ``engine/cpu.py``.
    """
    keep_freed_memory()
    keep_numpy_to_one_thread()
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available() and not is_distributed():
        # mmengine's own start wants a CUDA device for each process
        torch.distributed.init_process_group(cfg.env_cfg.dist_cfg.backend)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(NexusMapRangeHook())
    return runner


def select_evaluators(evaluators: dict | Sequence[dict], task: str) -> list[dict]:
    """Drop the evaluators of the other tasks.

    Args:
        evaluators: ``test_evaluator`` of a config.
        task: 'all', or a key of ``METRIC_OF_TASK``.

    Returns:
        The remaining ones; those of no task, such as ``DumpResults``, always remain.

    Raises:
        ValueError: If the config has no evaluator for ``task``.
    """
    evaluators = [evaluators] if isinstance(evaluators, dict) else list(evaluators)
    if task == 'all':
        return evaluators
    wanted = METRIC_OF_TASK[task]
    kinds = [evaluator['type'].split('.')[-1] for evaluator in evaluators]
    if wanted not in kinds:
        raise ValueError(
            f"--task {task}: the config's test_evaluator has no {wanted}, only {kinds}; "
            'add one or choose another task'
        )
    others = set(METRIC_OF_TASK.values()) - {wanted}
    return [e for e, kind in zip(evaluators, kinds, strict=True) if kind not in others]
