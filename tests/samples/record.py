"""Records what a commit's meshd stores, as samples for tests/unit/store/test_formats.py. As root, with network
namespaces: PYTHONPATH=tests .venv/bin/python tests/samples/record.py COMMIT [FOLDER, default tests/samples/COMMIT]

The mesh is made for this and then gone: its secrets open nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from earlier import program, unpack
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

ENDPOINT = "192.0.2.1"

LEFT_OUT = shutil.ignore_patterns("*.log", "*.lock", "server.json", "redis.conf", "lock")
"""What belongs to one run of a process."""


def record(commit: str, folder: Path) -> None:
    network = Network()
    try:
        with tempfile.TemporaryDirectory() as unpacked:
            tree = unpack(commit, Path(unpacked))
            berlin, ada = network.host("gw-berlin"), network.host("laptop-ada")
            berlin.run(f"ip addr add {ENDPOINT}/32 dev eth0")
            address = berlin.run("ip -4 -o addr show eth0").stdout.split()[3].split("/")[0]
            network.router.run(f"ip route add {ENDPOINT} via {address}")
            _fill(berlin, ada, tree, commit, folder)
    finally:
        network.close()


def _fill(host: Host, ada: Host, tree: Path, commit: str, folder: Path) -> None:
    for one in (host, ada):
        one.start_meshd(program=program(tree, "meshd"))
    meshctl = program(tree, "meshctl")
    host.run([*meshctl, "create", "home", "--endpoint", ENDPOINT])
    host.meshctl("routes", "add", "203.0.113.0/24")
    host.meshctl("invites", "create", "laptop-eve")
    invite = host.meshctl("invites", "create", "laptop-ada")["text"]
    ada.run([*meshctl, "join", "-", "--always-on", "--wait", "20"], input=invite)
    assert ada.ping("10.11.0.1", count=30) == 30, "traffic for the past: it has a value every two seconds"
    revision = host.meshctl("status")["meshes"][0]["revision"]
    for name, word in {"recording": "report", "backup": "backup"}.items():
        asked = host.run(
            [*program(tree, "meshctl"), word, f"/run/{name}"],
            check=False,
            environment={"MESHD_PASSPHRASE": "samples of a release"},
        )
        print(name, asked.stdout + asked.stderr)  # early commits have neither
    wait_until(lambda: (host.state / "home/view").exists(), 20, "the view")
    host.stop_meshd()
    host.run("pkill -x redis-server; while pgrep -x redis-server; do sleep 0.1; done")
    shutil.copytree(host.state, folder / "state", ignore=LEFT_OUT)
    for name in ("recording", "backup"):
        if (made := Path(f"/proc/{host.pid}/root/run/{name}")).exists():
            shutil.copy(made, folder / name)
    (folder / "about").write_text(f"commit {commit}\nrevision {revision}\nmembers gw-berlin laptop-ada\n")


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else f"tests/samples/{sys.argv[1]}"))
