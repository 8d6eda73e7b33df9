"""The tray with a real meshd, a real keyring and a panel on the session's bus: what it shows is what is so."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.hosts.host import PATIENCE, Host, wait_until
from lab.hosts.network import Network
from lab.hosts.person import Person
from meshtray.bus import BusError
from tray.desktop import BUS, Panel, until

NOTICED = 6.0
"""Seconds after which a path that leads nowhere is not called connected any more; also for a helper that froze."""


class World:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.gateway = network.host("gw-berlin").with_meshd()
        self.laptop = network.host("laptop-ada")
        self.ada = Person(self.laptop, BUS)
        self.gateway.meshctl("create", "home")
        self.ada.log_in()
        self.laptop.start_meshd()
        invite = self.gateway.meshctl("invites", "create", "laptop-ada")["text"]
        self.ada.meshctl("join", "-", "--wait", "15", input=invite)
        self.far: str = self.gateway.meshctl("status")["meshes"][0]["self"]["ipv4"]

    def status(self) -> Any:
        return self.laptop.meshctl("status")["meshes"][0]

    async def panel(self) -> Panel:
        return await Panel.start(f"unix:path={self.ada.bus}")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    network = Network()
    made: list[World] = []
    try:
        made.append(await asyncio.to_thread(World, network))
        yield made[0]
        assert "Traceback" not in made[0].laptop.recorded("tray.log"), made[0].laptop.recorded("tray.log")
    finally:
        network.close()
        for one in made:
            one.ada.forget()


def passes(host: Host, address: str) -> bool:
    return host.run(["ping", "-q", "-c", "1", "-W", "1", address], check=False).returncode == 0


async def test_connect_disconnect_pause_and_a_reboot(world: World) -> None:
    panel = await world.panel()
    world.ada.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    own = world.status()["self"]["ipv4"]
    assert f"home: connected, {own}" in await panel.tooltip()

    await panel.click("Disconnect")
    await panel.until_icon("disconnected")
    assert world.status()["state"] == "down"
    assert "home" not in world.laptop.run("ip -br link").stdout

    began = time.monotonic()
    await panel.click("Connect")  # with the keys of the keyring
    await panel.until_icon("connected")
    print(f"connected {time.monotonic() - began:.1f} s after the click")
    assert passes(world.laptop, world.far)

    await panel.click("For 5 minutes")
    await panel.until_menu("home: paused until")
    assert await panel.icon() == "disconnected"
    await panel.click("Connect")
    await panel.until_icon("connected")

    await panel.stop()
    await asyncio.to_thread(reboot, world)
    panel = await world.panel()
    world.ada.start_tray()
    await panel.registered()
    await panel.until_icon("connected", 20)  # nobody clicked
    assert passes(world.laptop, world.far)
    await panel.stop()


def reboot(world: World) -> None:
    world.laptop.power_off()
    world.laptop.power_on()
    world.network.attach("laptop-ada")
    world.ada.log_in()
    world.laptop.start_meshd()
    assert world.status()["state"] == "down"


async def test_never_green_while_nothing_passes(world: World) -> None:
    """Sampled several times a second: a pulled cable, a helper that froze, one that was killed, all of them mended."""
    panel = await world.panel()
    world.ada.start_tray()
    await panel.registered()
    await panel.until_icon("connected")

    async def not_green(what: str) -> None:
        began = time.monotonic()
        while await panel.icon() == "connected":
            assert time.monotonic() - began < NOTICED * PATIENCE + 0.5, f"still green after {what}"
            await asyncio.sleep(0.1)
        print(f"{what}: not green after {time.monotonic() - began:.1f} s")

    async def green(what: str) -> None:
        began = time.monotonic()
        await until(lambda: passes(world.laptop, world.far), "packets to pass again", 20 * PATIENCE)
        passed = time.monotonic() - began
        await panel.until_icon("connected", 10 * PATIENCE)
        print(f"{what}: packets pass after {passed:.1f} s, green after {time.monotonic() - began:.1f} s")

    world.network.unplug("laptop-ada")
    await not_green("the cable was pulled")
    for _ in range(5):
        assert await panel.icon() != "connected"
        await asyncio.sleep(0.2)
    world.network.attach("laptop-ada")
    await green("the cable is back")

    os.kill(world.laptop.meshd_pid(), signal.SIGSTOP)
    await not_green("meshd was frozen")
    assert "The helper is not answering" in await panel.tooltip()
    os.kill(world.laptop.meshd_pid(), signal.SIGCONT)
    assert world.laptop.meshd is not None
    os.kill(world.laptop.meshd.pid, signal.SIGCONT)  # nsenter stops with its child
    await green("meshd goes on")

    world.laptop.stop_meshd()
    await not_green("meshd was stopped")
    assert passes(world.laptop, world.far)  # its tunnels stay, but nobody vouches for them
    world.laptop.start_meshd()
    await green("meshd is back")
    await panel.stop()


async def test_a_machine_asks_and_is_let_in_from_the_menu(world: World) -> None:
    world.gateway.meshctl("peers", "admin", "laptop-ada", "on")
    panel = await world.panel()
    world.ada.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    grace = world.network.host("laptop-grace").with_meshd()
    address = world.network.address("gw-berlin")
    asking = grace.record(["meshctl", "join", "--request", address, "--always-on", "--wait", "60"], "join.log")
    await panel.until_menu("laptop-grace asks to be let in", 20)
    await panel.until_icon("attention")
    await panel.click("Let laptop-grace in")
    assert await asyncio.to_thread(asking.wait, 60) == 0, grace.recorded("join.log")
    await panel.until_icon("connected")
    await panel.until_menu("● laptop-grace")
    await panel.stop()
    wait_until(lambda: passes(world.laptop, grace.meshctl("status")["meshes"][0]["self"]["ipv4"]), 15, "packets")


@dataclass
class Sample:
    """`icon` is "" when the tray could not be asked: the machine sleeps."""

    at: float
    icon: str
    passes: bool


async def sample(world: World, panel: Panel, samples: list[Sample]) -> None:
    """Twice a second, what is shown and whether a packet passes."""
    while True:
        began = time.monotonic()
        ping = asyncio.create_task(asyncio.to_thread(passes, world.laptop, world.far))
        try:
            async with asyncio.timeout(1):
                icon = await panel.icon()
        except (TimeoutError, BusError):
            icon = ""
        at = time.monotonic()
        samples.append(Sample(at, icon, await ping))
        await asyncio.sleep(max(0.0, began + 0.5 - time.monotonic()))


async def test_a_day_of_a_laptop_is_shown_as_it_is(world: World) -> None:
    """A cable pulled, another network, a lid closed here and opened elsewhere; compared with packets all the while."""
    panel = await world.panel()
    world.ada.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    samples: list[Sample] = []
    sampling = asyncio.create_task(sample(world, panel, samples))

    async def is_back() -> None:
        wanted = len(samples)
        await until(lambda: any(one.passes and one.icon == "connected" for one in samples[wanted:]), "all of it", 30)

    await is_back()
    world.network.unplug("laptop-ada")
    await asyncio.sleep(8)
    world.network.attach("laptop-ada")
    await is_back()
    world.network.move("laptop-ada")
    await is_back()
    with world.laptop.frozen():
        await asyncio.sleep(7)
        world.network.move("laptop-ada")
        await asyncio.sleep(7)
    await is_back()
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    green = [one for one in samples if one.icon == "connected"]
    assert len(green) > 6
    longest = max(one.at - max((other.at for other in samples if other.passes and other.at <= one.at + 1), default=0.0)
                  for one in green)  # fmt: skip
    print(f"{len(samples)} samples, {len(green)} green; longest green without a packet {max(longest, 0):.1f} s")
    assert longest < NOTICED * PATIENCE + 0.5
    await panel.stop()
