# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Map labels in Boston only, track labels in Singapore only; 300 iterations of the tiny model on the bench world.
name = 'map_track'
title = 'Map and tracks in two cities: methods compared'
data_variable = 'NEXUSFLOW_DATA_ROOT'
_convert = dict(
    name='convert',
    command='create_data.py nuscenes --root-path {data_root} --version v1.0-world --workers {workers}',
    outputs=['nexusflow_infos_world_train.pkl', 'nexusflow_infos_world_val.pkl'],
    seconds=40,
)
data = [
    dict(
        name='world',
        # the sizes of the preset, said here: they are part of what identifies a run
        command='make_world.py --out {data_root} --preset bench --seed 0 --workers {workers} '
        '--train-scenes-per-city 60 --val-scenes-per-city 12 --frames-per-scene 20 '
        '--train-networks-per-city 8 --val-networks-per-city 4 --image-size 480 270 --domain-gap 1',
        outputs=['v1.0-world/splits.json'],
        seconds=200,
    ),
    _convert,
]
cities = dict(
    boston=dict(map='boston-seaport', track='boston'),
    singapore=dict(map='singapore-onenorth', track='singapore'),
)
metrics = [
    dict(key='map/mAP', label='map mAP', headline=True),
    dict(key='map/AP_divider', label='divider'),
    dict(key='map/AP_ped_crossing', label='crossing'),
    dict(key='map/AP_boundary', label='boundary'),
    dict(key='track/AMOTA', label='AMOTA', headline=True),
    dict(key='track/AMOTA_car', label='AMOTA, cars'),
    dict(key='track/AMOTP', label='AMOTP', more=False),
    dict(key='track/RECALL', label='recall'),
    dict(key='track/IDS', label='IDS', more=False, digits=0),
]
# the last iteration is judged; a validation at the end of training would do it twice
train_options = {'train_cfg.val_begin': 1000000}
test_options = {
    'test_evaluator.0.out_file': '{folder}/map.json',
    'test_evaluator.1.out_dir': '{folder}/track',
    # the fast evaluator: the official numbers to 1e-6, two minutes a run sooner
    'test_evaluator.1.official': 'False',
    'test_evaluator.1.greedy': 'False',
}
pictures = dict(
    info_file='nexusflow_infos_world_val.pkl',
    map_file='map.json',
    tracking_file='track/tracking_submission.json',
)
seconds = 480
_three, _one = (0, 1, 2), (0,)
_partial = dict(map=['boston'], track=['singapore'])
_main = dict(seeds=_three, labels=_partial)
_variant = dict(seeds=_one, labels=_partial, group='Variants')
methods = dict(
    full=dict(label='Full supervision', config='../nexusflow/nexusflow_tiny_full.py', seeds=_three),
    baseline=dict(_main, label='Baseline', config='../nexusflow/nexusflow_tiny_baseline.py'),
    mtpsl=dict(_main, label='MTPSL', config='../nexusflow/nexusflow_tiny_mtpsl.py'),
    jtr=dict(_main, label='JTR', config='../nexusflow/nexusflow_tiny_jtr.py'),
    nexusflow=dict(_main, label='NexusFlow, one stage', config='../nexusflow/nexusflow_tiny.py'),
    two_stage=dict(
        _main, label='NexusFlow, two stages', config='../nexusflow/nexusflow_tiny_two_stage.py'
    ),
    fine_tune=dict(
        _variant,
        label='Two stages, no alignment',
        config='../nexusflow/nexusflow_tiny_fine_tune.py',
    ),
    unguarded=dict(
        _variant,
        label='NexusFlow, no guard',
        config='../nexusflow/nexusflow_tiny_unguarded.py',
    ),
    mse=dict(_variant, label='MSE, no flow', config='../nexusflow/nexusflow_tiny_mse.py'),
    noninvertible=dict(
        _variant,
        label='Not invertible, equal size',
        config='../nexusflow/nexusflow_tiny_noninvertible.py',
    ),
    layers_4=dict(
        _variant, label='NexusFlow, 4 layers', config='../nexusflow/nexusflow_tiny_4layers.py'
    ),
    layers_8=dict(
        _variant, label='NexusFlow, 8 layers', config='../nexusflow/nexusflow_tiny_8layers.py'
    ),
    weight_10=dict(
        _variant,
        label='NexusFlow, weight 10',
        config='../nexusflow/nexusflow_tiny.py',
        # the guard too, or the surrogates collapse
        cfg_options={'model.regulariser.weight': 10.0, 'model.regulariser.guard.weight': 10.0},
    ),
    guard_h=dict(
        _variant,
        label='NexusFlow, guard before the flows',
        config='../nexusflow/nexusflow_tiny.py',
        cfg_options={'model.regulariser.guard.on': 'h'},
    ),
    map_queries=dict(
        _variant,
        label="NexusFlow, the map's queries",
        config='../nexusflow/nexusflow_tiny.py',
        cfg_options={'model.regulariser.tasks.map': dict(type='queries', tap='queries')},
    ),
    mmd=dict(_variant, label='NexusFlow, MMD', config='../nexusflow/nexusflow_tiny_mmd.py'),
    two_stage_open=dict(
        _variant,
        label='NexusFlow, two stages, encoder open',
        config='../nexusflow/nexusflow_tiny_two_stage_open.py',
    ),
)
# full supervision with swapped cities is full supervision
rules = dict(
    swapped=dict(
        label='cities swapped',
        methods=['baseline', 'nexusflow'],
        supervision=dict(type='ByLocation', map=['singapore-*'], track=['boston-*']),
        labels=dict(map=['singapore'], track=['boston']),
        seeds=_one,
    )
)
smoke = dict(
    data=dict(
        world='--train-scenes-per-city 1 --val-scenes-per-city 1 --train-networks-per-city 1 '
        '--val-networks-per-city 1 --frames-per-scene 4'
    ),
    cfg_options={
        'train_cfg.max_iters': 4,
        'param_scheduler.0.total_steps': 4,
        'custom_hooks.0.milestones': (2,),
        'default_hooks.two_stage.begin': 2,
    },
)
