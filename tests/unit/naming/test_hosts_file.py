"""The block of names in a hosts file that belongs to others."""

from __future__ import annotations

import errno
import os
import threading
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Failed, InvalidInput
from meshd.naming.hosts_file import Entry, with_block, write_block

BERLIN: Entry = (IPv4Address("10.11.0.1"), "gw-berlin.home.wg")
BERLIN6: Entry = (IPv6Address("fd00:1::1"), "gw-berlin.home.wg")
PARIS: Entry = (IPv4Address("10.12.0.1"), "gw-paris.home.wg")
OFFICE: Entry = (IPv4Address("10.31.0.1"), "gw-oslo.office.wg")
FOREIGN = b"127.0.0.1\tlocalhost\n# the printer\n192.0.2.9  printer # hall\n"
BLOCK = b"# meshd home begin\n10.11.0.1 gw-berlin.home.wg\nfd00:1::1 gw-berlin.home.wg\n# meshd home end\n"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_bytes(FOREIGN)
    return path


def test_the_block_stands_behind_the_foreign_lines(hosts: Path) -> None:
    assert write_block("home", [BERLIN, BERLIN6], hosts)
    assert hosts.read_bytes() == FOREIGN + BLOCK


def test_a_block_that_is_right_is_not_written_again(hosts: Path) -> None:
    write_block("home", [BERLIN], hosts)
    before = hosts.stat()
    assert not write_block("home", [BERLIN], hosts)
    after = hosts.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_block_is_changed_where_it_stands(hosts: Path) -> None:
    write_block("home", [BERLIN], hosts)
    with hosts.open("ab") as file:
        file.write(b"192.0.2.10 scanner\n")
    write_block("home", [BERLIN, BERLIN6], hosts)
    assert hosts.read_bytes() == FOREIGN + BLOCK + b"192.0.2.10 scanner\n"


def test_two_meshes_have_a_block_each(hosts: Path) -> None:
    write_block("home", [BERLIN], hosts)
    write_block("office", [OFFICE], hosts)
    write_block("home", [PARIS], hosts)
    text = hosts.read_text()
    assert "10.31.0.1 gw-oslo.office.wg" in text
    assert "10.12.0.1 gw-paris.home.wg" in text
    assert "gw-berlin" not in text
    write_block("home", [], hosts)
    assert hosts.read_bytes() == FOREIGN + b"# meshd office begin\n10.31.0.1 gw-oslo.office.wg\n# meshd office end\n"


def test_a_mesh_whose_name_begins_another_name_is_left_alone() -> None:
    contents = with_block(b"", "home-2", [OFFICE])
    assert with_block(contents, "home", []) == contents


def test_removing_leaves_nothing(hosts: Path) -> None:
    write_block("home", [BERLIN], hosts)
    assert write_block("home", [], hosts)
    assert hosts.read_bytes() == FOREIGN
    assert [path.name for path in hosts.parent.iterdir()] == ["hosts"]


_lines = st.one_of(
    st.sampled_from([b"# meshd office begin\n", b"10.1.1.1 a.b\n", b"\n", b"\r\n", b"# meshd home\n", b"x"]),
    st.binary(max_size=20),
)


@given(st.lists(_lines, max_size=12).map(b"".join))
def test_foreign_bytes_survive_a_block_that_comes_and_goes(contents: bytes) -> None:
    assert with_block(with_block(contents, "home", [BERLIN, PARIS]), "home", []) == contents


@given(st.lists(st.one_of(_lines, st.sampled_from([b"# meshd home begin\n", b"# meshd home end\n"])), max_size=12))
def test_any_file_ends_with_one_block(lines: list[bytes]) -> None:
    once = with_block(b"".join(lines), "home", [BERLIN])
    assert once.count(b"# meshd home begin\n10.11.0.1 gw-berlin.home.wg\n# meshd home end\n") == 1
    assert with_block(once, "home", [BERLIN]) == once


