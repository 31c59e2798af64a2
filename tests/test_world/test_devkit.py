# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The unmodified nuscenes-devkit on both sources: it loads, and the truth scores full marks."""

import json

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.eval.tracking.evaluate import TrackingEval
from nuscenes.eval.tracking.utils import category_to_tracking_name
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.utils.geometry_utils import BoxVisibility, view_points
from nuscenes.utils.splits import get_scenes_of_custom_split

from nexusflow.world.camera import nuscenes_like_rig
from nexusflow.world.parts import build_part, plan_parts
from nexusflow.world.render import SceneRenderer
from nexusflow.world.styles import style_for
from nexusflow.world.tokens import token

VERSION = 'v1.0-world'
META = dict.fromkeys(('use_camera', 'use_lidar', 'use_radar', 'use_map', 'use_external'), False)


@pytest.fixture(scope='module', params=['tiny_world', 'tiny_world_av2'])
def world(request):
    """Data root and loaded tables of each source."""
    root = request.getfixturevalue(request.param)
    return root, NuScenes(VERSION, str(root), verbose=False)


def read_splits(root):
    return json.loads((root / VERSION / 'splits.json').read_text())


def samples_of(nusc, split):
    names = set(get_scenes_of_custom_split(split, nusc))
    scenes = {row['token'] for row in nusc.scene if row['name'] in names}
    return [row for row in nusc.sample if row['scene_token'] in scenes]


def submission(nusc, split, kind):
    """The annotations themselves as a submission with distinct scores."""
    to_name = {'tracking': category_to_tracking_name, 'detection': category_to_detection_name}
    results = {}
    for sample in samples_of(nusc, split):
        results[sample['token']] = boxes = []
        for name in sample['anns']:
            row = nusc.get('sample_annotation', name)
            label = to_name[kind](row['category_name'])
            if label is None:
                continue
            attributes = [nusc.get('attribute', a)['name'] for a in row['attribute_tokens']]
            score = 0.5 + 0.4 * int(row['instance_token'][:6], 16) / 16**6
            boxes.append(
                {
                    'sample_token': sample['token'],
                    'translation': row['translation'],
                    'size': row['size'],
                    'rotation': row['rotation'],
                    'velocity': nusc.box_velocity(name)[:2].tolist(),
                    'tracking_id': row['instance_token'],
                    f'{kind}_name': label,
                    f'{kind}_score': score,
                    'attribute_name': attributes[0] if attributes else '',
                }
            )
    return {'meta': META, 'results': results}


def write_result(result, folder):
    path = folder / 'result.json'
    path.write_text(json.dumps(result))
    return str(path)


def test_tables_are_complete_and_consistent(world):
    root, nusc = world
    assert all((root / row['filename']).is_file() for row in nusc.sample_data)
    for scene in nusc.scene:
        chain, name = [], scene['first_sample_token']
        while name:
            chain.append(nusc.get('sample', name))
            name = chain[-1]['next']
        assert len(chain) == scene['nbr_samples']
        assert chain[-1]['token'] == scene['last_sample_token']
        times = np.array([sample['timestamp'] for sample in chain])
        assert np.allclose(np.diff(times), 500_000, atol=20_000)
        assert all(len(sample['data']) == 7 and sample['anns'] for sample in chain)
    for row in nusc.instance:
        first = nusc.get('sample_annotation', row['first_annotation_token'])
        last = nusc.get('sample_annotation', row['last_annotation_token'])
        assert first['prev'] == last['next'] == ''
    assert all(row['num_lidar_pts'] > 0 for row in nusc.sample_annotation)


def test_splits_are_disjoint_and_name_every_scene(world):
    root, nusc = world
    lists = read_splits(root)
    assert all(lists.values()), 'only splits with scenes are listed'
    train, val = set(lists.get('world_train', [])), set(lists['world_val'])
    assert not train & val
    assert train | val == {row['name'] for row in nusc.scene}
    cities = [set(names) for split, names in lists.items() if split.startswith('world_val_')]
    assert set.union(*cities) == val


