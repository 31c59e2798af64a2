# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The mmengine metrics: fields of data samples in, named numbers out, on one process and on two."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gloo_group import gloo_group
from mmdet3d.registry import METRICS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from nexusflow.datasets.info_file import load_plain, save_plain
from nexusflow.evaluation import NexusMapMetric, NexusTrackMetric
from nexusflow.evaluation.functional.map_results import read_map_results
from nexusflow.evaluation.functional.submission import read_submission, tracks_from_submission
from nexusflow.geometry.polylines import resample

MAP_CLASSES = ['divider', 'ped_crossing', 'boundary']
TRACK_CLASSES = ['car', 'truck', 'bus', 'trailer', 'pedestrian', 'motorcycle', 'bicycle']


def map_vectors(x):
    ring = np.array([[x, 0], [x + 2, 0], [x + 2, 5], [x, 5], [x, 0]], dtype=np.float32)
    return {
        'divider': [np.array([[x, -9], [x, 9]], np.float32)],
        'ped_crossing': [ring],
        'boundary': [np.array([[x + 4, -9], [x + 5, 9]], np.float32)],
    }


def camera(name):
    return {
        'img_path': f'{name}.jpg',
        'cam2img': np.eye(3),
        'cam2ego': np.eye(4),
        'lidar2cam': np.eye(4),
        'width': 8,
        'height': 6,
    }


def info_sample(token, location, index):
    none = np.zeros(0, dtype=np.int64)
    names = ('FRONT', 'FRONT_RIGHT', 'FRONT_LEFT', 'BACK', 'BACK_LEFT', 'BACK_RIGHT')
    sample = {'token': token, 'location': location, 'frame_idx': index, 'prev': '', 'next': ''}
    sample |= {'scene_token': location, 'scene_name': location, 'timestamp_us': index}
    sample |= {'time_s': 0.5 * index, 'ego2global': np.eye(4), 'lidar2ego': np.eye(4)}
    sample |= {'images': {f'CAM_{n}': camera(n) for n in names}, 'instance_tokens': []}
    sample |= {'boxes': np.zeros((0, 7), np.float32), 'velocity': np.zeros((0, 2), np.float32)}
    sample |= {key: none for key in ('labels', 'instance_ids', 'num_pts', 'visibility')}
    return sample | {'map_vectors': map_vectors(float(index))}


@pytest.fixture
def info_file(tmp_path):
    samples = [info_sample(t, 'boston-seaport', i) for i, t in enumerate('abc')]
    samples.append(info_sample('d', 'singapore-onenorth', 0))
    meta = {'schema': 'nexusflow', 'schema_version': 1, 'frame': 'lidar', 'version': 'v1.0-world'}
    meta |= {'split': 'world_val', 'map_classes': MAP_CLASSES, 'map_range_m': [-15, -30, 15, 30]}
    meta['categories'] = ['car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle']
    meta['categories'] += ['motorcycle', 'pedestrian', 'traffic_cone', 'barrier']
    save_plain(tmp_path / 'infos.pkl', {'metainfo': meta, 'data_list': samples})
    return tmp_path / 'infos.pkl'


def map_sample(token, x, empty=False):
    """A data sample that predicts the true map of ``x``, or nothing."""
    vectors = [line for lines in map_vectors(x).values() for line in lines][: 0 if empty else None]
    sample = Det3DDataSample(metainfo={'token': token})
    sample.pred_map = InstanceData(
        labels=torch.arange(len(vectors)),
        scores=torch.linspace(0.9, 0.5, len(vectors)),
        pts_m=torch.as_tensor(resample(vectors, 20), dtype=torch.float32),
    )
    return sample


def test_map_metric_scores_locations_and_writes_predictions(info_file, tmp_path):
    out_file = tmp_path / 'out' / 'map.json'
    metric = {'type': 'NexusMapMetric', 'ann_file': info_file.name, 'data_root': str(tmp_path)}
    evaluator = Evaluator(METRICS.build(metric | {'out_file': str(out_file)}))
    samples = [map_sample('a', 0), map_sample('b', 1), map_sample('c', 2)]
    evaluator.process(samples)
    evaluator.process([map_sample('a', 0), map_sample('d', 0, empty=True)])  # 'a' came twice
    scores = evaluator.evaluate(4)
    assert scores['map/boston-seaport/mAP'] == 1.0
    assert scores['map/singapore-onenorth/mAP'] == 0.0
    assert scores['map/mAP'] == scores['map/AP_divider'] == scores['map/AP_divider@0.5'] == 0.75
    assert list(read_map_results(out_file, MAP_CLASSES)) == ['a', 'b', 'c', 'd']


