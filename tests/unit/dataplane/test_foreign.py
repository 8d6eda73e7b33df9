"""Rules of other programs, as `nft -j list ruleset` shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.dataplane.foreign import findings, packets, read_findings
from meshd.model.errors import Failed

PACKETS = packets("home", 10100, join_port=9000, forwarding=True)


def chain(table: str, name: str, hook: str = "", policy: str = "accept", family: str = "ip") -> dict[str, Any]:
    fields: dict[str, Any] = {"family": family, "table": table, "name": name}
    if hook:
        fields |= {"type": "filter", "hook": hook, "prio": 0, "policy": policy}
    return {"chain": fields}


def rule(table: str, name: str, *expressions: object, family: str = "ip") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": name, "expr": list(expressions)}}


def port(protocol: str, number: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": number}}


def through(key: str, name: str) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}}


def found(*items: object) -> list[tuple[str, str]]:
    return [(one.owner, one.packet.what) for one in findings({"nftables": list(items)}, PACKETS)]


def test_an_empty_ruleset_stops_nothing() -> None:
    assert found() == []


def test_a_policy_of_drop_stops_what_no_rule_accepts() -> None:
    base = chain("filter", "INPUT", "input", "drop")
    assert found(base) == [
        ("iptables", "WireGuard on UDP port 10100"),
        ("iptables", "joins on TCP port 9000"),
        ("iptables", "what arrives through home"),
    ]
    accepted = [
        rule("filter", "INPUT", port("udp", {"set": [53, {"range": [10000, 10200]}]}), {"accept": None}),
        rule("filter", "INPUT", port("tcp", 9000), {"counter": {}}, {"accept": None}),
        rule("filter", "INPUT", through("iifname", "hom*"), {"accept": None}),
    ]
    assert found(base, *accepted) == []


def test_rules_in_jumped_chains_count() -> None:
    items = [
        chain("filter", "INPUT", "input", "drop"),
        chain("filter", "ufw-user-input"),
        rule("filter", "INPUT", {"jump": {"target": "ufw-user-input"}}),
        rule("filter", "ufw-user-input", port("udp", 10100), {"accept": None}),
    ]
    assert found(*items) == [("ufw", "joins on TCP port 9000"), ("ufw", "what arrives through home")]


def test_docker_is_named_with_the_way_around_it() -> None:
    items = [chain("filter", "FORWARD", "forward", "drop"), chain("filter", "DOCKER-USER")]
    (finding,) = findings({"nftables": items}, PACKETS)
    assert finding.owner == "Docker"
    assert "DOCKER-USER -i home" in finding.fix


def test_a_last_rule_that_rejects_counts_like_a_policy() -> None:
    items = [
        chain("firewalld", "filter_INPUT", "input", family="inet"),
        rule("firewalld", "filter_INPUT", {"reject": {"type": "icmpx"}}, family="inet"),
    ]
    assert [one.owner for one in findings({"nftables": items}, PACKETS)] == ["firewalld"] * 3


def test_established_connections_say_nothing_about_new_ones() -> None:
    state = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    items = [chain("filter", "INPUT", "input", "drop"), rule("filter", "INPUT", state, {"accept": None})]
    assert len(found(*items)) == 3


def test_a_rule_that_is_not_understood_is_taken_as_not_matching() -> None:
    items = [
        chain("filter", "INPUT", "input", "accept"),
        rule("filter", "INPUT", {"xt": {"type": "match", "name": "recent"}}, {"drop": None}),
    ]
    assert found(*items) == []


def test_our_own_tables_are_not_foreign() -> None:
    assert found(chain("meshd-home", "input", "input", "drop", family="inet")) == []


def test_chains_that_jump_in_circles_end() -> None:
    items = [chain("filter", "INPUT", "input", "drop"), rule("filter", "INPUT", {"jump": {"target": "INPUT"}})]
    assert len(found(*items)) == 3


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["match", "filter", "input", "==", "meta"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["nftables", "chain", "rule", "expr", "match", "left", "right", "meta", "range", "set"]),
            inner,
            max_size=4,
        )
    ),
)


@given(json, json)
def test_whatever_the_answer_holds_nothing_is_raised(ruleset: object, expression: object) -> None:
    findings(ruleset, PACKETS)
    found(chain("filter", "INPUT", "input", "drop"), rule("filter", "INPUT", expression, {"match": expression}))


def test_nft_that_is_missing_or_may_not_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("meshd.dataplane.foreign.SYSTEM_PATH", str(tmp_path))
    with pytest.raises(Failed, match="nft is not installed"):
        read_findings(PACKETS)
    (tmp_path / "nft").write_text("no program")
    with pytest.raises(Failed, match="nft can't be run: Permission denied"):
        read_findings(PACKETS)
