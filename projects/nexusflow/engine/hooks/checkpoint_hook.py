# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Checkpoints that survive a kill at any moment, also in the middle of being written."""

from __future__ import annotations

import os
from pathlib import Path

from mmdet3d.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

BACKEND = 'nexus_atomic'


class AtomicLocalBackend(LocalBackend):
    """Local files that appear under their name when they are complete, and not before."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a temporary file beside ``filepath``, then rename it."""
        unfinished = f'{filepath}.tmp'
        super().put(obj, unfinished)
        os.replace(unfinished, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as :meth:`put` writes bytes."""
        self.put(obj.encode(encoding), filepath)


register_backend(BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class NexusCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, in an order that always leaves a checkpoint to resume from.

    The new checkpoint is written under a temporary name and renamed, ``last_checkpoint`` is written
    in the same way, and only then are superseded checkpoints removed. mmengine removes first and
    writes in place. The arguments are mmengine's; another ``backend_args`` than the default is used
    as it is.
    """

    def before_train(self, runner: Runner) -> None:
        """Choose the backend of local files, then do as mmengine does."""
        is_local = '://' not in str(self.out_dir or '')
        if self.backend_args is None and self.file_client_args is None and is_local:
            self.backend_args = {'backend': BACKEND}
        super().before_train(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save, point ``last_checkpoint`` at it, remove what is superseded."""
        superseded = self._remember(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            pointer = os.path.join(runner.work_dir, 'last_checkpoint')
            AtomicLocalBackend().put_text(self.last_ckpt, pointer)
            for path in superseded:
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)

    def _remember(self, runner: Runner, step: int) -> list[str]:
        """Add ``step`` to the kept checkpoints; the paths of those that it supersedes."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        full = len(self.keep_ckpt_ids) == self.max_keep_ckpts
        superseded = [self.keep_ckpt_ids[0]] if full else []
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return [
            self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            for old in superseded
        ]