def test_map_loads_and_carries_the_drive(world):
    root, nusc = world
    for log in nusc.log:
        city = NuScenesMap(str(root), log['location'])
        nodes = np.array([(row['x'], row['y']) for row in city.node])
        assert (nodes >= 0).all() and (nodes <= city.canvas_edge).all()
        (scene,) = (row for row in nusc.scene if row['log_token'] == log['token'])
        sample = nusc.get('sample', scene['first_sample_token'])
        while sample['next']:
            lidar = nusc.get('sample_data', sample['data']['LIDAR_TOP'])
            x, y, _ = nusc.get('ego_pose', lidar['ego_pose_token'])['translation']
            assert city.layers_on_point(x, y)['drivable_area'], 'the ego drives on the road'
            sample = nusc.get('sample', sample['next'])
        layers = ['road_divider', 'lane_divider', 'lane', 'ped_crossing']
        around = city.get_records_in_patch((x - 80, y - 80, x + 80, y + 80), layers, 'intersect')
        assert around['lane'] and (around['road_divider'] or around['lane_divider'])


def test_truth_has_full_marks_in_tracking(world, tmp_path):
    root, nusc = world
    config = config_factory('tracking_nips_2019')
    different = {tuple(scenes): split for split, scenes in read_splits(root).items()}
    for split in different.values():
        path = write_result(submission(nusc, split, 'tracking'), tmp_path)
        judge = TrackingEval(config, path, split, str(tmp_path), VERSION, str(root), verbose=False)
        metrics, _ = judge.evaluate()
        summary = metrics.serialize()
        assert summary['amota'] == pytest.approx(1.0, abs=1e-9), split
        assert summary['amotp'] == pytest.approx(0.0, abs=1e-4)
        assert summary['ids'] == summary['fp'] == summary['fn'] == 0


def test_truth_has_full_marks_in_detection(world, tmp_path):
    root, nusc = world
    config = config_factory('detection_cvpr_2019')
    for split in read_splits(root):
        path = write_result(submission(nusc, split, 'detection'), tmp_path)
        judge = DetectionEval(nusc, config, path, split, str(tmp_path), verbose=False)
        metrics, _ = judge.evaluate()
        present = {box.detection_name for box in judge.gt_boxes.all}
        assert 'car' in present
        for name in present:
            for distance, ap in metrics.serialize()['label_aps'][name].items():
                assert ap == pytest.approx(1.0, abs=1e-9), (split, name, distance)


def test_pictures_show_boxes_where_the_tables_project_them(tiny_world, tiny_spec):
    """Rendered owners of pixels against corners through the tables, with the devkit's own code."""
    nusc = NuScenes(VERSION, str(tiny_world), verbose=False)
    job = next(job for job in plan_parts(tiny_spec, 0) if job.split == 'val')
    part = build_part(job)
    scene = part.scenes[0]
    rig = nuscenes_like_rig(tiny_spec.image_size_wh)
    renderer = SceneRenderer(part.city_map, scene, rig, style_for(scene.location), 0)
    checked = 0
    for frame in (0, 3):
        rendered = renderer.render(frame, with_ids=True)
        sample = nusc.get('sample', token('sample', scene.name, frame))
        boxes = {nusc.get('sample_annotation', a)['instance_token']: a for a in sample['anns']}
        for camera in rig:
            ids = rendered.ids[camera.channel]
            for index in np.unique(ids[ids >= 0]):
                pixels = np.argwhere(ids == index)[:, ::-1]
                instance = token('instance', scene.name, scene.tracks[index].name)
                if instance not in boxes:
                    assert rendered.num_lidar_pts[index] == 0 or _is_far(scene, index, frame)
                    continue
                corners = _corners_px(nusc, sample['data'][camera.channel], boxes[instance])
                if corners is None:
                    continue
                low, high = corners.min(axis=0) - 1.5, corners.max(axis=0) + 0.5
                assert (pixels >= low).all() and (pixels <= high).all(), scene.tracks[index]
                checked += 1
    assert checked >= 15


def _is_far(scene, index, frame):
    track = scene.tracks[index]
    center = track.center_m[list(track.frames).index(frame), :2]
    return np.linalg.norm(center - scene.ego_xy_m[frame]) > 70.0


def _corners_px(nusc, camera_token, annotation):
    """(8, 2) corners in pixels, by the devkit; None if a corner is behind the camera."""
    _, (box,), intrinsic = nusc.get_sample_data(
        camera_token, BoxVisibility.NONE, selected_anntokens=[annotation]
    )
    corners = box.corners()
    if corners[2].min() < 0.5:
        return None
    return view_points(corners, intrinsic, normalize=True)[:2].T
