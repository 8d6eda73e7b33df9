"""Keys of a person in a real Secret Service (gnome-keyring): joined, restarted, rebooted, left, and without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from lab.hosts.host import BIN, PATIENCE, wait_until
from lab.hosts.network import Network
from lab.hosts.person import Person
from lab.terminal import Screen


class Ada(Person):
    def meshtui(self, *, session: bool = True) -> Screen:
        return Screen([*self.host.enter, *self.prefix(session), str(BIN / "meshtui")], width=140, height=60)


class World:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.gateway = network.host("gw-berlin").with_meshd()
        self.laptop = network.host("laptop-ada")
        self.ada = Ada(self.laptop)
        self.gateway.meshctl("create", "home")
        self.boot()

    def boot(self) -> None:
        self.ada.log_in()
        self.laptop.start_meshd()

    def invite(self, *options: str) -> str:
        text: str = self.gateway.meshctl("invites", "create", *options)["text"]
        return text

    def status(self) -> Any:
        return self.laptop.meshctl("status")["meshes"][0]

    def is_connected(self) -> bool:
        return bool(self.status()["state"] == "connected")

    def held(self) -> list[str]:
        """The files in which meshd has keys now, with mode and owner."""
        listed = self.laptop.run(
            "find /run/meshd/keys /var/lib/meshd -name '*.key' -printf '%m %U %P\n' 2>/dev/null; true"
        )
        return sorted(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    network = Network()
    home = None
    try:
        world = World(network)
        home = world.ada.home
        yield world
    finally:
        network.close()
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)


def holding(world: World) -> list[str]:
    mesh_id = world.status()["id"]
    return [f"600 0 {mesh_id}/{name}.key" for name in ("certificate", "wireguard")]


def test_1_who_joins_has_the_keys_in_the_keyring_and_nowhere_on_disk(world: World) -> None:
    joined = world.ada.meshctl("join", "-", "--wait", "15", input=world.invite("laptop-ada", "--admin"))
    assert joined["state"] == "connected"
    document = json.loads(world.ada.entry(joined["self"]["public_key"]))
    assert world.held() == holding(world)
    for where in ("/var/lib/meshd", "/etc"):
        found = world.laptop.run(["grep", "-rlaF", document["wireguard"], where], check=False)
        assert found.stdout == ""
    assert document["wireguard"] not in world.laptop.log()


def test_2_a_restart_of_meshd_needs_nobody(world: World) -> None:
    world.laptop.stop_meshd()
    world.laptop.start_meshd()
    wait_until(world.is_connected, 15, "home to be connected again")


def test_3_who_disconnects_takes_the_keys_back(world: World) -> None:
    world.ada.meshctl("down")
    assert world.held() == []
    assert world.status()["state"] == "down"
    refused = world.laptop.meshctl_raw("up")
    assert (refused.returncode, "there is no keyring in this session" in refused.stderr) == (1, True)
    world.laptop.stop_meshd()
    world.laptop.start_meshd()
    assert world.status()["state"] == "down"
    world.ada.meshctl("up")
    wait_until(world.is_connected, 15, "home to be connected with the keys of the keyring")
    assert world.held() == holding(world)


def test_4_after_a_reboot_it_waits_for_its_person(world: World) -> None:
    world.laptop.power_off()
    world.laptop.power_on()
    world.network.attach("laptop-ada")
    world.boot()
    assert world.held() == []
    assert (world.status()["state"], world.status()["reason"]) == (
        "down",
        "its keys are in the keyring of ada; connect with `meshctl up home`",
    )
    world.ada.meshctl("up")
    wait_until(world.is_connected, 15, "home to be connected after a reboot")


def test_5_secrets_of_invites_are_shown_again_from_the_keyring(world: World) -> None:
    made = world.ada.meshctl("invites", "create", "laptop-grace")
    again = world.ada.meshctl("invites", "show", made["invite"]["id"][:4], "--qr")
    assert again["text"] == made["text"]
    assert world.laptop.run("ls /var/lib/meshd/home/invites", check=False).stdout == ""
    refused = world.laptop.meshctl_raw("invites", "show", made["invite"]["id"], "--qr")
    assert (refused.returncode, made["text"] in refused.stdout) == (1, False)
    grace = world.network.host("laptop-grace", nat=True).with_meshd()
    assert grace.meshctl("join", "-", "--always-on", "--wait", "15", input=again["text"])["state"] == "connected"

    def refusal() -> str:
        return world.ada.run(str(BIN / "meshctl"), "invites", "show", made["invite"]["id"], "--qr").stderr

    wait_until(lambda: "of no use any more" in refusal(), 5, "laptop-ada to hear that it is used up")


def test_6_who_leaves_has_no_keys_any_more(world: World) -> None:
    name = world.status()["self"]["public_key"]
    assert world.ada.meshctl("leave", "home", "--yes") == {"left": "home", "left_behind": None}
    assert world.ada.entry(name) == "none"
    assert world.held() == []


def test_7_who_asks_to_be_let_in_asks_with_the_same_keys(world: World) -> None:
    address = world.network.address("gw-berlin")
    asks = [str(BIN / "meshctl"), "--timeout", f"{3 * PATIENCE:g}", "join", "--request", address]
    assert world.ada.run(*asks).returncode == 1
    waiting = world.gateway.meshctl("peers", "pending")
    assert world.ada.run(*asks).returncode == 1
    assert world.gateway.meshctl("peers", "pending") == waiting
    assert world.ada.entry(f"request to {address}") != "none"
    world.gateway.meshctl("peers", "authorize", waiting[0]["id"])
    joined = world.ada.meshctl("join", "--request", address, "--wait", "15")
    assert joined["self"]["public_key"] == waiting[0]["public_key"]
    assert world.ada.entry(joined["self"]["public_key"]) != "none"
    assert world.ada.entry(f"request to {address}") == "none"
    world.gateway.meshctl("peers", "admin", "laptop-ada", "on")


def test_8_the_same_in_meshtui(world: World) -> None:
    name = world.status()["self"]["public_key"]
    wait_until(lambda: world.status()["self"]["admin"], 10, "laptop-ada to be an admin")
    screen = world.ada.meshtui()
    try:
        screen.shows("home ● connected", "gw-berlin")
        screen.press("i")
        screen.shows("An invite to home")
        screen.press("Enter")
        screen.shows("for whoever has it", "mesh1-")
        screen.back("mesh1-")
        screen.press("5")
        screen.shows("● whoever has it")
        screen.press("g")
        screen.shows("▸ ● whoever has it")
        screen.press("K")
        screen.shows("for whoever has it", "mesh1-", "K shows it again")
        screen.back("mesh1-")
        screen.press("1")
        screen.shows("▸ ● home")
        screen.press("e")
        screen.shows("Disconnect home?")
        screen.press("y")
        screen.shows("home ○ down")
        # It is shown once the mesh is to be down; the keys go when it is.
        wait_until(lambda: world.held() == [], 10, "the keys to be taken back")
        screen.press("e")
        screen.shows("home ● connected", limit=30)
        screen.press("d")
        screen.shows("Leave home?")
        screen.press("y")
        screen.shows("No mesh yet.", limit=30)
        # The mesh is gone here before its person's program hears that this machine has left.
        wait_until(lambda: world.ada.entry(name) == "none", 10, "the keyring to have forgotten the keys")
        screen.press("a")
        screen.shows("Join a mesh")
        screen.write(world.invite("laptop-lovelace"))
        screen.shows("An invite to home as laptop-lovelace", "The keys go into your keyring")
        screen.press("Enter")
        screen.shows("this machine is in home", limit=30)
        assert world.ada.entry(world.status()["self"]["public_key"]) != "none"
        assert world.held() == holding(world)
    finally:
        screen.close()
    world.ada.meshctl("leave", "home", "--yes")


def test_9_without_a_keyring_it_is_said_and_the_file_offered(world: World) -> None:
    refused = world.ada.run(str(BIN / "meshctl"), "join", "-", session=False, input=world.invite())
    assert refused.returncode == 1
    assert "keyring" in refused.stderr
    assert "--always-on" in refused.stderr
    assert world.laptop.meshctl("status")["meshes"] == []
    screen = world.ada.meshtui(session=False)
    try:
        screen.shows("No mesh yet.")
        screen.press("a")
        screen.shows("Join a mesh")
        screen.write(world.invite("laptop-hopper"))
        screen.shows("An invite to home as laptop-hopper")
        screen.press("Enter")
        screen.shows("Join without?", "in a file that only root reads")
        screen.press("y")
        screen.shows("this machine is in home", limit=30)
    finally:
        screen.close()
    assert world.held() == ["600 0 home/certificate.key", "600 0 home/wireguard.key"]
