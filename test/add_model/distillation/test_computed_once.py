"""A head that is read twice at the same features is computed once, with the gradients of two computations."""

import torch
from torch import nn

from add_model.distillation.computed_once import computed_once


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 2), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


def use(head, features, other):
    loss = head(features).square().sum() + head(features).sin().sum() + head(other).sum() + head(features).sum()
    loss.backward()
    return [features.grad, *(p.grad for p in head.parameters())]


def test_gradients_are_those_of_two_computations():
    torch.manual_seed(0)
    head = Counted()
    features, other = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    wanted = [grad.clone() for grad in use(head, features, other)]
    assert head.calls == 4
    features.grad = None
    head.zero_grad()
    head.calls = 0
    with computed_once([head]):
        found = use(head, features, other)
    assert head.calls == 3  # the features again after another tensor
    torch.testing.assert_close(found, wanted)
    assert "forward" not in vars(head)
    head(other)
    head(other)
    assert head.calls == 5


def test_it_ends_where_a_step_fails():
    head = Counted()
    try:
        with computed_once([head]):
            raise ValueError
    except ValueError:
        pass
    assert "forward" not in vars(head)


def test_no_modules_are_fine():
    with computed_once(()):
        pass
