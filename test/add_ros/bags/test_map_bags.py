"""Work shared among processes of Dask: what it gives, and what is said where it can't be done."""

import os
import sys
from operator import attrgetter

import pytest

from add_ros.bags.many_bags import map_bags

pytestmark = pytest.mark.slow


def test_a_bag_that_ends_each_process_is_named(tmp_path):
    import cloudpickle
    import dask
    import distributed  # noqa: F401 - brings the defaults, which must not go with the change below

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # which processes of Dask cannot import
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ValueError, match="bag: each process that worked on it died"),
    ):
        map_bags(_end_this_process, [tmp_path / "bag", tmp_path / "bag"], processes=2)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def _end_this_process(_):
    os._exit(1)


def test_a_cluster_does_the_work_or_says_what_it_lacks(tmp_path):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
    ) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(ValueError, match=f"{address} has no workers"):
            map_bags(attrgetter("name"), [tmp_path], scheduler=address)
        cluster.scale(1)
        cluster.wait_for_workers(1)
        assert map_bags(attrgetter("name"), [tmp_path / "a", tmp_path / "b"], scheduler=address) == ["a", "b"]
        with pytest.raises(AttributeError, match="no attribute 'missing'"):  # the first error of a process
            map_bags(attrgetter("missing"), [tmp_path, tmp_path], scheduler=address)
