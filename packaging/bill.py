"""What is bundled and under which licences: the licence texts, the Debian copyright file and a CycloneDX bill of
materials. `build.py` uses it."""

from __future__ import annotations

import json
import re
import uuid
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from payload import PREFIX, SITE, TOP, Package, run, write

LICENCES = {
    "async-timeout": "Apache-2.0",
    "dbus-next": "MIT",
    "protobuf": "BSD-3-Clause",
    "pystray": "LGPL-3.0-only",
    "python-xlib": "LGPL-2.1-or-later",
    "qrcode": "BSD-3-Clause",
}
"""SPDX names of those whose metadata say it in words."""

COMPILED_IN = {
    "grpcio": {
        "abseil-cpp": "Apache-2.0",
        "BoringSSL": "Apache-2.0",
        "c-ares": "MIT",
        "re2": "BSD-3-Clause",
        "upb": "BSD-3-Clause",
        "zlib": "Zlib",
    },
}
"""Libraries inside those whose wheels bring no bill of materials of their own (PEP 770), with their licences."""

NOT_IN_THE_WHEEL = ("FriBiDi", "libimagequant")
"""Pillow's bill names them, too: the first is the system's, the second is for those who build Pillow themselves."""

PYTHON_LICENCE = "Python-2.0.1"
PYTHON_PACKAGES = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")


def _bundled(root: Path) -> list[tuple[Path, Message]]:
    found = []
    for folder in (root / SITE).glob("*.dist-info"):
        found.append((folder, HeaderParser().parsestr((folder / "METADATA").read_text(encoding="utf-8"))))
    return sorted(found, key=lambda one: str(one[1]["Name"]).lower())


def licence_of(metadata: Message) -> str:
    """An SPDX expression. Ends the build when it is not known: nothing is bundled unseen."""
    name = str(metadata["Name"]).lower().replace("_", "-").replace(".", "-")
    classifiers = metadata.get_all("Classifier") or []
    mit = "MIT" if "License :: OSI Approved :: MIT License" in classifiers else ""
    stated = metadata["License-Expression"] or LICENCES.get(name) or mit or metadata["License"] or ""
    if re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", stated):
        return str(stated)
    raise SystemExit(f"packaging/build: which licence has {name}? It says {stated[:80]!r}; put it into bill.LICENCES")


def licences(root: Path, package: Package) -> None:
    """/usr/share/doc/PACKAGE/: the texts of all that is bundled."""
    folder = root / "usr/share/doc" / package.name / "licences"
    write(folder / "meshtui", (TOP / "LICENSE").read_bytes())
    if (root / PREFIX / "bin/python3").exists():
        write(folder / "python", Path("/usr/share/doc/libpython3.11-minimal/copyright").read_bytes())
    for info, metadata in _bundled(root):
        licence_of(metadata)
        texts = [
            one
            for one in sorted(info.rglob("*"))
            if one.is_file() and re.match(r"(licen[cs]e|copying|notice|authors|copyright)", one.name, re.IGNORECASE)
        ]
        content = "\n".join(f"== {one.name}\n{one.read_text(encoding='utf-8', errors='replace')}" for one in texts)
        name = str(metadata["Name"]).lower()
        write(folder / name, content or f"{name}: {licence_of(metadata)}, as its metadata say; it brings no text.\n")


def write_sbom(root: Path, package: Package, version: str) -> None:
    """CycloneDX 1.5 in JSON, without the time of the build: the same for the same content."""
    components = []
    if (root / PREFIX / "bin/python3").exists():
        for name in PYTHON_PACKAGES:
            of = run("dpkg-query", "-W", "-f", "${Version}", name)
            components.append(_component(name, of, PYTHON_LICENCE, f"pkg:deb/debian/{name}@{of}?distro=bookworm"))
    for info, metadata in _bundled(root):
        name, of = str(metadata["Name"]), str(metadata["Version"])
        purl = f"pkg:pypi/{name.lower().replace('_', '-').replace('.', '-')}@{of}"
        component = _component(name, of, licence_of(metadata), purl)
        inside = _inside(info, name.lower())
        components.append({**component, "components": inside} if inside else component)
    itself = _component(package.name, version, "Apache-2.0", f"pkg:generic/{package.name}@{version}")
    text = json.dumps(components, sort_keys=True)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, package.name + version + text)}",
        "version": 1,
        "metadata": {"component": {**itself, "type": "application"}},
        "components": components,
    }
    path = root / "usr/share/doc" / package.name / "sbom.cdx.json"
    write(path, json.dumps(document, indent=1) + "\n")


def _inside(info: Path, name: str) -> list[dict[str, object]]:
    """What is compiled into a library, as its wheel's own bills say: OpenSSL in cryptography, say."""
    found: list[dict[str, object]] = [
        {"type": "library", "name": inner, "licenses": [{"license": {"id": licence}}]}
        for inner, licence in COMPILED_IN.get(name, {}).items()
    ]
    for path in sorted((info / "sboms").glob("*.json")):
        for one in json.loads(path.read_text(encoding="utf-8")).get("components", []):
            if one["name"] == name or one["name"] in NOT_IN_THE_WHEEL or one.get("scope") == "excluded":
                continue
            kept = {key: one[key] for key in ("type", "name", "version", "licenses") if key in one}
            purl = str(one.get("purl", "")).partition("?")[0]  # without the folder of whoever built the wheel
            found.append({**kept, "purl": purl} if purl else kept)
    return found


def expression(root: Path) -> str:
    """The licences of all in a package's tree, as the field of an .rpm has them."""
    python = {PYTHON_LICENCE} if (root / PREFIX / "bin/python3").exists() else set()
    bundled = {licence_of(metadata) for _, metadata in _bundled(root)}
    others = sorted((python | bundled) - {"Apache-2.0"})
    return " AND ".join(["Apache-2.0", *(f"({one})" if " OR " in one else one for one in others)])


def _component(name: str, version: str, licence: str, purl: str) -> dict[str, object]:
    simple = " " not in licence
    stated = {"license": {"id": licence}} if simple else {"expression": licence}
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "licenses": [stated], "purl": purl}


def copyright_file(root: Path, package: Package) -> str:
    """As Debian's copyright-format 1.0 has it; the texts themselves are beside it."""
    lines = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
        "Upstream-Name: meshtui",
        "Comment: the texts of all licences are in /usr/share/doc/" + package.name + "/licences",
        "",
        "Files: *",
        "Copyright: 2026 the authors of meshtui",
        "License: Apache-2.0",
        " On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.",
    ]
    if (root / PREFIX / "bin/python3").exists():
        lines += ["", f"Files: {PREFIX}/bin/* {PREFIX}/lib/python3.11/*"]
        lines += ["Copyright: 2001-2023 Python Software Foundation", f"License: {PYTHON_LICENCE}"]
        lines += [f" See /usr/share/doc/{package.name}/licences/python."]
    for info, metadata in _bundled(root):
        name = str(metadata["Name"])
        holder = metadata["Author"] or metadata["Author-email"] or metadata["Maintainer"] or f"the authors of {name}"
        plain = re.sub(r"\s+", " ", str(holder))
        lines += ["", f"Files: {SITE}/{info.name}/*", f"Copyright: {plain}", f"License: {licence_of(metadata)}"]
        lines += [f" For {name}, see /usr/share/doc/{package.name}/licences/{name.lower()}."]
    return "\n".join(lines) + "\n"
