"""The hosts that the data plane is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .namespaces import Host, three_hosts


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[str, Host]]:
    with three_hosts(tmp_path) as made:
        yield made
