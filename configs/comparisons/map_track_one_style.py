# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# As map_track, in a world whose cities look alike: what is left of the gap is not one of style.
_base_ = './map_track.py'
name = 'map_track_one_style'
title = 'Map and tracks in two cities of one style'
data = [
    dict(
        name='world',
        command='make_world.py --out {data_root} --preset bench --seed 0 --workers {workers} '
        '--train-scenes-per-city 60 --val-scenes-per-city 12 --frames-per-scene 20 '
        '--train-networks-per-city 8 --val-networks-per-city 4 --image-size 480 270 --domain-gap 0',
        outputs=['v1.0-world/splits.json'],
        seconds=200,
    ),
    {{_base_._convert}},
]
methods = dict(
    _delete_=True,
    full=dict(label='Full supervision', config='../nexusflow/nexusflow_tiny_full.py', seeds=(0,)),
    baseline=dict(
        label='Baseline',
        config='../nexusflow/nexusflow_tiny_baseline.py',
        labels={{_base_._partial}},
        seeds=(0,),
    ),
    nexusflow=dict(
        label='NexusFlow, one stage',
        config='../nexusflow/nexusflow_tiny.py',
        labels={{_base_._partial}},
        seeds=(0,),
    ),
)
rules = dict(_delete_=True)
