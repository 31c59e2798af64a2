# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# nuScenes itself: the official splits of the version that NEXUSFLOW_VERSION names. Queenstown and Holland Village are
# in Singapore too; cities of the official val split by splits.json.
_base_ = './dataset_clips.py'
data_root = '{{$NEXUSFLOW_DATA_ROOT:data/nuscenes}}'
version = '{{$NEXUSFLOW_VERSION:v1.0-trainval}}'
train_split, val_split = {
    'v1.0-mini': ('mini_train', 'mini_val'),
    # to write a submission; there is nothing to train on
    'v1.0-test': ('test', 'test'),
}.get(version, ('train', 'val'))
train_info = f'nexusflow_infos_{train_split}.pkl'
val_info = f'nexusflow_infos_{val_split}.pkl'
train_dataloader = dict(dataset=dict(data_root=data_root, ann_file=train_info))
val_dataloader = dict(dataset=dict(data_root=data_root, ann_file=val_info))
test_dataloader = val_dataloader
map_metric = dict(type='NexusMapMetric', ann_file=f'{data_root}/{val_info}')
track_metric = dict(
    type='NexusTrackMetric', data_root=data_root, version=version, eval_set=val_split
)
val_evaluator = [map_metric, track_metric]
test_evaluator = [map_metric, dict(track_metric, official=True, greedy=True)]
