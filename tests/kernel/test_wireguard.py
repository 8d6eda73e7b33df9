"""The kernel's WireGuard behind the backend protocol: what the other backends pass, and what only it can do."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.dataplane.namespaces import Host
from meshd.dataplane.wireguard import kernel
from meshd.dataplane.wireguard.backend import DeviceChange, PeerChange
from meshd.dataplane.wireguard.choice import ChosenBackend, choose_backend
from meshd.dataplane.wireguard.kernel import GROUP, KernelBackend
from meshd.dataplane.wireguard.userspace import UserspaceBackend
from meshd.model.errors import Failed
from suites.wireguard import INTERFACE, RealBackendSuite, endpoint, networks, public_key
from suites.wireguard_traffic import Three, TrafficSuite, three_members

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(f"kh{os.getpid()}", tmp_path, lambda folder: KernelBackend())
    yield host
    host.end()


class TestKernel(RealBackendSuite):
    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
        folder = Path(tmp_path_factory.mktemp("kernel"))
        host = Host(f"kn{os.getpid()}", folder, lambda _: KernelBackend())
        yield host
        host.end()


class TestKernelTraffic(TrafficSuite):
    @pytest.fixture(scope="class")
    def three(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
        with three_members(Path(tmp_path_factory.mktemp("traffic")), lambda _: KernelBackend()) as three:
            yield three


def test_a_wireguard_interface_of_somebody_else_is_not_ours(host: Host) -> None:
    host.ip("link", "add", "wg0", "type", "wireguard")
    assert not host.do(host.backend.exists("wg0"))
    with pytest.raises(Failed, match="wg0 already exists and is not ours"):
        host.do(host.backend.create("wg0", 1420))
    host.do(host.backend.delete("wg0"))
    assert "wg0" in host.ip("link")


def test_a_link_has_its_group_and_its_mtu_from_the_start(host: Host) -> None:
    host.do(host.backend.create("wg0", 1380))
    assert "mtu 1380" in host.ip("link", "show", "group", str(GROUP))


def test_a_link_that_is_no_wireguard_is_named(host: Host) -> None:
    host.ip("link", "add", "br0", "type", "bridge")
    with pytest.raises(Failed, match="br0 is not one of WireGuard's"):
        host.do(host.backend.read("br0"))


def test_wg_reads_what_was_set(host: Host) -> None:
    host.do(host.backend.create("wg0", 1420))
    peer = PeerChange(public_key(5), endpoint=endpoint("2001:db8::5", 77), keepalive=25, allowed_ips=networks("::/0"))
    host.do(host.backend.apply("wg0", DeviceChange(listen_port=10177, fwmark=51, peers=(peer,))))
    lines = [line.split("\t") for line in host.run("wg", "show", "wg0", "dump").splitlines()]
    assert lines[0][2:] == ["10177", "0x33"]
    assert lines[1] == [str(public_key(5)), "(none)", "[2001:db8::5]:77", "::/0", "0", "0", "0", "25"]


def test_the_kernel_is_chosen_and_the_probe_leaves_nothing(host: Host) -> None:
    async def probe() -> None:
        await asyncio.to_thread(kernel.probe)

    before = host.ip("link")
    host.do(probe())
    host.ip("link", "add", kernel.PROBE, "group", str(GROUP), "type", "wireguard")  # of one that was killed meanwhile
    host.do(probe())
    assert host.ip("link") == before
    assert choose_backend("auto").backend == "kernel"
    assert choose_backend("auto").problem is None


def test_who_may_not_is_told_so() -> None:
    code = "from meshd.dataplane.wireguard import kernel; kernel.probe()"
    command = ["setpriv", "--reuid=65534", "--clear-groups", "python", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "not permitted" in done.stderr


@pytest.mark.parametrize("setting", ["auto", "kernel"])
def test_a_live_interface_stays_with_wireguard_go_until_it_is_removed(host: Host, setting: str) -> None:
    userspace = UserspaceBackend(host.folder)
    host.do(userspace.create(INTERFACE, 1420))
    chosen = ChosenBackend(setting, KernelBackend(), userspace)
    try:
        assert host.do(chosen.choose_again()).backend == "kernel"
        assert host.do(chosen.create(INTERFACE, 1420)) is False
        assert chosen.name_of(INTERFACE) == "userspace"
        host.do(chosen.read(INTERFACE))
        host.do(chosen.delete(INTERFACE))
        assert host.do(chosen.create(INTERFACE, 1420)) is True
        assert chosen.name_of(INTERFACE) == "kernel"
    finally:
        host.do(chosen.delete(INTERFACE))
        host.do(chosen.close())


def test_a_live_kernel_interface_stays_when_wireguard_go_is_asked_for(host: Host) -> None:
    host.do(host.backend.create("wg0", 1420))
    chosen = ChosenBackend("userspace", KernelBackend(), UserspaceBackend(host.folder))
    assert host.do(chosen.choose_again()).backend == "userspace"
    assert host.do(chosen.create("wg0", 1420)) is False
    assert chosen.name_of("wg0") == "kernel"
    host.do(chosen.delete("wg0"))
