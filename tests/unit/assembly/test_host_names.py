"""A mesh's lines in the hosts file: written, switched off, and named when they can't be."""

from __future__ import annotations

import asyncio
import functools
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from meshd.assembly import host_names
from meshd.assembly.host_names import HostNames
from meshd.model.errors import Failed
from meshd.model.members import Member, Role
from meshd.naming.hosts_file import ReadOnly, write_block
from meshproto import local_pb2
from meshproto.keys import PublicKey

FOREIGN = "192.0.2.9 printer\n"
BLOCK = "# meshd home begin\n10.11.0.1 gw-berlin.home.wg\nfd00::1 gw-berlin.home.wg\n# meshd home end\n"
BERLIN = Member(
    id="b",
    name="gw-berlin",
    role=Role.NODE,
    public_key=PublicKey(b"b" * 32),
    ipv4=IPv4Address("10.11.0.1"),
    ipv6=IPv6Address("fd00::1"),
    transport=None,
    subnet=None,
)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hosts"
    path.write_text(FOREIGN)
    monkeypatch.setattr(host_names, "write_block", functools.partial(write_block, path=path))
    return path


def test_written_and_removed(hosts: Path) -> None:
    names = HostNames("home", True, pytest.fail)
    assert names.checks() == []
    asyncio.run(names.write([BERLIN], "home.wg", ipv6=True))
    assert hosts.read_text() == FOREIGN + BLOCK
    assert [one.state for one in names.checks()] == [local_pb2.OK]
    asyncio.run(names.write([BERLIN], "home.wg", ipv6=False))
    assert hosts.read_text() == FOREIGN + BLOCK.replace("fd00::1 gw-berlin.home.wg\n", "")
    asyncio.run(names.remove())
    assert hosts.read_text() == FOREIGN
    assert names.checks() == []


def test_switched_off_takes_an_old_block_away(hosts: Path) -> None:
    hosts.write_text(FOREIGN + BLOCK)
    names = HostNames("home", False, pytest.fail)
    asyncio.run(names.write([BERLIN], "home.wg", ipv6=True))
    assert hosts.read_text() == FOREIGN
    assert [one.found for one in names.checks()] == ["switched off"]


def test_a_file_that_may_not_be_written_is_reported_once(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[str] = []
    names = HostNames("home", True, reports.append)
    good = host_names.write_block

    def refuse(*arguments: object) -> bool:
        raise ReadOnly("/etc/hosts can't be written: Read-only file system", "let meshd write it")

    monkeypatch.setattr(host_names, "write_block", refuse)
    for _ in range(3):
        asyncio.run(names.write([BERLIN], "home.wg", ipv6=True))
    assert reports == ["/etc/hosts can't be written: Read-only file system; names are answered by DNS only"]
    (check,) = names.checks()
    assert (check.check, check.state, check.fix) == ("hosts file home", local_pb2.WARNING, "let meshd write it")
    monkeypatch.setattr(host_names, "write_block", good)
    asyncio.run(names.write([BERLIN], "home.wg", ipv6=True))
    assert [one.state for one in names.checks()] == [local_pb2.OK]


def test_leaving_goes_on_and_names_what_stays(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[str] = []
    names = HostNames("home", True, reports.append)

    def fail(*arguments: object) -> bool:
        raise Failed("/etc/hosts can't be written: No space left on device")

    monkeypatch.setattr(host_names, "write_block", fail)
    with pytest.raises(Failed):
        asyncio.run(names.write([BERLIN], "home.wg", ipv6=True))
    asyncio.run(names.remove())
    asyncio.run(names.remove())
    assert reports == [
        "/etc/hosts can't be written: No space left on device; or remove the lines of home there by hand"
    ]
