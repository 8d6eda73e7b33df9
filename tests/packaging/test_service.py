"""A machine's life with the packages: installed, working, upgraded under traffic, downgraded, removed, purged.

Debian with systemd in the VM, on the kernel's WireGuard. The tests go on from one another.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from lab.hosts.host import NETWORK_STATE
from vm.machine import Machine

pytestmark = pytest.mark.timeout(3600)

ADA = "--socket /srv/ada/run/meshd.sock"
"""laptop-ada: a second machine in a network namespace, with the same programs but no service."""

REDIS = "pgrep -f 'redis-server (unixsocket:|.*:16379)'"
"""Finds those of meshd, not the service that Debian's package of redis-server runs."""

CHANGING = (
    "/proc /sys /run /tmp /dev /media /srv /root /var/log /var/tmp /var/cache /var/lib/dpkg /lost+found "
    "/var/lib/systemd/random-seed /var/lib/systemd/timers /var/lib/systemd/catalog /var/lib/redis "
    "/etc/group- /etc/gshadow-"
)
"""What changes by itself, or keeps a record of what was installed."""

FILES = (
    f"find / -xdev \\( {' -o '.join(f'-path {one}' for one in CHANGING.split())} \\) -prune -o "
    "-printf '%p %y %m %u:%g %l\\n' | sort; find /etc -type f ! -name '*-' -exec md5sum {} + | sort -k 2"
)


def state(machine: Machine) -> dict[str, str]:
    kept = {name: command for name, command in NETWORK_STATE.items() if name not in ("processes", "state")}
    found = {name: machine.run(command, check=False).output for name, command in kept.items()}
    found["files"] = machine.run(FILES).output
    return found


def different(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    lines = {name: set(before[name].splitlines()) ^ set(after[name].splitlines()) for name in before}
    return {name: sorted(some)[:20] for name, some in lines.items() if some}


def meshctl(machine: Machine, *words: str) -> Any:
    return json.loads(machine.run(f"meshctl --timeout 120 --json {' '.join(words)}").output)


def install(machine: Machine, version: str) -> None:
    machine.run(f"dpkg -i /media/meshtui-helper_{version}_*.deb /media/meshtui_{version}_*.deb")


def installed(machine: Machine) -> str:
    return machine.run("dpkg-query -W -f '${Version}' meshtui-helper").output


def received(machine: Machine, path: str) -> list[int]:
    return [int(one) for one in re.findall(r"icmp_seq=(\d+) ttl", machine.run(f"cat {path}").output)]


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, str]:
    """Before anything is installed; what the kernel loads by itself is there already."""
    machine.run("modprobe -a nf_tables nf_conntrack nft_ct nft_chain_nat nft_masq veth")
    machine.run("ip netns add probe && ip netns del probe")
    return state(machine)


@pytest.fixture(scope="module")
def ada(machine: Machine) -> None:
    machine.run(
        "ip netns add ada && ip link add up0 type veth peer name eth0 netns ada && ip addr add 192.0.2.1/24 dev up0 && "
        "ip link set up0 up && ip netns exec ada sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev eth0; "
        "ip link set eth0 up'; mkdir -p /srv/ada/run /srv/ada/state; cp /etc/hosts /srv/ada/hosts"
    )


