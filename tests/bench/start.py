"""How long `meshctl status` takes, from the start of the process to its end, in a mesh of two nodes and a laptop.

Each command runs once before, so that Python has its compiled files, as an installed package has.
"""

from __future__ import annotations

import os
import subprocess
import time

from lab.hosts.host import BIN, Host
from lab.hosts.network import Network

from bench.figures import Figure, ratio

ROUNDS = 30
FLOOR = "python -c pass"


def measure() -> list[Figure]:
    network = Network()
    try:
        berlin, paris, ada = network.host("gw-berlin"), network.host("gw-paris"), network.host("laptop-ada")
        for host in (berlin, paris, ada):
            host.start_meshd()
        key = berlin.meshctl("create", "home")["cluster_key"]
        paris.meshctl("join", "-", network.address("gw-berlin"), "--wait", "20", input=key)
        invite = berlin.meshctl("invites", "create", "laptop-ada")["text"]
        ada.meshctl("join", "-", "--always-on", "--wait", "20", input=invite)
        commands = {
            "meshctl status": [str(BIN / "meshctl"), "status"],
            "meshctl --json status": [str(BIN / "meshctl"), "--json", "status"],
            "meshctl --help": [str(BIN / "meshctl"), "--help"],
            FLOOR: [str(BIN / "python"), "-c", "pass"],
            "wg show all dump": ["wg", "show", "all", "dump"],
        }
        samples: dict[str, list[float]] = {name: [] for name in commands}
        used: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            _milliseconds(ada, command)
        for _ in range(ROUNDS):
            for name, command in commands.items():
                wall, processor = _milliseconds(ada, command)
                samples[name].append(wall)
                used[name].append(processor)
        return [
            *(Figure.of(name, "ms", values) for name, values in samples.items()),
            *(Figure.of(f"{name}: processor time", "ms", values) for name, values in used.items()),
            ratio(f"meshctl status / {FLOOR}", samples["meshctl status"], samples[FLOOR]),
            ratio(f"meshctl status / {FLOOR}: processor time", used["meshctl status"], used[FLOOR]),
        ]
    finally:
        network.close()


def _milliseconds(host: Host, command: list[str]) -> tuple[float, float]:
    """(From start to end, processor time), of the command and the one that enters the host."""
    began = time.perf_counter()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([*host.enter, *command], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return took * 1000, (usage.ru_utime + usage.ru_stime) * 1000
