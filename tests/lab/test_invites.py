"""Invites on real parts: one winner, and everybody else is told why not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from lab.hosts.host import BIN, PATIENCE, Host, wait_until
from lab.hosts.network import Network


class Entrance:
    """One gateway with a mesh, and two laptops that want in."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.gateway = network.host("gw-berlin")
        self.laptops = [network.host("laptop-ada"), network.host("laptop-grace", nat=True)]
        for host in (self.gateway, *self.laptops):
            host.start_meshd()
        self.gateway.meshctl("create", "home")

    def invite(self, *options: str) -> tuple[str, str]:
        """(id, text)"""
        made = self.gateway.meshctl("invites", "create", *options)
        return made["invite"]["id"], made["text"]

    def state(self, invite_id: str) -> str:
        return next(one["state"] for one in self.gateway.meshctl("invites", "list") if one["id"] == invite_id)


@pytest.fixture(scope="module")
def entrance() -> Iterator[Entrance]:
    network = Network()
    try:
        yield Entrance(network)
    finally:
        network.close()


def refusal(host: Host, text: str) -> str:
    done = host.meshctl_raw("join", "-", "--always-on", input=text)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    assert host.meshctl("status")["meshes"] == []
    assert "home" not in host.run("ip -br link").stdout
    return done.stderr


def test_revoked_expired_and_damaged_invites_say_so(entrance: Entrance) -> None:
    ada = entrance.laptops[0]
    revoked, text = entrance.invite("laptop-ada")
    entrance.gateway.meshctl("invites", "revoke", revoked)
    assert "revoked" in refusal(ada, text)
    expired, text = entrance.invite("laptop-ada", "--expires", "1s")
    wait_until(lambda: entrance.state(expired) == "expired", 10, "the invite to expire")
    assert "expired" in refusal(ada, text)
    _, text = entrance.invite("laptop-ada")
    assert "truncated" in refusal(ada, text[:-9])
    assert "edited" in refusal(ada, text[:40] + ("a" if text[40] != "a" else "b") + text[41:])
    assert "--always-on" in ada.meshctl_raw("join", "-", input=text).stderr
    entrance.gateway.meshctl("invites", "revoke", entrance.gateway.meshctl("invites", "list")[-1]["id"])


def test_of_two_that_redeem_at_once_one_gets_in(entrance: Entrance) -> None:
    invite_id, text = entrance.invite()
    results: dict[str, tuple[int, str]] = {}

    def join(host: Host) -> None:
        done = host.meshctl_raw("join", "-", "--always-on", "--timeout", "25", input=text)
        results[host.name] = done.returncode, done.stderr

    threads = [threading.Thread(target=join, args=(host,)) for host in entrance.laptops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [host for host in entrance.laptops if results[host.name][0] == 0]
    losers = [host for host in entrance.laptops if results[host.name][0] != 0]
    assert len(winners) == 1, results
    assert "already used" in results[losers[0].name][1], results
    assert entrance.state(invite_id) == "redeemed"
    kept = "ls /var/lib/meshd/home/invites"
    wait_until(lambda: invite_id not in entrance.gateway.run(kept).stdout, 5, "the invite's secret to be forgotten")
    assert [one["name"] for one in entrance.gateway.meshctl("peers", "list")] == [winners[0].name]
    wait_until(lambda: winners[0].ping("10.11.0.1", 1), 10, "the winner to reach gw-berlin")
    winners[0].meshctl("leave", "home", "--yes")


def test_an_invite_for_two_lets_two_in(entrance: Entrance) -> None:
    _, text = entrance.invite("--uses", "2")
    for host in entrance.laptops:
        host.meshctl("join", "-", "--always-on", input=text)
    assert len(entrance.gateway.meshctl("peers", "list")) == 2
    for host in entrance.laptops:
        host.meshctl("leave", "home", "--yes")


def test_asking_to_be_let_in(entrance: Entrance) -> None:
    """The first one to ask gives up; asking again finds the same request. This machine's other meshes don't wait for
    the decision, and what they take meanwhile is theirs."""
    ada = entrance.laptops[0]
    address = entrance.network.address("gw-berlin")
    early = ada.meshctl_raw("--timeout", f"{3 * PATIENCE:g}", "join", "--request", address, "--always-on")
    assert early.returncode == 1
    (first,) = entrance.gateway.meshctl("peers", "pending")
    assert f"request {first['id']} was not decided in time" in early.stderr
    asking = ada.record([str(BIN / "meshctl"), "join", "--request", address, "--always-on", "--wait", "40"], "asking")
    (pending,) = wait_until(lambda: entrance.gateway.meshctl("peers", "pending"), 10, "the request to show up")
    assert (pending["id"], pending["name"]) == (first["id"], "laptop-ada")
    wait_until(lambda: pending["fingerprint"] in ada.recorded("asking"), 5, "the fingerprint to be shown here, too")
    ada.meshctl("create", "work", "--node-pool", "172.20.0.0/16", "--peer-pool", "172.21.0.0/16")
    entrance.gateway.meshctl("peers", "authorize", pending["id"])
    assert asking.wait(30 * PATIENCE) == 0, ada.recorded("asking")
    wait_until(lambda: ada.ping("10.11.0.1", 1), 10, "laptop-ada to reach gw-berlin")
    assert ada.run("wg show all listen-port").stdout.split() == ["home", "10101", "work", "10100"]
    ada.meshctl("leave", "work", "--yes")
    assert sorted(path.name for path in ada.state.iterdir()) == [".network", "home"]  # and no .requests
    entrance.gateway.meshctl("peers", "deauthorize", "laptop-ada")
    wait_until(lambda: not ada.ping("10.11.0.1", 1), 5, "laptop-ada to lose access")


def test_an_open_invite_is_shown_again_where_it_was_made(entrance: Entrance) -> None:
    made, text = entrance.invite("laptop-tove")
    assert entrance.gateway.meshctl("invites", "show", made, "--qr")["text"] == text
    entrance.gateway.meshctl("invites", "revoke", made)
    again = entrance.gateway.meshctl_raw("invites", "show", made, "--qr")
    assert again.returncode == 1
    assert "revoked" in again.stderr
    kept = "ls /var/lib/meshd/home/invites"
    wait_until(lambda: made not in entrance.gateway.run(kept).stdout, 5, "the invite's secret to be forgotten")
