"""As many frames as were asked for, with both ends, and none twice."""

import numpy as np
import pytest

from training.spread import ranked_and_spread, spread


@pytest.mark.parametrize(("total", "count"), [(0, 3), (1, 3), (3, 3), (10, 0), (10, 1), (10, 4), (1000, 48)])
def test_steps_are_even_and_reach_both_ends(total, count):
    found = spread(total, count)
    assert len(found) == min(total, count) and found == sorted(set(found)) and set(found) <= set(range(total))
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, total - 1) and np.ptp(np.diff(found)) <= 1


@pytest.mark.parametrize(("total", "count"), [(1, 60), (60, 60), (61, 60), (2000, 60), (10, 1), (10, 0), (7, 3)])
def test_as_many_frames_as_asked_for_are_chosen(total, count):
    ranking = np.random.default_rng(0).permutation(total).tolist()
    chosen = ranked_and_spread(ranking, total, count)
    assert chosen == sorted(set(chosen)) and len(chosen) == min(total, count)
    if count < total:
        assert set(chosen) >= set(ranking[: (count + 1) // 2])
        assert np.diff(chosen).max(initial=0) <= 2 + total / max(1, count // 2 - 1)


def test_a_ranking_of_few_leaves_its_places_to_others():
    assert ranked_and_spread([7], 20, 5) == [0, 6, 7, 13, 19]
    assert ranked_and_spread([], 0, 5) == []
    # 6 is at an even step, too: its place goes to another.
    assert ranked_and_spread([6], 20, 5) == [0, 1, 6, 13, 19]
    assert len(ranked_and_spread([0, 19, 6], 20, 6)) == 6
