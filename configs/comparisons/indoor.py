# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Segmentation, depth and normals of rendered rooms, one label per image; the tiny model.
name = 'indoor'
title = 'Three dense tasks, one label per image: methods compared'
data_variable = 'NEXUSFLOW_INDOOR_ROOT'
data = [
    dict(
        name='rooms',
        # the sizes of the preset, said here: they are part of what identifies a run
        command='make_world.py --kind indoor --out {data_root} --preset tiny --seed 0 --workers {workers} '
        '--train-images 240 --val-images 96 --image-size 128 96',
        outputs=['world.json'],
        seconds=60,
    ),
]
metrics = [
    dict(key='segmentation/mIoU', label='mIoU', headline=True),
    dict(key='segmentation/pixel_accuracy', label='pixel accuracy'),
    dict(key='depth/abs_err', label='depth abs. error, m', more=False, headline=True),
    dict(key='depth/rel_err', label='depth rel. error', more=False),
    dict(key='depth/rmse', label='depth RMSE, m', more=False),
    dict(key='normal/mean_deg', label='normal mean, degrees', more=False, digits=2, headline=True),
    dict(key='normal/median_deg', label='normal median, degrees', more=False, digits=2),
    dict(key='normal/within_11.25', label='normal within 11.25'),
]
# the last iteration is judged; a validation at the end of training would do it twice
train_options = {'train_cfg.val_begin': 1000000}
delta = True
seconds = 400
_tiny, _seeds = '../nyuv2/nyuv2_tiny', (0, 1, 2)
methods = dict(
    full=dict(label='Full supervision', config=f'{_tiny}_full.py', seeds=_seeds),
    single_task=dict(
        label='Single task, three models',
        configs=dict(
            segmentation=f'{_tiny}_single_segmentation.py',
            depth=f'{_tiny}_single_depth.py',
            normal=f'{_tiny}_single_normal.py',
        ),
        seeds=_seeds,
    ),
    baseline=dict(label='Baseline', config=f'{_tiny}_baseline.py', seeds=_seeds),
    mtpsl=dict(label='MTPSL', config=f'{_tiny}_mtpsl.py', seeds=_seeds),
    jtr=dict(label='JTR', config=f'{_tiny}_jtr.py', seeds=_seeds),
    mse=dict(label='MSE, no flow', config=f'{_tiny}_mse.py', seeds=_seeds),
    nexusflow=dict(label='NexusFlow', config=f'{_tiny}_nexusflow.py', seeds=_seeds),
)
smoke = dict(
    data=dict(rooms='--train-images 12 --val-images 6'),
    cfg_options={'train_cfg.max_iters': 4, 'param_scheduler.0.total_steps': 4},
)
