"""What every backbone and neck promises, and the necks against hand numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from add_model.networks.dla import DLA34
from add_model.networks.dla_up import DLAUp, IDAUp, bilinear_upsampling
from add_model.networks.efficientnet_lite import EfficientNetLite0
from add_model.networks.initialise import kaiming
from add_model.networks.pyramid import FeaturePyramid

BACKBONES = [EfficientNetLite0, DLA34]
NETWORKS = [(EfficientNetLite0, FeaturePyramid), (DLA34, DLAUp), (DLA34, FeaturePyramid)]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def whole(backbone: type, neck: type) -> nn.Sequential:
    torch.manual_seed(0)
    network = backbone()
    return nn.Sequential(network, neck(network.channels))


def scatter_statistics(module: nn.Module) -> None:
    """BatchNorm far from the identity, so that a forgotten or swapped one shows."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
            m.weight.data.uniform_(0.5, 1.5)
            m.bias.data.normal_(0, 0.1)


def make_identity(module: nn.Module) -> None:
    """Every convolution passes its centre pixel (channel for channel, summed over repeats), every BatchNorm nothing."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            m.weight.data.zero_()
            outputs, inputs, height, width = m.weight.shape
            for i in range(inputs if m.groups == 1 else outputs):
                m.weight.data[i % outputs, i if m.groups == 1 else 0, height // 2, width // 2] = 1
        elif isinstance(m, nn.BatchNorm2d):
            m.eps = 0.0


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (192, 640)])
def test_backbone_maps_have_the_promised_strides_and_channels(backbone, size):
    network = backbone().eval()
    with torch.no_grad():
        maps = network(torch.zeros(1, 3, *size))
    assert network.strides == (4, 8, 16, 32)
    assert [m.shape for m in maps] == [
        (1, c, size[0] // s, size[1] // s) for c, s in zip(network.channels, network.strides, strict=True)
    ]


@pytest.mark.parametrize(("backbone", "neck"), NETWORKS)
def test_neck_gives_64_channels_at_stride_4(backbone, neck):
    network = whole(backbone, neck).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 160)).shape == (2, 64, 16, 40)
    assert network[1].channels == 64


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(375, 1242), (64, 80), (33, 32)])
def test_sizes_that_do_not_fit_are_refused(backbone, size):
    with pytest.raises(ValueError, match=rf"multiples of 32, got {size[0]}x{size[1]}"):
        backbone()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(("backbone", "neck"), NETWORKS)
def test_gradient_reaches_every_parameter(backbone, neck):
    network = whole(backbone, neck)
    y = network(torch.randn(2, 3, 64, 64))
    (y * torch.randn_like(y)).sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


@pytest.mark.parametrize(("backbone", "neck"), NETWORKS)
def test_evaluation_depends_on_nothing_but_the_image(backbone, neck):
    network = whole(backbone, neck)
    scatter_statistics(network)
    network.eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together = network(images)
        again = network(images)
        alone = torch.cat([network(i[None]) for i in images])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * together.abs().max().item())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(("backbone", "neck"), NETWORKS)
def test_input_maps_are_left_untouched(backbone, neck):
    """Distillation reads the backbone's maps after the neck has used them: nothing may work in place."""
    backbone_, neck_ = whole(backbone, neck).eval()
    with torch.no_grad():
        maps = backbone_(torch.randn(1, 3, 64, 64))
        copies = [m.clone() for m in maps]
        neck_(maps)
    assert len(maps) == 4
    assert all(torch.equal(m, c) for m, c in zip(maps, copies, strict=True))


def test_fresh_weights_keep_the_signal_alive():
    """Depthwise layers included, an untrained network's maps vary over the image and stay finite."""
    depthwise = nn.Conv2d(1152, 1152, 5, groups=1152, bias=False)
    kaiming(depthwise)
    assert depthwise.weight.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.05)
    for backbone, neck in NETWORKS:
        y = whole(backbone, neck)(torch.randn(2, 3, 64, 64))
        assert torch.isfinite(y).all()
        assert y.std() > 0.1


def test_upsampling_starts_as_bilinear_interpolation():
    up = bilinear_upsampling(3)
    x = torch.randn(2, 3, 5, 7)
    with torch.no_grad():
        y = up(x)
        # Outside the map are zeros, so only the outermost row and column differ from a clamped interpolation.
        expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        expected[..., [0, -1], :] *= 0.75
        expected[..., [0, -1]] *= 0.75
    torch.testing.assert_close(y, expected)


def test_ida_joins_by_hand():
    ida = IDAUp([1, 1]).eval()
    make_identity(ida)
    fine, coarse = torch.tensor([[[[10.0, 20.0, 30.0, 40.0]] * 2]]), torch.tensor([[[[4.0, 8.0]]]])
    with torch.no_grad():
        (y,) = ida([fine, coarse])
    # Along the row, 4 and 8 become 0.75 * (3 + 0, 3 + 2, 1 + 6, 0 + 6); the factor is the zeros above and below.
    expected = [10 + 0.75 * 3, 20 + 0.75 * 5, 30 + 0.75 * 7, 40 + 0.75 * 6]
    torch.testing.assert_close(y, torch.tensor([[[expected, expected]]]))


def test_dla_up_joins_in_monodle_order():
    neck = DLAUp((64, 128, 256, 512))
    joins = [(512, 256), (256, 128), (256, 128), (128, 64), (128, 64), (128, 64)]
    assert parameters(neck) == sum(9 * i * o + 2 * o + 16 * o + 18 * o * o + 2 * o for i, o in joins)

    neck = DLAUp((1, 1, 1, 1)).eval()
    make_identity(neck)
    a, b, c, d = (torch.rand(1, 1, s, s) for s in (32, 16, 8, 4))
    with torch.no_grad():
        y = neck([a, b, c, d])
        up = bilinear_upsampling(1)
        d1 = c + up(d)
        c1 = b + up(c)
        d2 = c1 + up(d1)
        expected = a + up(b) + up(c1) + up(d2)
    torch.testing.assert_close(y, expected)


def test_pyramid_adds_from_coarse_to_fine():
    neck = FeaturePyramid((2, 2, 2), out=2).eval()
    make_identity(neck)
    maps = [torch.rand(1, 2, 12 // s, 20 // s) for s in (1, 2, 4)]
    with torch.no_grad():
        y = neck(maps)
    expected = sum(np.kron(m.numpy(), np.ones((1, 1, s, s), np.float32)) for m, s in zip(maps, (1, 2, 4), strict=True))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_exported_graph_keeps_the_image_size_open():
    network = whole(EfficientNetLite0, FeaturePyramid).eval()
    size = torch.export.Dim.DYNAMIC
    example, shapes = torch.zeros(2, 3, 64, 96), {0: size, 2: size, 3: size}
    program = torch.export.export(network, (example,), dynamic_shapes=(shapes,)).module()
    x = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        torch.testing.assert_close(program(x), network(x))
