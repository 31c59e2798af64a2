# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The judge of saved map predictions as a command."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from nexusflow.datasets.info_file import CATEGORIES, save_info
from nexusflow.evaluation.functional.map_results import ground_truth_lines, write_map_results

TOOL = Path(__file__).parents[2] / 'tools' / 'eval_map.py'
CLASSES = ['divider', 'ped_crossing', 'boundary']


def sample(token, location, crossings):
    """A sample without cameras and boxes: two lines, and perhaps a crossing."""
    ring = np.array([[0, 0], [4, 0], [4, 8], [0, 8], [0, 0]], np.float32)
    vectors = {
        'divider': [np.array([[-3, -20], [-3, 20]], np.float32)],
        'ped_crossing': [ring] if crossings else [],
        'boundary': [np.array([[9, -20], [9, 20]], np.float32)],
    }
    none = np.zeros(0, np.int64)
    out = {'token': token, 'scene_token': 's', 'scene_name': 's', 'frame_idx': 0, 'prev': ''}
    out |= {'next': '', 'timestamp_us': 0, 'time_s': 0.0, 'location': location, 'images': {}}
    out |= {'ego2global': np.eye(4), 'lidar2ego': np.eye(4), 'instance_tokens': []}
    out |= {'boxes': np.zeros((0, 7), np.float32), 'velocity': np.zeros((0, 2), np.float32)}
    out |= dict.fromkeys(('labels', 'instance_ids', 'num_pts', 'visibility'), none)
    return out | {'map_vectors': vectors}


@pytest.fixture
def files(tmp_path):
    """Info file, and a file that predicts its maps."""
    samples = [sample('a', 'boston-seaport', True), sample('b', 'singapore-onenorth', False)]
    meta = {'schema': 'nexusflow', 'schema_version': 1, 'frame': 'lidar', 'version': 'v'}
    meta |= {'split': 'world_val', 'map_classes': CLASSES, 'map_range_m': [-15, -30, 15, 30]}
    meta['categories'] = list(CATEGORIES)
    save_info(tmp_path / 'infos.pkl', {'metainfo': meta, 'data_list': samples})
    write_map_results(tmp_path / 'map.json', ground_truth_lines(samples, CLASSES), CLASSES)
    return tmp_path / 'map.json', tmp_path / 'infos.pkl'


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


@pytest.mark.parametrize('mode', ['maptr', 'streammapnet'])
def test_truth_scores_one(files, mode, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'scores.json'
    run(monkeypatch, *files, '--mode', mode, '--raster', '--raster-ap', '--json', out)
    content = json.loads(out.read_text())
    assert content['meta']['mode'] == mode and content['meta']['frame'] == 'lidar'
    assert content['meta']['samples'] == 2
    places = content['results']
    assert set(places) == {'all', 'boston-seaport', 'singapore-onenorth'}
    for scores in places.values():
        for name in ('mAP', 'AP_divider', 'AP_boundary@0.5', 'IoU_lanes', 'raster_mAP'):
            assert scores[name] == 1.0
    assert places['all']['AP_ped_crossing'] == places['all']['IoU_crossing'] == 1.0
    assert places['singapore-onenorth']['AP_ped_crossing'] is None
    assert places['all']['num_gt'] == {'divider': 2, 'ped_crossing': 1, 'boundary': 2}
    printed = capsys.readouterr().out
    assert f'mode {mode}, 2 samples of world_val' in printed
    assert 'nan' in printed and 'singapore-onenorth' in printed


def test_a_model_may_know_some_of_the_classes(files, tmp_path, monkeypatch):
    content = json.loads(files[0].read_text())
    content['meta']['map_classes'] = ['boundary']
    for result in content['results'].values():
        result |= {'pts_m': result['pts_m'][-1:], 'labels': [0], 'scores': [0.5]}
    files[0].write_text(json.dumps(content))
    out = tmp_path / 'scores.json'
    run(monkeypatch, *files, '--classes', 'boundary', '--json', out)
    scores = json.loads(out.read_text())['results']['all']
    assert scores['mAP'] == scores['AP_boundary'] == 1.0 and 'AP_divider' not in scores
    with pytest.raises(SystemExit, match=r"meta\.map_classes is \['boundary'\], expected"):
        run(monkeypatch, *files)


def test_faults_are_one_clear_error(files, monkeypatch, tmp_path):
    content = json.loads(files[0].read_text())
    del content['results']['b']
    files[0].write_text(json.dumps(content))
    with pytest.raises(
        SystemExit, match=r'error: .*map\.json against .*infos\.pkl: 1 samples without'
    ):
        run(monkeypatch, *files)
    content['meta']['frame'] = 'ego'
    files[0].write_text(json.dumps(content))
    with pytest.raises(SystemExit, match=r"error: .*map\.json: meta\.frame is 'ego'"):
        run(monkeypatch, *files)
    with pytest.raises(SystemExit, match=r'error: .*absent\.pkl'):
        run(monkeypatch, files[0], tmp_path / 'absent.pkl')
