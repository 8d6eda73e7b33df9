"""A journey through meshtui as a new user makes it: keys into a real terminal, real meshd behind it.

Everything that a key does is done here once, and seen on another machine where another machine is concerned.
"""

from __future__ import annotations

import base64
import gzip
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network
from lab.terminal import Terminal

ROUTE = "203.0.113.0/24"


class Journey:
    def __init__(self, network: Network, stack: ExitStack) -> None:
        self.network, self._stack = network, stack
        self.secrets: list[str] = []
        self.gateway, self.ada, self.grace = (
            network.host(name, nat=name == "laptop-grace") for name in ("gw-berlin", "laptop-ada", "laptop-grace")
        )
        for host in (self.gateway, self.ada, self.grace):
            host.start_meshd()
        self.berlin = self.open(self.gateway, "--record", "/run/hour")
        self.laptop = self.open(self.ada)

    def open(self, host: Host, *options: str) -> Terminal:
        terminal = Terminal(host, *options, width=140, height=60)
        self._stack.callback(terminal.close)
        return terminal

    def member(self, host: Host, name: str) -> dict[str, object]:
        members = host.meshctl("status")["meshes"][0]["members"]
        return next((one for one in members if one["name"] == name), {})


@pytest.fixture(scope="module")
def journey() -> Iterator[Journey]:
    network = Network()
    try:
        with ExitStack() as stack:
            yield Journey(network, stack)
    finally:
        network.close()


def test_1_a_mesh_is_created(journey: Journey) -> None:
    berlin = journey.berlin
    berlin.shows("No mesh yet.", "joins one, with an invite")
    berlin.press("n")
    berlin.shows("A new mesh", "gw-berlin")
    berlin.write("Home")
    berlin.shows("Mesh            Home", "The mesh's name is 1 to 63 of")
    berlin.press("C-u")
    berlin.shows("for example home")
    berlin.write("home")
    berlin.shows("Begins home on this machine")
    berlin.press("Enter")
    berlin.shows("The cluster key of home", "meshkey1-")
    berlin.back("meshkey1-")
    berlin.shows("home ● connected", "Nobody else is here yet.")
    assert journey.gateway.meshctl("status")["meshes"][0]["name"] == "home"


def test_2_an_invite_is_made_and_copied(journey: Journey) -> None:
    berlin = journey.berlin
    berlin.press("i")
    berlin.shows("An invite to home")
    berlin.write("laptop-ada")
    berlin.shows("Lets laptop-ada join as peer, for 14d from now.")
    berlin.press("Enter")
    berlin.shows("for laptop-ada", "mesh1-", "▀")
    berlin.press("c")
    berlin.shows("it is on the clipboard")
    assert berlin.clipboard().startswith("mesh1-")
    journey.secrets += [berlin.clipboard(), journey.gateway.meshctl("key", "show")["cluster_key"]]
    berlin.back("mesh1-")
    berlin.press("5")
    berlin.shows("laptop-ada", "open", "in 14 d")


def test_3_another_machine_joins_with_it(journey: Journey) -> None:
    laptop = journey.laptop
    text = journey.berlin.clipboard()
    laptop.shows("No mesh yet.")
    laptop.press("a")
    laptop.shows("Join a mesh")
    laptop.write(text[:-5])
    laptop.shows("truncated")
    laptop.write(text[-5:])
    laptop.shows("An invite to home as laptop-ada")
    laptop.press("Enter")
    laptop.shows("There is no keyring in this session. Join without?")
    laptop.press("y")
    laptop.shows("✓ Be let in", "✓ Synced", "this machine is in home", limit=30)
    laptop.back("this machine is in home")
    laptop.shows("home ● connected", "gw-berlin", "direct")
    journey.berlin.shows("used")
    journey.berlin.press("2")
    journey.berlin.shows("laptop-ada", "2 of 2 online")


def test_4_it_is_pinged_and_its_address_copied(journey: Journey) -> None:
    laptop = journey.laptop
    laptop.press("g")
    laptop.shows("▸ ● gw-berlin")
    laptop.press("p")
    laptop.shows("gw-berlin answered 4 of 4:")
    laptop.press("c")
    laptop.shows("10.11.0.1 is on the clipboard")
    assert laptop.clipboard() == "10.11.0.1"


FIRST_WORD = """
import asyncio, pathlib
from meshproto.client import connect_async
from meshproto import local_pb2

async def main():
    channel, stub = connect_async(pathlib.Path("/run/meshd/meshd.sock"))
    async with channel:
        async for update in stub.Watch(local_pb2.WatchRequest()):
            print(sum(sum(map(bool, one.latency)) for one in update.past))  # nothing yet of who has just joined
            return

asyncio.run(main())
"""


