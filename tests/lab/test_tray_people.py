"""Trays of people with a real meshd: who joins by a link, two users of one machine, logging out, locking."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from lab.hosts.flood import Flood
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network
from lab.hosts.person import Person
from meshtray.bus import Bus, Interface, Variant
from private_bus import CONFIG
from tray.desktop import BUS, Panel, until
from tray.services import NotificationService


class World:
    """A gateway with the mesh home, a laptop with a meshd in no mesh, ada in her session."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.gateway = network.host("gw-berlin").with_meshd()
        self.laptop = network.host("laptop-ada").with_meshd()
        self.people = [Person(self.laptop, BUS)]
        self.services: list[Panel | NotificationService] = []
        self.ada = self.people[0]
        self.gateway.meshctl("create", "home")
        self.ada.log_in()
        self.far: str = self.gateway.meshctl("status")["meshes"][0]["self"]["ipv4"]

    def bob(self) -> Person:
        """Another user of the machine, logged in."""
        one = Person(self.laptop, BUS, "bob", 4001)
        self.people.append(one)
        one.log_in()
        return one

    async def panel(self, person: Person) -> Panel:
        one = await Panel.start(f"unix:path={person.bus}")
        self.services.append(one)
        return one

    async def notifications(self, person: Person) -> NotificationService:
        one = await NotificationService.start(f"unix:path={person.bus}")
        self.services.append(one)
        return one

    def meshes(self) -> list[Any]:
        found: list[Any] = self.laptop.meshctl("status")["meshes"]
        return found

    def state(self) -> str:
        return str(self.meshes()[0]["state"])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    network = Network()
    made: list[World] = []
    try:
        made.append(await asyncio.to_thread(World, network))
        yield made[0]
        assert "Traceback" not in made[0].laptop.recorded("tray.log"), made[0].laptop.recorded("tray.log")
    finally:
        for service in made[0].services if made else []:
            await service.stop()
        network.close()
        for one in made[0].people if made else []:
            one.forget()


def passes(host: Host, address: str) -> bool:
    return host.run(["ping", "-q", "-c", "1", "-W", "1", address], check=False).returncode == 0


class PersonsTerminal:
    """What the tray opens dialogs in: a tmux of the person's own."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.program = person.home / "terminal"
        self.program.write_text('#!/bin/sh\nshift\nexec tmux -L dialog -f /dev/null new-session -d -x 100 -y 40 "$@"\n')
        self.program.chmod(0o755)

    def _tmux(self, *words: str) -> str:
        done = self._person.run("env", "LC_ALL=C.UTF-8", "tmux", "-L", "dialog", *words)
        return done.stdout if done.returncode == 0 else ""

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def shows(self, text: str, limit: float = 20) -> str:
        def shown() -> str:
            now = self.text()
            return now if text in now else ""

        found: str = wait_until(shown, limit, f"{text!r} in the dialog")
        return found

    def write(self, text: str) -> None:
        self._tmux("send-keys", text, "Enter")


async def test_a_link_becomes_a_connection(world: World) -> None:
    """Link, confirmation with mesh and node, joined, connected: and nothing happens before the yes."""
    panel = await world.panel(world.ada)
    link = world.gateway.meshctl("invites", "create", "laptop-ada")["uri"]
    assert link.startswith("mesh://join/")
    terminal = PersonsTerminal(world.ada)
    world.ada.start_tray(link, terminal=str(terminal.program))
    asked = await asyncio.to_thread(terminal.shows, "Join? [y/N]")
    address = world.network.address("gw-berlin")
    assert "Join the mesh home?" in asked
    assert f"{address}:10100" in asked
    assert "as       laptop-ada" in asked
    await panel.registered()
    await panel.until_menu("This machine is in no mesh")
    assert world.meshes() == []
    assert list(world.ada.home.glob("*.dialog")) == []  # it held the secret
    terminal.write("y")
    await panel.until_icon("connected", 30)
    said = await asyncio.to_thread(terminal.shows, "Press Enter to close.")
    assert "home" in said
    assert passes(world.laptop, world.far)
    own = world.meshes()[0]["self"]
    assert (own["name"], world.ada.entry(own["public_key"]) != "none") == ("laptop-ada", True)
    assert f"home: connected, {own['ipv4']}" in await panel.tooltip()
    terminal.write("")
    wait_until(lambda: not terminal.text(), 10, "the dialog to be closed")
    await panel.click("Open meshtui")
    await asyncio.to_thread(terminal.shows, "gw-berlin")


async def test_two_users_of_one_machine(world: World) -> None:
    """Bob's session and tray leave ada's connection alone; he may end it, after he was told; only she can bring it
    back. And it outlives her session."""
    invite = world.gateway.meshctl("invites", "create", "laptop-ada")["text"]
    world.ada.meshctl("join", "-", "--wait", "15", input=invite)
    hers = await world.panel(world.ada)
    notices = await world.notifications(world.ada)
    world.ada.start_tray()
    await hers.registered()
    await hers.until_icon("connected")

    async def alone(what: str, do: Callable[[], Any]) -> Any:
        """Nothing of this costs ada's connection a packet."""
        with Flood(world.laptop, world.far) as flood:
            done = await do()
        assert flood.lost == [], f"{flood.lost} of {flood.sent} lost while {what}"
        return done

    async def bob_comes() -> Panel:
        bob = await asyncio.to_thread(world.bob)
        panel = await world.panel(bob)
        bob.start_tray(log="bob.log")
        await panel.registered()
        await panel.until_icon("connected")
        await panel.click("Disconnect")  # opens what is behind it
        await panel.until_menu("ada connected it; only ada has the keys to connect it again")
        menu = (await panel.menu()).text()
        assert "For 5 minutes" not in menu
        return panel

    his = await alone("bob logs in, looks, and clicks Disconnect", bob_comes)
    assert (world.state(), await hers.icon()) == ("connected", "connected")

    await his.click("Disconnect all the same")
    await his.until_icon("disconnected")
    await hers.until_icon("disconnected")
    shown = await notices.until_shown("home was disconnected")
    await his.click("Connect")
    await his.until_menu("not in your keyring", 20)
    assert world.state() == "down"
    notices.click(shown, "Connect")
    await hers.until_icon("connected", 20)
    await his.until_icon("connected")
    assert world.meshes()[0]["connected_by"] == "ada"

    async def ada_logs_out() -> None:
        assert world.ada.session is not None
        world.laptop.send_signal(world.ada.session)
        await until(lambda: "meshtray" not in world.laptop.run("ps -u ada -o args", check=False).stdout, "her tray")

    await alone("ada logs out", ada_logs_out)
    assert (world.state(), await his.icon()) == ("connected", "connected")


