# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Conversion against the devkit, and its safety against kills."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal

import numpy as np
import pytest
from nuscenes.utils.geometry_utils import BoxVisibility

from nexusflow.datasets import nuscenes_converter
from nexusflow.datasets.info_file import CAMERAS, CATEGORIES, load_info, load_plain
from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
from nexusflow.geometry.boxes import boxes_to_global, velocity_to_global
from nexusflow.geometry.map_expansion import layers_of_tables, load_map_expansion
from nexusflow.geometry.vector_map import MapRules

VERSION = 'v1.0-world'


@pytest.fixture(scope='module')
def devkit(nuscenes_root):
    from nuscenes import NuScenes

    return NuScenes(VERSION, str(nuscenes_root), verbose=False)


@pytest.fixture(scope='module')
def info(info_dir):
    return load_info(info_dir / 'nexusflow_infos_world_train.pkl')


def spec_of(root, out):
    return ConvertSpec(root, VERSION, out)


def shards_of(spec):
    folder = spec.out_dir / f'.nexusflow_convert_{VERSION}_{spec.fingerprint()}'
    return folder


def assert_same(a, b):
    """Equal nested content, bit by bit (NaN equals NaN)."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_splits_and_order(info, info_dir):
    assert sorted(p.name for p in info_dir.iterdir()) == [
        'nexusflow_infos_world_train.pkl',
        'nexusflow_infos_world_val.pkl',
    ]
    assert [s['token'] for s in info['data_list']] == [
        *(f'left-1-{f}' for f in range(4)),
        *(f'right-1-{f}' for f in range(5)),
    ]
    sample = info['data_list'][5]
    assert (sample['prev'], sample['next']) == ('right-1-0', 'right-1-2')
    assert (sample['frame_idx'], sample['time_s']) == (1, 0.5)
    assert sample['location'] == 'boston-seaport'
    assert info['metainfo']['split'] == 'world_train'


def test_boxes_are_the_devkits(info, devkit):
    for sample in info['data_list']:
        lidar = devkit.get('sample', sample['token'])['data']['LIDAR_TOP']
        expected = {b.token: b for b in devkit.get_sample_data(lidar)[1] if b.name != 'animal'}
        assert len(sample['boxes']) == len(expected)
        annotations = [devkit.get('sample_annotation', t) for t in expected]
        by_instance = {a['instance_token']: expected[a['token']] for a in annotations}
        for i, instance in enumerate(sample['instance_tokens']):
            box = by_instance[instance]
            got = sample['boxes'][i]
            np.testing.assert_allclose(got[:3], box.center, atol=1e-4)
            np.testing.assert_allclose(got[[4, 3, 5]], box.wlh, atol=1e-5)
            heading = box.rotation_matrix[:2, 0] / np.linalg.norm(box.rotation_matrix[:2, 0])
            np.testing.assert_allclose([np.cos(got[6]), np.sin(got[6])], heading, atol=1e-5)
            assert CATEGORIES[sample['labels'][i]] in ('car', 'pedestrian', 'truck', 'bicycle')


def test_velocity_is_the_devkits(info, devkit):
    single = 0
    for sample in info['data_list']:
        pose = sample['ego2global'] @ sample['lidar2ego']
        got = velocity_to_global(sample['velocity'], pose)
        tokens = devkit.get('sample', sample['token'])['anns']
        annotations = [devkit.get('sample_annotation', t) for t in tokens]
        expected = {a['instance_token']: devkit.box_velocity(a['token'])[:2] for a in annotations}
        for velocity, instance in zip(got, sample['instance_tokens'], strict=True):
            np.testing.assert_allclose(velocity, expected[instance], atol=1e-4)
            single += int(np.isnan(velocity).all())
    assert single == 2


def test_boxes_return_to_the_annotations(info, devkit):
    for sample in info['data_list']:
        pose = sample['ego2global'] @ sample['lidar2ego']
        back = boxes_to_global(sample['boxes'], pose)
        tokens = devkit.get('sample', sample['token'])['anns']
        annotations = {
            a['instance_token']: a for a in (devkit.get('sample_annotation', t) for t in tokens)
        }
        for box, instance in zip(back, sample['instance_tokens'], strict=True):
            np.testing.assert_allclose(box[:3], annotations[instance]['translation'], atol=1e-3)
            yaw = devkit.get_box(annotations[instance]['token']).orientation.yaw_pitch_roll[0]
            assert abs(np.angle(np.exp(1j * (box[6] - yaw)))) < 1e-3


def test_cameras_include_the_ego_motion(info, devkit):
    for sample in info['data_list'][:3]:
        data = devkit.get('sample', sample['token'])['data']
        lidar_boxes = devkit.get_sample_data(data['LIDAR_TOP'])[1]
        assert list(sample['images']) == list(CAMERAS)
        for name, camera in sample['images'].items():
            _, boxes, intrinsic = devkit.get_sample_data(data[name], BoxVisibility.NONE)
            np.testing.assert_allclose(camera['cam2img'], intrinsic)
            for lidar_box, box in zip(lidar_boxes, boxes, strict=True):
                point = camera['lidar2cam'] @ [*lidar_box.center, 1.0]
                np.testing.assert_allclose(point[:3], box.center, atol=1e-4)


def test_map_vectors(info):
    vectors = info['data_list'][0]['map_vectors']
    assert {k: len(v) for k, v in vectors.items()} == {
        'divider': 1,
        'ped_crossing': 1,
        'boundary': 3,
    }
    ring = vectors['ped_crossing'][0]
    assert ring.dtype == np.float32
    np.testing.assert_array_equal(ring[0], ring[-1])


def test_map_layers_are_the_devkits(nuscenes_root):
    from nuscenes.map_expansion.map_api import NuScenesMap

    city = NuScenesMap(str(nuscenes_root), 'boston-seaport')
    path = nuscenes_root / 'maps' / 'expansion' / 'boston-seaport.json'
    layers = load_map_expansion(path)
    records = [*city.road_segment, *city.lane]
    assert len(layers.road_surface) == len(records) == 3
    for ours, record in zip(layers.road_surface, records, strict=True):
        assert ours.equals(city.extract_polygon(record['polygon_token']))
    assert layers.ped_crossings[0].equals(
        city.extract_polygon(city.ped_crossing[0]['polygon_token'])
    )
    assert layers.dividers[0].equals(city.extract_line(city.road_divider[0]['line_token']))
    in_memory = layers_of_tables(city.json_obj)
    assert in_memory.dividers == layers.dividers and in_memory.road_surface == layers.road_surface


def test_instance_ids_are_unique_per_object(info):
    pairs = {
        (t, int(i))
        for s in info['data_list']
        for t, i in zip(s['instance_tokens'], s['instance_ids'], strict=True)
    }
    assert len(pairs) == len({t for t, _ in pairs}) == len({i for _, i in pairs}) == 8


def test_workers_do_not_matter(nuscenes_root, info_dir, tmp_path):
    paths = convert(spec_of(nuscenes_root, tmp_path), workers=2, progress=False)
    for path in paths.values():
        assert_same(load_info(path), load_info(info_dir / path.name))


def test_goes_on_from_finished_scenes_only(nuscenes_root, info_dir, tmp_path, monkeypatch):
    spec = spec_of(nuscenes_root, tmp_path)
    original = nuscenes_converter.scene_samples
    calls = []

    def killed_in_second_scene(scene, *args):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(scene.name)
        return original(scene, *args)

    monkeypatch.setattr(nuscenes_converter, 'scene_samples', killed_in_second_scene)
    with pytest.raises(KeyboardInterrupt):
        convert(spec, progress=False)
    assert list(tmp_path.glob('*.pkl')) == []
    assert [p.name for p in shards_of(spec).iterdir()] == ['left-1.pkl']

    def count(scene, *args):
        calls.append(scene.name)
        return original(scene, *args)

    monkeypatch.setattr(nuscenes_converter, 'scene_samples', count)
    paths = convert(spec, progress=False)
    assert calls == ['left-1', 'left-2', 'right-1']
    assert not shards_of(spec).exists()
    for path in paths.values():
        assert_same(load_info(path), load_info(info_dir / path.name))


def _convert_until_killed(spec, num_writes):
    """Convert, and be killed with half of a file written."""
    original = pickle.dump
    written = []

    def dump(content, file, protocol):
        written.append(1)
        if len(written) == num_writes:
            file.write(pickle.dumps(content, protocol)[:5000])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        original(content, file, protocol)

    pickle.dump = dump
    convert(spec, progress=False)


@pytest.mark.parametrize('num_writes', [2, 5])
def test_killed_in_the_middle_of_a_write(nuscenes_root, info_dir, tmp_path, num_writes):
    """The second write is a scene's shard, the fifth the second info file."""
    spec = spec_of(nuscenes_root, tmp_path)
    child = multiprocessing.get_context('fork').Process(
        target=_convert_until_killed, args=(spec, num_writes)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.rglob('.*.tmp'))) == 1
    assert len(list(tmp_path.glob('*.pkl'))) == (num_writes == 5)
    paths = convert(spec, progress=False)
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())
    for path in paths.values():
        assert_same(load_info(path), load_info(info_dir / path.name))


