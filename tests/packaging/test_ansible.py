"""The Ansible role, run by ansible-core on lab hosts: check mode, joining with an encrypted key, rotating, leaving."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

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
