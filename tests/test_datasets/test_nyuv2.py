# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Dense samples on disk: what is read, what is refused, and the data set class over it."""

import shutil

import numpy as np
import pytest
from mmdet3d.registry import DATASETS

from nexusflow.datasets.nyuv2 import NexusDenseDataset
from nexusflow.datasets.nyuv2_files import DenseFolder
from nexusflow.world.indoor.spec import CLASSES

H, W, N = 6, 8, 6
SHAPES = {'image': (H, W, 3), 'label': (H, W), 'depth': (H, W, 1), 'normal': (H, W, 3)}


def arrays(i):
    rng = np.random.default_rng(i)
    normal = rng.normal(size=SHAPES['normal'])
    return {
        'image': rng.uniform(size=SHAPES['image']),
        'label': rng.integers(-1, 13, SHAPES['label']).astype(np.float32),
        'depth': rng.uniform(0, 9, SHAPES['depth']).astype(np.float16),
        'normal': normal / np.linalg.norm(normal, axis=-1, keepdims=True),
    }


@pytest.fixture
def root(tmp_path):
    for split, count in (('train', N), ('val', 2)):
        for i in range(count):
            for name, array in arrays(i).items():
                path = tmp_path / split / name / f'{i}.npy'
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return tmp_path


def folder(root, **kwargs):
    return DenseFolder(root, 'train', len(CLASSES), **kwargs)


def test_reads_any_dtype(root):
    files = folder(root)
    assert len(files) == N and files.size_hw == (H, W) and files.check('all') == N
    wanted = arrays(4)
    image, label, depth, normal = (files.read(name, 4) for name in SHAPES)
    assert image.dtype == depth.dtype == normal.dtype == np.float32 and label.dtype == np.int64
    assert np.allclose(image, wanted['image']) and np.array_equal(label, wanted['label'])
    assert depth.shape == (H, W) and np.array_equal(depth, wanted['depth'][..., 0])
    assert np.allclose(normal, wanted['normal'])
    image += 1  # a copy: the file must stay as it is
    assert np.allclose(files.read('image', 4), wanted['image'])


@pytest.mark.parametrize(
    ('name', 'shape', 'message'),
    [
        ('image', (3, H, W), r"image/3.npy: 'image' must have shape \(6, 8, 3\), .* \(3, 6, 8\)"),
        ('label', (H, W, 1), r"label/3.npy: 'label' must have shape \(6, 8\)"),
        ('depth', (H, W), r"depth/3.npy: 'depth' must have shape \(6, 8, 1\)"),
        ('normal', (H, W + 1, 3), r"'normal' must have shape \(6, 8, 3\), but it is \(6, 9, 3\)"),
        ('label', (), 'channels last and of one height and width'),
    ],
)
def test_wrong_shapes(root, name, shape, message):
    np.save(root / 'train' / name / '3.npy', np.zeros(shape))
    files = folder(root)
    assert files.check('first') == 1
    with pytest.raises(ValueError, match=message):
        files.check('all')
    with pytest.raises(ValueError, match=message):
        files.read(name, 3)


def test_the_first_image_gives_the_size(root):
    np.save(root / 'train' / 'image' / '0.npy', np.zeros((3, H, W)))
    with pytest.raises(ValueError, match=r"image/0.npy: 'image' must have shape \(H, W, 3\)"):
        folder(root)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('image', 255.0, r"image/0.npy: 'image' must hold numbers in \[0, 1\], .* to 255.0"),
        ('image', np.nan, r"'image' must hold numbers in \[0, 1\]"),
        ('label', 13, "'label' must hold whole numbers from -1 to 12"),
        ('label', -2, "'label' must hold whole numbers from -1 to 12"),
        ('label', 0.5, "'label' must hold whole numbers"),
        ('depth', -0.1, "'depth' must hold finite metres, 0 or more"),
        ('depth', np.inf, "'depth' must hold finite metres"),
        ('normal', 1.1, "'normal' must hold vectors no longer than 1"),
        ('normal', np.nan, "'normal' must hold vectors no longer than 1"),
    ],
)
def test_wrong_values(root, name, value, message):
    path = root / 'train' / name / '0.npy'
    array = np.load(path).astype(np.float32)
    array[(2, 3, 0)[: array.ndim]] = value
    np.save(path, array)
    with pytest.raises(ValueError, match=message):
        folder(root).check()
    with pytest.raises(ValueError, match=message):
        NexusDenseDataset(str(root))


def test_no_plain_arrays(root):
    path = root / 'train' / 'depth' / '0.npy'
    np.save(path, np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r'depth/0.npy is no plain .npy array'):
        folder(root).check()
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'depth/0.npy is no plain .npy array'):
        folder(root).check()
    np.save(path, np.full(SHAPES['depth'], 'x'))
    with pytest.raises(ValueError, match="'depth' must hold finite metres"):
        folder(root).check()


