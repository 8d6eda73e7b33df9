"""The machine's resolvers."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.naming import resolv_conf
from meshd.naming.resolv_conf import Resolvers, parse
from meshd.naming.zone import Address


def test_nameserver_lines_are_read_as_the_system_does() -> None:
    text = "# nameserver 192.0.2.1\nsearch home.wg\nnameserver 192.0.2.53\nnameserver\t2001:db8::53 # here\n"
    assert parse(text) == (ip_address("192.0.2.53"), ip_address("2001:db8::53"))
    assert parse(" nameserver 192.0.2.1\nnameserver nonsense\nnameserver\n") == ()
    assert parse("nameserver fe80::1%eth0\n") == (IPv6Address("fe80::1%eth0"),)
    assert parse("nameserver 192.0.2.1\n" * 2 + "nameserver 192.0.2.2\nnameserver 192.0.2.3\n") == (
        IPv4Address("192.0.2.1"),
        IPv4Address("192.0.2.2"),
    )


@given(st.one_of(st.text(), st.text().map(lambda text: f"nameserver {text}\n")))
def test_any_text_can_be_read(text: str) -> None:
    assert len(parse(text)) <= 3


async def test_members_are_never_asked_and_changes_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolv_conf, "LOOK_AGAIN", 0.0)
    path = tmp_path / "resolv.conf"

    def is_overlay(address: Address) -> bool:
        return address == ip_address("10.11.0.1")

    resolvers = Resolvers(is_overlay, path)
    assert await resolvers.current() == []
    path.write_text("nameserver 10.11.0.1\nnameserver 192.0.2.53\n")
    assert await resolvers.current() == [ip_address("192.0.2.53")]
    path.write_text("nameserver 192.0.2.54\n")
    os.utime(path, (1, 1))
    assert await resolvers.current() == [ip_address("192.0.2.54")]
    path.write_bytes(b"\xff\xfe\0nameserver 192.0.2.1\n")
    assert await resolvers.current() == []
    path.unlink()
    assert await resolvers.current() == []
