#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Analyse a trained model's features on the validation set: how near the tasks are, how rich each is.

The features are those that a regulariser would see, with norms as at inference; no label is used.
Three spaces: 'pooled', the means over the raster of each head's feature, jointly standardised, which
every method has; 'embedding' and 'z', before and after the flows, of NexusFlow alone. Writes
OUT/analysis.json (squared MMD, CKA, effective rank, spectrum, t-SNE) and OUT/features.npz.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from nexusflow.engine.cli import add_device_argument, require_checkpoint
from nexusflow.engine.loading import build_model
from nexusflow.evaluation.feature_analysis import (
    POOLED,
    Z,
    analyse_space,
    collect_features,
    jointly_standardised,
    tsne,
)
from nexusflow.evaluation.functional.files import write_bytes, write_json


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file that the model was trained with')
    parser.add_argument('checkpoint', help='checkpoint file, or a work dir: its latest')
    parser.add_argument('--out', type=Path, required=True, help='folder of the results')
    parser.add_argument('--samples', type=int, default=200, help='spread over the validation set')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--seed', type=int, default=0, help='of the t-SNE')
    add_device_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    return parser.parse_args(argv)


def batches_of(dataset: Dataset, samples: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """Collated batches of samples spread evenly over a data set."""
    count = min(samples, len(dataset))
    chosen = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    for start in tqdm(range(0, count, batch_size), desc='features', unit='batch'):
        yield pseudo_collate([dataset[int(i)] for i in chosen[start : start + batch_size]])


def analysis_of(
    spaces: dict[str, dict[str, Tensor]], places: list[str], seed: int
) -> dict[str, Any]:
    """Everything that is reported of the features."""
    spaces = {**spaces, POOLED: jointly_standardised(spaces[POOLED])}
    maps = {
        name: {task: xy.round(3).tolist() for task, xy in tsne(spaces[name], seed).items()}
        for name in (POOLED, Z)
        if has_one_length(spaces.get(name))
    }
    return {
        'samples': len(places),
        'places': places,
        'spaces': {name: analyse_space(rows) for name, rows in spaces.items()},
        'tsne': maps,
    }


def has_one_length(rows: dict[str, Tensor] | None) -> bool:
    """Whether all tasks' vectors have one length."""
    return bool(rows) and len({vectors.shape[1] for vectors in rows.values()}) == 1


def main(argv: Sequence[str] | None = None) -> None:
    """Analyse."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet3d'))
    checkpoint = require_checkpoint(args.checkpoint)
    model = build_model(cfg, checkpoint, args.device, keep_regulariser=True)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    spaces, places = collect_features(model, batches_of(dataset, args.samples, args.batch_size))
    stream = io.BytesIO()
    arrays = {f'{s}/{t}': rows.numpy() for s, of in spaces.items() for t, rows in of.items()}
    np.savez(stream, places=np.array(places), **arrays)
    write_bytes(args.out / 'features.npz', stream.getvalue())
    write_json(args.out / 'analysis.json', analysis_of(spaces, places, args.seed))
    print(f'{len(places)} samples: {args.out / "analysis.json"}')


if __name__ == '__main__':
    main()