def test_4b_who_opens_it_later_sees_the_past(journey: Journey) -> None:
    """More of it than could have been seen since then."""

    def told() -> int:
        return int(journey.gateway.run([sys.executable, "-c", FIRST_WORD]).stdout)

    wait_until(lambda: told() >= 20, 60, "40 s of laptop-ada in the first word of Watch")
    opened = time.monotonic()
    later = journey.open(journey.gateway)
    later.shows("laptop-ada")
    later.press("G", "Enter")
    later.shows("Latency", "in 15 min", "per 9 s", "24 hours")
    lines = later.text().splitlines()
    bars = next(line for line in lines if "per 9 s" in line).split()[3:]
    assert len("".join(bars)) >= 4, lines
    assert time.monotonic() - opened < 15, "a bar is 9 s: by itself this screen has two"


def test_5_what_a_laptop_may_not_do_is_said(journey: Journey) -> None:
    journey.laptop.press("r")
    journey.laptop.shows("laptop-ada is not an admin of home", "meshctl peers admin laptop-ada on")


def test_6_an_admin_publishes_and_withdraws_a_route(journey: Journey) -> None:
    berlin, laptop = journey.berlin, journey.laptop
    berlin.press("j")
    berlin.shows("▸ ● laptop-ada")
    berlin.press("A")
    berlin.shows("Make laptop-ada an admin of home?")
    berlin.press("y")
    berlin.shows("laptop-ada is an admin")
    wait_until(lambda: journey.member(journey.ada, "laptop-ada").get("admin"), 10, "laptop-ada to hear of it")
    laptop.press("G")
    laptop.shows("▸ ● laptop-ada", "may change the mesh (admin)")
    laptop.press("4")
    laptop.shows("No routes yet.")
    laptop.press("a")
    laptop.shows("A route for home")
    laptop.write("203.0.113.7/24")
    laptop.shows("has bits set behind its prefix", f"{ROUTE}?")
    laptop.press("C-u")
    laptop.write("203.0.113.0")
    laptop.shows("has no prefix length", f"or {ROUTE} for")
    laptop.press("C-u")
    laptop.shows("for example 203")
    laptop.write(ROUTE)
    laptop.shows("Behind which node?")
    laptop.press("Tab")
    laptop.write("gw-berlin")
    laptop.shows(f"Every member reaches {ROUTE} through gw-berlin.")
    laptop.press("Enter")
    laptop.shows(f"{ROUTE} is offered by gw-berlin", "yes")
    wait_until(lambda: ROUTE in journey.ada.run("ip route").stdout, 5, "the route here")
    laptop.press("7", "G")
    laptop.shows(f"gw-berlin offers {ROUTE}", f"o go to {ROUTE}")
    laptop.press("o")
    laptop.shows(f"▸ ● {ROUTE}")
    laptop.press("e")
    laptop.shows(f"Don't use {ROUTE} on this machine?")
    laptop.press("y")
    laptop.shows("is not used on this machine")
    wait_until(lambda: ROUTE not in journey.ada.run("ip route").stdout, 10, "the route to go here")
    laptop.shows("no: ", "is ignored on this machine")
    laptop.press("e")
    laptop.shows("on this machine all the same?")
    laptop.press("y")
    wait_until(lambda: ROUTE in journey.ada.run("ip route").stdout, 10, "the route to come back here")
    laptop.press("d")
    laptop.shows(f"Withdraw {ROUTE}?", "gw-berlin offers it")
    laptop.press("y")
    laptop.shows("is not offered by gw-berlin any more", "No routes yet.")


def test_7_a_peer_is_disabled_enabled_and_renamed(journey: Journey) -> None:
    berlin, laptop = journey.berlin, journey.laptop
    berlin.press("e")
    berlin.shows("Disable laptop-ada?", "loses access at every member")
    berlin.press("n")
    berlin.press("e")
    berlin.shows("Disable laptop-ada?")
    berlin.press("y")
    berlin.shows("laptop-ada is disabled", "⊘ laptop-ada")
    laptop.press("2")
    laptop.shows("home ▲ stale", limit=20)
    berlin.press("e")
    berlin.shows("Enable laptop-ada?")
    berlin.press("y")
    berlin.shows("laptop-ada is enabled")
    laptop.shows("home ● connected", limit=30)
    berlin.press("r")
    berlin.shows("A new name for laptop-ada")
    berlin.press("C-u")
    berlin.shows("A name is 1 to 63")
    berlin.write("laptop-lovelace")
    berlin.press("Enter")
    berlin.shows("laptop-ada is laptop-lovelace now", "● laptop-lovelace")
    laptop.shows("● laptop-lovelace")


def test_8_a_machine_that_asks_is_let_in_and_another_refused(journey: Journey) -> None:
    berlin = journey.berlin
    address = journey.network.address("gw-berlin")
    for key, answer in (("d", "refused"), ("y", "let in")):
        asks = journey.grace.record(
            [str(BIN / "meshctl"), "join", "--request", address, "--always-on", "--timeout", "60"], "asking"
        )
        berlin.shows("laptop-grace at", "asks to be let in")
        berlin.press("5")
        berlin.shows("JOINS AS")
        berlin.press("g")
        berlin.shows("▸ ① laptop-grace")
        berlin.press(key)
        berlin.shows("laptop-grace" + (" into home?" if key == "y" else "?"))
        berlin.press("y")
        berlin.shows(f"laptop-grace is {answer}")
        assert (asks.wait(60) == 0) is (key == "y")
        wait_until(lambda: "asks to be let in" not in berlin.text(), 10, "the request to be gone")
    berlin.press("2")
    berlin.shows("● laptop-grace", "3 of 3 online")


