"""What the lab tries on a host's network that has to do with WireGuard, on the kernel's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.dataplane.namespaces import Host, three_hosts
from lab.dataplane.test_host_network import (
    test_a_hundred_changes_of_everything_else_lose_no_packet as test_changes_of_everything_else_lose_no_packet,
)
from lab.dataplane.test_host_network import (
    test_a_new_process_adopts_what_it_finds,
    test_a_second_apply_changes_nothing,
    test_leaving_leaves_nothing_also_by_another_process,
    test_two_meshes_do_not_disturb_each_other,
    test_what_is_removed_by_hand_comes_back_and_is_named,
)
from meshd.dataplane.wireguard.kernel import KernelBackend

__all__ = [
    "test_a_new_process_adopts_what_it_finds",
    "test_a_second_apply_changes_nothing",
    "test_changes_of_everything_else_lose_no_packet",
    "test_leaving_leaves_nothing_also_by_another_process",
    "test_two_meshes_do_not_disturb_each_other",
    "test_what_is_removed_by_hand_comes_back_and_is_named",
]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Host]]:
    with three_hosts(tmp_path, lambda _: KernelBackend()) as made:
        yield made
