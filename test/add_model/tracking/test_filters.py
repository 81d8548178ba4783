"""The parts of the tracker against closed forms, brute force and plain loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from add_model.geometry.boxes import headings_between
from add_model.tracking import heading, kalman
from add_model.tracking.anchor import Anchor
from add_model.tracking.association import assign, pair_costs


def spd(rng, *shape):
    root = rng.normal(size=(*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(shape[-1])


def test_prediction_is_the_textbook_one():
    rng = np.random.default_rng(0)
    mean, covariance = rng.normal(size=(4, 6)), spd(rng, 4, 6)
    noise, drift, time = spd(rng, 4, 3), spd(rng, 4, 3), 0.7
    moved, spread = kalman.predict(mean, covariance, noise, drift, time)
    F = np.eye(6)
    F[:3, 3:] = time * np.eye(3)
    for n in range(4):
        Q = np.kron([[time**3 / 3, time**2 / 2], [time**2 / 2, time]], noise[n])
        Q[:3, :3] += time * drift[n]
        np.testing.assert_allclose(moved[n], F @ mean[n])
        np.testing.assert_allclose(spread[n], F @ covariance[n] @ F.T + Q)


def test_prediction_does_not_depend_on_steps():
    rng = np.random.default_rng(1)
    mean, covariance, noise, drift = rng.normal(size=(3, 6)), spd(rng, 3, 6), spd(rng, 3, 3), spd(rng, 3, 3)
    once = kalman.predict(mean, covariance, noise, drift, 0.6)
    for _ in range(6):
        mean, covariance = kalman.predict(mean, covariance, noise, drift, 0.1)
    np.testing.assert_allclose(mean, once[0])
    np.testing.assert_allclose(covariance, once[1])


def test_updates_add_information():
    rng = np.random.default_rng(2)
    mean, covariance = rng.normal(size=(5, 6)), spd(rng, 5, 6)
    measured, noise = rng.normal(size=(5, 3)), spd(rng, 5, 3)
    updated, spread = kalman.update(mean, covariance, measured, noise)
    H = np.eye(3, 6)
    for n in range(5):
        information = np.linalg.inv(covariance[n]) + H.T @ np.linalg.inv(noise[n]) @ H
        right = np.linalg.solve(covariance[n], mean[n]) + H.T @ np.linalg.solve(noise[n], measured[n])
        np.testing.assert_allclose(spread[n], np.linalg.inv(information), atol=1e-9)
        np.testing.assert_allclose(updated[n], np.linalg.solve(information, right), atol=1e-9)


def test_pair_costs_are_likelihoods_within_the_gate():
    rng = np.random.default_rng(3)
    tracks, found = (rng.normal(0, 3, (7, 3)), spd(rng, 7, 3)), (rng.normal(0, 3, (5, 3)), spd(rng, 5, 3))
    costs, inside = pair_costs(tracks, found, 9.0), 0
    for t in range(7):
        for d in range(5):
            spread, apart = tracks[1][t] + found[1][d], found[0][d] - tracks[0][t]
            distance = apart @ np.linalg.inv(spread) @ apart
            if distance <= 9:
                inside += 1
                assert costs[t, d] == pytest.approx(distance + np.log(np.linalg.det(spread)))
            else:
                assert costs[t, d] == np.inf
    assert 3 < inside < 32


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10**6), st.floats(0, 1))
def test_assignment_is_the_best_of_all(rows, columns, seed, share):
    rng = np.random.default_rng(seed)
    costs = rng.normal(0, 5, (rows, columns))
    costs[rng.random(costs.shape) < share] = np.inf
    best = (0, 0.0)
    padded = np.full((rows, columns + rows), np.inf)
    padded[:, :columns] = costs
    for choice in permutations(range(columns + rows), rows):
        taken = padded[range(rows), list(choice)]
        finite = taken[np.isfinite(taken)]
        best = min(best, (-len(finite), float(finite.sum())))
    r, c = assign(costs)
    assert len(set(r)) == len(r) == len(set(c))
    assert (-len(r), pytest.approx(float(costs[r, c].sum()), abs=1e-9)) == (best[0], best[1])


def test_a_few_flips_do_not_turn_an_object_round():
    std, flip, weight = np.array([0.1]), np.array([0.1]), np.array([0.5])
    known = heading.first(np.array([0.3]), std, flip)
    for k in range(30):
        turned = 0.3 + np.pi if k % 4 == 0 else 0.3
        known = heading.updated(known, np.array([turned]), std, flip, weight)
    angle, spread = heading.resolved(known, np.zeros((1, 2)), np.zeros((1, 2, 2)))
    assert angle[0] == pytest.approx(0.3) and spread[0] < 0.4


def test_a_wrong_first_heading_is_mended_by_later_ones_and_by_motion():
    std, flip = np.array([0.1]), np.array([0.1])
    known = heading.first(np.array([0.3 - np.pi]), std, flip)
    still = np.zeros((1, 2)), 0.01 * np.eye(2)[None]
    assert heading.resolved(known, *still)[0][0] == pytest.approx(0.3 - np.pi)
    forward = 8 * np.array([[np.cos(0.3), -np.sin(0.3)]])
    assert heading.resolved(known, forward, still[1])[0][0] == pytest.approx(0.3)
    for _ in range(3):
        known = heading.updated(known, np.array([0.3]), std, flip, np.array([1.0]))
    assert heading.resolved(known, *still)[0][0] == pytest.approx(0.3)


def test_heading_variance_is_that_of_independent_measurements_and_never_more_than_unknown():
    std, flip, one = np.array([0.2]), np.array([0.01]), np.array([1.0])
    known = heading.first(np.array([3.1]), std, flip)
    for angle in (3.0, -3.1, 3.05):
        known = heading.updated(known, np.array([angle]), std, flip, one)
    assert known.variance[0] == pytest.approx(0.2**2 / 4)
    assert known.angle[0] == pytest.approx(np.mean([3.1, 3.0, 2 * np.pi - 3.1, 3.05]))
    lost = heading.first(np.array([0.0]), std, np.array([0.5]))
    assert heading.resolved(lost, np.zeros((1, 2)), np.zeros((1, 2, 2)))[1][0] == pytest.approx(np.pi / np.sqrt(3))


def pose(x=0.0, z=0.0, yaw=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    matrix[:3, 3] = x, 0, z
    return matrix


def test_an_anchor_is_the_camera_at_first_sight_wherever_the_origin_is():
    far = np.eye(4)
    far[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # z up, as odometry has it
    far[:3, 3] = 1e6, -2e6, 30
    anchor = Anchor()
    assert anchor.follow(far @ pose(3, 4, 0.5), 0.0) and not anchor.fixed
    anchor.renew(far @ pose(3, 4, 0.5))
    assert anchor.fixed and not anchor.follow(far @ pose(3.4, 4.1, 0.6), 0.1)
    np.testing.assert_allclose(anchor.camera, np.linalg.inv(pose(3, 4, 0.5)) @ pose(3.4, 4.1, 0.6), atol=1e-8)


def test_an_anchor_does_not_believe_in_jumps_and_says_when_motion_is_lost():
    anchor = Anchor()
    assert not anchor.follow(None, 0.1) and not anchor.fixed
    anchor.follow(pose(), 0.1)
    anchor.renew(pose())
    assert anchor.follow(pose(500), 0.1)
    np.testing.assert_array_equal(anchor.camera, np.eye(4))
    assert anchor.follow(None, 0.1)
    anchor.renew(None)
    assert not anchor.fixed


def test_headings_go_between_frames_and_back():
    rng = np.random.default_rng(5)
    angles = rng.uniform(-3, 3, 20)
    turn = pose(yaw=0.7)[:3, :3]
    there = headings_between(angles, turn)
    np.testing.assert_allclose(np.cos(there - angles), np.cos(0.7))
    np.testing.assert_allclose(headings_between(there, turn.T), angles)


def test_a_measurement_beyond_the_limit_is_believed_less():
    covariance, noise = np.eye(6)[None], np.eye(3)[None]
    near, far = ([[1.0, 0, 0]], [[100.0, 0, 0]])
    plain = kalman.update(np.zeros((1, 6)), covariance, np.array(near), noise)
    np.testing.assert_array_equal(plain[0], kalman.update(np.zeros((1, 6)), covariance, np.array(near), noise, 25.0)[0])
    mean, spread = kalman.update(np.zeros((1, 6)), covariance, np.array(far), noise, 25.0)
    factor = 100**2 / 2 / 25
    assert mean[0, 0] == pytest.approx(100 / (1 + factor)) and spread[0, 0, 0] > plain[1][0, 0, 0]
