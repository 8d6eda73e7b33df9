"""wireguard-go behind the backend protocol, in a namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from suites.wireguard import RealBackendSuite

from .namespaces import Host

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


class TestUserspace(RealBackendSuite):
    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
        host = Host(f"us{os.getpid()}", Path(tmp_path_factory.mktemp("userspace")))
        yield host
        host.end()
