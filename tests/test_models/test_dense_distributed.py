# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Dense tasks on two processes that have labels of different tasks."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from gloo_group import gloo_group
from mmdet3d.registry import MODELS
from torch.nn.parallel import DistributedDataParallel

import nexusflow.models  # noqa: F401  (registers the classes)
from nexusflow.testing import make_dense_batch

HEADS = dict(
    segmentation=dict(type='NexusSegmentationHead', channels=13),
    depth=dict(type='NexusDepthHead', channels=1),
    normal=dict(type='NexusNormalHead', channels=3),
)


def gradients(rows):
    """Gradients of some rows of a batch; without batch statistics, which differ with the rows."""
    torch.manual_seed(0)
    trunk = dict(type='NexusSegNet', widths=(8, 12), convs=(1, 1))
    model = MODELS.build(dict(type='NexusDenseDetector', trunk=trunk, heads=HEADS)).eval()
    tasks = [('segmentation', 'depth'), ('segmentation',), ('normal',), ()]
    data = model.data_preprocessor(make_dense_batch(4, (16, 16), tasks))
    inputs = dict(img=data['inputs']['img'][rows])
    wrapped = DistributedDataParallel(model) if dist.is_initialized() else model
    losses = wrapped(inputs, data['data_samples'][rows], mode='loss')
    sum(losses.values()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def _enter(rank, folder):
    with gloo_group(rank, folder):
        torch.save(gradients(slice(2 * rank, 2 * rank + 2)), folder / f'{rank}.pth')


def test_two_processes_learn_what_one_does(tmp_path):
    mp.start_processes(_enter, (tmp_path,), nprocs=2, start_method='fork')
    whole = gradients(slice(4))
    for rank in range(2):
        share = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for name, value in whole.items():
            torch.testing.assert_close(share[name], value, atol=1e-6, rtol=1e-4, msg=name)
    assert all(whole[f'heads.{task}.output.weight'].abs().max() > 0 for task in HEADS)
