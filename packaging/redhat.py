"""Packs the trees as .rpm with Debian's rpmbuild. `build.py` uses it; the spec is packaging/rpm/meshtui.spec."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import bill
from payload import TOP, Package, run, write


def pack(roots: dict[Package, Path], work: Path, out: Path, version: str, quick: bool) -> list[Path]:
    top = work / "rpm"
    for package, tree in roots.items():
        target = top / "trees" / package.name
        target.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", tree, target)
        _adapt(target)
        listed = [f"%dir /{one.relative_to(target)}\n" for one in _own_folders(target)]
        for one in sorted(one for one in target.rglob("*") if not one.is_dir() or one.is_symlink()):
            path = one.relative_to(target)
            kind = "%config(noreplace) " if path.parts[0] == "etc" else ""
            kind = "%doc " if path.is_relative_to("usr/share/doc") else kind
            kind = "%license " if "licences" in path.parts else kind
            listed.append(f'{kind}"/{path}"\n')
        write(top / f"{package.name}.files", "".join(listed))
    spec = (TOP / "packaging/rpm/meshtui.spec").read_text()
    licences = {package.name.replace("-", "_"): bill.expression(tree) for package, tree in roots.items()}
    definitions = {
        "_topdir": top,
        "trees": top / "trees",
        "lists": top,
        "given_version": version.replace("-", "~"),
        "given_day": time.strftime("%a %b %d %Y", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))),
        "with_tray": int("meshtui_tray" in licences),
        **{f"licence_{name}": licence for name, licence in licences.items()},
        "_buildhost": "meshtui",
        "use_source_date_epoch_as_buildtime": 1,
        "clamp_mtime_to_source_date_epoch": 1,
        "source_date_epoch_from_changelog": 0,
        "_build_id_links": "none",
        "_binary_payload": "w1.gzdio" if quick else "w6.xzdio",
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_rpmdir": top / "made",
    }
    (top / "made").mkdir()
    write(top / "meshtui.spec", spec)
    words = [word for name, value in definitions.items() for word in ("--define", f"{name} {value}")]
    run("rpmbuild", "-bb", "--quiet", *words, top / "meshtui.spec")
    made = []
    for one in sorted((top / "made").glob("*.rpm")):
        shutil.move(one, out / one.name)
        made.append(out / one.name)
    return made


def _adapt(tree: Path) -> None:
    """Where Fedora looks, other than Debian."""
    zsh = tree / "usr/share/zsh/vendor-completions"
    if zsh.exists():
        (tree / "usr/share/zsh/site-functions").mkdir()
        (zsh / "_meshctl").rename(tree / "usr/share/zsh/site-functions/_meshctl")
        zsh.rmdir()


def _own_folders(tree: Path) -> list[Path]:
    """Folders that are ours alone, so that removing leaves none."""
    ours = ("usr/lib/meshtui", "etc/meshd")
    folders = [one for one in tree.rglob("*") if one.is_dir()]
    return sorted(
        one
        for one in folders
        if any(one.relative_to(tree).is_relative_to(top) for top in ours)
        or (one.relative_to(tree).parts[:3] == ("usr", "share", "doc") and len(one.relative_to(tree).parts) > 3)
    )
