"""Endpoints are foreign text: what passes is plain and reads back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import InvalidInput
from meshd.model.members import Endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:+1", "192.0.2.1:1_0", "192.0.2.1:٣",
     "192.0.2.1: 5", "[fe80::1%eth0]:1", "[fe80::1%\x1b[31m]:1", "gw a:1", "gw\n:1", "300.1.1.1:1", "[::1:5", "a..b:1"],
)  # fmt: skip
def test_these_are_no_endpoints(text: str) -> None:
    with pytest.raises(InvalidInput):
        Endpoint.parse(text)


def test_a_bare_host_takes_the_default_port() -> None:
    assert Endpoint.parse("2001:db8::7", 9000) == Endpoint("2001:db8::7", 9000)
    assert str(Endpoint.parse("[2001:DB8::7]:1")) == "[2001:db8::7]:1"
    assert Endpoint.parse("Gateway.Example.org", 9000).host == "gateway.example.org"


@given(st.one_of(st.text(max_size=80), st.text("0123456789abcdef:.[]%_- \x00é", max_size=40)))
def test_any_text_is_refused_or_reads_back_the_same(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text)
    except InvalidInput:
        return
    assert str(endpoint).isascii()
    assert str(endpoint).isprintable()
    assert Endpoint.parse(str(endpoint)) == endpoint
