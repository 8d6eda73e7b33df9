"""Packs a tree as .deb. `build.py` uses it; the scripts and lintian's overrides are in packaging/deb/."""

from __future__ import annotations

import gzip
import hashlib
import textwrap
from email.utils import formatdate
from pathlib import Path

import bill
import payload
from payload import LOWEST_GLIBC, SYSTEM_LIBRARIES, TOP, Package, check_binaries, files, run, write

RELATIONS = {
    "meshtui-helper": {
        "Depends": ["nftables", "passwd"],
        "Recommends": ["redis-server | valkey-server", "wireguard-tools"],
        "Suggests": ["meshtui", "wireguard-go"],
    },
    "meshtui": {"Depends": ["meshtui-helper (= {version})"], "Suggests": ["gnome-keyring | keepassxc", "meshtui-tray"]},
    "meshtui-tray": {"Depends": ["meshtui (= {version})"], "Recommends": ["gnome-keyring | keepassxc"]},
}
MAINTAINER = "The authors of meshtui <meshtui@example.org>"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def pack(package: Package, tree: Path, work: Path, out: Path, version: str, moment: int, quick: bool) -> Path:
    root = work / f"{package.name}.deb"
    run("cp", "-a", tree, root)
    _documents(root, package, version, moment)
    libraries = {SYSTEM_LIBRARIES[one] for one in check_binaries(root) if one in SYSTEM_LIBRARIES}
    control = root / "DEBIAN"
    write(control / "control", _control(package, root, version, libraries))
    for script in SCRIPTS:
        source = TOP / "packaging/deb" / f"{package.name}.{script}"
        if source.exists():
            write(control / script, source.read_bytes(), 0o755)
    configuration = [f"/{one.relative_to(root)}\n" for one in files(root) if one.is_relative_to(root / "etc")]
    if configuration:
        write(control / "conffiles", "".join(configuration))
    sums = [
        f"{hashlib.md5(one.read_bytes(), usedforsecurity=False).hexdigest()}  {one.relative_to(root)}\n"
        for one in files(root)
        if not one.is_symlink() and not one.is_relative_to(control) and not one.is_relative_to(root / "etc")
    ]
    write(control / "md5sums", "".join(sums))
    payload.settle(root, moment)
    architecture = run("dpkg", "--print-architecture").strip()
    target = out / f"{package.name}_{version}_{architecture}.deb"
    packing = ["-Zgzip", "-z1"] if quick else ["-Zxz", "-z6", "--threads-max=2"]
    run("dpkg-deb", "--root-owner-group", *packing, "--build", root, target)
    return target


def _documents(root: Path, package: Package, version: str, moment: int) -> None:
    folder = root / "usr/share/doc" / package.name
    write(folder / "copyright", bill.copyright_file(root, package))
    changes = (
        f"{package.name} ({version}) unstable; urgency=medium\n\n"
        "  * What users see of it is in CHANGELOG.md.gz, beside this file.\n\n"
        f" -- {MAINTAINER}  {formatdate(moment)}\n"
    )
    write(folder / "changelog.gz", gzip.compress(changes.encode(), 9, mtime=0))
    write(folder / "CHANGELOG.md.gz", gzip.compress((TOP / "CHANGELOG.md").read_bytes(), 9, mtime=0))
    overrides = TOP / "packaging/deb" / f"{package.name}.lintian-overrides"
    if overrides.exists():
        write(root / "usr/share/lintian/overrides" / package.name, overrides.read_bytes())


def _control(package: Package, root: Path, version: str, libraries: set[str]) -> str:
    relations = {key: [one.format(version=version) for one in value] for key, value in RELATIONS[package.name].items()}
    glibc = f"libc6 (>= {'.'.join(map(str, LOWEST_GLIBC))})"
    relations["Depends"] = sorted({glibc if one == "libc6" else one for one in libraries}) + relations.get(
        "Depends", []
    )
    size = sum(one.lstat().st_size for one in files(root)) // 1024
    lines = [
        f"Package: {package.name}",
        f"Version: {version}",
        f"Architecture: {run('dpkg', '--print-architecture').strip()}",
        f"Maintainer: {MAINTAINER}",
        f"Installed-Size: {size}",
        *(f"{key}: {', '.join(value)}" for key, value in relations.items()),
        "Section: net",
        "Priority: optional",
        f"Description: {package.summary}",
        *(f" {line}" for line in textwrap.wrap(package.description, 78)),
    ]
    return "\n".join(lines) + "\n"
