"""Many bags, each worked on by whichever process is free.

Processes are those of Dask (the extra `cluster`): on this machine, or on a cluster whose scheduler is named. Dask gives
the bag of a process that died to another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from training.arguments import at_least
from training.progress_bar import counted

if TYPE_CHECKING:
    from distributed import Client

Bag = TypeVar("Bag")
Result = TypeVar("Result")


class _Distinct(argparse.Action):
    """Stores bags, each of which is named once: frames of one that is named twice would count twice."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        first: dict[Path, Path] = {}
        for bag in values:
            if (other := first.setdefault(bag.resolve(), bag)) is not bag:
                raise argparse.ArgumentError(self, f"{other} and {bag} are the same bag: name it once")
        setattr(namespace, self.dest, values)


def add_bags(parser: argparse.ArgumentParser, text: str) -> None:
    """Add BAG ..., with this help."""
    parser.add_argument("bags", nargs="+", type=Path, action=_Distinct, metavar="BAG", help=text)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add --processes and --scheduler, the options of `map_bags`."""
    several = parser.add_argument_group("several bags, each by a free process (needs distributed)")
    several.add_argument(
        "--processes", type=at_least(1), default=1, metavar="N", help="on this machine, one thread each; default 1"
    )
    several.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster instead")


def are_shared(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> bool:
    """Whether `arguments.bags` are shared among processes; ends with usage where there is but one to share."""
    shared = arguments.processes > 1 or bool(arguments.scheduler)
    if shared and len(arguments.bags) == 1:
        parser.error("--processes and --scheduler share several bags among processes: give more than one")
    return shared


def map_bags(
    work: Callable[[Bag], Result], bags: Sequence[Bag], processes: int = 1, scheduler: str | None = None
) -> list[Result]:
    """What `work` gives for each bag, in the order of the bags.

    Args:
        work: can be pickled, and so can what it takes and returns.
        bags: what names them, at paths that every process can read; str() of one is for messages.
        processes: how many on this machine; with 1 and no scheduler all is done here, without Dask.
        scheduler: the address of a Dask scheduler, such as tcp://10.0.0.7:8786; its workers do the work then.

    Raises:
        ValueError: where Dask is needed and not installed, or where the scheduler does not answer or has no workers
            that can do this, or where a bag ends each process that takes it.
        Exception: the first that `work` raises.
    """
    if (scheduler is None and processes == 1) or not bags:
        return [work(bag) for bag in bags]
    with _client(min(processes, len(bags)), scheduler) as client:
        # pure=False: a bag may have changed since it was last read, of which Dask knows nothing.
        futures = client.map(work, bags, pure=False)
        bag_of = {future.key: bag for future, bag in zip(futures, bags, strict=True)}
        for _ in counted(_done(futures, bag_of), "bags", "together", len(bags)):
            pass
        return client.gather(futures)


def _done(futures: Sequence[Any], bag_of: Mapping[Any, Any]) -> Iterator[Any]:
    from distributed import KilledWorker, as_completed

    for future in as_completed(futures):
        try:
            future.result()  # raises what the work raised, before the others are waited for
        except KilledWorker as error:
            raise ValueError(
                f"{bag_of[future.key]}: each process that worked on it died, probably for want of memory: give fewer "
                "--processes"
            ) from error
        yield future


def _require_workers(client: Client, scheduler: str) -> None:
    """Without workers, or with such as lack this package, Dask would wait for ever."""
    found = client.run(find_spec, "add_ros")
    if not found:
        raise ValueError(f"the Dask scheduler at {scheduler} has no workers: start some with dask worker {scheduler}")
    if lacking := [worker for worker, spec in found.items() if spec is None]:
        raise ValueError(f"add_ros is not installed where these Dask workers run: {', '.join(lacking)}")


@contextmanager
def _client(processes: int, scheduler: str | None) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(
            f"--processes and --scheduler need Dask, which is not installed ({error.name} is missing): "
            "pip install 'distributed>=2024.1'"
        ) from error
    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except OSError as error:
            raise ValueError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        with client:
            _require_workers(client, scheduler)
            yield client
        return
    here = LocalCluster(
        n_workers=processes, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
    )
    with here as cluster, Client(cluster) as client:
        yield client
