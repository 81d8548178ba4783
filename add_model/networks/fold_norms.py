"""Batch norms of a network that no longer trains, folded into the convolutions before them."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def folded(module: AnyModule) -> AnyModule:
    """A copy in eval mode that computes the same, up to rounding, without those batch norms that follow a convolution.

    A norm follows a convolution where it stands next to it in an nn.Sequential, or is its namesake in another module:
    bn of conv, bn1 of conv1, norm of conv. It has no parameters to train, and is not for a module's state.
    """
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    for parent in list(copied.modules()):
        for first, second in _pairs(parent):
            convolution, norm = getattr(parent, first), getattr(parent, second)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(convolution, norm).requires_grad_(False))
                setattr(parent, second, nn.Identity().eval())
    return copied


def _pairs(parent: nn.Module) -> list[tuple[str, str]]:
    names = [name for name, _ in parent.named_children()]
    if isinstance(parent, nn.Sequential):
        return list(pairwise(names))
    namesakes = ((name, name.replace("conv", norm)) for name in names if "conv" in name for norm in ("bn", "norm"))
    return [(name, norm) for name, norm in namesakes if norm in names]
