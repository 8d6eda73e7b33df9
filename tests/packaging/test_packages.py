"""The packages as files: the same each time, complete, and as the distributions want them."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(1500)  # building takes minutes where others work, too


def output(*command: str | Path) -> str:
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_a_release_is_newer_than_what_led_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOP / "packaging")
    named = [
        importlib.import_module("payload").package_version(one)
        for one in (
            "0.1.9",
            "0.2.0.dev1",
            "0.2.0a1",
            "0.2.0b2",
            "0.2.0rc1",
            "0.2.0rc12",
            "0.2.0",
            "0.2.0.post1",
            "0.10.0",
        )
    ]
    for older, newer in pairwise(named):
        output("dpkg", "--compare-versions", older, "lt", newer)
        assert output("rpm", "--eval", f"%{{lua: print(rpm.vercmp('{older}', '{newer}'))}}").strip() == "-1"


@pytest.fixture(scope="module")
def unpacked(packages, tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("unpacked")
    for name in ("meshtui-helper", "meshtui", "meshtui-tray"):
        output("dpkg-deb", "-x", packages.one(name), folder)
    return folder


def test_two_builds_are_byte_identical(packages, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The second one with another time zone, language, umask and hash seed, in another folder."""
    old = os.umask(0o077)
    try:
        environment = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path)}
        subprocess.run(
            [TOP / "packaging/build", "all", "--quick", "--out", tmp_path / "dist"], check=True, env=environment
        )
    finally:
        os.umask(old)
    found = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in packages.folder.iterdir()}
    assert found == {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in (tmp_path / "dist").iterdir()}
    assert len(found) >= 4


def test_the_service_is_locked_up(unpacked: Path) -> None:
    unit = unpacked / "usr/lib/systemd/system/meshd.service"
    output("systemd-analyze", "security", "--offline=true", "--threshold=29", "--no-pager", unit)
    kept = {"Type=notify", "WatchdogSec=30", "KillMode=process", "StartLimitIntervalSec=0"}
    kept |= {"RuntimeDirectory=meshd wireguard", "RuntimeDirectoryPreserve=yes"}
    assert kept <= set(unit.read_text().split("\n"))


def test_programs_run_from_their_own_interpreter(unpacked: Path) -> None:
    """As it is found in the package: movable, and without anything from this machine's Python."""
    python = unpacked / "usr/lib/meshtui/bin/python3"
    modules = "meshd.assembly.daemon, meshd.naming.dns_server, redis.asyncio, meshctl.main, meshtui.app, meshtray.app"
    shown = output(python, "-I", "-c", f"import {modules}, sys, asyncio, ssl; print(*sys.path, sep='\\n')")
    assert all(one.startswith(str(unpacked)) for one in shown.split()), shown
    assert (unpacked / "usr/bin/meshd").read_text().startswith("#!/usr/lib/meshtui/bin/python3 -I\n")


def _licences(component: dict[str, Any]) -> list[str]:
    return [one.get("expression") or one["license"]["id"] for one in component["licenses"]]


def test_everything_that_is_bundled_is_in_the_bill_with_its_licence(unpacked: Path) -> None:
    for package, requirements in (("meshtui-helper", "helper"), ("meshtui", "meshtui"), ("meshtui-tray", "tray")):
        folder = unpacked / "usr/share/doc" / package
        bill = json.loads((folder / "sbom.cdx.json").read_text())
        named = {one["purl"].partition("?")[0].rpartition("/")[2] for one in bill["components"]}
        pinned = (TOP / f"packaging/requirements-{requirements}.txt").read_text()
        assert {one.replace("==", "@") for one in re.findall(r"^[a-z0-9-]+==[^ ]+", pinned, re.MULTILINE)} <= named
        assert all(one["licenses"] for one in bill["components"])
        texts = {one.name for one in (folder / "licences").iterdir()}
        assert len(texts) > len(named) - 3
    python = unpacked / "usr/share/doc/meshtui-helper/licences/python"
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in python.read_text()


def test_the_bill_says_what_is_compiled_into_the_libraries(unpacked: Path) -> None:
    """Who looks for a flaw of OpenSSL finds the copy in cryptography; nothing tells of a folder where it was built."""
    text = (unpacked / "usr/share/doc/meshtui-helper/sbom.cdx.json").read_text()
    inside = {one["name"]: json.dumps(one.get("components")) for one in json.loads(text)["components"]}
    assert '"pkg:generic/openssl@' in inside["cryptography"]
    assert '"BoringSSL"' in inside["grpcio"]
    assert "file://" not in text
    tray = json.loads((unpacked / "usr/share/doc/meshtui-tray/sbom.cdx.json").read_text())
    pillow = next(one for one in tray["components"] if one["name"].lower() == "pillow")
    assert not any(
        "GPL-3" in licence for one in pillow["components"] if "licenses" in one for licence in _licences(one)
    )


