"""Joins in meshtui that must fail: on a real meshd, each says at which stage, why, and what to do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab.hosts.host import PATIENCE, Host, wait_until
from lab.hosts.network import Network
from lab.terminal import Terminal
from meshproto.cluster_key import ClusterKey


class Gate:
    """gw-berlin has a mesh; laptop-ada, with meshtui, wants in."""

    def __init__(self, network: Network, stack: ExitStack) -> None:
        self.network = network
        self.gateway, self.ada = (network.host(name) for name in ("gw-berlin", "laptop-ada"))
        for host in (self.gateway, self.ada):
            host.start_meshd()
        self.key = str(self.gateway.meshctl("create", "home")["cluster_key"])
        self.address = network.address("gw-berlin")
        self.screen = Terminal(self.ada, width=100, height=40)
        stack.callback(self.screen.close)
        self.screen.shows("No mesh yet.")

    def invite(self, *options: str) -> tuple[str, str]:
        """(id, text)"""
        made = self.gateway.meshctl("invites", "create", *options)
        return made["invite"]["id"], made["text"]

    def asks(self, what: str, through: str = "", name: str = "") -> None:
        """Fills in the form; the keys go into a file."""
        for left in ("Join a mesh", "escape: back"):  # by a test that failed
            if left in self.screen.text():
                self.screen.back(left)
        self.screen.press("a")
        self.screen.shows("Join a mesh", "Paste an invite")
        for text in (what, through, name):
            if text:
                self.screen.write(text)
            self.screen.press("Tab")
        self.screen.press("Space")

    def refuses(self, *texts: str, limit: float = 30) -> None:
        """What was asked ends with these on screen; and nothing is left of it here."""
        if "Join a mesh" in self.screen.text():
            self.screen.press("Enter")
        self.screen.shows("escape: back", *texts, limit=limit)
        self.screen.back("escape: back")
        self.screen.shows("No mesh yet.")
        assert self.ada.meshctl("status")["meshes"] == []
        assert "home" not in self.ada.run("ip -br link").stdout


def closes(host: Host, what: str) -> None:
    """Its firewall drops this, until the table `closed` is deleted."""
    host.run(
        "nft add table inet closed; nft 'add chain inet closed in { type filter hook input priority -500; }'; "
        f"nft add rule inet closed in {what} drop"
    )


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    network = Network()
    try:
        with ExitStack() as stack:
            yield Gate(network, stack)
    finally:
        network.close()


def test_what_is_no_invite_is_refused_before_it_is_sent(gate: Gate) -> None:
    gate.asks("swordfish")
    gate.screen.shows("That is neither an invite (mesh1-…) nor a cluster key")
    gate.screen.press("Enter")
    gate.screen.shows("Join a mesh", "neither an invite")
    gate.screen.back("Join a mesh")


def test_an_invite_that_expired_while_the_form_was_open(gate: Gate) -> None:
    invite_id, text = gate.invite("--expires", f"{round(12 * PATIENCE)}s")
    gate.asks(text)
    gate.screen.shows("An invite to home, good for")

    def state() -> str:
        return next(one["state"] for one in gate.gateway.meshctl("invites", "list") if one["id"] == invite_id)

    wait_until(lambda: state() == "expired", 25, "the invite to expire")
    gate.screen.press("Enter")
    gate.screen.shows("The invite has expired: ask for a new one.")
    gate.screen.back("Join a mesh")


def test_invites_that_are_revoked_or_used_up(gate: Gate) -> None:
    invite_id, text = gate.invite()
    gate.gateway.meshctl("invites", "revoke", invite_id)
    gate.asks(text)
    gate.refuses(
        "✓ Find a node", "✓ Check it", "is a node of home", "▲ Be let in", f"invite {invite_id} was revoked", "○ Tunnel"
    )
    _, text = gate.invite()
    grace = gate.network.host("laptop-grace").with_meshd()
    grace.meshctl("join", "-", "--always-on", input=text)
    gate.asks(text)
    gate.refuses("✓ Check it", "▲ Be let in", "was already used", "→ ask for a new one")


def test_an_invite_whose_node_does_not_answer(gate: Gate) -> None:
    _, text = gate.invite()
    closes(gate.gateway, "udp dport 10100")
    try:
        gate.asks(text)
        gate.screen.press("Enter")
        gate.screen.shows("◐ Check it", "opening the invite's tunnel to home", "○ Be let in")
        gate.refuses("✓ Find a node", "▲ Check it", "no answer: the invite was already used or revoked, or the node",
                     "→ check that UDP to the node is open")  # fmt: skip
    finally:
        gate.gateway.run("nft delete table inet closed")


def test_hosts_that_are_not_there(gate: Gate) -> None:
    gate.asks(gate.key, "gw-nowhere.invalid")
    gate.refuses("▲ Find a node", "gw-nowhere.invalid can't be resolved", "→ check")
    gate.asks(gate.key, f"{gate.address}:9009")
    gate.refuses(
        "▲ Find a node", "can't be reached: Connection refused", "→ check the address and that meshd runs there"
    )
    closes(gate.gateway, "tcp dport 9009")
    try:
        gate.asks(gate.key, f"{gate.address}:9009")
        gate.refuses("▲ Find a node", f"no answer from {gate.address}:9009", "TCP to that port is open in its")
    finally:
        gate.gateway.run("nft delete table inet closed")


def test_a_node_of_another_mesh_answers(gate: Gate) -> None:
    key = ClusterKey(ClusterKey.parse(gate.key).secret, bytes(32)).text()
    gate.asks(key, gate.address)
    gate.refuses("▲ Find a node", "belongs to another mesh", "→ check the address, and that the key")


def test_a_key_that_was_rotated_away(gate: Gate) -> None:
    key = ClusterKey(bytes(32), ClusterKey.parse(gate.key).fingerprint).text()
    gate.asks(key, gate.address)
    gate.refuses("✓ Check it", "is a node of home", "▲ Be let in", "cluster key", "meshctl key show")


def test_a_name_that_is_taken(gate: Gate) -> None:
    gate.asks(gate.key, gate.address, "gw-berlin")
    gate.refuses("▲ Be let in", "the name gw-berlin is taken in home", "→")


def test_networks_that_overlap(gate: Gate) -> None:
    gate.ada.run("ip link add name lan type bridge; ip addr add 10.11.7.1/24 dev lan; ip link set lan up")
    try:
        gate.asks(gate.key, gate.address)
        gate.refuses("✓ Find a node", "10.11.0.0/16", "10.11.7.0/24", "→")
    finally:
        gate.ada.run("ip link del lan")


def test_a_request_waits_and_is_refused(gate: Gate) -> None:
    gate.asks("", gate.address)
    gate.screen.shows("Asks", "to let this machine in as a peer")
    gate.screen.press("Enter")
    (pending,) = wait_until(lambda: gate.gateway.meshctl("peers", "pending"), 15, "the request to show up")
    gate.screen.shows("Asking to be let in", "✓ Check it", "◐ Be let in", pending["fingerprint"], "○ Tunnel")
    gate.gateway.meshctl("peers", "deauthorize", pending["id"])
    gate.screen.shows("▲ Be let in", "the request was refused", "→ ask the people who run the mesh")
    gate.screen.back("escape: back")


def test_meshd_dies_meanwhile(gate: Gate) -> None:
    gate.asks("", gate.address)
    gate.screen.press("Enter")
    gate.screen.shows("◐ Be let in")
    gate.ada.stop_meshd(signal.SIGKILL)
    gate.screen.shows("▲ Be let in", "meshd ended before it answered", "→ see")
    gate.ada.start_meshd()
    gate.screen.back("escape: back")
    gate.screen.shows("No mesh yet.")


@pytest.mark.parametrize(
    ("before", "fix"),
    [("groupadd -f mesh", "→ sudo usermod -aG mesh nobody"), ("groupdel mesh", "→ sudo groupadd --system mesh")],
)
def test_who_may_not_is_told_the_group_before_the_form(gate: Gate, before: str, fix: str) -> None:
    gate.ada.run(before)
    screen = nobodys(gate.ada)
    try:
        screen.shows("No mesh yet.")
        screen.press("a")
        screen.shows("nobody may only look", fix)
    finally:
        screen.close()


def nobodys(host: Host) -> Terminal:
    from lab.hosts.host import BIN
    from lab.terminal import Screen

    command = ["setpriv", "--reuid", "nobody", "--clear-groups", "env", "HOME=/nonexistent", str(BIN / "meshtui")]
    return Screen([*host.enter, *command], width=100, height=40)  # type: ignore[return-value]  # the same keys


def test_at_last_it_is_let_in_and_every_stage_was_there(gate: Gate) -> None:
    _, text = gate.invite("laptop-ada")
    gate.asks(text)
    gate.screen.press("Enter")
    gate.screen.shows(
        "✓ Find a node", "✓ Check it", "is a node of home", "✓ Be let in", "✓ Tunnel", "✓ Handshake", "✓ Synced",
        "● this machine is in home", limit=30,
    )  # fmt: skip
