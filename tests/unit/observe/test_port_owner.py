"""Who has a port."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.port_owner import parse_table, port_owner

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(address: str, state: str, inode: int, uid: int = 0) -> str:
    return (
        f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5}        0 {inode} 1 0\n"
    )


def test_a_table_of_the_kernel_is_read() -> None:
    table = (
        HEADER
        + line("0100007F:0035", "0A", 11)
        + line("0100007F:0035", "01", 12)
        + line("0100007F:0050", "0A", 13)
        + line("00000000000000000000000001000000:0035", "0A", 14)
    )
    both = [(IPv4Address("127.0.0.1"), "11", "0"), (IPv6Address("::1"), "14", "0")]
    assert parse_table(table, 53, listening_only=True) == both
    assert (IPv4Address("127.0.0.1"), "12", "0") in parse_table(table, 53, listening_only=False)


@given(st.text().map(lambda text: HEADER + text))
def test_text_without_sockets_has_none(text: str) -> None:
    assert parse_table(text, 53, listening_only=False) == []


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
    ],
)
def test_a_real_port_has_this_process(kind: socket.SocketKind, bound: str, asked: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family, kind) as plain:
        plain.bind((bound, 0))
        if kind == socket.SOCK_STREAM:
            plain.listen()
        name = Path("/proc/self/comm").read_text().strip()
        assert port_owner(ip_address(asked), plain.getsockname()[1], kind) == f"{name} (pid {os.getpid()})"


def test_a_port_on_another_address_is_nobodys() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        assert port_owner(IPv4Address("127.0.0.2"), plain.getsockname()[1], socket.SOCK_DGRAM) == ""


@pytest.mark.parametrize(
    ("sockets", "said"),
    [
        ([(0, 0)], "the kernel, perhaps for another WireGuard interface"),
        ([(41, 0)], "a program of the user root"),
        ([(0, 0), (41, 4_000_000_000)], "a program of the user 4000000000"),
    ],
)
def test_a_program_that_is_hidden_has_a_user(
    sockets: list[tuple[int, int]], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the service's sandbox, which may not look into the programs of others."""
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "712/fd").mkdir(parents=True)
    table = HEADER + "".join(line("0100007F:0035", "07", inode, uid) for inode, uid in sockets)
    (tmp_path / "self/net/udp").write_text(table)
    monkeypatch.setattr("meshd.observe.port_owner.PROC", tmp_path)
    assert port_owner(IPv4Address("127.0.0.1"), 53, socket.SOCK_DGRAM) == said
    assert port_owner(IPv4Address("127.0.0.1"), 54, socket.SOCK_DGRAM) == ""
