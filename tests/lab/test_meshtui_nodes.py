"""meshtui and meshctl on a mesh of three gateways and a laptop: what needs several nodes, or a helper that restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network
from lab.terminal import Screen, Terminal


class Gateways:
    """Three gateways and a laptop in the mesh `home`, and meshtui on the first gateway."""

    def __init__(self, network: Network, stack: ExitStack) -> None:
        self.a, self.b, self.c, self.laptop = (network.host(name) for name in ("gw-a", "gw-b", "gw-c", "laptop-ada"))
        for host in (self.a, self.b, self.c, self.laptop):
            host.start_meshd()
        self.a.meshctl("create", "home")
        key = self.a.meshctl("key", "show")["cluster_key"]
        for host in (self.b, self.c):
            host.meshctl("join", "-", network.address("gw-a"), input=key)
        text = self.a.meshctl("invites", "create", "laptop-ada")["text"]
        self.laptop.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
        self.stack = stack
        self.screen = Terminal(self.a, width=140, height=44)
        stack.callback(self.screen.close)

    def mesh(self, host: Host) -> Any:
        return host.meshctl("status")["meshes"][0]

    def meshctl(self, *arguments: str) -> Screen:
        """In a terminal on the first gateway."""
        screen = Screen([*self.a.enter, str(BIN / "meshctl"), *arguments], width=120, height=30)
        self.stack.callback(screen.close)
        return screen


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    network = Network()
    try:
        with ExitStack() as stack:
            yield Gateways(network, stack)
    finally:
        network.close()


def test_1_lists_are_filtered_and_drawn(gateways: Gateways) -> None:
    names = [one["name"] for one in gateways.a.meshctl("nodes", "list", "--filter", "gw !gw-b")]
    assert names == ["gw-a", "gw-c"]
    assert gateways.a.meshctl("peers", "list", "--filter", "nobody") == []
    for form, sign in (("text", "─ laptop-ada"), ("dot", 'graph "home"'), ("mermaid", "graph "), ("svg", "<svg")):
        drawn = gateways.a.run([str(BIN / "meshctl"), "graph", "--format", form]).stdout
        assert sign in drawn
        assert "laptop-ada" in drawn


def test_2_a_watch_follows(gateways: Gateways) -> None:
    watch = gateways.meshctl("peers", "list", "--watch")
    watch.shows("● laptop-ada")
    gateways.a.meshctl("peers", "disable", "laptop-ada")
    watch.shows("disabled")
    gateways.a.meshctl("peers", "enable", "laptop-ada")
    wait_until(lambda: "disabled" not in watch.text(), 10, "the list to say that it is enabled")
    watch.resize(40, 30)
    watch.shows("● laptop-ada", "more columns: the terminal", limit=30)
    # The list may be drawn anew just now.
    wait_until(lambda: "laptop-ada" in "".join(watch.text().splitlines()[1:2]), 5, "the line, not scrolled away")
    gateways.a.meshctl("peers", "disable", "laptop-ada")
    gateways.a.meshctl("peers", "enable", "laptop-ada")
    watch.resize(120, 30)
    wait_until(lambda: "more columns" not in watch.text(), 10, "the whole list")
    assert watch.text().count("laptop-ada") == 1
    status = gateways.meshctl("status", "--watch")
    status.resize(120, 5)
    status.shows("more lines: the terminal is too small")
    assert status.text().splitlines()[0].startswith("● home"), status.text()


def test_3_names_are_completed(gateways: Gateways) -> None:
    script = f"source <({BIN}/meshctl completions bash); COMP_WORDS=(meshctl nodes promote ''); COMP_CWORD=3"
    text = f'PATH={BIN}:$PATH; {script}; __meshctl_complete; printf "%s\\n" "${{COMPREPLY[@]}}"'
    offered = gateways.a.run(["bash", "-c", text]).stdout.split()
    assert [one for one in offered if not one.startswith("--")] == ["gw-a", "gw-b", "gw-c"]


def test_4_another_node_is_promoted(gateways: Gateways) -> None:
    screen = gateways.screen
    screen.press("3")
    screen.shows("primary ★")
    screen.press("g", "j")
    screen.shows("▸ ● gw-b")
    screen.press("P")
    screen.shows("Make gw-b the primary of home?", "none is lost")
    screen.press("y")
    screen.shows("gw-b is the primary")
    wait_until(lambda: gateways.mesh(gateways.c)["primary"] == "gw-b", 10, "the others to follow gw-b")


def test_5_a_restart_keeps_the_last_day(gateways: Gateways) -> None:
    """Of a laptop that is gone before, so that only the file can tell."""
    gateways.laptop.power_off()
    wait_until(lambda: not _online(gateways, "laptop-ada"), 60, "the laptop to be offline")
    gateways.a.stop_meshd()
    gateways.screen.press("2")
    gateways.screen.shows("meshd is not running, trying again every second")
    gateways.a.start_meshd()
    gateways.screen.shows("home ● connected", "○ laptop-ada", limit=40)
    gateways.screen.press("G")
    gateways.screen.shows("▸ ○ laptop-ada")
    gateways.screen.press("Enter")
    gateways.screen.shows("24 hours", "at worst", "at most")
    gateways.screen.back("24 hours")


def test_6_a_report_holds_the_day(gateways: Gateways) -> None:
    gateways.a.run([str(BIN / "meshctl"), "report", "/run/home.report"])
    shown = Terminal(gateways.a, "--replay", "/run/home.report", width=140, height=44)
    gateways.stack.callback(shown.close)
    shown.shows("end of the recording", "laptop-ada")
    shown.press("G", "Enter")
    shown.shows("24 hours", "at worst")


def test_7_the_last_node_leads_by_force(gateways: Gateways) -> None:
    screen = gateways.screen
    for host in (gateways.b, gateways.c):
        host.power_off()
    wait_until(lambda: not gateways.mesh(gateways.a)["writable"], 60, "gw-a to have no majority")
    screen.press("3")
    screen.press("g", "j")
    screen.shows("▸", "gw-b", "No change is accepted now")
    screen.press("P")
    screen.shows("no majority of its nodes answers", "on gw-b: meshctl nodes promote gw-b --force")
    screen.press("g")
    screen.shows("▸ ● gw-a")
    screen.press("P")
    screen.shows("Have gw-a lead home by force?", "lost")
    screen.press("n")
    wait_until(lambda: "by force?" not in screen.text(), 10, "the question to go")
    assert not gateways.mesh(gateways.a)["writable"]
    screen.press("P")
    screen.shows("Have gw-a lead home by force?")
    screen.press("y")
    screen.shows("gw-a leads home", limit=30)
    wait_until(lambda: gateways.mesh(gateways.a)["writable"], 20, "gw-a to take changes")
    assert json.loads(gateways.a.meshctl_raw("--json", "status").stdout)["meshes"][0]["primary"] == "gw-a"


def _online(gateways: Gateways, name: str) -> bool:
    return any(one["online"] for one in gateways.mesh(gateways.a)["members"] if one["name"] == name)
