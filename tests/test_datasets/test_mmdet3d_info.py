# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""mmdet3d's infos, a synthetic one and the real key frame: box centres land on their pixels."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from nexusflow.datasets import NexusClipDataset, load_info
from nexusflow.datasets.info_file import CAMERAS, InfoFileError, load_plain
from nexusflow.geometry.frames import project_points

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'nuscenes_keyframe'
CATEGORIES = {'car': 0, 'pedestrian': 1, 'tram': 2}


def synthetic_info(folder):
    """Boxes around the car, projected by plain arithmetic into six turned cameras."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate(
        [rng.uniform([-40, -40, -1], [40, 40, 1], (40, 3)), np.tile([4.0, 2, 1.5, 0.3], (40, 1))], 1
    )
    labels = rng.integers(0, 2, 40)
    focal, (cx, cy) = 150.0, (83.0, 41.0)
    images, cam_instances = {}, {}
    for i, name in enumerate(CAMERAS):
        angle = i * np.pi / 3
        right, forward = [np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]
        lidar2cam = np.eye(4)
        lidar2cam[:3, :3] = [right, [0, 0, -1], forward]
        lidar2cam[:3, 3] = rng.uniform(-0.5, 0.5, 3)
        cv2.imwrite(str(folder / f'{name}.jpg'), rng.integers(0, 255, (90, 160, 3), np.uint8))
        images[name] = {
            'img_path': f'{name}.jpg',
            'cam2img': [[focal, 0, cx], [0, focal, cy], [0, 0, 1]],
            'cam2ego': np.eye(4).tolist(),
            'lidar2cam': lidar2cam.tolist(),
        }
        found = []
        for box, label in zip(boxes, labels, strict=True):
            x, y, z = lidar2cam[:3, :3] @ box[:3] + lidar2cam[:3, 3]
            uv = [focal * x / z + cx, focal * y / z + cy]
            if z > 1 and 0 < uv[0] < 160 and 0 < uv[1] < 90:
                found.append({'bbox_label_3d': int(label), 'center_2d': uv})
        cam_instances[name] = found
    instances = [
        {
            'bbox_3d': box.tolist(),
            'bbox_label_3d': int(label),
            'velocity': [np.nan, np.nan],
            'num_lidar_pts': 1,
            'num_radar_pts': 1,
        }
        for box, label in zip(boxes, labels, strict=True)
    ]
    sample = {
        'sample_idx': 0,
        'token': 'abc',
        'timestamp': 1532402927.647951,
        'ego2global': np.eye(4).tolist(),
        'lidar_points': {'lidar2ego': np.eye(4).tolist()},
        'images': images,
        'instances': [*instances, {**instances[0], 'bbox_label_3d': 2}],
        'cam_instances': cam_instances,
    }
    meta = {'categories': CATEGORIES, 'version': 'v1.0-mini', 'info_version': '1.1'}
    return {'metainfo': meta, 'data_list': [sample]}


@pytest.fixture
def synthetic(tmp_path):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps(synthetic_info(tmp_path)))
    return path


def pixel_errors(path, size_hw, reduce):
    """Distance of each cam_instance's centre from the nearest projected box of its class."""
    pipeline = [
        {'type': 'NexusLoadMultiViewImages', 'reduce': reduce},
        {
            'type': 'NexusImageAug',
            'size_hw': size_hw,
            'scale_range': (1.1, 1.2),
            'deterministic': True,
        },
        {'type': 'NexusPackClip'},
    ]
    dataset = NexusClipDataset(str(path.parent), str(path), pipeline, test_mode=True)
    sample = dataset[0]['data_samples'][0]
    raw, own = load_plain(path)['data_list'][0], dataset.get_data_info(0)
    names = list(load_plain(path)['metainfo']['categories'])
    errors = []
    for c, camera in enumerate(sample.cam_names):
        pixels, depth = project_points(sample.lidar2img[c], own['boxes'][:, :3])
        resized2original = sample.ori_lidar2img[c] @ sample.img2lidar[c]
        homogeneous = np.concatenate(
            [pixels * depth[:, None], depth[:, None], depth[:, None] ** 0], 1
        )
        back = homogeneous @ resized2original.T
        original = back[:, :2] / back[:, 2:3]
        for instance in raw['cam_instances'][camera]:
            name = names[instance['bbox_label_3d']]
            same = (own['labels'] == dataset.metainfo['categories'].index(name)) & (depth > 0)
            errors.append(np.linalg.norm(original[same] - instance['center_2d'], axis=1).min())
    return np.array(errors)


def test_conversion(synthetic):
    info = load_info(synthetic)
    sample = info['data_list'][0]
    assert info['metainfo']['frame'] == 'lidar' and info['metainfo']['version'] == 'v1.0-mini'
    assert len(sample['boxes']) == 40, 'the tram is of no class'
    assert set(sample['labels']) == {0, 7}
    assert (sample['instance_ids'] == -1).all() and (sample['num_pts'] == 2).all()
    assert sample['map_vectors'] is None and sample['scene_token'] == sample['token'] == 'abc'
    assert sample['timestamp_us'] == 1532402927647951
    assert sample['images']['CAM_BACK']['img_path'] == 'CAM_BACK.jpg'


def test_images_that_are_not_beside_the_info_are_in_samples(synthetic):
    (synthetic.parent / 'CAM_BACK.jpg').unlink()
    images = load_info(synthetic)['data_list'][0]['images']
    assert images['CAM_BACK']['img_path'] == 'samples/CAM_BACK/CAM_BACK.jpg'


def test_missing_field_is_named(synthetic):
    info = load_plain(synthetic)
    del info['data_list'][0]['images']['CAM_FRONT']['lidar2cam']
    synthetic.write_bytes(pickle.dumps(info))
    with pytest.raises(InfoFileError, match=r"infos.pkl: an mmdet3d info needs 'lidar2cam'"):
        load_info(synthetic)


@pytest.mark.parametrize(('size_hw', 'reduce'), [((48, 96), 1), ((48, 96), 2), ((120, 200), 1)])
def test_centres_of_the_synthetic_frame(synthetic, size_hw, reduce):
    errors = pixel_errors(synthetic, size_hw, reduce)
    assert len(errors) > 20 and errors.max() < 1e-2


@pytest.mark.skipif(not REAL.is_dir(), reason='the real key frame is not here')
def test_centres_of_the_real_key_frame():
    (path,) = REAL.glob('*.pkl')
    for reduce in (1, 2):
        errors = pixel_errors(path, (256, 704), reduce)
        assert len(errors) == 84 and errors.max() < 0.1
