"""Greedy matching for all frames and steps at once against one loop for each of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.matching import Pairs, match


def matched(pairs, cost, since, step):
    """Each ground truth in order takes its free detection of least cost, the first where costs are equal."""
    taken, chosen = set(), []
    for truth in sorted(set(pairs.truth.tolist())):
        free = [
            k
            for k in np.flatnonzero(pairs.truth == truth)
            if since[pairs.detection[k]] <= step and pairs.detection[k] not in taken
        ]
        if free:
            best = min(free, key=lambda k: cost[k])
            taken.add(pairs.detection[best])
            chosen.append(best)
    return sorted(chosen)


@st.composite
def scenes(draw):
    """Up to 4 frames of up to 4 ground truths and detections, of which most pairs overlap; few costs, so many ties."""
    rows, truths, detections = [], 0, 0
    for frame in range(draw(st.integers(0, 4))):
        of_truth, of_detection = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        for t in range(of_truth):
            rows += [(frame, truths + t, detections + d) for d in range(of_detection) if draw(st.integers(0, 3))]
        truths, detections = truths + of_truth, detections + of_detection
    frame, truth, detection = np.array(rows, int).reshape(-1, 3).T
    cost = np.array(draw(st.lists(st.sampled_from([-0.9, -0.7, 1.0]), min_size=len(rows), max_size=len(rows))))
    since = np.array(draw(st.lists(st.integers(0, 3), min_size=detections, max_size=detections)), int)
    return Pairs(frame, truth, detection, -cost), cost, since


@given(scenes())
def test_every_step_is_matched_as_by_a_loop(scene):
    pairs, cost, since = scene
    matches = match(pairs, cost, since, 3)  # detections of step 3 never take part
    for step in range(3):
        assert np.flatnonzero(matches.at(step)).tolist() == matched(pairs, cost, since, step)


def test_what_one_ground_truth_takes_the_next_cannot():
    """And neither does the third, which overlaps nothing else; the second has another one."""
    pairs = Pairs(np.zeros(4, int), np.array([0, 1, 1, 2]), np.array([0, 0, 1, 0]), np.array([0.8, 0.9, 0.7, 0.95]))
    assert match(pairs, -pairs.overlap, np.zeros(2, int), 1).at(0).tolist() == [True, False, True, False]
