# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""What a match costs, against mmdet's cost."""

import torch
from mmdet.models.task_modules.assigners import FocalLossCost
from mmengine.structures import InstanceData

from nexusflow.models.focal import focal_cost


def test_equals_mmdet():
    logits, labels = torch.randn(7, 4) * 3, torch.tensor([0, 3, 3, 1, 2])
    expected = FocalLossCost()(InstanceData(scores=logits), InstanceData(labels=labels))
    torch.testing.assert_close(focal_cost(logits)[:, labels], expected, atol=1e-5, rtol=1e-5)


def test_stays_finite_for_sure_predictions():
    assert focal_cost(torch.tensor([-200.0, 200.0])).isfinite().all()
