"""ResNet is the published network: names, sizes, strides, dilation."""

import pytest
import torch

from add_model.networks.resnet import ResNet50, ResNet101

CLASSIFIER = 2048 * 1000 + 1000
PUBLISHED = {ResNet50: 25_557_032, ResNet101: 44_549_160}  # torchvision's counts, with the classifier


@pytest.mark.parametrize("network", [ResNet50, ResNet101])
def test_parameters_are_the_published_ones(network):
    assert sum(p.numel() for p in network().parameters()) == PUBLISHED[network] - CLASSIFIER


def test_maps_have_the_promised_shapes():
    images = torch.zeros(1, 3, 64, 96)
    for network in (ResNet50(), ResNet101(dilated=True)):
        with torch.no_grad():
            maps = network.eval()(images)
        shapes = [(1, c, 64 // s, 96 // s) for c, s in zip(network.channels, network.strides, strict=True)]
        assert [tuple(m.shape) for m in maps] == shapes
    with pytest.raises(ValueError, match="multiples of 32, got 60x96"):
        network(images[:, :, :60])


def test_dilation_is_where_torchvision_has_it():
    """replace_stride_with_dilation=[False, True, True]: the first block of a stage dilates as the stage before it."""
    network = ResNet101(dilated=True)
    dilations = [{b.conv2.dilation[0] for b in stage} for stage in (network.layer1, network.layer2)]
    assert dilations == [{1}, {1}]
    for stage, first, others in ((network.layer3, 1, 2), (network.layer4, 2, 4)):
        assert stage[0].conv2.dilation[0] == first
        assert {b.conv2.dilation[0] for b in list(stage)[1:]} == {others}


def test_published_files_fit(tmp_path):
    one, other = ResNet50(), ResNet50()
    published = one.state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.downsample.1.weight", "layer4.2.conv3.weight"} <= set(
        published
    )
    torch.save(published, tmp_path / "resnet50.pth")
    other.load_weights(tmp_path / "resnet50.pth")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())
    with pytest.raises(ValueError, match="does not hold this ResNet"):
        ResNet101().load_weights(tmp_path / "resnet50.pth")
    with pytest.raises(FileNotFoundError, match="no ResNet weights at"):
        other.load_weights(tmp_path / "none.pth")
