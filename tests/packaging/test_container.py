"""Real packages in fresh roots of Debian 12 and 13 without systemd and without Python: installed, working, upgraded,
downgraded, removed, installed again, purged; then everything is as before. The .rpm with its scriptlets, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from vm.machine import IN_A_ROOT, bootstrap

pytestmark = pytest.mark.timeout(1500)

SUITES = {
    "bookworm": f"{IN_A_ROOT},redis-server,libssl3",
    "trixie": f"{IN_A_ROOT},redis-server,valkey-server,libssl3t64",
}

INSIDE = """
mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" &&
mount -t tmpfs tmpfs "$1/run" && mkdir "$1/run/lock" && exec chroot "$1" sh /media/container.sh "$2" "$3"
"""


@pytest.fixture(scope="module", params=SUITES)
def pristine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pristine") / "root"
    bootstrap(made, SUITES[request.param], request.param)
    return made


def copy(pristine: Path, folder: Path) -> Path:
    subprocess.run(["cp", "-a", pristine, folder / "root"], check=True)
    return folder / "root"


def test_a_life_without_systemd(  # type: ignore[no-untyped-def]
    pristine: Path, packages, earlier, versions: tuple[str, str], tmp_path: Path
) -> None:
    root = copy(pristine, tmp_path)
    (root / "media").mkdir(exist_ok=True)
    for one in (packages.one("meshtui-helper"), earlier.one("meshtui-helper"), Path(__file__).parent / "container.sh"):
        (root / "media" / one.name).write_bytes(one.read_bytes())
    contained = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, "sh", str(root)]
    done = subprocess.run([*contained, *versions], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all is as before\n")


@pytest.mark.parametrize("pristine", ["bookworm"], indirect=True)
def test_a_life_of_the_rpm(pristine: Path, packages, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Its scriptlets and programs run with Debian's shell and tools; what it requires of a Fedora is not looked at."""
    script = Path(__file__).parent / "rpm.sh"
    contained = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        script,
        copy(pristine, tmp_path),
    ]
    done = subprocess.run(
        [*contained, packages.one("meshtui-helper", "rpm")], capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("all is as before\n")