def test_a_fresh_install_runs_the_service(machine: Machine, before: dict[str, str], versions: tuple[str, str]) -> None:
    machine.run("! test -e /sys/module/wireguard")
    install(machine, versions[1])
    machine.wait("systemctl is-active meshd.service")
    machine.run("systemctl is-enabled meshd.service")
    machine.run("test -e /sys/module/wireguard")  # which the service itself may not load, but the kernel for it
    assert machine.run("stat -c '%a %U' /var/lib/meshd /run/meshd").output.split("\n")[:2] == ["700 root", "755 root"]
    assert machine.run("getent group mesh").output.startswith("mesh:")
    assert meshctl(machine, "status")["meshes"] == []
    shown = machine.run("systemctl show meshd -p Type -p NoNewPrivileges -p ProtectSystem -p WatchdogUSec").output
    assert set(shown.split()) == {"Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "WatchdogUSec=30s"}


def test_doctor_sees_out_of_the_sandbox_who_has_a_port(machine: Machine) -> None:
    machine.run("systemd-run --unit=squatter redis-server --port 9000 --save '' --dir /run")
    machine.wait("redis-cli -p 9000 ping")
    pid = machine.run("systemctl show -P MainPID squatter").output.strip()
    (found,) = [one["found"] for one in meshctl(machine, "doctor") if one["check"] == "ports"]
    machine.run("systemctl stop squatter")
    assert re.search(rf"TCP port 9000 \(.*\) is taken by redis-server \(pid {pid}\)", found), found


def test_the_main_job_on_the_kernels_wireguard(machine: Machine, ada: None) -> None:
    meshctl(machine, "create", "home", "--endpoint", "192.0.2.1")
    machine.run("ip -d link show home | grep -q wireguard")
    invite = meshctl(machine, "invites", "create", "laptop-ada")["text"]
    machine.run(
        "systemd-run --unit=ada -p NetworkNamespacePath=/run/netns/ada -p KillMode=process "
        "-p BindPaths=/srv/ada/hosts:/etc/hosts "
        "meshd --state-dir /srv/ada/state --run-dir /srv/ada/run --hosts-file off"
    )
    machine.wait("test -S /srv/ada/run/meshd.sock")
    machine.run(f"echo {invite} | meshctl --timeout 200 {ADA} join - --always-on --wait 180")
    machine.run("ip netns exec ada ping -c 3 -i 0.2 10.11.0.1")
    assert meshctl(machine, "status")["meshes"][0]["backend"] == "kernel"
    faults = [one for one in meshctl(machine, "doctor") if one["state"] == "error"]
    assert faults == []
    looking = machine.run("setpriv --reuid 65534 --clear-groups --regid 65534 meshctl status; echo $?").output
    assert "laptop-ada" in looking
    denied = machine.run("setpriv --reuid 65534 --clear-groups --regid 65534 meshctl down", check=False)
    assert denied.status == 4


def test_a_downgrade_works(machine: Machine, versions: tuple[str, str]) -> None:
    install(machine, versions[0])
    machine.wait("meshctl --json status | grep -q '\"writable\": true'")
    assert installed(machine) == versions[0]
    machine.run("ip netns exec ada ping -c 3 -i 0.2 10.11.0.1")


def test_members_one_version_apart_work_together(machine: Machine) -> None:
    """gw-berlin runs the earlier commit, laptop-ada this tree: its program was not restarted."""
    meshctl(machine, "peers", "rename", "laptop-ada", "laptop-eve")
    machine.wait(f"meshctl --json {ADA} status | grep -q laptop-eve")
    meshctl(machine, "routes", "add", "203.0.113.0/24")
    machine.wait("ip -n ada route | grep -q 203.0.113.0/24")
    assert meshctl(machine, ADA, "status")["meshes"][0]["state"] == "connected"


def test_an_upgrade_loses_no_packet_and_no_session(machine: Machine, versions: tuple[str, str]) -> None:
    machine.run(
        "mkdir -p /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/key && systemctl start ssh && "
        "cp /root/key.pub /root/.ssh/authorized_keys"
    )
    machine.run(
        "systemd-run --unit=flood -p StandardOutput=file:/run/flood ip netns exec ada ping -i 0.02 10.11.0.1; "
        "systemd-run --unit=session -p StandardOutput=file:/run/session ip netns exec ada ssh -i /root/key -o "
        "StrictHostKeyChecking=no -o ServerAliveInterval=1 -o ServerAliveCountMax=3 root@10.11.0.1 "
        "'while sleep 0.2; do echo alive; done'"
    )
    machine.wait("grep -q alive /run/session")
    old = machine.run("systemctl show -P MainPID meshd").output
    redis = machine.run(REDIS).output
    machine.run("touch /run/meshd/kept; journalctl -u meshd -n 1 --cursor-file=/run/upgraded >/dev/null")
    install(machine, versions[1])
    machine.wait("meshctl --json status | grep -q '\"writable\": true'")
    machine.run("systemctl is-active flood session && sleep 1")
    alive = machine.run("grep -c alive /run/session").output
    machine.wait(f"test $(grep -c alive /run/session) -gt {alive.strip()}")
    machine.run("systemctl kill -s INT flood; systemctl stop session")
    numbers = received(machine, "/run/flood")
    assert len(numbers) > 200, "the flood ran during the upgrade"
    assert numbers == list(range(1, len(numbers) + 1)), "0 lost"
    assert machine.run("systemctl show -P MainPID meshd").output != old
    assert machine.run(REDIS).output == redis
    machine.run("test -e /run/meshd/kept && rm /run/meshd/kept")
    assert installed(machine) == versions[1]
    machine.wait("grep -q laptop-eve.home.wg /etc/hosts")


def test_stopping_keeps_the_tunnel_and_a_crash_is_repaired(machine: Machine) -> None:
    machine.run("systemctl stop meshd && ip netns exec ada ping -c 3 -i 0.2 10.11.0.1")
    machine.run("systemctl start meshd")
    pid = machine.run("systemctl show -P MainPID meshd").output.strip()
    machine.run(f"kill -KILL {pid}")
    machine.wait(f"test $(systemctl show -P MainPID meshd) != {pid} && systemctl is-active meshd")
    machine.wait("meshctl --json status | grep -q '\"writable\": true'")
    assert machine.run("systemctl show -P WatchdogTimestamp meshd").output.strip()
    said = machine.run("journalctl -u meshd --cursor-file=/run/upgraded --no-pager").output
    assert "Traceback" not in said
    assert "Operation not permitted" not in said
    assert "audit" not in machine.run("dmesg | grep -i 'type=1326' || true").output, "no system call was refused"


def test_removing_stops_all_and_installing_again_brings_it_back(machine: Machine, versions: tuple[str, str]) -> None:
    machine.run("dpkg -r meshtui meshtui-helper")
    machine.run("! test -e /sys/class/net/home && ! grep home /etc/hosts && ! nft list ruleset | grep home")
    machine.run(f"! systemctl is-active meshd && ! {REDIS} && test -e /var/lib/meshd/home/identity.json")
    install(machine, versions[1])
    machine.wait("meshctl --json status | grep -q '\"writable\": true'")
    machine.wait("ip netns exec ada ping -c 1 10.11.0.1")


def test_purging_leaves_nothing(machine: Machine, before: dict[str, str]) -> None:
    machine.run(f"meshctl --timeout 120 {ADA} leave home --yes; systemctl stop ada; ip netns del ada; rm -rf /srv/ada")
    machine.run("ip link del up0 || true; rm -rf /root/.ssh /root/key*")
    machine.run("dpkg -P meshtui meshtui-helper")
    for gone in ("getent group mesh", "test -e /run/meshd", "pgrep -x meshd", REDIS):
        assert machine.run(gone, check=False).status != 0, gone
    assert different(before, state(machine)) == {}


def test_wireguard_go_in_the_sandbox(machine: Machine, before: dict[str, str], versions: tuple[str, str]) -> None:
    """As where the kernel has no WireGuard: it outlives its helper, and goes with the packages."""
    install(machine, versions[1])
    machine.run("echo 'backend = \"userspace\"' >>/etc/meshd/meshd.toml && systemctl restart meshd")
    assert meshctl(machine, "create", "home")["mesh"]["backend"] == "userspace"
    running = machine.run("pgrep -x wireguard-go").output
    machine.run("systemctl restart meshd")
    machine.wait("meshctl --json status | grep -q '\"writable\": true'")
    assert machine.run("pgrep -x wireguard-go").output == running
    machine.run("dpkg -P meshtui meshtui-helper")
    assert machine.run("pgrep -x wireguard-go", check=False).status != 0
    assert different(before, state(machine)) == {}


def test_without_systemd(machine: Machine, before: dict[str, str], versions: tuple[str, str]) -> None:
    """As in a container: /run without systemd, no service; an upgrade says what to do, purging ends what runs."""
    inside = "unshare --mount --pid --fork --kill-child --mount-proc sh /root/script"
    script = f"""
        mount -t tmpfs tmpfs /run && mkdir /run/lock
        dpkg -i /media/meshtui-helper_{versions[0]}_*.deb || exit 1
        meshd >/run/log 2>&1 &
        for n in $(seq 300); do test -S /run/meshd/meshd.sock && break; sleep 0.2; done
        meshctl --timeout 120 create home >/dev/null || exit 2
        dpkg -i /media/meshtui-helper_{versions[1]}_*.deb >/run/upgrade 2>&1 || exit 3
        grep -q "end it (SIGTERM) and start it again" /run/upgrade || exit 4
        dpkg -P meshtui-helper || exit 5
        ! test -e /sys/class/net/home || exit 6
        ! pgrep -x 'meshd|redis-server' || exit 7
    """
    done = machine.run(f"cat >/root/script <<'END'\n{script}\nEND\n{inside}", check=False, limit=3000)
    machine.run("rm /root/script")
    assert done.status == 0, done.output
    assert different(before, state(machine)) == {}
