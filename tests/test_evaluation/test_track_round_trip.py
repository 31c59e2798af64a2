# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""A track from the tables to the judge: info file, box code, submission. Nothing may be lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmengine.structures import InstanceData

from nexusflow.datasets import NexusClipDataset
from nexusflow.datasets.info_file import load_info
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.evaluation import NexusTrackMetric
from nexusflow.evaluation.functional.fast_tracking import evaluate_fast
from nexusflow.evaluation.functional.official_tracking import evaluate_official
from nexusflow.evaluation.functional.submission import read_submission
from nexusflow.models.track.box_code import decode_boxes, encode_boxes

VERSION, SPLIT = 'v1.0-world', 'world_val'


@pytest.fixture(scope='module')
def round_trip(tiny_world, tmp_path_factory):
    """Info file of a world, and the submission made from the head's targets of every sample."""
    out = tmp_path_factory.mktemp('round_trip')
    info_file = convert(ConvertSpec(tiny_world, VERSION, out), progress=False)[SPLIT]
    pipeline = [dict(type='NexusLoadMultiViewImages'), dict(type='NexusPackClip')]
    dataset = NexusClipDataset(str(tiny_world), str(info_file), pipeline=pipeline, test_mode=True)
    metric = NexusTrackMetric(str(tiny_world), VERSION, SPLIT, out_dir=str(out))
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        (sample,) = dataset[index]['data_samples']
        truth = sample.gt_instances_3d
        sample.pred_instances_3d = InstanceData(
            bboxes_3d=decode_boxes(encode_boxes(truth.bboxes_3d)),
            labels_3d=truth.labels_3d,
            scores_3d=truth.labels_3d.float() * 0 + 0.5,
            track_ids=truth.instance_ids,
        )
        metric.process(None, [sample.to_dict()])
    metric.evaluate(len(dataset))
    return load_info(info_file), read_submission(out / 'tracking_submission.json')


@pytest.mark.parametrize('judge', [evaluate_official, evaluate_fast])
def test_judges_find_nothing_wrong(tiny_world, round_trip, judge):
    _, submission = round_trip
    metrics = judge(submission, tiny_world, VERSION, [SPLIT])[SPLIT].metrics
    assert metrics['AMOTA'] == pytest.approx(1.0)
    assert metrics['IDS'] == metrics['FN'] == metrics['FP'] == metrics['FRAG'] == 0
    assert metrics['TP'] > 0


def test_every_box_comes_back(tiny_world, round_trip):
    """Within a millimetre and a milliradian of the tables; height above ground included."""
    info, submission = round_trip
    tables = tiny_world / VERSION
    rows = json.loads((tables / 'sample_annotation.json').read_text())
    row_of = {(row['sample_token'], row['instance_token']): row for row in rows}
    compared = 0
    for sample in info['data_list']:
        instance_of = dict(zip(sample['instance_ids'], sample['instance_tokens'], strict=True))
        for box in submission['results'][sample['token']]:
            number = int(box['tracking_id'].split('/')[-1])
            row = row_of[sample['token'], instance_of[number]]
            assert box['translation'] == pytest.approx(row['translation'], abs=1e-3)
            assert box['size'] == pytest.approx(row['size'], abs=1e-3)
            assert abs(yaw_between(box['rotation'], row['rotation'])) < 1e-3
            compared += 1
    tracked = sum(len(boxes) for boxes in submission['results'].values())
    assert compared == tracked > 20


def yaw_between(one, other):
    """Angle between two rotations about z, radians."""
    half = np.arctan2(one[3], one[0]) - np.arctan2(other[3], other[0])
    return np.angle(np.exp(2j * half))
