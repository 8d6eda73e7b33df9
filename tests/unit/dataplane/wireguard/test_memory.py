"""The in-memory backend passes what the real ones pass."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from meshd.dataplane.wireguard.memory import MemoryBackend
from suites.wireguard import BackendSuite

T = TypeVar("T")


class Here:
    foreign = "lo"

    def __init__(self) -> None:
        self.backend = MemoryBackend(frozenset({"lo"}))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)


class TestMemory(BackendSuite):
    @pytest.fixture
    def place(self) -> Here:
        return Here()
