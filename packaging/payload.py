"""What goes into the packages: an interpreter, the bundled libraries and our own programs, each as a tree of files.
`build.py` uses it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PREFIX = Path("usr/lib/meshtui")
"""Everything that is bundled lies here: no other program's Python can meet it."""

STDLIB = PREFIX / "lib/python3.11"
SITE = PREFIX / "lib/python3/dist-packages"  # where Debian's interpreter looks, below its prefix

LOWEST_GLIBC = (2, 35)
"""What Debian 12's interpreter needs (hypot). Debian 12 has 2.36, Ubuntu 24.04 2.39, Fedora more, RHEL 9 only 2.34."""

SYSTEM_LIBRARIES = {
    "ld-linux-x86-64.so.2": "libc6", "ld-linux-aarch64.so.1": "libc6", "libc.so.6": "libc6", "libm.so.6": "libc6",
    "libpthread.so.0": "libc6", "libdl.so.2": "libc6", "librt.so.1": "libc6", "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g", "libexpat.so.1": "libexpat1", "libffi.so.8": "libffi8", "libsqlite3.so.0": "libsqlite3-0",
    "libssl.so.3": "libssl3 | libssl3t64", "libcrypto.so.3": "libssl3 | libssl3t64",
}  # fmt: skip
"""Libraries of the system that may be used, with their Debian packages: the same names on Debian, Ubuntu and Fedora,
and kept safe by them."""

LEFT_OUT = {
    "test", "idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip", "distutils", "venv",
    "pydoc_data", "curses", "dbm", "sitecustomize.py", "EXTERNALLY-MANAGED", "__pycache__",
    "antigravity.py", "msilib", "_distutils_system_mod.py", "crypt.py",
    "nturl2path.py",
}  # fmt: skip
"""Of the standard library: what needs libraries that are not above, and what no program of ours uses."""

MODULES_LEFT_OUT = re.compile(
    r"_(bz2|lzma|curses|curses_panel|dbm|gdbm|crypt|uuid|tkinter)\.|(nis|readline|ossaudiodev|audioop)\.|"
    r"_?(test|xx)|_ctypes_test|_xx"
)


@dataclass(frozen=True, slots=True)
class Package:
    """`modules` are the folder and name of import packages; each of `programs` is a module whose `main` has a `run`;
    `files` go from this repository to a place on the machine."""

    name: str
    requirements: str
    modules: tuple[tuple[str, str], ...]
    programs: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    summary: str
    description: str


ICON = "tray/meshtray/icons/hicolor/scalable/apps/meshtray.svg"

PACKAGES = (
    Package(
        "meshtui-helper",
        "packaging/requirements-helper.txt",
        (("protocol", "meshproto"), ("helper", "meshd"), ("tui", "meshctl")),
        ("meshd", "meshctl"),
        (
            ("packaging/service/meshd.service", "usr/lib/systemd/system/meshd.service"),
            ("packaging/service/sysusers.conf", "usr/lib/sysusers.d/meshd.conf"),
            ("packaging/service/tmpfiles.conf", "usr/lib/tmpfiles.d/meshd.conf"),
            ("packaging/service/meshd.toml", "etc/meshd/meshd.toml"),
        ),
        "private WireGuard networks: the daemon and its command line",
        "meshd joins this machine into private WireGuard networks: keys, addresses, routes, firewall rules, names and "
        "the state that gateways keep among themselves. meshctl tells it what to do.",
    ),
    Package(
        "meshtui",
        "packaging/requirements-meshtui.txt",
        (("tui", "meshtui"),),
        ("meshtui",),
        (
            ("packaging/desktop/meshtui.desktop", "usr/share/applications/meshtui.desktop"),
            (ICON, "usr/share/icons/hicolor/scalable/apps/meshtui.svg"),
        ),
        "private WireGuard networks: live view in a terminal",
        "meshtui shows the members of a mesh, how each is reached, traffic, nodes, routes, invites and events as they "
        "change, and runs the mesh. It also lets meshctl use the keyring of a desktop.",
    ),
    Package(
        "meshtui-tray",
        "packaging/requirements-tray.txt",
        (("tray", "meshtray"),),
        ("meshtray",),
        (
            ("packaging/desktop/meshtray.desktop", "usr/share/applications/meshtray.desktop"),
            ("packaging/desktop/autostart.desktop", "etc/xdg/autostart/meshtray.desktop"),
            ("packaging/desktop/meshtray.service", "usr/lib/systemd/user/meshtray.service"),
            ("packaging/desktop/meshtray-mime.xml", "usr/share/mime/packages/meshtray.xml"),
            (ICON, "usr/share/icons/hicolor/scalable/apps/meshtray.svg"),
        ),
        "private WireGuard networks: icon in the panel of a desktop",
        "meshtray connects and disconnects, shows the state of a mesh at a glance, and opens invites.",
    ),
)


