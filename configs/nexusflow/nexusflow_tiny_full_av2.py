# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# All labels of a world from Argoverse 2 logs, which has one city.
_base_ = './nexusflow_tiny_full.py'
data_root = '{{$NEXUSFLOW_DATA_ROOT:data/av2}}'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
map_metric = dict(type='NexusMapMetric', ann_file=f'{data_root}/nexusflow_infos_world_val.pkl')
track_metric = dict(
    type='NexusTrackMetric', data_root=data_root, version='v1.0-world', eval_set='world_val'
)
val_evaluator = [map_metric, track_metric]
test_evaluator = [map_metric, dict(track_metric, official=True, greedy=True)]
