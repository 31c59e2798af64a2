# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
import pytest
import torch

from nexusflow.flows import CouplingFlow
from nexusflow.flows.permutation import FixedPermutation, HouseholderRotation, build_permutations


def test_fixed_order_by_hand():
    permutation = FixedPermutation(torch.tensor([2, 0, 1]))
    x = torch.tensor([[5.0, 6.0, 7.0]])
    assert permutation(x).tolist() == [[7.0, 5.0, 6.0]]
    assert torch.equal(permutation.inverse(permutation(x)), x)


def test_rotation_is_the_product_of_its_reflections():
    torch.manual_seed(0)
    rotation = HouseholderRotation(7, reflections=4).double()
    torch.nn.init.normal_(rotation.vectors)
    expected = torch.eye(7).double()
    for v in rotation.vectors.detach():
        expected = expected @ (torch.eye(7).double() - 2.0 * torch.outer(v, v) / v.dot(v))
    x = torch.randn(3, 2, 7, dtype=torch.float64)
    assert torch.allclose(rotation(x), x @ expected, atol=1e-12)
    assert torch.allclose(rotation.inverse(x), x @ expected.T, atol=1e-12)
    assert abs(torch.linalg.det(expected).item() - 1.0) < 1e-12


def test_rotation_leaves_its_start_at_the_first_step():
    """The pairs of equal reflections get opposite gradients, which do not keep them equal."""
    torch.manual_seed(0)
    rotation = HouseholderRotation(6).double()
    x, target = torch.randn(2, 20, 6, dtype=torch.float64)
    assert torch.allclose(rotation(x), x, atol=1e-12)
    (rotation(x) * target).sum().backward()
    first, second = rotation.vectors.grad[0::2], rotation.vectors.grad[1::2]
    assert torch.allclose(first, -second, atol=1e-10) and first.norm() > 1e-3


def test_fixed_permutations_follow_the_seed_and_end_in_the_first_order():
    def orders(seed: int) -> list:
        return [m.order.tolist() for m in build_permutations('fixed', 9, 4, seed)]

    assert len(orders(1)) == 4
    assert orders(1) == orders(1) != orders(2)
    x = y = torch.arange(9.0)
    for permutation in build_permutations('fixed', 9, 4, seed=1):
        y = permutation(y)
    assert torch.equal(x, y)


def test_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_permutations('fixed', 9, 4, seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_kinds_and_errors():
    assert len(build_permutations(None, 4, 3, 0)) == 0
    assert len(build_permutations('learned', 4, 3, 0)) == 2
    assert len(CouplingFlow(4, 1, permutation='learned').permutations) == 0
    with pytest.raises(ValueError, match="'reflections' must be even and positive, got 3"):
        HouseholderRotation(4, reflections=3)
