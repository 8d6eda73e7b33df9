"""The kernel's answer about nftables, and whatever else may come."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.nftables_generation import parse


def answer(kind: int = 10 << 8 | 15, attribute: int = 1, number: int = 7) -> bytes:
    body = struct.pack("=BBH", 0, 0, 0) + struct.pack("=HH", 8, attribute) + number.to_bytes(4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 99) + body


def test_the_number_is_read() -> None:
    assert parse(answer(number=0x01020304)) == 0x01020304


def test_anything_else_is_no_number() -> None:
    for message in (answer(kind=2), answer(attribute=2), answer()[:-1], answer()[:20], b""):
        assert parse(message) is None


@given(st.binary(max_size=64))
def test_no_bytes_raise(message: bytes) -> None:
    parse(message)


@given(st.binary(max_size=32))
def test_no_attributes_raise(attributes: bytes) -> None:
    head = struct.pack("=IHHII", 20 + len(attributes), 10 << 8 | 15, 0, 1, 99) + bytes(4)
    parse(head + attributes)