def test_map_metric_draws_too(info_file):
    metric = NexusMapMetric(str(info_file), mode='streammapnet', raster_iou=True, raster_ap=True)
    shares = [('a', 0), ('b', 1), ('c', 2), ('d', 0)]
    metric.process(None, [map_sample(token, x).to_dict() for token, x in shares])
    scores = metric.evaluate(4)
    for place in ('', 'boston-seaport/', 'singapore-onenorth/'):
        for name in ('mAP', 'AP_divider@0.5', 'raster_AP_divider'):
            assert scores[f'map/{place}{name}'] == 1.0
        for name in ('IoU_lanes', 'IoU_crossing', 'raster_mAP'):  # 20 points cut a ring's corners
            assert 0.7 < scores[f'map/{place}{name}'] <= 1.0


def test_map_metric_of_a_subset(info_file):
    metric = NexusMapMetric(str(info_file), subset='city:boston-*')
    metric.process(None, [map_sample(t, x).to_dict() for t, x in (('a', 0), ('b', 1), ('c', 2))])
    scores = metric.evaluate(3)
    assert scores['map/mAP'] == scores['map/boston-seaport/mAP'] == 1.0
    assert not any('singapore' in name for name in scores)


def test_map_metric_misses_samples(info_file):
    metric = NexusMapMetric(str(info_file))
    metric.process(None, [map_sample('a', 0).to_dict()])
    with pytest.raises(ValueError, match='3 samples without a prediction'):
        metric.evaluate(4)


def test_map_metric_checks_its_arguments(info_file):
    with pytest.raises(ValueError, match="unknown map evaluation mode 'x'"):
        NexusMapMetric(str(info_file), mode='x')
    with pytest.raises(ValueError, match=r"infos\.pkl: no map class \['centerline'\]"):
        NexusMapMetric(str(info_file), map_classes=['centerline'])


def test_map_metric_judges_three_classes_of_a_file_with_centre_lines(info_file):
    """The default of the data set; centre lines that nobody predicts would lower the mean."""
    info = load_plain(info_file)
    info['metainfo']['map_classes'] = [*MAP_CLASSES, 'centerline']
    for sample in info['data_list']:
        sample['map_vectors']['centerline'] = [np.array([[0, -9], [0, 9]], np.float32)]
    save_plain(info_file, info)
    metric = NexusMapMetric(str(info_file), subset='city:singapore-*')
    metric.dataset_meta = {'map_classes': tuple(MAP_CLASSES)}
    metric.process(None, [map_sample('d', 0).to_dict()])
    assert metric.evaluate(1)['map/mAP'] == 1.0


def test_map_metric_refuses_a_data_set_of_other_classes_before_any_prediction(info_file):
    evaluator = Evaluator(NexusMapMetric(str(info_file)))
    with pytest.raises(ValueError, match=r"labels \['boundary'\], the metric judges \['divider'"):
        evaluator.dataset_meta = {'map_classes': ('boundary',)}


def rank_main(rank, folder, info_file, queue):
    """One of two processes: a whole scene each, rank 0 with a padded duplicate."""
    with gloo_group(rank, folder):
        metric = NexusMapMetric(info_file)
        mine = [('a', 0), ('b', 1), ('c', 2), ('c', 2)] if rank == 0 else [('d', 5)]
        metric.process(None, [map_sample(token, x).to_dict() for token, x in mine])
        scores = metric.evaluate(4)
        queue.put((rank, scores['map/mAP'], scores['map/boston-seaport/mAP']))


