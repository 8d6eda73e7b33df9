"""Names through the real systemd-resolved on a real system bus, and without it: ended, frozen, meddled with.

And what logind says there, from a small service in its place.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import BIN, PATIENCE, Host, wait_until
from lab.hosts.network import Network
from private_bus import CONFIG

DEBIAN = BIN.parent / "debian"
STUB = "nameserver 127.0.0.53\n"
BERLIN = "gw-berlin.home.wg"


class Desktop:
    """A laptop whose names go through resolved, as Ubuntu and Fedora set it up."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.run("useradd -r -s /usr/sbin/nologin systemd-resolve", check=False)
        host.run("mkdir -p /run/dbus; rm -f /etc/resolv.conf; cat > /run/bus.conf",
                 input=CONFIG.format(path="/run/dbus/system_bus_socket"))  # fmt: skip
        host.run("cat > /etc/resolv.conf", input=STUB)
        self.start_bus()
        self.start_resolved()

    def start_bus(self) -> None:
        self.host.run("rm -f /run/dbus/system_bus_socket")
        self.bus = self.host.record(["dbus-daemon", "--config-file=/run/bus.conf", "--nofork", "--nopidfile"], "bus")
        wait_until(lambda: not self.host.run("test -S /run/dbus/system_bus_socket", check=False).returncode, 10, "bus")

    def start_resolved(self) -> None:
        self.host.run("install -d -o systemd-resolve -g systemd-resolve /run/systemd/resolve")
        (library,) = DEBIAN.glob("usr/lib/*/systemd")
        program = str(DEBIAN / "lib/systemd/systemd-resolved")
        self.resolved = self.host.record(["env", f"LD_LIBRARY_PATH={library}", program], "resolved")
        wait_until(lambda: "127.0.0.53" in self.host.run("ss -lnu").stdout, 10, self.host.recorded("resolved"))

    def end(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        self.host.send_signal(process, number)
        process.wait(10)

    def resolvectl(self, *arguments: str) -> str:
        (library,) = DEBIAN.glob("usr/lib/*/systemd")
        return self.host.run(
            [str(DEBIAN / "usr/bin/resolvectl"), *arguments], environment={"LD_LIBRARY_PATH": str(library)}
        ).stdout

    def asks(self, name: str = BERLIN, *options: str) -> list[str]:
        return self.host.run(["dig", "+short", "+time=5", "+tries=1", "@127.0.0.53", *options, name],
                             check=False).stdout.split()  # fmt: skip

    def check(self, name: str = "names home") -> dict[str, str]:
        return next((one for one in self.host.meshctl("doctor") if one["check"] == name), {})

    def hosts(self) -> str:
        return self.host.run("cat /etc/hosts").stdout

    def by_resolved(self) -> Any:
        return wait_until(
            lambda: self.check().get("found", "").startswith("systemd-resolved asks") and "meshd" not in self.hosts(),
            25,
            f"names to go through resolved: {self.check()}",
        )

    def by_hosts_file(self, why: str) -> None:
        wait_until(lambda: BERLIN in self.hosts(), 25, "names in the hosts file")
        wait_until(lambda: why in self.check().get("found", ""), 10, f"{why}: {self.check()}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        ada = network.host("laptop-ada")
        Desktop.of = Desktop(ada)  # type: ignore[attr-defined]  # for the fixture below
        yield make_lab(network, [network.host("gw-berlin"), network.host("gw-paris")], [ada])
    finally:
        network.close()


@pytest.fixture
def desktop(lab: Lab) -> Iterator[Desktop]:
    desktop: Desktop = Desktop.of  # type: ignore[attr-defined]  # made above
    desktop.by_resolved()
    yield desktop
    assert desktop.host.run("cat /etc/resolv.conf").stdout == STUB, "resolv.conf is never touched"


def test_the_meshs_names_go_to_nodes_and_no_others(desktop: Desktop) -> None:
    assert desktop.asks() == ["10.11.0.1"]
    assert desktop.asks("10.12.0.1", "-x") == ["gw-paris.home.wg."]
    assert desktop.asks("laptop-ada.home.wg") == ["10.51.0.1"]
    for server in ("10.11.0.1", "10.12.0.1"):  # each from when it answers on
        wait_until(lambda one=server: one in desktop.resolvectl("status", "home"), 25, f"{server} to be asked, too")
    link = desktop.resolvectl("status", "home")
    assert "-DefaultRoute" in link
    assert "~home.wg" in link
    assert desktop.check()["state"] == "ok"
    assert desktop.asks("www.example.org") == [], "nodes are not asked for others"


def test_it_ends_and_comes_back(desktop: Desktop) -> None:
    desktop.end(desktop.resolved)
    desktop.by_hosts_file("systemd-resolved does not run here")
    assert "10.11.0.1" in desktop.host.run(["getent", "ahostsv4", BERLIN]).stdout
    desktop.start_resolved()
    desktop.by_resolved()
    assert desktop.asks() == ["10.11.0.1"]


def test_the_bus_ends_and_comes_back(desktop: Desktop) -> None:
    desktop.end(desktop.bus)
    desktop.end(desktop.resolved)
    desktop.by_hosts_file("systemd-resolved does not run here")
    desktop.start_bus()
    desktop.start_resolved()
    desktop.by_resolved()


def test_one_that_hangs_holds_nothing_up(lab: Lab, desktop: Desktop) -> None:
    desktop.host.send_signal(desktop.resolved, signal.SIGSTOP)
    desktop.by_hosts_file("did not answer")
    assert desktop.check()["state"] == "warning"
    assert lab.status(desktop.host)["state"] == "connected"
    began = time.monotonic()
    desktop.host.meshctl("down", "home")
    assert time.monotonic() - began < 8 * PATIENCE
    desktop.host.thaw()
    desktop.host.meshctl("up", "home")


def test_what_others_change_is_put_right(desktop: Desktop) -> None:
    desktop.resolvectl("revert", "home")
    wait_until(lambda: "home.wg" in desktop.resolvectl("domain", "home"), 25, "it to be told again")
    assert "repaired: names of home" in desktop.host.meshctl_raw("events").stdout


def test_with_no_node_names_resolve(lab: Lab, desktop: Desktop) -> None:
    for gateway in lab.gateways:
        gateway.stop_meshd()
    desktop.by_hosts_file("no node answers DNS")
    wait_until(lambda: "home.wg" not in desktop.resolvectl("domain", "home"), 10, "resolved to ask no node any more")
    # It looks at the file every two seconds.
    wait_until(lambda: desktop.asks() == ["10.11.0.1"], 10, "resolved to read the hosts file, too")
    for gateway in lab.gateways:
        gateway.start_meshd()


def test_a_resolv_conf_that_leads_elsewhere(desktop: Desktop) -> None:
    desktop.host.run("echo nameserver 192.0.2.53 > /etc/resolv.conf")
    desktop.by_hosts_file("resolv.conf does not lead to it")
    wait_until(lambda: desktop.asks() == ["10.11.0.1"], 10, "resolved to read the hosts file")
    desktop.host.run("cat > /etc/resolv.conf", input=STUB)


def test_a_crash_of_meshd(desktop: Desktop) -> None:
    ada = desktop.host
    ada.stop_meshd(signal.SIGKILL)
    assert desktop.asks() == ["10.11.0.1"], "the tunnel is there, and names with it"
    ada.start_meshd("--split-dns", "off")
    wait_until(lambda: "home.wg" not in desktop.resolvectl("domain", "home"), 10, "what the crash left to go")
    desktop.by_hosts_file("switched off")
    ada.stop_meshd()
    ada.start_meshd()
    desktop.by_resolved()


LOGIND = """
import asyncio, pathlib, sys
from dbus_next import Message
from meshproto.bus_connection import connect

async def main():
    bus = await connect("unix:path=/run/dbus/system_bus_socket")
    await bus.request_name("org.freedesktop.login1")
    for sleeps in (True, False):
        path, interface = "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
        await asyncio.sleep(1)
        await bus.send(Message.new_signal(path, interface, "PrepareForSleep", "b", [sleeps]))
    bus.close()

asyncio.run(main())
"""


def test_logind_tells_that_the_machine_woke_up(lab: Lab, desktop: Desktop) -> None:
    desktop.host.run([str(BIN / "python"), "-c", LOGIND])
    wait_until(lambda: "this machine woke up: sessions" in desktop.host.meshctl_raw("events").stdout, 3, "the event")
    wait_until(lambda: lab.status(desktop.host)["state"] == "connected", 6, "connected")
    assert desktop.host.meshctl_raw("events").stdout.count("woke up") == 1, "and not for falling asleep"


def test_down_takes_it_all_back(desktop: Desktop) -> None:
    desktop.host.meshctl("down", "home")
    assert "home" not in desktop.resolvectl("domain")
    assert "meshd" not in desktop.hosts()
    assert desktop.asks() == []
    desktop.host.meshctl("up", "home")
