"""wireguard-go behind the backend protocol, in namespaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from meshd.dataplane.wireguard.choice import choose_backend
from meshd.dataplane.wireguard.userspace import UserspaceBackend
from suites.wireguard import RealBackendSuite
from suites.wireguard_traffic import Three, TrafficSuite, three_members

from .namespaces import Host

pytestmark = [
    pytest.mark.root,
    # wireguard-go is meant to outlive the object that started it.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


class TestUserspace(RealBackendSuite):
    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
        host = Host(f"us{os.getpid()}", Path(tmp_path_factory.mktemp("userspace")))
        yield host
        host.end()


class TestUserspaceTraffic(TrafficSuite):
    @pytest.fixture(scope="class")
    def three(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
        with three_members(Path(tmp_path_factory.mktemp("traffic")), UserspaceBackend) as three:
            yield three


def test_looking_for_a_backend_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    host = Host(f"up{os.getpid()}", tmp_path)
    try:
        before = host.ip("link")
        found = host.do(asyncio.to_thread(choose_backend, "auto"))
        assert found.problem is None
        assert (
            found.reason
            == {
                "kernel": "this kernel has WireGuard",
                "userspace": "this kernel has no WireGuard",
            }[found.backend]
        )
        assert host.ip("link") == before
    finally:
        host.end()
