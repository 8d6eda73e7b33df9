"""Real packages in a fresh Debian root without systemd and without Python: installed, working, upgraded, downgraded,
removed, installed again, purged; then everything is as before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from vm.machine import bootstrap

pytestmark = pytest.mark.timeout(1500)

PACKAGES = "iproute2,nftables,redis-server,procps,libssl3,libffi8,libexpat1,libsqlite3-0,zlib1g,passwd,wireguard-go"

INSIDE = """
mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" &&
mount -t tmpfs tmpfs "$1/run" && mkdir "$1/run/lock" && exec chroot "$1" sh /media/container.sh "$2" "$3"
"""


def test_a_life_without_systemd(packages, earlier, versions: tuple[str, str], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = tmp_path / "root"
    bootstrap(root, PACKAGES)
    (root / "media").mkdir(exist_ok=True)
    for one in (packages.one("meshtui-helper"), earlier.one("meshtui-helper"), Path(__file__).parent / "container.sh"):
        (root / "media" / one.name).write_bytes(one.read_bytes())
    contained = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", str(root)]
    done = subprocess.run([*contained, *versions], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all is as before\n")