def test_9_an_invite_is_revoked(journey: Journey) -> None:
    berlin = journey.berlin
    berlin.press("i")
    berlin.shows("An invite to home")
    berlin.press("Enter")
    berlin.shows("for whoever has it", "mesh1-")
    berlin.back("mesh1-")
    berlin.press("5")
    berlin.shows("JOINS AS", "● whoever has it")
    berlin.press("g")
    berlin.shows("▸ ● whoever has it")
    berlin.press("K")
    berlin.shows("for whoever has it", "mesh1-", "K shows it again")
    berlin.back("mesh1-")
    berlin.press("d")
    berlin.shows("Revoke invite")
    berlin.press("y")
    berlin.shows("⊘ whoever has it", "is revoked")
    berlin.press("7", "/")
    berlin.write("was revoked")
    berlin.shows("1 of ", "o go to invite")
    berlin.press("Enter", "o")
    berlin.shows("▸ ⊘ whoever has it")
    berlin.press("7")
    berlin.shows("1 of ")
    berlin.back("1 of ")


def test_a_doctor_events_topology_and_nodes_say_what_is_so(journey: Journey) -> None:
    berlin = journey.berlin
    for key, text in (
        ("8", "wireguard"),
        ("7", "is now laptop-lovelace"),
        ("6", "─ laptop-grace"),
        ("3", "primary ★"),
    ):
        berlin.press(key)
        berlin.shows(text)
    berlin.press("8")
    berlin.shows("x examines again")
    berlin.press("x")
    berlin.shows("Examined just now")


def test_b_meshd_restarts_behind_it(journey: Journey) -> None:
    journey.gateway.stop_meshd()
    journey.berlin.press("2")
    journey.berlin.shows("meshd is not running, trying again every second", "Below is what meshd said")
    journey.gateway.start_meshd()
    journey.berlin.shows("home ● connected", limit=30)


def test_c_a_mesh_is_disconnected_connected_and_left(journey: Journey) -> None:
    laptop = journey.laptop
    laptop.press("1")
    laptop.shows("▸ ● home")
    laptop.press("e")
    laptop.shows("Disconnect home?")
    laptop.press("y")
    laptop.shows("home ○ down")
    assert "home" not in journey.ada.run("ip -br link").stdout
    laptop.press("e")
    laptop.shows("home ● connected", limit=30)
    laptop.press("K")
    laptop.shows("peers don't have the cluster key")
    laptop.press("d")
    laptop.shows("Leave home?")
    laptop.press("y")
    laptop.shows("No mesh yet.", limit=30)
    journey.berlin.press("2")
    wait_until(lambda: not journey.member(journey.gateway, "laptop-lovelace"), 10, "the others to hear of it")


def test_d_several_members_are_removed_at_once(journey: Journey) -> None:
    berlin = journey.berlin
    berlin.press("g", "j")
    berlin.shows("▸ ● laptop-grace")
    berlin.press("Space")
    berlin.shows("✓● laptop-grace", "1 marked")
    berlin.press("d")
    berlin.shows("Remove laptop-grace from home?")
    berlin.press("y")
    berlin.shows("laptop-grace is removed", "Nobody else is here yet.")


def test_e_the_key_is_shown_and_the_node_leaves(journey: Journey) -> None:
    berlin = journey.berlin
    berlin.press("1")
    berlin.shows("▸ ● home")
    berlin.press("K")
    berlin.shows("The cluster key of home", journey.gateway.meshctl("key", "show")["cluster_key"][:30])
    berlin.back("meshkey1-")
    berlin.press("d")
    berlin.shows("Leave home?", "This is its only node")
    berlin.press("y")
    berlin.shows("No mesh yet.", limit=30)
    berlin.press("q")
    berlin.shows("ended with 0")


def test_f_the_recording_shows_it_again_and_holds_no_secret(journey: Journey) -> None:
    recording = journey.gateway.run("base64 -w0 /run/hour").stdout
    data = gzip.decompress(base64.b64decode(recording))
    assert b"laptop-lovelace" in data
    for secret in (*journey.secrets, "PRIVATE KEY"):
        assert secret.encode() not in data
        assert secret.removeprefix("meshkey1-").removeprefix("mesh1-")[:24].encode() not in data
    again = journey.open(journey.gateway, "--replay", "/run/hour", "--speed", "0.1")
    again.shows("recording 0.1×", "No mesh yet.")
    again.press("Space")
    again.shows("paused at 0.1×", "No mesh yet.")

    def renamed() -> bool:
        again.press(".")
        return "laptop-lovelace" in again.text()

    wait_until(renamed, 60, "the step at which laptop-ada is renamed")
    again.press("7")
    again.shows("is now laptop-lovelace", "paused at 0.1×")
