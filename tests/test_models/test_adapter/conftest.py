# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Four detectors of three libraries at a size that a test can afford, with batches of made-up data for them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmdet3d.registry import MODELS
from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from nexusflow.testing import make_clip_batch

IMAGE = (3, 64, 96)
REGULARISER = dict(type='NexusFlowRegulariser', dim=16, flow=dict(num_layers=2), weight=0.1)
BOX = dict(
    tap=dict(module='roi_head.bbox_head.shared_fcs.1', rois='roi_head.bbox_roi_extractor'),
    aggregator=dict(type='queries'),
    losses=['loss_rpn_*', 'loss_cls', 'loss_bbox', 'acc'],
    labels=['gt_instances'],
)
MASK = dict(
    tap=dict(module='roi_head.mask_head.convs.0', rois='roi_head.mask_roi_extractor'),
    aggregator=dict(type='queries'),
    losses=['loss_mask'],
    labels=['gt_instances', 'gt_instances.masks'],
)
SEMANTIC = dict(
    tap=dict(module='semantic_head', output='seg_feats'),
    aggregator=dict(type='bev', in_channels=16, grid=2),
    losses=['loss_seg'],
    labels=['gt_sem_seg'],
)
ATTRIBUTE_LABELS = ['gt_instances', 'gt_instances_3d', 'gt_instances_3d.attr_labels']
TASKS = {
    'map_track': dict(
        map=dict(tap='map_head.encoder', aggregator=dict(type='bev', in_channels=24, grid=2)),
        track=dict(tap='track_head.encoder', aggregator=dict(type='bev', in_channels=24, grid=2)),
    ),
    'mask_rcnn': dict(box=BOX, mask=MASK),
    'panoptic_fpn': dict(box=BOX, mask=MASK, semantic=SEMANTIC),
    'fcos3d': dict(
        box=dict(
            tap=dict(module='bbox_head.cls_convs.0', call='all'),
            aggregator=dict(type='levels', levels=[dict(type='bev', grid=1)] * 2),
            losses=['loss_cls', 'loss_offset', 'loss_depth', 'loss_size', 'loss_rotsin']
            + ['loss_velo', 'loss_dir', 'loss_centerness'],
            labels=['gt_instances', 'gt_instances_3d'],
        ),
        attribute=dict(
            tap=dict(
                branch=dict(module='bbox_head.conv_attr_prev.0', call=0),
                image=dict(module='neck', output=0),
            ),
            aggregator=dict(
                type='mixture', parts=dict(image=dict(type='bev', grid=2), branch=dict(type='bev'))
            ),
            losses=['loss_attr'],
            labels=ATTRIBUTE_LABELS,
        ),
    ),
}


def _two_stage(name):
    cfg = get_config(f'mmdet::{name}').model
    cfg.type = f'mmdet.{cfg.type}'
    cfg.pop('_scope_', None)
    cfg.backbone.update(depth=18, base_channels=4, init_cfg=None, frozen_stages=-1)
    cfg.neck.update(in_channels=[4, 8, 16, 32], out_channels=16)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    roi = cfg.roi_head
    for extractor in (roi.bbox_roi_extractor, roi.mask_roi_extractor):
        extractor.out_channels = 16
        extractor.roi_layer.output_size = 4
    roi.bbox_head.update(in_channels=16, fc_out_channels=32, roi_feat_size=4, num_classes=10)
    roi.mask_head.update(num_convs=1, in_channels=16, conv_out_channels=16, num_classes=10)
    cfg.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
    cfg.train_cfg.rpn.sampler.num = 32
    cfg.train_cfg.rcnn.sampler.num = 16
    cfg.train_cfg.rcnn.mask_size = 8
    cfg.test_cfg.rpn.update(nms_pre=50, max_per_img=20)
    cfg.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    if 'semantic_head' in cfg:
        small = dict(in_channels=16, inner_channels=16, num_things_classes=10, num_stuff_classes=5)
        cfg.semantic_head.update(small)
        cfg.semantic_head.norm_cfg.num_groups = 4
        cfg.panoptic_fusion_head.update(num_things_classes=10, num_stuff_classes=5)
    return cfg


def _fcos3d():
    cfg = get_config(
        'mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py'
    ).model
    cfg.pop('_scope_', None)
    for key in ('dcn', 'stage_with_dcn'):
        cfg.backbone.pop(key, None)
    cfg.backbone.update(depth=18, base_channels=4, init_cfg=None, frozen_stages=-1, style='pytorch')
    cfg.neck.update(in_channels=[4, 8, 16, 32], out_channels=16, num_outs=2, start_level=2)
    branch = (16,)
    cfg.bbox_head.update(
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        num_classes=3,
        strides=[16, 32],
        regress_ranges=((-1, 48), (48, 1e8)),
        cls_branch=branch,
        reg_branch=(branch, branch, branch, branch, ()),
        dir_branch=branch,
        attr_branch=branch,
        centerness_branch=branch,
        dcn_on_last_conv=False,
        norm_cfg=dict(type='GN', num_groups=4, requires_grad=True),
    )
    cfg.test_cfg.update(score_thr=0.0, max_per_img=5)
    return cfg


