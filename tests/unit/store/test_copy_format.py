"""What a Redis says about the format of its copies, and which other one can load them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from meshd.store import copy_format
from meshd.store.copy_format import CopyFormat, own_format
from meshd.store.errors import StoreFailed


async def test_it_is_the_one_that_stands_in_the_files_of_that_server(
    make_server: Any, folder: Path, until: Any
) -> None:
    server = await make_server()
    await server.connection.call("SET", "key", "value")
    await server.rewrite()
    (base,) = (folder / "a" / "appendonlydir").glob("*.base.rdb")
    written = re.match(rb"(?:REDIS|VALKEY)([0-9]+)", base.read_bytes()[:9])
    assert written is not None
    assert server.copy_format.number == int(written[1]) > 0
    assert re.fullmatch(r"(Redis|Valkey) [0-9.]+", server.copy_format.server)
    known, run = server.copy_format, server.run_id
    await server.restart()
    await until(lambda: server.run_id not in ("", run))
    assert server.copy_format == known


async def test_a_server_that_does_not_say_is_taken_for_readable(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator's server may forbid the command."""
    server = await make_server()
    call = server.connection.call

    async def forbidding(*words: Any, **options: Any) -> Any:
        if words[0] == "FUNCTION":
            raise StoreFailed("NOPERM")
        return await call(*words, **options)

    monkeypatch.setattr(server.connection, "call", forbidding)
    found = await own_format(server.connection)
    assert (found.server, found.number) == (server.copy_format.server, 0)
    assert found.reads(CopyFormat("Redis 99.0", 99))
    assert CopyFormat("Redis 7.0.15", 10).reads(found)


@pytest.mark.parametrize(
    ("own", "other", "reads"),
    [
        (10, 10, True),
        (10, 11, False),
        (10, 12, False),
        (11, 10, True),
        (11, 12, False),
        (12, 11, True),
        (12, 80, False),
        (80, 11, True),
        (80, 12, False),
        (80, 79, False),
        (80, 80, True),
        (80, 81, False),
    ],
)
def test_an_older_one_is_read_and_not_the_other_familys(own: int, other: int, reads: bool) -> None:
    """7.0: 10, 7.2 and Valkey up to 8.1: 11, Redis 7.4 to 8.0: 12, Valkey 9: 80."""
    assert CopyFormat("", own).reads(CopyFormat("", other)) is reads
    assert copy_format.FOREIGN.start == 12


@pytest.mark.parametrize("text", ["", "Redis", "Redis 8\x1b[31m", "Redis " + "1" * 50, "[b]x[/b]", "Redis 8\n"])
def test_what_is_no_name_of_a_server_is_not_shown(text: str) -> None:
    assert CopyFormat.told(text, 12) == CopyFormat("another redis", 12)
    assert CopyFormat.told("Valkey 8.1.1", 11) == CopyFormat("Valkey 8.1.1", 11)
