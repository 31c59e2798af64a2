# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# mmdet's Mask R-CNN on COCO; one half of the images shows only its boxes, the other half also its masks.
# tools/train.py or mmdet's own tools train it; a checkpoint is one of the base configuration, too.
_base_ = ['./mask_rcnn_r50_base.py']
# the engine lets torch >= 2.6 read the checkpoints
custom_imports = dict(
    imports=['nexusflow.models', 'nexusflow.datasets', 'nexusflow.engine'],
    allow_failed_imports=False,
)

model = dict(
    _delete_=True,
    type='mmdet3d.NexusFlowAdapter',
    detector={{_base_.model}},
    tasks=dict(
        box=dict(
            tap=dict(module='roi_head.bbox_head.shared_fcs.1', rois='roi_head.bbox_roi_extractor'),
            aggregator=dict(type='queries'),
            losses=['loss_rpn_*', 'loss_cls', 'loss_bbox', 'acc'],
            labels=['gt_instances'],
        ),
        mask=dict(
            tap=dict(module='roi_head.mask_head.convs.3', rois='roi_head.mask_roi_extractor'),
            aggregator=dict(type='queries'),
            losses=['loss_mask'],
            labels=['gt_instances', 'gt_instances.masks'],
        ),
    ),
    regulariser=dict(
        type='NexusFlowRegulariser',
        dim=256,
        weight=1.0,
        flow=dict(num_layers=6),
        guard=dict(weight=1.0),
    ),
)

keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='mmdet3d.NexusLabelTasks', tasks=dict(box=['*'], mask=['*[13579].jpg'])),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=(*keys, 'tasks')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
