# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# The ResNet-50 baseline with MapTRv2's training of the map head: one-to-many queries and BEV segmentation.
_base_ = ['./nexusflow_r50_baseline_8xb1-24e_nus.py']
model = dict(
    map_head=dict(
        one_to_many=dict(num_queries=300, repeats=6, weight=1.0), loss=dict(seg_weight=1.0)
    )
)
