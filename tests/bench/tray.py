"""Memory and idle processor time of the tray: with a real meshd alone in a mesh, and in one of 100 members. To compare:
Python with gRPC alone.

Memory is the resident set; processor time that of a minute in which nobody touches anything, in percent of one
processor.
"""

from __future__ import annotations

import asyncio
import time

from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network
from lab.hosts.person import Person
from tray.desktop import BUS, Panel

from bench.figures import Figure
from bench.filled import fill, writable
from bench.processes import cpu_seconds, found, megabytes

SETTLE, WATCH = 10.0, 60.0
CROWD = 100


def measure() -> list[Figure]:
    network = Network()
    people: list[Person] = []
    try:
        berlin = network.host("gw-berlin").with_meshd()
        berlin.meshctl("create", "home")
        wait_until(lambda: writable(berlin), 30, "the mesh")
        people.append(Person(berlin, BUS))
        people[0].log_in()
        figures = asyncio.run(_watched(berlin, people[0], "alone in a mesh"))
        berlin.stop_meshd()
        fill(berlin, CROWD)
        berlin.start_meshd()
        wait_until(lambda: writable(berlin), 60, "the mesh to be writable")
        figures += asyncio.run(_watched(berlin, people[0], f"with {CROWD} members"))
        bare = berlin.run([str(BIN / "python"), "-c", BARE]).stdout
        figures.append(Figure.of("Python with gRPC and nothing else, memory", "MB", [float(bare)]))
    finally:
        network.close()
        for one in people:
            one.forget()
    return figures


BARE = """
import grpc.aio
line = next(one for one in open("/proc/self/status") if one.startswith("VmRSS"))
print(int(line.split()[1]) * 1024 / 1e6)
"""


async def _watched(host: Host, person: Person, what: str) -> list[Figure]:
    panel = await Panel.start(f"unix:path={person.bus}")
    tray = person.start_tray()
    await panel.registered()
    await panel.until_icon("connected", 30)
    await asyncio.sleep(SETTLE)
    (pid,) = found(host, "meshtray")
    before = cpu_seconds(pid)
    began = time.monotonic()
    await asyncio.sleep(WATCH)
    share = 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)
    memory = megabytes(pid)
    host.send_signal(tray)
    await asyncio.to_thread(tray.wait, 20)
    await panel.stop()
    return [
        Figure.of(f"the tray {what}, memory", "MB", [memory]),
        Figure.of(f"the tray {what}, idle processor", "%", [share]),
    ]
