"""ADD's attention: by hand, as the identity at first, the same weights for both, never on one token alone."""

import math
from dataclasses import replace

import pytest
import torch

from add_model.distillation.attention import SelfAttentionAdapter, TargetAttention
from add_model.distillation.target_objects import TargetObjects
from add_model.networks.attention import Attention


def asked(channels):
    """The centres of two objects as encoded, and the objects."""
    mask = torch.ones(1, 2, dtype=torch.bool)
    objects = TargetObjects(torch.rand(1, 2, 3), torch.tensor([[0, 2]]), torch.randn(1, 2, 5), mask)
    return torch.randn(1, 2, channels), objects


def test_attention_by_hand():
    torch.manual_seed(1)
    attention = Attention(8, heads=2)
    queries, keys, values = torch.randn(1, 3, 8), torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    read = attention(queries, keys, values)
    q, k, v = attention.query(queries)[0], attention.key(keys)[0], attention.value(values)[0]
    expected = torch.zeros(3, 8)
    for head in (slice(0, 4), slice(4, 8)):
        for m in range(3):
            weights = torch.tensor([math.exp(float((q[m, head] @ k[n, head]).detach()) / 2) for n in range(5)])
            expected[m, head] = (weights / weights.sum()) @ v[:, head]
    torch.testing.assert_close(read[0], attention.out(expected), atol=1e-5, rtol=1e-5)


def test_an_adapter_begins_by_passing_on_and_reaches_far():
    torch.manual_seed(0)
    adapter = SelfAttentionAdapter(8, layers=2)
    tokens, positions = torch.randn(2, 30, 8), torch.randn(2, 30, 8)
    halves = lambda x: x.unflatten(1, (15, 2)).mean(2)  # noqa: E731
    torch.testing.assert_close(adapter(tokens, positions, halves), tokens)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens.requires_grad_()
    adapter(tokens, positions, halves)[0, 0].sum().backward()
    assert (tokens.grad[0].abs().sum(-1) > 0).all() and (tokens.grad[1] == 0).all()


def test_target_attention_reads_both_with_the_same_weights():
    torch.manual_seed(0)
    attention, (centres, objects) = TargetAttention(16, 3), asked(16)
    positions, tokens = torch.randn(1, 7, 16), torch.randn(1, 7, 16)
    one, two = attention(centres, objects, positions, tokens, tokens)
    torch.testing.assert_close(one, two)
    scaled, _ = attention(centres, objects, positions, 3 * tokens, tokens)
    torch.testing.assert_close(scaled, 3 * two, atol=1e-5, rtol=1e-5)
    # What a detector's own query holds is part of the question.
    asking, _ = attention(centres, replace(objects, detector_query=torch.randn(1, 2, 16)), positions, tokens, tokens)
    assert (asking - one).abs().min() > 0


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_however_large_tokens_grow_every_one_is_read(scale):
    """Normalised queries and keys of d numbers a head have products of at most d, so logits lie within sqrt(d)."""
    torch.manual_seed(0)
    attention, (centres, objects) = TargetAttention(8, 3), asked(8)
    tokens, positions = scale * torch.randn(2, 1, 8, 8)
    weights, _ = attention(centres * scale, objects, positions, torch.eye(8)[None], tokens)  # one of each token's heads
    assert weights.min() >= math.exp(-2 * math.sqrt(2)) / 8 - 1e-6
    assert weights.max() <= 1 / (1 + 7 * math.exp(-2 * math.sqrt(2))) + 1e-6


def test_an_adapter_learns_where_tokens_look_in_steps_of_the_same_size_however_large_positions_grow():
    torch.manual_seed(0)
    adapter = SelfAttentionAdapter(8)
    for layer in adapter.layers:
        torch.nn.init.normal_(layer.out.weight)
    tokens, positions = torch.randn(2, 30, 8), 1e5 * torch.randn(2, 30, 8)
    adapter(tokens, positions, lambda x: x).square().sum().backward()
    for layer in adapter.layers:
        # A step of this weight is 1e5 times as large a step of the query.
        assert 1 < layer.query[0].weight.grad.norm() * 1e5 < 1e4
