# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Partial labels for a detector that reduces its losses over the batch: sub-batches of one labelling each.

The detector runs once for every set of labelled tasks in the batch, and of its losses those of the labelled tasks are
kept. No sample is run twice, and for a detector whose loss is a mean over samples the result is the mean over the
labelled samples. Batch normalisation that is not frozen sees the sub-batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...supervision.masking import graph_zero, label_mask, labelled_count
from .hiding import hide


class Group(NamedTuple):
    """Samples of one labelling: the labelled tasks, and the samples' places in the batch."""

    tasks: tuple[str, ...]
    rows: list[int]


class PartialLabels:
    """Which losses and which label fields belong to which task.

    Args:
        losses: Task to patterns (as of a shell) of the names of its losses. Each loss belongs to one task.
        fields: Task to the label fields that it is trained on, see :func:`hide`.
    """

    def __init__(
        self, losses: Mapping[str, Sequence[str]], fields: Mapping[str, Sequence[str]]
    ) -> None:
        self.losses = dict(losses)
        self.fields = {task: frozenset(fields.get(task, ())) for task in losses}

    def labelled(self, sample: BaseDataElement) -> tuple[str, ...]:
        """The tasks that a sample is labelled for: its meta information 'tasks'; all, if it has none.

        Raises:
            KeyError: If it names a task that is not declared.
            TypeError: If it is a clip of samples: these have no losses of their own that could be left out.
        """
        if isinstance(sample, list | tuple):
            raise TypeError(
                "the samples are clips, of which 'losses' cannot leave out any: declare no 'losses', and let the "
                "detector read the samples' 'tasks' itself"
            )
        named = sample.get('tasks')
        if named is None:
            return tuple(self.losses)
        unknown = set(named) - set(self.losses)
        if unknown:
            raise KeyError(
                f"the sample's 'tasks' names {sorted(unknown)}, the adapter knows {list(self.losses)}"
            )
        return tuple(task for task in self.losses if task in named)

    def hide(self, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Hook before a data preprocessor: in training, samples lose the labels that they must not be trained on."""
        data = args[0]
        training = args[1] if len(args) > 1 else kwargs.get('training', False)
        if not training or data.get('data_samples') is None:
            return None
        samples = []
        for sample in data['data_samples']:
            tasks = self.labelled(sample)
            shown = frozenset().union(*(self.fields[task] for task in tasks))
            hidden = frozenset().union(*self.fields.values()) - shown
            samples.append(hide(sample, hidden) if hidden else sample)
        return ({**data, 'data_samples': samples}, *args[1:]), kwargs

    def groups(self, samples: Sequence[BaseDataElement], device: torch.device) -> list[Group]:
        """The labellings in a batch, in an order that all processes share.

        In distributed training a labelling that only another process has is there too, without samples: collective
        operations in the detector's forward pass then meet each other.

        Args:
            samples: The samples of this process.
            device: Where processes exchange what they have.
        """
        tasks = list(self.losses)
        rows: dict[int, list[int]] = {}
        for row, sample in enumerate(samples):
            code = sum(1 << tasks.index(task) for task in self.labelled(sample))
            rows.setdefault(code, []).append(row)
        present = torch.zeros(1 << len(tasks), dtype=torch.int32, device=device)
        present[list(rows)] = 1
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(present, op=dist.ReduceOp.MAX)
        return [
            Group(tuple(task for i, task in enumerate(tasks) if code >> i & 1), rows.get(code, []))
            for code in reversed(present.nonzero().flatten().tolist())
        ]

    def mix(
        self, groups: Sequence[Group], losses: Sequence[Mapping[str, Any]], detector: nn.Module
    ) -> dict[str, Tensor]:
        """Losses of the batch from those of its groups.

        Args:
            groups: The groups.
            losses: What the detector returned for each of them.
            detector: Its parameters hang on a loss without labelled samples, which is 0 and gives gradients of 0.

        Returns:
            Scalars. A loss is the mean over the samples that are labelled for its task (over all processes); what is
            no loss and no task's is the mean over all samples.

        Raises:
            KeyError: If a loss belongs to no task, or to more than one.
        """
        labelled = [tasks for tasks, rows in groups for _ in rows]
        device = next(detector.parameters()).device
        counts = {task: labelled_count(label_mask(labelled, task, device)) for task in self.losses}
        zero = None
        mixed = {}
        for name in dict.fromkeys(name for of_group in losses for name in of_group):
            task = self._task_of(name)
            terms = [
                _scalar(of_group[name]) * (len(rows) / (counts[task] if task else len(labelled)))
                for (tasks, rows), of_group in zip(groups, losses, strict=True)
                if rows and name in of_group and (task is None or task in tasks)
            ]
            if terms:
                mixed[name] = torch.stack(terms).sum()
                continue
            if zero is None:
                zero = graph_zero(*(p for p in detector.parameters() if p.requires_grad))
            mixed[name] = zero
        return mixed

    def _task_of(self, name: str) -> str | None:
        """The task that a loss belongs to; None for a statistic of none."""
        owners = [
            task
            for task, patterns in self.losses.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        if len(owners) > 1 or (not owners and 'loss' in name):
            raise KeyError(
                f"the detector's loss '{name}' belongs to {owners or 'no task'}; one task must declare it in 'losses'"
            )
        return owners[0] if owners else None


def take(inputs: Any, rows: Sequence[int], batch: int, name: str = 'inputs') -> Any:
    """Some samples of a batch of inputs: tensors, lists, or dictionaries of them.

    Args:
        inputs: What the data preprocessor made of B samples.
        rows: Places of the samples.
        batch: B.
        name: What errors call it.

    Raises:
        TypeError: If there is something whose first dimension is not the sample.
    """
    if isinstance(inputs, Mapping):
        return {key: take(value, rows, batch, f'{name}.{key}') for key, value in inputs.items()}
    if isinstance(inputs, Tensor) and inputs.ndim and len(inputs) == batch:
        return inputs[list(rows)]
    if isinstance(inputs, list | tuple) and len(inputs) == batch:
        return [inputs[row] for row in rows]
    if inputs is None:
        return None
    raise TypeError(
        f"'{name}' cannot be split by sample, which a batch of samples with different 'tasks' needs; make batches of "
        'one labelling each'
    )


def _scalar(loss: Tensor | Sequence[Tensor]) -> Tensor:
    """A loss as mmengine's ``parse_losses`` sums it: means, added up over a list."""
    if isinstance(loss, Tensor):
        return loss.mean()
    return torch.stack([part.mean() for part in loss]).sum()
