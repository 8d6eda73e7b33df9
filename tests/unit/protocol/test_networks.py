"""A route is what a person means by it, or refused with what was meant."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.format_error import FormatError
from meshproto.networks import parse_network, parse_route


@pytest.mark.parametrize("text", ["203.0.113.0/24", "203.0.113.7/32", "2001:db8:7::/48", "10.0.0.0/8"])
def test_networks(text: str) -> None:
    assert parse_route(text) == ip_network(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("203.0.113.0", "write 203.0.113.0/32 for that address alone, or 203.0.113.0/24 for the network"),
        ("10.0.0.0", "or 10.0.0.0/8 for the network"),
        ("203.0.113.7", "write 203.0.113.7/32 for that address alone"),
        ("2001:db8:7::", "or 2001:db8:7::/48 for the network"),
        ("203.0.113.0/255.255.255.0", "did you mean 203.0.113.0/24?"),
        ("10.0.0.0/0.255.255.255", "did you mean 10.0.0.0/8?"),
        ("203.0.113.7/24", "did you mean 203.0.113.0/24?"),
        ("fe80::%eth0/64", "did you mean fe80::/64?"),
        ("203.0.113.0/33", "write it like 203.0.113.0/24"),
        ("203.0.113.0/", "write it like 203.0.113.0/24"),
        ("203.0.113.0/24/1", "write it like 203.0.113.0/24"),
        ("", "write it like 203.0.113.0/24"),
    ],
)
def test_what_means_something_else_is_refused_with_what_was_meant(text: str, meant: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_route(text)
    assert meant in caught.value.fix


def test_an_address_alone_has_no_network_to_suggest() -> None:
    with pytest.raises(FormatError) as caught:
        parse_network("203.0.113.7")
    assert "for the network" not in caught.value.fix


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "127.0.0.0/8", "224.0.0.0/4", "169.254.0.0/24", "fe80::/64"])
def test_what_no_node_can_offer(text: str) -> None:
    parse_network(text)
    with pytest.raises(FormatError):
        parse_route(text)


@given(st.text(max_size=60) | st.text("0123456789.:/%abcdef", max_size=30))
def test_any_text_is_read_as_it_is_written_or_refused(text: str) -> None:
    try:
        network = parse_network(text)
    except FormatError:
        return
    assert text.partition("/")[2].isdecimal()
    assert str(network) == str(ip_network(text))
