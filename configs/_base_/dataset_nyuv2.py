# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# NYUv2 as MTAN pre-processed it, 288x384, in [0, 1]; one label per image by the published table. Augmentation as MTPSL
# and JTR publish it; NexusDenseFlip behind the scale-crop is MTAN's, NexusDenseColour stands in for JTR's colours.
data_root = '{{$NEXUSFLOW_NYUV2_ROOT:data/nyuv2}}'
train_pipeline = [dict(type='NexusDenseScaleCrop'), dict(type='NexusPackDense')]
test_pipeline = [dict(type='NexusPackDense')]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='NexusDenseDataset',
        data_root=data_root,
        split='train',
        supervision=dict(type='FromTable', path=f'{data_root}/onelabel.csv'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NexusDenseDataset',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='NexusDenseMetric')
test_evaluator = val_evaluator