def package_version(version: str) -> str:
    """Of a Python version, so that dpkg and rpm know 0.2.0.dev1 to come before 0.2.0rc1, and that before 0.2.0."""
    return re.sub(r"[.-]?(a|b|rc)(?=\d)", r"~\1", re.sub(r"[.-]?dev(?=\d)", "~~dev", version))


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"packaging/build: {command[0]} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def interpreter(root: Path) -> None:
    """Debian's python3.11 and the part of its standard library that is used, movable because they lie together."""
    binary = Path("/usr/bin/python3.11")
    if not binary.exists():
        sys.exit("packaging/build: /usr/bin/python3.11 is not there: build on Debian 12")
    write(root / PREFIX / "bin/python3", binary.read_bytes(), 0o755)
    for one in sorted(Path("/usr/lib/python3.11").iterdir()):
        if one.name in LEFT_OUT or one.name.startswith(("config-", "_sysconfigdata_")):
            continue
        if one.name == "lib-dynload":
            for module in sorted(one.glob("*.so")):
                if not MODULES_LEFT_OUT.match(module.name):
                    write(root / STDLIB / "lib-dynload" / module.name, module.read_bytes())
        elif one.is_dir():
            shutil.copytree(
                one, root / STDLIB / one.name, ignore=shutil.ignore_patterns("__pycache__", "test", "tests")
            )
        else:
            write(root / STDLIB / one.name, one.read_bytes())


def libraries(root: Path, requirements: str, architecture: str) -> None:
    """What a requirements file pins, without what only installers read. Wheels for old systems, whatever this is."""
    target = root / SITE
    command: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:", "--target", target]
    for level in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{level}_{architecture}"]
    command += ["--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3", "--abi=none"]
    run(*command, "-r", TOP / requirements)
    shutil.rmtree(target / "bin", ignore_errors=True)
    for pattern in (
        "*.dist-info/RECORD",
        "*.dist-info/INSTALLER",
        "*.dist-info/REQUESTED",
        "*.dist-info/direct_url.json",
    ):
        for one in target.glob(pattern):
            one.unlink()


def plain(root: Path) -> None:
    """What is bundled is imported, not run or compiled against: no first line names another interpreter; no headers."""
    for path in (root / PREFIX).rglob("*.py"):
        content = path.read_bytes()
        if content.startswith(b"#!"):
            path.write_bytes(b"# " + content[2:])
    for path in (root / SITE).rglob("*.h"):
        path.unlink()
    for path in (root / PREFIX / "lib").rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def own_code(root: Path, tree: Path, package: Package) -> None:
    wanted = shutil.ignore_patterns("__pycache__", "*.pyc", "*.pyi", "*.proto")
    for folder, module in package.modules:
        shutil.copytree(tree / folder / module, root / SITE / module, ignore=wanted)
    for source, target in package.files:
        write(root / target, (TOP / source).read_bytes())
    for name in package.programs:
        start = f"#!/{PREFIX}/bin/python3 -I\nfrom {name}.main import run\n\nrun()\n"
        write(root / "usr/bin" / name, start, 0o755)


def compiled(root: Path) -> None:
    """Byte code that is never checked against its source: it changes with the package, and purging leaves nothing."""
    folders = [str(one) for one in (root / STDLIB, root / SITE) if one.exists()]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-I", "-m", "compileall", "-q", "-j1", "--invalidation-mode=unchecked-hash"]
    subprocess.run([*command, "-s", str(root), "-p", "/", *folders], check=True, env=environment)


def check_binaries(root: Path) -> dict[str, list[str]]:
    """The system's libraries that the binaries need. Ends the build when one is not known or glibc would be too new."""
    needed: dict[str, list[str]] = {}
    for path in sorted(one for one in root.rglob("*") if one.is_file() and not one.is_symlink()):
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
        headers = run("objdump", "-p", path)
        for library in re.findall(r"NEEDED +(\S+)", headers):
            if library not in SYSTEM_LIBRARIES and not any(root.rglob(library)):
                sys.exit(f"packaging/build: {path.relative_to(root)} needs {library}, which not every system has")
            needed.setdefault(library, []).append(str(path.relative_to(root)))
        versions = [tuple(map(int, one.split("."))) for one in re.findall(r"GLIBC_(\d+\.\d+)", headers)]
        if max(versions, default=(0, 0)) > LOWEST_GLIBC:
            sys.exit(f"packaging/build: {path.relative_to(root)} needs glibc {max(versions)}")
    return needed


def manual(root: Path, tree: Path, package: Package) -> None:
    for name in package.programs:
        for page in (tree / "docs/man").glob(f"{name}.[1-8]"):
            compressed = gzip.compress(page.read_bytes(), 9, mtime=0)
            write(root / f"usr/share/man/man{page.suffix[1:]}" / f"{page.name}.gz", compressed)


def completions(root: Path) -> None:
    """The scripts of meshctl, made by the program that was just put together."""
    folders = {
        "bash": "usr/share/bash-completion/completions/meshctl",
        "zsh": "usr/share/zsh/vendor-completions/_meshctl",
        "fish": "usr/share/fish/vendor_completions.d/meshctl.fish",
    }
    for shell, path in folders.items():
        start = "from meshctl.main import run; run()"
        write(root / path, run(root / PREFIX / "bin/python3", "-I", "-B", "-c", start, "completions", shell))
        # One script completes all our programs; these two shells look for a file by the name of each.
        for other in ("meshd", "meshtray", "meshtui") if shell != "zsh" else ():
            (root / path).with_stem(other).symlink_to((root / path).name)


def settle(root: Path, moment: int) -> None:
    """The same modes and times, whoever builds when."""
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        path.chmod(0o755 if stat.S_ISDIR(mode) or mode & 0o100 else 0o644)
    for path in [*root.rglob("*"), root]:
        os.utime(path, (moment, moment), follow_symlinks=False)


def files(root: Path) -> Iterable[Path]:
    return sorted(one for one in root.rglob("*") if one.is_symlink() or one.is_file())
