"""What holds for the whole tree: names, lengths, one version, generated files that are up to date, complete pages."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import meshproto
import pytest
from meshctl.commands import COMMANDS
from meshd.assembly.local_api import LocalApi
from meshd.settings import DESCRIPTIONS
from meshproto import local_pb2
from meshproto.tiers import METHODS

TOP = Path(__file__).resolve().parents[2]
SOURCES = ("protocol", "helper", "tui", "tray", "packaging", "tests")
LONGEST = 500  # lines
LARGEST = 5_000_000  # bytes; what is larger is no source, but left behind by a tool
EMPTY_WORDS = {"utils", "util", "helpers", "manager", "common", "misc"}

# In pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    "py" + "pi.org", "pythonhosted" + ".org", "npm" + "js.org", "npm" + "js.com", "crates" + ".io", "docker" + ".io",
    "docker" + ".com", "gh" + "cr.io", "quay" + ".io", "goproxy" + ".io", "golang" + ".org", "deb.deb" + "ian.org",
    "rubygems" + ".org", "conda" + ".org",
]  # fmt: skip


def tracked() -> Iterator[Path]:
    """Every file of the project, without what tools and environments leave behind."""
    left_out = {".git", ".venv", ".hypothesis", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    for path in sorted(TOP.rglob("*")):
        parts = path.relative_to(TOP).parts
        if path.is_file() and not left_out & set(parts) and parts[0] not in ("build", "dist") and path.name != ".git":
            yield path


def modules() -> Iterator[Path]:
    for path in tracked():
        if path.suffix == ".py" and path.relative_to(TOP).parts[0] in SOURCES and "_pb2" not in path.name:
            yield path


MODULES = {str(path.relative_to(TOP)): path for path in modules()}


def test_every_call_has_a_tier() -> None:
    methods = [one for service in local_pb2.DESCRIPTOR.services_by_name.values() for one in service.methods]
    assert len(methods) == len(METHODS) > 20
    without = [one.name for one in methods if one.GetOptions().Extensions[local_pb2.tier] == local_pb2.TIER_UNSPECIFIED]
    assert without == []


def test_every_call_is_answered() -> None:
    for path, method in METHODS.items():
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", path.rpartition("/")[2]).lower()
        assert callable(getattr(LocalApi, name, None)), name
        assert method.path == path


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short_and_say_what_they_are(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST, "split it by concept"
    assert not EMPTY_WORDS & {*Path(name).with_suffix("").parts}, "a name that says nothing"
    documentation = ast.get_docstring(ast.parse(text)) or ""
    if "test" not in name and text.strip():
        first = documentation.partition("\n\n")[0]
        assert 1 <= len(first.splitlines()) <= 5, "begin with a docstring of one to five lines"


def test_no_registry_is_named() -> None:
    found = {
        str(path.relative_to(TOP)): one
        for path in tracked()
        if path.stat().st_size < LARGEST
        for one in REGISTRIES
        if one.encode() in path.read_bytes().lower()
    }
    assert found == {}


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "protocol/meshproto/__init__.py"
    literal = re.compile(rf"[\"'=v ]{re.escape(meshproto.VERSION)}[\"'\s]")
    product = {name: path for name, path in MODULES.items() if not name.startswith("tests/")}
    holding = [name for name, path in product.items() if literal.search(path.read_text(encoding="utf-8"))]
    assert holding == ["protocol/meshproto/__init__.py"]
    assert f"## {meshproto.VERSION}" in (TOP / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("program", ["meshd", "meshctl", "meshtui", "meshtray"])
def test_every_program_says_its_version(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from {program}.main import run; run()", "--version"], capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{program} {meshproto.VERSION}\n")


def test_the_generated_protocol_is_up_to_date(tmp_path: Path) -> None:
    shutil.copytree(TOP / "protocol", tmp_path / "protocol")
    (tmp_path / "packaging").mkdir()
    script = shutil.copy(TOP / "packaging" / "generate-protocol", tmp_path / "packaging")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    subprocess.run([script], check=True, capture_output=True)
    for path in sorted((TOP / "protocol" / "meshproto").glob("*_pb2*")):
        made = (tmp_path / "protocol" / "meshproto" / path.name).read_bytes()
        assert made == path.read_bytes(), f"{path.name}: run packaging/generate-protocol"


REFERENCE = runpy.run_path(str(TOP / "packaging" / "generate-reference"))


@pytest.mark.parametrize("page", REFERENCE["PARTS"])
def test_the_reference_is_up_to_date(page: str) -> None:
    text = (TOP / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert REFERENCE["renewed"](page) == text, "run packaging/generate-reference"


MANUAL = runpy.run_path(str(TOP / "packaging" / "generate-man-pages"))


@pytest.mark.parametrize("page", MANUAL["PAGES"])
def test_the_manual_pages_are_up_to_date(page: str) -> None:
    text = (TOP / "docs" / "man" / page).read_text(encoding="ascii")
    assert MANUAL["renewed"](page) == text, "run packaging/generate-man-pages"


def test_the_manual_names_every_command() -> None:
    text = (TOP / "docs" / "man" / "meshctl.1").read_text(encoding="ascii").replace("\\-", "-")
    assert [name for name in [*COMMANDS, "completions"] if f".SS {name}\n" not in text] == []


def test_the_reference_names_everything() -> None:
    meshctl_page = (TOP / "docs" / "reference" / "meshctl.md").read_text(encoding="utf-8")
    assert [name for name in [*COMMANDS, "completions"] if f" meshctl {name}\n" not in meshctl_page] == []
    meshd_page = (TOP / "docs" / "reference" / "meshd.md").read_text(encoding="utf-8")
    assert [name for name in DESCRIPTIONS if f"`MESHD_{name.upper()}`" not in meshd_page] == []


def test_the_pages_name_only_commands_that_there_are() -> None:
    """`meshctl peers disable laptop-ada` in a page is a command, not a wish."""
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    pages = [TOP / "README.md", *(path for path in (TOP / "docs").rglob("*.md") if path.name != "roadmap.md")]
    wrong = []
    for page in pages:
        for words in re.findall(r"\bmeshctl ((?:--\S+ )*[a-z]+(?: [a-z]+)?)", page.read_text(encoding="utf-8")):
            first, _, second = re.sub(r"--\S+ ", "", words).partition(" ")
            known = f"{first} {second}" in COMMANDS if first in groups and second else first in {*COMMANDS, *groups}
            if not known and first != "completions":
                wrong.append(f"{page.name}: meshctl {words}")
    assert wrong == []


def test_links_in_the_pages_lead_somewhere() -> None:
    dead = []
    for page in [TOP / "README.md", *(TOP / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(TOP)}: {target}")
    assert dead == []
