"""Convolutions with what nearly always follows them: BatchNorm, and ReLU."""

from __future__ import annotations

from torch import nn


def conv_norm(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias that keeps a map's size at stride 1, and BatchNorm."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def conv_norm_relu(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """`conv_norm`, and ReLU."""
    return conv_norm(inputs, outputs, kernel, stride, dilation, groups).append(nn.ReLU(inplace=True))
