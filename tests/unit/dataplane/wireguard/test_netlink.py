"""Netlink framing: what is written is read back, and no bytes whatever do more than raise Malformed."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.wireguard.netlink import (
    GENERIC,
    ROUTE,
    Malformed,
    NetlinkConnection,
    attribute,
    attributes,
    check_code,
    message,
    messages,
    nested,
    number,
)

KINDS = st.integers(0, 0x3FFF)
ATTRIBUTES = st.lists(st.tuples(KINDS, st.binary(max_size=40)), max_size=8)


@given(ATTRIBUTES)
def test_attributes_are_read_back_and_aligned(values: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in values)
    assert len(data) % 4 == 0
    assert list(attributes(data)) == values


@given(ATTRIBUTES)
def test_attributes_within_an_attribute_are_read_back(values: list[tuple[int, bytes]]) -> None:
    inner = b"".join(attribute(kind, value) for kind, value in values)
    [(kind, value)] = attributes(nested(9, inner))
    assert kind == 9
    assert list(attributes(value)) == values


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=5))
def test_messages_are_read_back(values: list[tuple[int, int, bytes]]) -> None:
    data = b""
    for sequence, (kind, flags, payload) in enumerate(values):
        data += message(kind, flags, sequence, payload)
        data += bytes(-len(data) % 4)
    found = [(one.kind, one.flags, one.payload) for one in messages(data)]
    assert found == values
    assert [one.sequence for one in messages(data)] == list(range(len(values)))


@given(st.binary(max_size=200))
def test_hostile_bytes_are_refused_or_read_never_worse(data: bytes) -> None:
    for read in (lambda: list(messages(data)), lambda: list(attributes(data)), lambda: [number(data)]):
        with suppress(Malformed):
            assert sum(1 for _ in read()) <= max(len(data) // 4, 1)
    with suppress(Malformed, OSError):
        check_code(data)


@pytest.mark.parametrize("length", [0, 1, 3, 5, 0xFFFF])
def test_a_length_that_lies_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match="cut off"):
        list(attributes(struct.pack("=HH", length, 1)))
    with pytest.raises(Malformed, match="cut off"):
        list(messages(struct.pack("=IHHII", length, 1, 0, 0, 0)))


@given(st.integers(1, 15))
def test_what_is_cut_off_is_refused(left: int) -> None:
    with pytest.raises(Malformed, match="cut off"):
        list(messages(message(1, 2, 3, b"")[:left]))


def test_an_attribute_that_can_not_be_that_long_is_refused() -> None:
    attribute(1, bytes(0xFFFF - 4))
    with pytest.raises(Malformed, match="does not fit"):
        attribute(1, bytes(0xFFFF - 3))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_numbers_are_the_machines(size: int) -> None:
    assert number(struct.pack({1: "=B", 2: "=H", 4: "=I", 8: "=Q"}[size], 200)) == 200


@pytest.mark.parametrize("size", [0, 3, 5, 9])
def test_a_number_of_an_odd_size_is_refused(size: int) -> None:
    with pytest.raises(Malformed):
        number(bytes(size))


def test_an_error_code_is_the_systems_error() -> None:
    check_code(struct.pack("=i", 0))
    with pytest.raises(PermissionError):
        check_code(struct.pack("=i", -errno.EPERM))
    with pytest.raises(Malformed):
        check_code(b"\0\0\0")


def test_the_real_kernel_answers_questions_and_dumps() -> None:
    get_link = 18  # RTM_GETLINK, linux/rtnetlink.h
    interface_info = struct.Struct("=BxHiII")
    name = attribute(3, b"lo\0")  # IFLA_IFNAME
    with NetlinkConnection(ROUTE) as connection:
        [link] = connection.ask(get_link, interface_info.pack(0, 0, 0, 0, 0) + name)
        assert interface_info.unpack_from(link)[2] == socket.if_nametoindex("lo")
        assert dict(attributes(link[interface_info.size :]))[3] == b"lo\0"
        with pytest.raises(OSError, match=r".") as caught:
            connection.ask(get_link, interface_info.pack(0, 0, 0, 0, 0) + attribute(3, b"no-such-link\0"))
        assert caught.value.errno == errno.ENODEV
        dumped = connection.dump(get_link, interface_info.pack(0, 0, 0, 0, 0))
        indexes = {interface_info.unpack_from(one)[2] for one in dumped}
        assert indexes == {index for index, _ in socket.if_nameindex()}
    with NetlinkConnection(GENERIC) as connection, pytest.raises(FileNotFoundError):
        connection.ask(16, struct.pack("=BBH", 3, 1, 0) + attribute(2, b"no-such-family\0"))  # linux/genetlink.h
