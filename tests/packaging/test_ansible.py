"""The Ansible role, run by ansible-core. On lab hosts: check mode, joining with an encrypted key, rotating, leaving.
In a fresh Debian: real packages, installed, upgraded and purged."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network
from vm.machine import IN_A_ROOT, bootstrap

pytestmark = pytest.mark.timeout(900)

TOP = Path(__file__).resolve().parents[2]

PLAY = """
- hosts: all
  gather_facts: false
  roles: [meshtui]
"""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with ansible-core."""
    folder = tmp_path_factory.mktemp("ansible") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    requirements = TOP / "packaging/requirements-ansible.txt"
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-q", "--require-hashes", "-r"]
    subprocess.run([*pip, requirements], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def gateways() -> Iterator[tuple[Host, Host]]:
    network = Network()
    try:
        yield network.host("gw-berlin").with_meshd(), network.host("gw-paris").with_meshd()
    finally:
        network.close()


@pytest.fixture
def cloud() -> Iterator[tuple[Host, Host]]:
    network = Network()
    try:
        berlin, oslo = network.host("gw-berlin").with_meshd(), network.host("gw-oslo").with_meshd()
        oslo.run(f"echo {network.address('gw-berlin')} gw-berlin.example >>/etc/hosts")
        yield berlin, oslo
    finally:
        network.close()


def test_the_role_joins_rotates_and_leaves(ansible: Path, gateways: tuple[Host, Host], tmp_path: Path) -> None:
    berlin, paris = gateways
    key = berlin.meshctl("create", "home")["cluster_key"]
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "password").write_text("only for this test\n")
    address = berlin.run("ip -4 -o addr show eth0").stdout.split()[3].split("/")[0]
    (tmp_path / "vars.yml").write_text(f"meshtui_cluster_key: {key}\nmeshtui_gateway: {address}\n")
    environment = {
        "PATH": f"{ansible}:{BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_ROLES_PATH": str(TOP / "packaging/ansible/roles"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "password"),
        "LC_ALL": "C.UTF-8",
    }
    berlin.run(["ansible-vault", "encrypt", str(tmp_path / "vars.yml")], environment=environment)
    assert key not in (tmp_path / "vars.yml").read_text()

    def play(host: Host, *options: str) -> int:
        """How many tasks changed something."""
        python = f"ansible_python_interpreter={sys.executable}"
        words = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", python, "-e", f"@{tmp_path}/vars.yml"]
        done = host.run([*words, *options, str(tmp_path / "play.yml")], environment=environment, timeout=200)
        assert key not in done.stdout
        return int(re.findall(r"changed=(\d+)", done.stdout)[-1])

    play(paris, "--check")
    assert paris.meshctl("status")["meshes"] == [], "check mode changes nothing"
    assert play(paris) == 1
    wait_until(lambda: paris.meshctl("status")["meshes"][0]["writable"], 20, "gw-paris to be a node")
    assert play(paris) == 0, "once more changes nothing"
    assert play(berlin, "-e", "meshtui_rotate=true") == 1
    assert berlin.meshctl("key", "show")["cluster_key"] != key
    assert play(paris, "-e", "meshtui_state=absent") == 1
    assert paris.meshctl("status")["meshes"] == []
    assert [one["name"] for one in berlin.meshctl("nodes", "list")] == ["gw-berlin"]
    assert play(paris, "-e", "meshtui_state=absent") == 0


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("debian") / "root"
    bootstrap(root, f"{IN_A_ROOT},redis-server,libssl3,libstdc++6,wireguard-tools,python3,cloud-init")
    return root


def test_cloud_init_takes_the_example(debian: Path) -> None:
    shutil.copy(TOP / "packaging/cloud-init.yaml", debian / "media")
    words = ["chroot", debian, "cloud-init", "schema", "--config-file", "/media/cloud-init.yaml"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (debian / "media/wrong.yaml").write_text("#cloud-config\nruncmd: once\n")
    assert subprocess.run([*words[:-1], "/media/wrong.yaml"], capture_output=True).returncode != 0


def test_the_line_of_the_example_joins_by_the_environment(cloud: tuple[Host, Host]) -> None:
    """Its last one, as cloud-init runs it, with the key that the file before has put there."""
    berlin, oslo = cloud
    key = berlin.meshctl("create", "home")["cluster_key"]
    (line,) = re.findall(r"\[sh, -c, '(.*)'\]", (TOP / "packaging/cloud-init.yaml").read_text())
    assert " join gw-berlin.example " in line
    oslo.run(f"umask 077; echo {key} >/run/mesh.key")
    environment = {"PATH": f"{BIN}:/usr/bin:/bin"}
    oslo.run(["sh", "-c", line], environment=environment, timeout=60)
    assert [one["name"] for one in berlin.meshctl("nodes", "list")] == ["gw-berlin", "gw-oslo"]
    oslo.run("test ! -e /run/mesh.key")


INSIDE = """
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" &&
mount -t tmpfs tmpfs "$1/run" && mkdir "$1/run/lock" && mount -t tmpfs tmpfs "$1/tmp" &&
mkdir -p "$1$2" && mount --bind "$2" "$1$2" && exec chroot "$1" sh /media/ansible.sh "$3" "$4"
"""


def test_the_role_installs_upgrades_and_purges(  # type: ignore[no-untyped-def]
    debian: Path, ansible: Path, packages, earlier, versions: tuple[str, str]
) -> None:
    media = debian / "media"
    for name in ("meshtui-helper", "meshtui"):
        for made in (packages, earlier):
            shutil.copy(made.one(name), media)
    shutil.copytree(TOP / "packaging/ansible", media / "packaging/ansible")
    (media / "dist").mkdir()
    shutil.copy(packages.one("meshtui-helper"), media / "dist")
    (media / "inventory").write_text("[gateways]\nlocalhost ansible_connection=local\n")
    shutil.copy(Path(__file__).parent / "ansible.sh", media)
    (media / "play.yml").write_text(PLAY)
    environment = {
        "PATH": f"{ansible}:/usr/sbin:/usr/bin:/sbin:/bin",
        "ANSIBLE_ROLES_PATH": "/media/packaging/ansible/roles",
        "ANSIBLE_HOME": "/run/ansible",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
    }
    contained = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh"]
    done = subprocess.run(
        [*contained, debian, ansible.parent, *versions], env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all is as before\n")
