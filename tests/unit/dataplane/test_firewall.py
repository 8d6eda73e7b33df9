"""The text that nft gets: one transaction that never deletes, and what is in it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network, ip_address, ip_network

from meshd.dataplane.desired import DesiredFirewall
from meshd.dataplane.firewall import additions, script

NODE = DesiredFirewall(
    own_addresses=frozenset({ip_address("10.11.0.1"), ip_address("fd00::1")}),
    nodes=frozenset({ip_address("10.12.0.1")}),
    redis_port=16379,
    temporary=frozenset({ip_address("10.51.0.9")}),
    redeem_port=9000,
    transport_prefix=IPv6Network("fd01::/64"),
    forward_to=frozenset({ip_network("10.11.0.0/16"), ip_network("10.11.3.0/24"), ip_network("0.0.0.0/0")}),
    masquerade_to=frozenset({ip_network("10.11.0.0/16")}),
)


def elements(text: str, name: str) -> str:
    (line,) = [one for one in text.splitlines() if one.startswith(f"add element inet meshd-home {name} ")]
    return line.partition("{")[2].strip(" }")


def test_nothing_is_deleted() -> None:
    assert "delete" not in script("home", NODE)


def test_networks_in_others_are_left_out() -> None:
    text = script("home", replace(NODE, forward_to=NODE.forward_to - {ip_network("0.0.0.0/0")}))
    assert elements(text, "forward_to4") == "10.11.0.0/16"


def test_a_default_route_lets_nobody_in() -> None:
    text = script("home", NODE)
    assert elements(text, "forward_to4") == "0.0.0.0/0"
    assert elements(text, "forward_from4") == "10.11.0.0/16"


def test_a_peer_forwards_nothing() -> None:
    text = script("home", replace(NODE, transport_prefix=None))
    rules = [line.partition("meshd-home ")[2] for line in text.splitlines() if line.startswith("add rule")]
    assert [rule for rule in rules if rule.startswith("forward")] == [
        'forward iifname "home" drop',
        'forward oifname "home" drop',
    ]


def test_without_a_redis_its_port_is_nobodys_business() -> None:
    assert "16379" not in script("home", replace(NODE, redis_port=0))


def test_the_same_plan_gives_the_same_text() -> None:
    shuffled = replace(NODE, forward_to=frozenset(sorted(NODE.forward_to, key=str, reverse=True)))
    assert script("home", NODE) == script("home", shuffled)


def test_what_is_only_more_is_added_alone() -> None:
    more = NODE.masquerade_to | {ip_network("192.0.2.0/24")}
    text = additions("home", NODE, replace(NODE, masquerade_to=more))
    assert text == "add element inet meshd-home masquerade_to4 { 192.0.2.0/24 }\n"


def test_anything_else_takes_the_whole_transaction() -> None:
    others = (
        replace(NODE, nodes=frozenset()),
        replace(NODE, masquerade_to=frozenset({ip_network("10.10.0.0/15")})),  # takes the place of one in it
        replace(NODE, redis_port=0),
        replace(NODE, masquerade_to=frozenset()),
    )
    assert [additions("home", NODE, other) for other in others] == [None] * len(others)