def _camera_batch(batch):
    """Images with three boxes in front of a camera."""
    rng = np.random.default_rng(0)
    samples = []
    cam2img = np.array([[60.0, 0, 48, 0], [0, 60, 32, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for i in range(batch):
        centers = torch.from_numpy(rng.uniform((20, 15, 5), (76, 50, 20), (3, 3))).float()
        half = torch.from_numpy(rng.uniform(8, 25, (3, 2))).float()
        boxes = torch.from_numpy(rng.uniform(0.5, 3, (3, 9))).float()
        boxes[:, 2] = centers[:, 2]
        sample = Det3DDataSample(metainfo=dict(img_id=i, img_shape=IMAGE[1:], cam2img=cam2img))
        sample.set_metainfo(dict(scale_factor=1.0, box_type_3d=CameraInstance3DBoxes))
        classes = torch.from_numpy(rng.integers(0, 3, 3))
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=CameraInstance3DBoxes(boxes, box_dim=9),
            labels_3d=classes,
            attr_labels=torch.from_numpy(rng.integers(0, 9, 3)),
            centers_2d=centers[:, :2],
            depths=centers[:, 2],
        )
        corners = torch.cat([centers[:, :2] - half, centers[:, :2] + half], dim=1)
        sample.gt_instances = InstanceData(bboxes=corners, labels=classes)
        samples.append(sample)
    images = [torch.from_numpy(rng.integers(0, 256, IMAGE, dtype=np.uint8)) for _ in range(batch)]
    return dict(inputs=dict(img=images), data_samples=samples)


@pytest.fixture(scope='session')
def bare_config(small_config):
    """Function (name) -> configuration of a small bare detector."""
    makers = {
        'map_track': lambda: copy.deepcopy(small_config()),
        'mask_rcnn': lambda: _two_stage('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
        'panoptic_fpn': lambda: _two_stage('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'),
        'fcos3d': _fcos3d,
    }
    made = {}

    def make(name):
        if name not in made:
            made[name] = ConfigDict(makers[name]())
        return copy.deepcopy(made[name])

    return make


@pytest.fixture(scope='session')
def bare(bare_config):
    """Function (name, seed) -> a small bare detector."""

    def make(name, seed=0):
        cfg = bare_config(name)
        scope, _, _ = cfg.type.rpartition('.')
        torch.manual_seed(seed)
        return MODELS.build(cfg if not scope else dict(cfg, _scope_=scope))

    return make


@pytest.fixture(scope='session')
def adapted(bare_config):
    """Function (name, seed, regulariser) -> the same detector, adapted."""

    def make(name, seed=0, regulariser=REGULARISER):
        cfg = dict(type='NexusFlowAdapter', detector=bare_config(name), tasks=TASKS[name])
        torch.manual_seed(seed)
        return MODELS.build(ConfigDict(copy.deepcopy(dict(cfg, regulariser=regulariser))))

    return make


@pytest.fixture(scope='session')
def raw_batch():
    """Function (name, labelled tasks of each sample) -> a collated batch, as a data loader gives it."""

    def make(name, tasks):
        if name == 'map_track':
            return make_clip_batch(len(tasks), 2, (32, 64), tasks=tasks)
        if name == 'fcos3d':
            data = _camera_batch(len(tasks))
        else:
            shape = dict(image_shapes=IMAGE, num_items=[3] * len(tasks), num_classes=10)
            np.random.seed(0)  # noqa: NPY002  (mmdet draws its semantic maps from it)
            semantic = name == 'panoptic_fpn'
            data = demo_mm_inputs(len(tasks), with_mask=True, with_semantic=semantic, **shape)
            data['data_samples'] = list(data['data_samples'])
        for sample, named in zip(data['data_samples'], tasks, strict=True):
            sample.set_metainfo(dict(tasks=named))
        return data

    return make


@pytest.fixture(scope='session')
def step():
    """Function (model, raw batch, mode) -> what the model makes of it; random sampling is seeded."""

    def run(model, data, mode='loss', seed=0):
        data = model.data_preprocessor(copy.deepcopy(data), mode == 'loss')
        torch.manual_seed(seed)
        return model(**data, mode=mode)

    return run
