"""Packages of this tree and of an earlier commit, and a machine to install them on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from earlier import releases, unpack
from vm.machine import TOP, Machine

EARLIER_VERSION, EARLIER = releases()[-1]


@dataclass(frozen=True, slots=True)
class Packages:
    folder: Path

    def one(self, name: str, kind: str = "deb") -> Path:
        separator = "_" if kind == "deb" else "-"
        found = sorted(self.folder.glob(f"{name}{separator}[0-9]*.{kind}"))
        assert len(found) == 1, f"{name}: {found}"
        return found[0]


def build(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Packages:
    subprocess.run(
        [TOP / "packaging/build", *options, "--quick", "--out", folder],
        check=True,
        env={**os.environ, **(environment or {})},
    )
    return Packages(folder)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return build(tmp_path_factory.mktemp("dist"), "all")


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The programs of an earlier commit in today's packages."""
    tree = unpack(EARLIER, tmp_path_factory.mktemp("earlier"))
    return build(tmp_path_factory.mktemp("dist-earlier"), "deb", "--tree", str(tree), "--version", EARLIER_VERSION)


@pytest.fixture(scope="session")
def machine(packages: Packages, earlier: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The tests of test_service.py use it one after the other, in their order."""
    one = Machine(tmp_path_factory.mktemp("vm"), [*packages.folder.glob("*.deb"), *earlier.folder.glob("*.deb")])
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="session")
def versions(packages: Packages, earlier: Packages) -> tuple[str, str]:
    """The earlier and the present one, as in the files' names."""
    return EARLIER_VERSION, packages.one("meshtui-helper").name.split("_")[1]
