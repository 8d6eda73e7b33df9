"""Kernel settings: which are needed, and that the values before come back, also from another process."""

from __future__ import annotations

from pathlib import Path

import pytest
from meshd.dataplane import sysctls
from meshd.dataplane.sysctls import FORWARD4, FORWARD6, SEND_REDIRECTS, SavedSysctls, needed

RA = "net/ipv6/conf/eth0/accept_ra"
RP = "net/ipv4/conf/eth0/rp_filter"
RP_ALL = "net/ipv4/conf/all/rp_filter"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "proc"
    for name in (FORWARD4, FORWARD6, RP, RA, "net/ipv6/conf/eth0/forwarding", "net/ipv4/conf/all/accept_redirects"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("0\n")
    monkeypatch.setattr(sysctls, "_PROC", root)
    return root


def test_advertisements_are_kept_before_ipv6_forwarding_would_end_them() -> None:
    readings = {FORWARD4: "0", FORWARD6: "0", RA: "1"}
    assert list(needed(readings, "home", True).items()) == [(RA, "2"), (FORWARD6, "1"), (FORWARD4, "1")]
    assert RA not in needed({**readings, RA: "0"}, "home", True)


def test_a_peer_forwards_nothing() -> None:
    assert needed({FORWARD4: "0", FORWARD6: "0", RA: "1"}, "home", False) == {}


@pytest.mark.parametrize(
    ("everywhere", "own", "wanted"),
    [("0", "1", {RP: "2"}), ("1", "0", {RP: "2"}), ("0", "0", {}), ("2", "0", {}), ("1", "2", {RP: "2"})],
)
def test_strict_filtering_becomes_loose(everywhere: str, own: str, wanted: dict[str, str]) -> None:
    assert needed({RP_ALL: everywhere, RP: own}, "home", False) == wanted


def test_the_value_before_is_on_disk_before_the_change(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = SavedSysctls(tmp_path / "state" / "sysctls.json")
    stored: list[str] = []
    original = SavedSysctls._store

    def store(self: SavedSysctls, document: dict[str, object]) -> None:
        stored.append((proc / FORWARD4).read_text().strip())
        original(self, document)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(SavedSysctls, "_store", store)
    saved.set("home", FORWARD4, "1")
    assert stored == ["0"]
    assert (proc / FORWARD4).read_text() == "1"


def test_another_process_restores(proc: Path, tmp_path: Path) -> None:
    SavedSysctls(tmp_path / "sysctls.json").set("home", FORWARD6, "1")
    (proc / "net/ipv6/conf/eth0/forwarding").write_text("1")  # as the kernel does
    SavedSysctls(tmp_path / "sysctls.json").release("home")
    assert sysctls.read(FORWARD6) == "0"
    assert sysctls.read("net/ipv6/conf/eth0/forwarding") == "0"
    assert not (tmp_path / "sysctls.json").exists()


def test_the_last_mesh_restores(proc: Path, tmp_path: Path) -> None:
    saved = SavedSysctls(tmp_path / "sysctls.json")
    saved.set("home", FORWARD4, "1")
    saved.claim("work", [FORWARD4])
    saved.release("home")
    assert sysctls.read(FORWARD4) == "1"
    saved.release("work")
    assert sysctls.read(FORWARD4) == "0"


def test_what_the_kernel_sets_by_itself_comes_back_with_the_last_mesh(proc: Path, tmp_path: Path) -> None:
    (proc / SEND_REDIRECTS).write_text("1\n")
    saved = SavedSysctls(tmp_path / "sysctls.json")
    saved.expect("home", SEND_REDIRECTS, "0")
    assert sysctls.read(SEND_REDIRECTS) == "1"
    (proc / SEND_REDIRECTS).write_text("0\n")  # as wireguard does
    saved.expect("work", SEND_REDIRECTS, "0")
    saved.expect("work", SEND_REDIRECTS, "0")
    saved.release("home")
    assert sysctls.read(SEND_REDIRECTS) == "0"
    saved.release("work")
    assert sysctls.read(SEND_REDIRECTS) == "1"
    assert not (tmp_path / "sysctls.json").exists()


@pytest.mark.parametrize("value", ["0", None])
def test_what_was_so_before_is_not_noted(proc: Path, tmp_path: Path, value: str | None) -> None:
    if value is not None:
        (proc / SEND_REDIRECTS).write_text(value)
    saved = SavedSysctls(tmp_path / "sysctls.json")
    saved.expect("home", SEND_REDIRECTS, "0")
    assert not (tmp_path / "sysctls.json").exists()


def test_what_somebody_else_changed_since_stays(proc: Path, tmp_path: Path) -> None:
    saved = SavedSysctls(tmp_path / "sysctls.json")
    saved.set("home", RP, "2")
    (proc / RP).write_text("1")
    saved.release("home")
    assert sysctls.read(RP) == "1"


def test_values_of_an_earlier_boot_mean_nothing(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = SavedSysctls(tmp_path / "sysctls.json")
    saved.set("home", FORWARD4, "1")
    monkeypatch.setattr(sysctls, "_where", lambda: "another boot")
    saved.release("home")
    assert sysctls.read(FORWARD4) == "1"


def test_a_damaged_file_is_no_reason_to_fail(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "sysctls.json").write_text('{"of": 3}')
    SavedSysctls(tmp_path / "sysctls.json").release("home")
