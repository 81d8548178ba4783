"""Folding batch norms into convolutions changes nothing but rounding."""

import pytest
import torch
from torch import nn

from add_model import registry
from add_model.networks.fold_norms import folded
from add_model.registry import adapter_for, build

MODELS = [name for name in registry.MODELS if name.endswith("_plain")] + ["monodle_lite0"]


def settle(module):
    """Statistics and scales as a training leaves them, for those of a new norm would hide what is left out."""
    torch.manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_detector_sees_the_same(name):
    torch.manual_seed(0)
    detector = settle(build(name))
    images = torch.randint(0, 255, (1, 96, 160, 3), dtype=torch.uint8)
    maps, wanted = (d.backbone(d.normalise(images)) for d in (folded(detector), detector))
    for found, value in zip(maps, wanted, strict=True):
        assert value.std() > 0
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4 * float(value.abs().max()))
    count = lambda module: sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())  # noqa: E731
    assert count(folded(detector).backbone) == 0 < count(detector.backbone)


@torch.no_grad()
def test_a_depth_branch_adds_the_same():
    branch = settle(adapter_for("monodle_plain").depth_branch(build("monodle_plain")))
    for parameter in branch.parameters():
        nn.init.normal_(parameter, std=0.1)
    depth = 50 * torch.rand(1, 96, 160)
    for found, value in zip(folded(branch)(depth), branch(depth), strict=True):
        assert value.std() > 0
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-5)


class Namesakes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.bn = nn.BatchNorm2d(4)  # of no convolution
        self.up = nn.Sequential(nn.ConvTranspose2d(4, 4, 2), nn.BatchNorm2d(4))

    def forward(self, x):
        return self.up(self.bn(torch.relu(self.bn1(self.conv1(x)))))


@torch.no_grad()
def test_only_what_follows_a_convolution_is_folded():
    module = settle(Namesakes())
    copy, x = folded(module), torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(copy(x), module(x))
    assert isinstance(copy.bn1, nn.Identity) and isinstance(copy.bn, nn.BatchNorm2d)
    assert isinstance(copy.up[1], nn.BatchNorm2d) and isinstance(module.bn1, nn.BatchNorm2d)
    assert not any(parameter.requires_grad for parameter in copy.parameters())
