# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""tools/infer.py on an info file, with a small model that answers with the labels."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from nexusflow.datasets.info_file import load_info, save_info
from nexusflow.visualization.canvas import read_image

ROOT = Path(__file__).resolve().parents[2]
KEYFRAME = ROOT.parent / 'shared' / 'data' / 'nuscenes_keyframe'
CONFIG = """
default_scope = 'mmdet3d'
custom_imports = dict(imports=['nexusflow.datasets', 'nexusflow.models'])
model = dict(type='LabelEcho', data_preprocessor=dict(type='NexusDataPreprocessor'))
test_dataloader = dict(dataset=dict(
    type='NexusClipDataset', data_root='elsewhere', ann_file='other.pkl', test_mode=True,
    pipeline=[
        dict(type='NexusLoadMultiViewImages'),
        dict(type='NexusImageAug', size_hw=(48, 96), deterministic=True),
        dict(type='NexusPackClip'),
    ],
))
"""


@MODELS.register_module()
class LabelEcho(BaseModel):
    """Predicts the labels, with one weight as the score."""

    def __init__(self, data_preprocessor=None, regulariser=None):
        super().__init__(data_preprocessor)
        assert regulariser is None
        self.score = torch.nn.Parameter(torch.tensor(0.25))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'predict'
        assert inputs['img'].shape[1:] == (1, 6, 3, 48, 96)
        samples = [sample for clip in data_samples for sample in clip]
        for sample in samples:
            boxes, lines = sample.gt_instances_3d, sample.gt_map
            sample.pred_instances_3d = InstanceData(
                bboxes_3d=boxes.bboxes_3d,
                labels_3d=boxes.labels_3d,
                scores_3d=self.score.expand(len(boxes.labels_3d)),
                track_ids=boxes.instance_ids,
            )
            sample.pred_map = InstanceData(
                labels=lines.labels, pts_m=lines.pts_m, scores=self.score.expand(len(lines.labels))
            )
        return samples


@pytest.fixture(scope='module')
def infer():
    spec = importlib.util.spec_from_file_location('infer', ROOT / 'tools' / 'infer.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trained(tmp_path):
    """A config file and a checkpoint that also holds weights of a regulariser."""
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'epoch_1.pth'
    config.write_text(CONFIG)
    weights = {'score': torch.tensor(0.75), 'regulariser.flow.weight': torch.zeros(3)}
    torch.save({'state_dict': weights, 'meta': {'epoch': 1}}, checkpoint)
    return [str(config), str(checkpoint)]


def test_predictions_and_pictures(infer, trained, drawn_data, tmp_path, capsys):
    out = tmp_path / 'out'
    infer.main([*trained, str(drawn_data.info_file), '--out-dir', str(out), '--limit', '2'])
    content = json.loads((out / 'predictions.json').read_text())
    assert content['meta']['frame'] == 'lidar'
    assert list(content['results']) == ['scene-0-0', 'scene-0-1']
    sample = load_info(drawn_data.info_file)['data_list'][1]
    record = content['results']['scene-0-1']
    assert [box['name'] for box in record['boxes']] == ['car', 'car', 'pedestrian']
    assert [box['track_id'] for box in record['boxes']] == [0, 1, 2]
    for box, true in zip(record['boxes'], sample['boxes'], strict=True):
        assert box['xyz_lwh_yaw'][:6] == pytest.approx(true[:6].tolist(), abs=1e-3)
        assert np.cos(box['xyz_lwh_yaw'][6] - true[6]) == pytest.approx(1.0, abs=1e-6)
        assert box['score'] == 0.75
    assert {line['name'] for line in record['map']} == {'divider', 'ped_crossing', 'boundary'}
    assert all(len(line['pts_m']) == 20 for line in record['map'])
    pictures = sorted((out / 'pictures').iterdir())
    assert [p.name for p in pictures] == ['scene-0_0000.png', 'scene-0_0001.png']
    assert read_image(pictures[0]).std() > 10
    assert 'predictions.json' in capsys.readouterr().out


def test_samples_without_labels(infer, trained, drawn_data, tmp_path):
    info = load_info(drawn_data.info_file)
    bare = info['data_list'][0] | {'map_vectors': None, 'instance_tokens': []}
    for key in ('boxes', 'velocity', 'labels', 'instance_ids', 'num_pts', 'visibility'):
        bare[key] = bare[key][:0]
    path = tmp_path / 'bare.pkl'
    save_info(path, {'metainfo': info['metainfo'], 'data_list': [bare]})
    out = tmp_path / 'out'
    root = str(drawn_data.root)
    infer.main([*trained, str(path), '--data-root', root, '--out-dir', str(out)])
    (record,) = json.loads((out / 'predictions.json').read_text())['results'].values()
    assert record['boxes'] == record['map'] == []
    assert len(list((out / 'pictures').iterdir())) == 1


@pytest.mark.skipif(not KEYFRAME.is_dir(), reason='the real key frame is not here')
def test_real_key_frame(infer, trained, tmp_path):
    (info,) = KEYFRAME.glob('*.pkl')
    infer.main([*trained, str(info), '--out-dir', str(tmp_path / 'out')])
    (record,) = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['results'].values()
    assert len(record['boxes']) > 10
    assert len(list((tmp_path / 'out' / 'pictures').iterdir())) == 1


def test_a_work_dir_stands_for_its_latest_checkpoint(infer, trained, drawn_data, tmp_path):
    (tmp_path / 'last_checkpoint').write_text(trained[1])
    out = ['--out-dir', str(tmp_path / 'out'), '--limit', '1']
    infer.main([trained[0], str(tmp_path), str(drawn_data.info_file), *out])
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert content['meta']['checkpoint'] == trained[1]


def test_the_first_gpu_is_the_default_device(infer, monkeypatch):
    for there, device in ((True, 'cuda:0'), (False, 'cpu')):
        monkeypatch.setattr('torch.cuda.is_available', lambda there=there: there)
        assert infer.parse_args(['c.py', 'c.pth', 'i.pkl']).device == device


def test_other_weights_are_refused(infer, trained, drawn_data, tmp_path):
    torch.save({'state_dict': {'scoer': torch.tensor(0.75)}}, trained[1])
    with pytest.raises(
        ValueError, match=r"epoch_1\.pth: does not fit .*1 weights are missing \['score'\]"
    ):
        infer.main([*trained, str(drawn_data.info_file), '--out-dir', str(tmp_path / 'out')])
    with pytest.raises(FileNotFoundError, match="checkpoint 'none.pth' does not exist"):
        infer.main([trained[0], 'none.pth', str(drawn_data.info_file)])
