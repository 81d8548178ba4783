"""DLA-34 against a functional re-computation from the published parameter names, by the paper's recursion."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from add_model.networks.dla import DLA34


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
    assert sum(p.numel() for p in DLA34().parameters()) + 512 * 1000 + 1000 == 15_742_104  # the paper's 15.7 M


def test_unusable_dla_weights_are_refused(dla_file, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dla34-ba72cf86\.pth"):
        DLA34().load_weights(tmp_path / "absent.pth")
    damaged = {k: v for k, v in torch.load(dla_file, weights_only=True).items() if k != "level4.tree2.root.conv.weight"}
    torch.save(damaged, tmp_path / "damaged.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "lite0.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({1: 2}, tmp_path / "numbers.pth")
    torch.save(DLA34(), tmp_path / "pickled.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "page.pth").write_text("<html>404</html>")
    (tmp_path / "truncated.pth").write_bytes(dla_file.read_bytes()[:100_000])
    network = DLA34()
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=rf"{file.name} does not hold DLA-34"):
            network.load_weights(file)
