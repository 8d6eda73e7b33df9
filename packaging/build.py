"""`packaging/build`: puts the packages' trees together and has them packed."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

import bill
import debian
import payload
import redhat
from payload import PACKAGES, TOP, Package, run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="packaging/build", description="Makes the packages.")
    parser.add_argument("kind", choices=["deb", "rpm", "all"])
    parser.add_argument("--out", type=Path, default=TOP / "dist", metavar="DIR", help="where to (default dist/)")
    parser.add_argument("--tree", type=Path, default=TOP, metavar="DIR", help="the programs of another checkout")
    parser.add_argument("--version", help="another version than the tree's: packages of two commits")
    parser.add_argument("--quick", action="store_true", help="compress little: for tests")
    return parser.parse_args()


def moment(tree: Path) -> int:
    """The time of the last commit, so that the same commit gives the same packages."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return int(run("git", "-C", tree if (tree / ".git").exists() else TOP, "log", "-1", "--format=%ct").strip())


def version_of(tree: Path) -> str:
    text = (tree / "protocol/meshproto/__init__.py").read_text()
    found = re.search(r'^VERSION = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        sys.exit(f"packaging/build: {tree} is no tree of meshtui")
    return found[1]


def put_together(root: Path, package: Package, tree: Path, version: str) -> None:
    """Everything but what belongs to one kind of package."""
    if package is PACKAGES[0]:
        payload.interpreter(root)
    payload.libraries(root, package.requirements, platform.machine())
    bill.licences(root, package)
    bill.write_sbom(root, package, version)
    payload.own_code(root, tree, package)
    payload.manual(root, tree, package)
    if package is PACKAGES[0]:
        payload.completions(root)
    payload.plain(root)
    payload.compiled(root)


def main() -> None:
    given = arguments()
    tree = given.tree.resolve()
    when = moment(tree)
    os.environ["SOURCE_DATE_EPOCH"] = str(when)
    os.umask(0o022)
    version = given.version or version_of(tree)
    given.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="meshtui-build."))
    try:
        made = []
        roots = {}
        for package in PACKAGES:
            if not all((tree / folder / module).is_dir() for folder, module in package.modules):
                continue  # an older tree
            root = roots[package] = work / package.name
            root.mkdir()
            put_together(root, package, tree, version)
            payload.settle(root, when)
        named = payload.package_version(version)
        if given.kind in ("deb", "all"):
            made += [
                debian.pack(package, root, work, given.out, named, when, given.quick) for package, root in roots.items()
            ]
        if given.kind in ("rpm", "all"):
            made += redhat.pack(roots, work, given.out, named, given.quick)
    finally:
        shutil.rmtree(work)
    for path in made:
        print(f"{path.stat().st_size / 1e6:6.1f} MB  {path}")


main()
