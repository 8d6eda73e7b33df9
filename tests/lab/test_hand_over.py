"""Several writers go on while the lead is handed over, and while all nodes are restarted one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from lab.cluster import Cluster, three_gateways
from lab.hosts.host import Host, wait_until

pytestmark = [pytest.mark.quiet, pytest.mark.timeout(600)]

OUTCOME_UNKNOWN = 5


class Writer:
    """Adds routes at one node, one after the other, until it is told to stop."""

    def __init__(self, number: int, host: Host) -> None:
        self.host = host
        self.took: list[float] = []
        self.repeated = 0
        self.failed: list[str] = []
        self.done: list[str] = []
        self._cidrs = (f"198.18.{number}.{last}/32" for last in range(256))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for cidr in self._cidrs:
            if self._stop.is_set():
                return
            began = time.monotonic()
            done = self.host.meshctl_raw("routes", "add", cidr)
            if done.returncode == OUTCOME_UNKNOWN:
                self.repeated += 1
                done = self.host.meshctl_raw("routes", "add", cidr)
            self.took.append(time.monotonic() - began)
            if done.returncode == 0 or "offers" in done.stderr:
                self.done.append(cidr)
            else:
                self.failed.append(f"{cidr} at {self.host.name}: {done.returncode} {done.stderr}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with three_gateways() as made:
        yield made


def report(what: str, writers: list[Writer]) -> None:
    took = sorted(seconds for writer in writers for seconds in writer.took)
    repeated = sum(writer.repeated for writer in writers)
    print(f"{what}: {len(took)} changes, longest {took[-1]:.2f} s, median {took[len(took) // 2]:.2f} s, "
          f"{repeated} of them with an outcome that was unknown at first")  # fmt: skip


def check(cluster: Cluster, writers: list[Writer]) -> None:
    assert [failure for writer in writers for failure in writer.failed] == []
    for writer in writers:
        cluster.done.update(dict.fromkeys(writer.done, writer.host.name))
    cluster.check()


def test_no_change_fails_while_the_lead_is_handed_over(cluster: Cluster) -> None:
    hosts = list(cluster.hosts.values())
    writers = [Writer(number, host) for number, host in enumerate([*hosts, hosts[0]])]
    old = cluster.primary()
    with writers[0], writers[1], writers[2], writers[3]:
        wait_until(lambda: all(len(writer.took) >= 2 for writer in writers), 60, "the writers to write")
        for target in cluster.others(old):
            cluster.primary().meshctl("nodes", "promote", target.name)
            assert cluster.primary() is target
            seen = [len(writer.took) for writer in writers]
            wait_until(lambda: all(len(w.took) > n + 1 for w, n in zip(writers, seen, strict=True)), 60, "more changes")  # noqa: B023  # awaited here
    report("hand-overs", writers)
    assert sum(writer.repeated for writer in writers) == 0
    check(cluster, writers)


def test_nothing_fails_while_all_nodes_are_restarted_in_turn(cluster: Cluster) -> None:
    hosts = list(cluster.hosts.values())
    for number, restarted in enumerate(hosts):
        writers = [Writer(10 + 4 * number + n, host) for n, host in enumerate(hosts) if host is not restarted]
        with writers[0], writers[1]:
            wait_until(lambda: all(len(w.took) >= 2 for w in writers), 60, "the writers to write")  # noqa: B023  # awaited here
            restarted.stop_meshd()
            restarted.start_meshd()
            wait_until(lambda: cluster.status(restarted)["writable"], 60, f"{restarted.name} to be back")  # noqa: B023  # awaited here
            seen = [len(writer.took) for writer in writers]
            wait_until(lambda: all(len(w.took) > n for w, n in zip(writers, seen, strict=True)), 60, "more changes")  # noqa: B023  # awaited here
        report(f"restart of {restarted.name}", writers)
        check(cluster, writers)