def test_a_block_that_somebody_cut_off_swallows_no_foreign_line() -> None:
    contents = b"# meshd home begin\n10.11.0.1 gw-berlin.home.wg\n192.0.2.9  printer # hall\n127.0.0.1\tlocalhost\n"
    assert with_block(contents, "home", []) == b"192.0.2.9  printer # hall\n127.0.0.1\tlocalhost\n"


@pytest.mark.parametrize(
    "name", ["gw\n192.0.2.66 bank.example", "gw\r", "gw\0", "", "gw berlin", "GW.home.wg", "gw#.wg", "ü.wg", "a" * 254]
)
def test_a_name_that_is_none_is_refused(hosts: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        write_block("home", [(IPv4Address("10.11.0.1"), name)], hosts)
    assert hosts.read_bytes() == FOREIGN


def test_mode_and_owner_stay(hosts: Path) -> None:
    hosts.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(hosts, 1, 2)
    before = hosts.stat()
    write_block("home", [BERLIN], hosts)
    after = hosts.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_the_file_is_replaced_and_never_half_written(hosts: Path) -> None:
    with hosts.open("rb") as reader:
        write_block("home", [BERLIN], hosts)
        assert reader.read() == FOREIGN


def test_a_link_is_followed_and_stays_one(hosts: Path) -> None:
    link = hosts.with_name("link")
    link.symlink_to("hosts")
    write_block("home", [BERLIN, BERLIN6], link)
    assert link.is_symlink()
    assert hosts.read_bytes() == FOREIGN + BLOCK


def test_a_file_that_is_missing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_block("home", [BERLIN, BERLIN6], path)
    assert path.read_bytes() == BLOCK
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_bind_mount_is_written_in_place(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    inode = hosts.stat().st_ino
    monkeypatch.setattr(Path, "rename", busy)
    write_block("home", [BERLIN, BERLIN6], hosts)
    assert hosts.read_bytes() == FOREIGN + BLOCK
    write_block("home", [], hosts)
    assert hosts.read_bytes() == FOREIGN
    assert hosts.stat().st_ino == inode
    assert [path.name for path in hosts.parent.iterdir()] == ["hosts"]


def test_a_full_disk_leaves_the_file_as_it_was(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    calls = 0

    def fill(descriptor: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:10])  # as the kernel does when some room is left

    monkeypatch.setattr("meshd.naming.hosts_file.os.write", fill)
    with pytest.raises(Failed, match="No space left"):
        write_block("home", [BERLIN], hosts)
    assert hosts.read_bytes() == FOREIGN
    assert [path.name for path in hosts.parent.iterdir()] == ["hosts"]


def test_what_a_crash_left_behind_is_used_up(hosts: Path) -> None:
    hosts.with_name("hosts.meshd").write_bytes(b"half a file " * 100)
    write_block("home", [BERLIN, BERLIN6], hosts)
    assert hosts.read_bytes() == FOREIGN + BLOCK
    assert [path.name for path in hosts.parent.iterdir()] == ["hosts"]


def test_a_planted_link_is_not_written_through(hosts: Path) -> None:
    victim = hosts.with_name("victim")
    victim.write_bytes(b"precious")
    hosts.with_name("hosts.meshd").symlink_to(victim)
    with pytest.raises(Failed):
        write_block("home", [BERLIN], hosts)
    assert victim.read_bytes() == b"precious"


def test_meshes_that_write_at_once_lose_nothing(hosts: Path) -> None:
    names = [f"mesh{number}" for number in range(8)]

    def write(mesh: str) -> None:
        for number in range(1, 26):
            write_block(mesh, [(IPv4Address("10.11.0.0") + number, f"gw.{mesh}.wg")], hosts)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = hosts.read_text()
    for name in names:
        assert f"# meshd {name} begin\n10.11.0.25 gw.{name}.wg\n# meshd {name} end\n" in text
    for name in names:
        write_block(name, [], hosts)
    assert hosts.read_bytes() == FOREIGN
