"""Everything that the lab tries on a host's network, on the kernel's WireGuard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.dataplane.namespaces import Host, three_hosts
from lab.dataplane.test_host_network import *  # noqa: F403  (the tests themselves)
from meshd.dataplane.wireguard.kernel import KernelBackend

pytestmark = pytest.mark.vm


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Host]]:
    with three_hosts(tmp_path, lambda _: KernelBackend()) as made:
        yield made