LOGIN, LOGIN_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
MANAGER, SESSION, PROPERTIES = f"{LOGIN}.Manager", f"{LOGIN}.Session", "org.freedesktop.DBus.Properties"
HER_SESSION = f"{LOGIN_PATH}/session/_31"


class Logind:
    """In its place, on a system bus of the laptop: what it says of sessions and of sleep."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    @classmethod
    async def start(cls, laptop: Host) -> Logind:
        path = "/run/dbus/system_bus_socket"
        laptop.run("mkdir -p /run/dbus; cat > /run/bus.conf", input=CONFIG.format(path=path))
        laptop.record(["dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile"], "bus")
        outside = f"/proc/{laptop.pid}/root{path}"
        wait_until(lambda: os.path.exists(outside), 10, "the system bus")
        one = cls(await Bus.connect(f"unix:path={outside}"))
        manager = {"PrepareForSleep": "b", "SessionNew": "so", "SessionRemoved": "so", "UserNew": "uo"}
        changed = Interface(PROPERTIES, signals={"PropertiesChanged": "sa{sv}as"})
        one.bus.export(LOGIN_PATH, [Interface(MANAGER, signals=manager)])
        one.bus.export(HER_SESSION, [Interface(SESSION, signals={"Lock": "", "Unlock": ""}), changed])
        assert await one.bus.claim(LOGIN)
        return one

    def says(self, member: str, *values: Any) -> None:
        self.bus.emit(LOGIN_PATH, MANAGER, member, *values)

    def locks(self) -> None:
        """As `loginctl lock-session` and a switch to another user have it."""
        self.bus.emit(HER_SESSION, SESSION, "Lock")
        hints = {"Active": Variant("b", False), "LockedHint": Variant("b", True), "IdleHint": Variant("b", True)}
        self.bus.emit(HER_SESSION, PROPERTIES, "PropertiesChanged", SESSION, hints, [])


async def test_a_screen_that_is_locked_and_another_user_change_nothing(world: World) -> None:
    invite = world.gateway.meshctl("invites", "create", "laptop-ada")["text"]
    world.ada.meshctl("join", "-", "--wait", "15", input=invite)
    logind = await Logind.start(world.laptop)
    try:
        panel = await world.panel(world.ada)
        world.ada.start_tray()
        await panel.registered()
        await panel.until_icon("connected")

        def heard() -> bool:
            """meshd looks for a system bus every few seconds: the lid is closed and opened until it hears of it."""
            logind.says("PrepareForSleep", True)
            logind.says("PrepareForSleep", False)
            return "this machine woke up" in world.laptop.meshctl_raw("events").stdout

        await until(heard, "meshd to hear this system bus")
        await panel.until_icon("connected")
        with Flood(world.laptop, world.far) as flood:
            logind.locks()
            logind.says("UserNew", 4001, f"{LOGIN_PATH}/user/_4001")
            logind.says("SessionNew", "2", f"{LOGIN_PATH}/session/_32")
            logind.says("SessionRemoved", "2", f"{LOGIN_PATH}/session/_32")
            seen = len(flood.answers())
            await until(lambda: len(flood.answers()) > seen + 100, "a second of pings")
            assert await panel.icon() == "connected"
        assert flood.lost == []
        assert world.state() == "connected"
        await panel.until_icon("connected")
    finally:
        await logind.bus.close()