def test_two_processes_with_unequal_shares(info_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    arguments = (tmp_path, str(info_file), queue)
    processes = [
        context.Process(target=rank_main, args=(rank, *arguments), daemon=True) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    results = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    expected = NexusMapMetric(str(info_file))
    shares = [('a', 0), ('b', 1), ('c', 2), ('d', 5)]
    expected.process(None, [map_sample(token, x).to_dict() for token, x in shares])
    whole = expected.evaluate(4)['map/mAP']
    assert results == [(0, whole, 1.0), (1, whole, 1.0)]


def track_samples(world, drop=()):
    """Data samples that predict the ground truth of the small world from a turned lidar."""
    lidar2global = np.eye(4)
    lidar2global[:2, :2] = [[0, 1], [-1, 0]]
    lidar2global[:3, 3] = [3.0, 2.0, 1.8]
    for token, boxes in world.truth['results'].items():
        tracks = tracks_from_submission(boxes, lidar2global)
        keep = [i for i, name in enumerate(tracks.names) if name not in drop]
        tensor = np.concatenate([tracks.boxes, tracks.velocity], axis=1)[keep]
        sample = Det3DDataSample(
            metainfo={
                'token': token,
                'scene_name': token.split('-')[0],
                'lidar2global': lidar2global,
                'time_s': 0.5 * int(token.split('-')[1]),
            }
        )
        sample.pred_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(
                torch.as_tensor(tensor).float(), box_dim=9, origin=(0.5, 0.5, 0.5)
            ),
            labels_3d=torch.tensor([TRACK_CLASSES.index(tracks.names[i]) for i in keep]).long(),
            scores_3d=torch.full((len(keep),), 0.8),
            track_ids=torch.tensor([int(tracks.track_ids[i][-1]) for i in keep]).long(),
        )
        yield sample


def track_metric(world, **kwargs):
    cities = {'boston': 'small_boston', 'singapore': 'small_singapore'}
    config = {'type': 'NexusTrackMetric', 'data_root': str(world.root), 'version': world.version}
    config |= {'eval_set': 'small_val', 'city_eval_sets': cities}
    return METRICS.build(config | kwargs)


@pytest.mark.parametrize('official', [False, True])
def test_track_metric_scores_truth_as_one_whole_and_per_city(small_world, tmp_path, official):
    metric = track_metric(small_world, out_dir=str(tmp_path / 'out'), workers=2, official=official)
    metric.dataset_meta = {'track_classes': TRACK_CLASSES}
    evaluator = Evaluator(metric)
    evaluator.process(list(track_samples(small_world)))
    scores = evaluator.evaluate(12)
    for name in ('track/AMOTA', 'track/boston/AMOTA', 'track/singapore/AMOTA'):
        assert scores[name] == pytest.approx(1.0)
    assert scores['track/IDS'] == 0
    written = json.loads((tmp_path / 'out' / 'tracking_submission.json').read_text())
    truth = small_world.truth['results']
    for token, boxes in written['results'].items():
        for box, true in zip(boxes, truth[token], strict=True):
            assert box['translation'] == pytest.approx(true['translation'], abs=1e-3)
            assert box['size'] == pytest.approx(true['size'], abs=1e-3)
            assert box['velocity'] == pytest.approx(true['velocity'], abs=1e-3)
    assert Path(tmp_path / 'out' / 'small_boston' / 'metrics_summary.json').is_file()


def test_track_metric_without_boxes(small_world, monkeypatch):
    metric = track_metric(small_world, track_classes=TRACK_CLASSES, city_eval_sets=None)
    said = []
    module = sys.modules[NexusTrackMetric.__module__]
    monkeypatch.setattr(module, 'print_log', lambda message, **_: said.append(message))
    for sample in track_samples(small_world, drop=('car', 'pedestrian')):
        sample.pred_detections_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(torch.zeros(1, 9), box_dim=9),
            labels_3d=torch.zeros(1).long(),
            scores_3d=torch.full((1,), 0.25),
        )
        metric.process(None, [sample.to_dict()])
    scores = metric.evaluate(12)
    assert (scores['track/AMOTA'], scores['track/AMOTP']) == (0.0, 2.0)
    assert 'no track in 12 samples; the best detection scores 0.250' in said[0]
    assert 'AMOTA is 0. small_val: no boxes were submitted' in said[1]


def test_track_metric_judges_the_greedy_baseline_beside_the_tracks(small_world):
    """Every frame the model gives new ids; linking its detections by their velocity mends that."""
    metric = track_metric(small_world, track_classes=TRACK_CLASSES, greedy=True)
    for index, sample in enumerate(track_samples(small_world)):
        found = sample.pred_instances_3d
        sample.pred_detections_3d = InstanceData(
            bboxes_3d=found.bboxes_3d, labels_3d=found.labels_3d, scores_3d=found.scores_3d
        )
        found.track_ids = found.track_ids + 10 * index
        metric.process(None, [sample.to_dict()])
    scores = metric.evaluate(12)
    assert scores['track/IDS'] > 0
    assert scores['track_greedy/IDS'] == 0
    assert scores['track_greedy/AMOTA'] == pytest.approx(1.0)
    assert scores['track/AMOTA'] < 0.9
    assert scores['track_greedy/boston/AMOTA'] == pytest.approx(1.0)


def test_track_metric_links_the_boxes_of_the_tracks_where_there_are_no_detections(small_world):
    metric = track_metric(small_world, track_classes=TRACK_CLASSES, greedy=True)
    for sample in track_samples(small_world):
        metric.process(None, [sample.to_dict()])
    scores = metric.evaluate(12)
    assert scores['track_greedy/AMOTA'] == scores['track/AMOTA'] == pytest.approx(1.0)


def test_submission_alone_where_labels_are_not_public(small_world, tmp_path):
    metric = track_metric(small_world, out_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = {'track_classes': TRACK_CLASSES}
    metric.process(None, [sample.to_dict() for sample in track_samples(small_world)])
    assert metric.evaluate(0) == {}
    assert read_submission(tmp_path / 'tracking_submission.json')['results']
    with pytest.raises(ValueError, match='format_only writes the submission; set out_dir'):
        track_metric(small_world, format_only=True)


def test_track_metric_needs_class_names_eval_sets_and_motmetrics(small_world, monkeypatch):
    metric = track_metric(small_world)
    with pytest.raises(ValueError, match='set track_classes in the metric'):
        metric.process(None, [next(track_samples(small_world)).to_dict()])
    with pytest.raises(ValueError, match="no eval set 'nowhere'"):
        track_metric(small_world, city_eval_sets={'x': 'nowhere'})
    monkeypatch.setitem(sys.modules, 'motmetrics', None)
    track_metric(small_world)
    with pytest.raises(ImportError, match=r"pip install 'motmetrics==1\.4\.0'"):
        track_metric(small_world, official=True)
    assert NexusTrackMetric.default_prefix == 'track'
