"""What decays: by names and shapes of a small network, and that default recipes spare norms."""

import pytest
import torch
from torch import nn

from training.weight_decay import decay_groups


@pytest.mark.parametrize(
    ("decayed", "wanted"),
    [
        ("matrices", {"conv.weight", "table.weight"}),
        ("all_but_biases", {"conv.weight", "table.weight", "norm.weight"}),
        ("all", {"conv.weight", "conv.bias", "table.weight", "norm.weight", "norm.bias"}),
    ],
)
def test_what_decays_shrinks_and_nothing_else(decayed, wanted):
    parts = {
        "conv": nn.Conv2d(2, 3, 3),
        "norm": nn.BatchNorm2d(3),
        "table": nn.Embedding(4, 2),
        "fixed": nn.Linear(2, 2),
    }
    network = nn.ModuleDict(parts)
    network["fixed"].requires_grad_(False)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    groups = decay_groups(network.named_parameters(), decayed, 0.5)
    assert sum(len(group["params"]) for group in groups) == 5
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    changed = {name for name, parameter in network.named_parameters() if (parameter != 1).any()}
    assert changed == wanted
    assert all((dict(network.named_parameters())[name] == 0.95).all() for name in wanted)