@pytest.mark.parametrize("name", ["meshtui-helper", "meshtui", "meshtui-tray"])
def test_the_rpm_names_the_licences_of_the_bill(packages, unpacked: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    bill = json.loads((unpacked / f"usr/share/doc/{name}/sbom.cdx.json").read_text())
    stated = (
        output("rpm", "-qp", "--queryformat", "%{LICENSE}", packages.one(name, "rpm")).replace("(", "").replace(")", "")
    )
    bundled = {one for component in bill["components"] for one in _licences(component)}
    assert set(stated.split(" AND ")) == {"Apache-2.0"} | bundled


def test_man_pages_completions_and_settings_are_in_place(unpacked: Path) -> None:
    for path in (
        "usr/share/man/man1/meshctl.1.gz",
        "usr/share/man/man1/meshtui.1.gz",
        "usr/share/man/man8/meshd.8.gz",
        "usr/share/bash-completion/completions/meshctl",
        "usr/share/zsh/vendor-completions/_meshctl",
        "usr/share/fish/vendor_completions.d/meshctl.fish",
        "usr/lib/sysusers.d/meshd.conf",
        "usr/lib/tmpfiles.d/meshd.conf",
        "etc/meshd/meshd.toml",
        "usr/share/man/man1/meshtray.1.gz",
        "usr/share/applications/meshtray.desktop",
        "usr/share/mime/packages/meshtray.xml",
        "usr/share/icons/hicolor/scalable/apps/meshtray.svg",
        "etc/xdg/autostart/meshtray.desktop",
        "usr/lib/systemd/user/meshtray.service",
    ):
        assert (unpacked / path).stat().st_size > 0, path
    # bash and fish look for a file by the name of the program.
    for program in ("meshd", "meshtui", "meshtray"):
        script = unpacked / f"usr/share/bash-completion/completions/{program}"
        assert f"complete -F __{program}_complete {program}" in script.read_text()
        assert (
            f"complete -c {program} " in (unpacked / f"usr/share/fish/vendor_completions.d/{program}.fish").read_text()
        )


@pytest.mark.parametrize("name", ["meshtui-helper", "meshtui", "meshtui-tray"])
def test_lintian_has_nothing_to_say(packages, name: str) -> None:  # type: ignore[no-untyped-def]
    said = output("lintian", "--fail-on=none", "--tag-display-limit=0", packages.one(name))
    assert said == ""


@pytest.mark.parametrize("name", ["meshtui-helper", "meshtui", "meshtui-tray"])
def test_rpmlint_has_nothing_to_say(packages, name: str) -> None:  # type: ignore[no-untyped-def]
    said = subprocess.run(
        ["rpmlint", "--config", TOP / "packaging/rpm/rpmlint.toml", packages.one(name, "rpm")],
        capture_output=True,
        text=True,
    ).stdout
    assert "0 errors, 0 warnings" in said, said


def test_the_rpm_installs_into_a_root_and_runs_there(packages, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A root with an rpm database of its own; what it requires of a Fedora is looked at by name."""
    root = tmp_path / "root"
    output("rpm", "--root", root, "--initdb")
    helper, tui = packages.one("meshtui-helper", "rpm"), packages.one("meshtui", "rpm")
    output("rpm", "--root", root, "-i", "--nodeps", "--noscripts", "--ignorearch", helper, tui)
    shown = output(root / "usr/lib/meshtui/bin/python3", "-I", "-c", "from meshctl.main import run; run()", "--version")
    assert shown.startswith("meshctl ")
    assert (root / "usr/share/zsh/site-functions/_meshctl").exists()
    needs = output("rpm", "-qp", "--requires", helper)
    assert "libssl.so.3()(64bit)" in needs
    assert "libc.so.6(GLIBC_2.35)(64bit)" in needs or "libm.so.6(GLIBC_2.35)(64bit)" in needs
    foreign = [one for one in needs.split("\n") if "python" in one or "/usr/lib/meshtui" in one]
    assert foreign == []
    output("rpm", "--root", root, "-e", "--noscripts", "meshtui", "meshtui-helper")
    left = [str(one) for one in root.rglob("*") if "meshtui" in one.name or "meshd" in one.name]
    assert left == []
