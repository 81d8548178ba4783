"""How the frames of several sources are mixed, against the list written out."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from training.data.frame_sources import MixedFrames


@dataclass(frozen=True)
class Named:
    name: int
    length: int

    def __len__(self):
        return self.length

    def sample(self, index):
        assert 0 <= index < self.length
        return self.name, index


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=4), st.integers(0, 7))
def test_each_epoch_goes_on_where_the_last_one_ended(sizes, epoch):
    sources, counts = [Named(k, length) for k, (length, _) in enumerate(sizes)], [count for _, count in sizes]
    mixed = MixedFrames(sources, counts, epoch)
    endless = [[(k, i) for _ in range(epoch * n + n) for i in range(length)] for k, (length, n) in enumerate(sizes)]
    expected = [pick for k, n in enumerate(counts) for pick in endless[k][epoch * n : epoch * n + n]]
    assert [mixed.sample(index) for index in range(len(mixed))] == expected
