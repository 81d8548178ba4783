"""Outputs of MonoDETR that tests make by hand."""

import torch

from add_model.detectors.monodetr.features import DecoderOutputs, EncoderOutputs
from add_model.geometry.heading import HEADING_BINS


def perfect(detector, batch, groups=1):
    """What a perfect network would say: queries in the order of the labels, the others nothing."""
    t, count = batch.targets, detector.queries * groups
    n = int(t["mask"].sum())
    logits, heading = torch.full((1, 1, count, 3), -20.0), torch.zeros(1, 1, count, 2 * HEADING_BINS)
    rows = torch.arange(n)
    logits[0, 0, rows, t["label"][0, :n]] = 20.0
    heading[0, 0, rows, t["heading_bin"][0, :n]] = 20.0
    heading[0, 0, rows, HEADING_BINS + t["heading_bin"][0, :n]] = t["heading_residual"][0, :n]
    fit = lambda key: t[key][None, :, :count]  # noqa: E731
    bins = detector.target_encoder.bins.count + 1
    depth_logits = 40 * torch.nn.functional.one_hot(t["depth_bin"].clamp(min=0), bins).permute(0, 3, 1, 2).float()
    return DecoderOutputs(
        logits,
        fit("centre"),
        fit("sides"),
        fit("size_3d"),
        heading,
        fit("depth"),
        torch.full((1, 1, count), -8.0),
        torch.empty(0),
        EncoderOutputs([], torch.empty(0), torch.empty(0), depth_logits, torch.empty(0)),
    )