def test_untrustworthy_shards_are_made_again(nuscenes_root, info_dir, tmp_path):
    spec = spec_of(nuscenes_root, tmp_path)
    shards = shards_of(spec)
    shards.mkdir()
    whole = (info_dir / 'nexusflow_infos_world_val.pkl').read_bytes()
    (shards / 'left-1.pkl').write_bytes(whole[: len(whole) // 2])
    nuscenes_converter.save_plain(
        shards / 'left-2.pkl', {'fingerprint': 'other', 'samples': [], 'repaired': {}}
    )
    (shards / '.right-1.pkl.77.tmp').write_bytes(b'half')
    for path in convert(spec, progress=False).values():
        assert_same(load_info(path), load_info(info_dir / path.name))


def test_up_to_date_files_are_kept_and_stale_ones_not(nuscenes_root, tmp_path):
    root = tmp_path / 'root'
    shutil.copytree(nuscenes_root, root, ignore=shutil.ignore_patterns('samples'))
    spec = spec_of(root, tmp_path)
    path = convert(spec, progress=False)['world_val']
    stamp = path.stat().st_mtime_ns
    convert(spec, progress=False)
    assert path.stat().st_mtime_ns == stamp
    convert(spec, progress=False, force=True)
    assert path.stat().st_mtime_ns > stamp
    expansion = root / 'maps' / 'expansion' / 'singapore-onenorth.json'
    city = json.loads(expansion.read_text())
    city['ped_crossing'] = []
    expansion.write_text(json.dumps(city))
    convert(spec, progress=False)
    assert load_info(path)['data_list'][0]['map_vectors']['ped_crossing'] == []


def test_without_maps(nuscenes_root, tmp_path):
    spec = ConvertSpec(nuscenes_root, VERSION, tmp_path, with_maps=False)
    path = convert(spec, progress=False)['world_val']
    assert all(s['map_vectors'] is None for s in load_info(path)['data_list'])


def test_map_rules_and_faults_reach_the_info_file(nuscenes_root, tmp_path):
    """Two crossings that touch at a right angle, a bow tie, a lane without path and one with."""
    root = tmp_path / 'root'
    shutil.copytree(nuscenes_root, root, ignore=shutil.ignore_patterns('samples'))
    expansion = root / 'maps' / 'expansion' / 'singapore-onenorth.json'
    city = json.loads(expansion.read_text())
    places = {'n': (108, 48), 'o': (115, 48), 'p': (115, 51), 'q': (108, 51)}
    city['node'] += [{'token': k, 'x': x, 'y': y} for k, (x, y) in places.items()]
    for order in ('nopq', 'npoq'):
        record = {'token': order, 'exterior_node_tokens': list(order), 'holes': []}
        city['polygon'].append(record)
    city['ped_crossing'].append({'token': 'x', 'polygon_token': 'nopq'})
    city['road_segment'].append({'token': 'x', 'polygon_token': 'npoq'})
    city['lane_connector'] = [{'token': 'x', 'polygon_token': 'nopq'}]
    path = {'start_pose': [60, 50, 0], 'shape': 'LSL', 'radius': 900, 'segment_length': [0, 99, 0]}
    city['arcline_path_3'] = {'x': [path]}
    expansion.write_text(json.dumps(city))
    rules = {'plain': MapRules(), 'rich': MapRules('streammapnet', centerlines=True)}
    infos = {}
    for name, chosen in rules.items():
        spec = ConvertSpec(root, VERSION, tmp_path / name, map_rules=chosen)
        infos[name] = load_info(convert(spec, progress=False)['world_val'])
    meta = infos['rich']['metainfo']
    assert meta['map_classes'] == ['divider', 'ped_crossing', 'boundary', 'centerline']
    assert meta['map_crossings'] == 'streammapnet'
    assert meta['repaired_polygons'] == {
        'singapore-onenorth': {'road_surface': 1, 'ped_crossings': 0}
    }
    assert meta['unusable_map_records'] == {'singapore-onenorth': {'lanes': 1}}
    plain, rich = (info['data_list'][0]['map_vectors'] for info in infos.values())
    assert (len(plain['ped_crossing']), len(rich['ped_crossing'])) == (1, 2)
    assert 'centerline' not in plain and len(rich['centerline']) == 1
    assert infos['plain']['metainfo']['map_crossings'] == 'maptr'


def test_bad_input(nuscenes_root, tmp_path):
    with pytest.raises(FileNotFoundError, match='data root .*nowhere is missing: give the folder'):
        convert(spec_of(tmp_path / 'nowhere', tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no version 'v1.0-mini'; it has \['v1.0-world'\]"):
        convert(ConvertSpec(nuscenes_root, 'v1.0-mini', tmp_path))
    root = tmp_path / 'root'
    shutil.copytree(nuscenes_root, root, ignore=shutil.ignore_patterns('samples'))
    scenes = (root / VERSION / 'scene.json').read_text()
    (root / VERSION / 'scene.json').write_text(scenes.replace('"left-1"', '"../left-1"'))
    with pytest.raises(ValueError, match=r"scene.json: name '../left-1' cannot be that of a file"):
        convert(spec_of(root, tmp_path), progress=False)
    (root / VERSION / 'scene.json').write_text(scenes)
    (root / VERSION / 'ego_pose.json').write_text('[{"token": ')
    with pytest.raises(ValueError, match='ego_pose.json is not valid JSON .*unpack it again'):
        convert(spec_of(root, tmp_path), progress=False)
    (root / VERSION / 'sample_data.json').write_text('[]')
    with pytest.raises(ValueError, match="sample 'left-1-0' has no key frame of LIDAR_TOP"):
        (root / VERSION / 'ego_pose.json').write_text('[]')
        convert(spec_of(root, tmp_path), progress=False)
    (root / VERSION / 'log.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'log.json is missing: unpack the metadata'):
        convert(spec_of(root, tmp_path), progress=False)
    (root / VERSION / 'splits.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'splits.json is missing: a version other than'):
        convert(spec_of(root, tmp_path), progress=False)


def test_missing_maps_of_all_cities_are_named_before_a_scene_is_converted(nuscenes_root, tmp_path):
    root = tmp_path / 'root'
    shutil.copytree(nuscenes_root, root, ignore=shutil.ignore_patterns('samples'))
    shutil.rmtree(root / 'maps')
    spec = spec_of(root, tmp_path)
    missing = (
        'boston-seaport.json, .*singapore-onenorth.json is missing: unpack .* into .*root/maps'
    )
    with pytest.raises(FileNotFoundError, match=missing):
        convert(spec, progress=False)
    (root / 'maps' / 'expansion').mkdir(parents=True)
    shutil.copy(nuscenes_root / 'maps/expansion/singapore-onenorth.json', root / 'maps/expansion')
    with pytest.raises(FileNotFoundError, match='expansion .*/boston-seaport.json is missing'):
        convert(spec, progress=False)
    # the scenes of the city that has its map come first, and were not begun either
    assert list(tmp_path.rglob('left-1.pkl')) == []


def test_shards_hold_plain_data_only(nuscenes_root, tmp_path, monkeypatch):
    monkeypatch.setattr(nuscenes_converter, 'save_info', lambda *_: None)
    monkeypatch.setattr(nuscenes_converter.shutil, 'rmtree', lambda *_: None)
    spec = spec_of(nuscenes_root, tmp_path)
    convert(spec, progress=False)
    shard = load_plain(shards_of(spec) / 'right-1.pkl')
    assert shard['fingerprint'] == spec.fingerprint()
    assert len(shard['samples']) == 5