def test_missing_and_surplus_files(root):
    with pytest.raises(FileNotFoundError, match=r'test/image is missing: .*--kind indoor'):
        DenseFolder(root, 'test', 13)
    (root / 'train/normal/2.npy').unlink()
    with pytest.raises(FileNotFoundError, match=r'normal/2.npy is missing \(1 of 6 files'):
        folder(root)
    shutil.copy(root / 'train/normal/1.npy', root / 'train/normal/2.npy')
    shutil.copy(root / 'train/label/1.npy', root / 'train/label/6.npy')
    with pytest.raises(ValueError, match=r'label/6.npy belongs to no image'):
        folder(root)
    (root / 'train/label/6.npy').unlink()
    (root / 'train/image/0.npy').rename(root / 'train/image/00.npy')
    with pytest.raises(FileNotFoundError, match=r'image/0.npy is missing .* 0.npy to 5.npy'):
        folder(root)
    for path in (root / 'train/image').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'image has no .npy files'):
        folder(root)
    with pytest.raises(ValueError, match="check is 'some'"):
        DenseFolder(root, 'val', 13).check('some')


def test_items(root):
    data = DATASETS.build(dict(type='NexusDenseDataset', data_root=str(root), split='val'))
    assert len(data) == 2
    assert data.metainfo['classes'] == CLASSES and data.metainfo['ignore_index'] == -1
    item = data[1]
    assert item['tasks'] == ('segmentation', 'depth', 'normal') and item['sample_idx'] == 1
    assert item['img_path'] == str(root / 'val/image/1.npy')
    shapes = {key: item[key].shape for key in ('img', 'gt_sem_seg', 'gt_depth', 'gt_normal')}
    assert shapes == dict(img=(H, W, 3), gt_sem_seg=(H, W), gt_depth=(H, W), gt_normal=(H, W, 3))
    assert np.allclose(item['img'], arrays(1)['image'])


def test_supervision_and_pipeline(root):
    def mark(results):
        return {**results, 'marked': True}

    partition = dict(type='OneLabel', seed=3)
    data = NexusDenseDataset(str(root), supervision=partition, pipeline=[mark])
    tasks = [data[i]['tasks'] for i in range(N)]
    assert sorted(tasks) == [('depth',)] * 2 + [('normal',)] * 2 + [('segmentation',)] * 2
    assert data[0]['marked']
    alone = dict(type='SingleTask', task='depth', of=partition)
    assert len(NexusDenseDataset(str(root), supervision=alone)) == N
    own = NexusDenseDataset(str(root), supervision=alone, keep_unlabelled=False)
    depth_images = [i for i in range(N) if tasks[i] == ('depth',)]
    assert [own[k]['img_path'] for k in range(2)] == [data[i]['img_path'] for i in depth_images]
    assert [own[k]['tasks'] for k in range(2)] == [('depth',)] * 2
    assert np.allclose(own[1]['img'], arrays(depth_images[1])['image'])
    half = NexusDenseDataset(str(root), supervision=partition, indices=3)
    assert [half[i]['tasks'] for i in range(3)] == tasks[:3]


def test_a_table_of_another_split_is_refused(root, tmp_path):
    table = tmp_path / 'table.csv'
    table.write_text('index,semantic,depth,normal\n0,1,0,1\n1,0,1,0\n')
    rule = dict(type='FromTable', path=str(table))
    assert NexusDenseDataset(str(root), 'val', supervision=rule)[0]['tasks'] == (
        'segmentation',
        'normal',
    )
    with pytest.raises(ValueError, match=r'table.csv.* has 2 rows, the data set has 6 images'):
        NexusDenseDataset(str(root), 'train', supervision=rule)


def test_a_fourth_target(root):
    for split, count in (('train', N), ('val', 2)):
        (root / split / 'edge').mkdir()
        for i in range(count):
            np.save(root / split / 'edge' / f'{i}.npy', np.full((H, W, 1), i % 2, np.uint8))
    tasks = ('segmentation', 'depth', 'normal', 'edge')
    supervision = dict(type='OneLabel')
    data = NexusDenseDataset(
        str(root), tasks=tasks, targets=('edge',), supervision=supervision, check='all'
    )
    assert data[3]['gt_edge'].shape == (H, W) and data[3]['gt_edge'].dtype == np.float32
    assert (data[3]['gt_edge'] == 1).all()
    assert {data[i]['tasks'] for i in range(N)} == {(task,) for task in tasks}
    np.save(root / 'train/edge/5.npy', np.full((H, W), np.nan))
    with pytest.raises(ValueError, match=r"edge/5.npy: 'edge' must hold finite numbers"):
        NexusDenseDataset(str(root), targets=('edge',), check='all')


def test_other_classes(root):
    meta = dict(classes=('a', 'b'))
    with pytest.raises(ValueError, match='whole numbers from -1 to 1,'):
        NexusDenseDataset(str(root), metainfo=meta)
