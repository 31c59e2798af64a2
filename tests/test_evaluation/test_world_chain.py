# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The whole way of a label: tables, info file, data sample, prediction, judge. Nothing may be lost."""

from __future__ import annotations

import pytest
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from nexusflow.datasets import NexusClipDataset
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.evaluation import NexusMapMetric, NexusTrackMetric

PIPELINE = [dict(type='NexusLoadMultiViewImages'), dict(type='NexusPackClip')]


def echo(sample):
    """A data sample that predicts its own labels."""
    boxes, lines = sample.gt_instances_3d, sample.gt_map
    sample.pred_instances_3d = InstanceData(
        bboxes_3d=boxes.bboxes_3d,
        labels_3d=boxes.labels_3d,
        scores_3d=boxes.labels_3d.float() * 0 + 0.5,
        track_ids=boxes.instance_ids,
    )
    sample.pred_map = InstanceData(
        labels=lines.labels, pts_m=lines.pts_m, scores=lines.labels.float() * 0 + 0.5
    )
    return sample


def test_labels_of_a_world_score_one_everywhere(tiny_world, tmp_path):
    version, split = 'v1.0-world', 'world_val'
    info_file = convert(ConvertSpec(tiny_world, version, tmp_path), progress=False)[split]
    root = str(tiny_world)
    dataset = NexusClipDataset(root, str(info_file), pipeline=PIPELINE, test_mode=True)
    cities = dict(boston='world_val_boston', singapore='world_val_singapore')
    track = NexusTrackMetric(root, version, split, city_eval_sets=cities)
    evaluator = Evaluator([NexusMapMetric(str(info_file)), track])
    evaluator.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        evaluator.process([echo(sample) for sample in dataset[index]['data_samples']])
    scores = evaluator.evaluate(len(dataset))
    for name in ('', 'boston-seaport/', 'singapore-onenorth/'):
        assert scores[f'map/{name}mAP'] == pytest.approx(1.0)
    for name in ('', 'boston/', 'singapore/'):
        assert scores[f'track/{name}AMOTA'] == pytest.approx(1.0)
        assert scores[f'track/{name}AMOTP'] == pytest.approx(0.0, abs=1e-3)
        assert scores[f'track/{name}IDS'] == scores[f'track/{name}FN'] == 0
