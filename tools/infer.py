#!/usr/bin/env python
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Run a trained model on any info file; write its predictions and a picture of every sample.

The info file may be one of ours or mmdet3d's (schema 1.x), with labels or without.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.registry import init_default_scope
from torch import nn
from tqdm import tqdm

from nexusflow.engine.cli import add_device_argument, require_checkpoint
from nexusflow.engine.loading import build_model
from nexusflow.evaluation.functional.files import write_json
from nexusflow.evaluation.metrics.arrays import box_arrays, map_arrays, to_numpy
from nexusflow.visualization.canvas import write_image
from nexusflow.visualization.content import content_of_labels, content_of_predictions
from nexusflow.visualization.hook import picture_name
from nexusflow.visualization.sheet import cameras_of_sample, sample_sheet


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the model was trained with')
    parser.add_argument('checkpoint', help='checkpoint file, or a work dir: its latest')
    parser.add_argument('info', help='info file (.pkl) of the samples')
    parser.add_argument('--data-root', help="start of its image paths (default: the info's folder)")
    parser.add_argument('--out-dir', help='folder of the results (default: work_dirs/infer/INFO)')
    add_device_argument(parser)
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score in pictures')
    parser.add_argument('--limit', type=int, help='stop after so many samples')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override settings')
    return parser.parse_args(argv)


def build_dataset(cfg: Config, info: str, data_root: str | None) -> BaseDataset:
    """The config's test data set on another info file; labels and supervision do not matter."""
    settings = dict(cfg.test_dataloader.dataset)
    settings.pop('supervision', None)
    settings |= {'ann_file': str(Path(info).resolve()), 'test_mode': True}
    settings['data_root'] = str(Path(data_root) if data_root else Path(info).parent)
    return DATASETS.build(settings)


def run(model: nn.Module, dataset: BaseDataset, limit: int | None) -> Iterator[Any]:
    """Predicted data samples in the order of the data set, scene after scene."""
    number = len(dataset) if limit is None else min(limit, len(dataset))
    for index in tqdm(range(number), desc='samples', unit='sample'):
        with torch.no_grad():
            yield from model.test_step(pseudo_collate([dataset[index]]))


def prediction_record(
    sample: Any, map_classes: Sequence[str], track_classes: Sequence[str]
) -> dict[str, Any]:
    """All predictions of a sample as plain containers; lidar frame, metres, radians, m/s."""
    lines = map_arrays(dict(sample.pred_map.items()))
    found = sample.pred_instances_3d
    arrays = box_arrays(found.bboxes_3d)
    fields = (found.labels_3d, found.scores_3d, found.track_ids)
    labels, scores, ids = (to_numpy(value).tolist() for value in fields)
    return {
        'scene_name': sample.metainfo['scene_name'],
        'frame_idx': int(sample.metainfo['frame_idx']),
        'boxes': [
            {
                'name': track_classes[labels[i]],
                'score': scores[i],
                'track_id': ids[i],
                'xyz_lwh_yaw': arrays.boxes[i].round(4).tolist(),
                'velocity': np.nan_to_num(arrays.velocity[i]).round(4).tolist(),
            }
            for i in range(len(labels))
        ],
        'map': [
            {
                'name': map_classes[int(lines.labels[i])],
                'score': float(lines.scores[i]),
                'pts_m': lines.pts_m[i].round(4).tolist(),
            }
            for i in range(len(lines.labels))
        ],
    }


def draw(sample: Any, map_classes: Sequence[str], score_thr: float) -> Any:
    """Cameras with the predictions, beside the view from above; labels too where there are any."""
    meta = sample.metainfo
    truth = content_of_labels(sample, map_classes)
    found = content_of_predictions(sample, map_classes, score_thr, score_thr)
    panels = [('prediction', found)]
    if len(truth.boxes) or len(truth.lines):
        panels.insert(0, ('ground truth', truth))
    title = f'{meta["location"]}   {meta["scene_name"]}   frame {meta["frame_idx"]}'
    return sample_sheet(title.strip(), cameras_of_sample(sample), panels)


def main(argv: Sequence[str] | None = None) -> None:
    """Predict, draw, write."""
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet3d'))
    out_dir = Path(args.out_dir or Path('work_dirs') / 'infer' / Path(args.info).stem)
    dataset = build_dataset(cfg, args.info, args.data_root)
    checkpoint = require_checkpoint(args.checkpoint)
    model = build_model(cfg, checkpoint, args.device)
    classes = [list(dataset.metainfo[key]) for key in ('map_classes', 'track_classes')]
    results = {}
    for sample in run(model, dataset, args.limit):
        results[sample.metainfo['token']] = prediction_record(sample, *classes)
        picture = draw(sample, classes[0], args.score_thr)
        write_image(out_dir / 'pictures' / picture_name(sample.metainfo), picture)
    meta = {'schema': 'nexusflow-predictions', 'schema_version': 1, 'frame': 'lidar', 'units': 'm'}
    meta |= {'config': args.config, 'checkpoint': checkpoint, 'info': args.info}
    write_json(out_dir / 'predictions.json', {'meta': meta, 'results': results})
    print(f'{len(results)} samples: {out_dir / "predictions.json"}, {out_dir / "pictures"}')


if __name__ == '__main__':
    main()
