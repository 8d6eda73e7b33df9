"""These tests need a kernel with WireGuard whose network they may use: `tests/kernel/run` boots one."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/kernel" in str(item.path):
            item.add_marker(pytest.mark.vm)


@pytest.fixture(scope="session", autouse=True)
def _vm() -> None:
    if "LAB_VM" not in os.environ:
        pytest.fail("these tests run inside a VM: use tests/kernel/run")
