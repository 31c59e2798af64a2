# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# mmdet's Mask R-CNN on COCO, its pretrained weights by their address: torchvision is not needed.
_base_ = ['mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py']
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='https://download.pytorch.org/models/resnet50-0676ba61.pth')
    )
)
