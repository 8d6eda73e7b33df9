"""What releases before this one wrote is read; what later ones wrote is refused and left as it is."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshd.assembly.past_file import PastFile
from meshd.cluster import backup as backups
from meshd.cluster.backup import unseal
from meshd.cluster.identity import load_identity, save_choices
from meshd.model.errors import MeshError
from meshd.model.position import Position
from meshd.model.state import State
from meshd.observe.day import Day
from meshd.observe.kept_past import decode, encode
from meshd.observe.past import Past
from meshd.store import scripts, view_file
from meshd.store.database import Database
from meshd.store.durability import Promise
from meshd.store.formats import Document, NewerFormat, brought_up
from meshd.store.view_file import load_view
from meshproto import local_pb2, recording

SAMPLES = Path(__file__).parents[2] / "samples"
RELEASES = sorted(one.name for one in SAMPLES.iterdir() if (one / "state").is_dir())
PASSPHRASE = "samples of a release"


def about(release: str) -> dict[str, str]:
    """Its commit, the revision of its last change, and who is in the mesh, where that is more than its first node."""
    lines = (SAMPLES / release / "about").read_text().splitlines()
    return {"members": "gw-berlin", **dict(line.split(" ", 1) for line in lines)}


def names(state: State) -> list[str]:
    return sorted(one.name for one in state.parsed.values())


def _members(release: str) -> list[Any]:
    view = load_view(SAMPLES / release / "state/home/view")
    assert view is not None
    return list(State.from_view(view).parsed.values())


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(release: str, tmp_path: Path) -> Path:
    """The folder of the mesh `home` as a release left it."""
    shutil.copytree(SAMPLES / release / "state/home", tmp_path / "home")
    return tmp_path / "home"


def test_the_identity_of_each_release(home: Path) -> None:
    identity = load_identity(home)
    assert (identity.choices.mesh, identity.choices.interface, identity.choices.endpoints) == (
        "home", "home", ("192.0.2.1",)
    )  # fmt: skip
    assert identity.keys.wireguard.public is not None
    assert identity.choices.up
    assert identity.choices.accepted_routes == ()
    save_choices(home, identity.choices)
    assert load_identity(home).choices == identity.choices


def test_the_view_of_each_release(release: str, home: Path) -> None:
    view = load_view(home / "view")
    assert view is not None
    state = State.from_view(view)
    assert names(state) == about(release)["members"].split()
    assert [one.partition("|")[0] for one in state.routes] == ["203.0.113.0/24"]


def test_the_promise_of_each_release(release: str, home: Path) -> None:
    assert Promise.load(home / "promise.json").floor == Position(epoch=2, revision=int(about(release)["revision"]))


async def test_the_data_of_each_release(
    release: str, home: Path, make_server: Callable[..., Any], folder: Path
) -> None:
    shutil.copytree(home / "redis", folder / "a")
    server = await make_server("a")
    database = Database(server.connection)
    await database.check_format()
    view = await database.load()
    assert (await database.position()).revision == int(about(release)["revision"])
    assert names(State.from_view(view)) == about(release)["members"].split()
    assert len(await database.entries(Position())) == int(about(release)["revision"])
    await database.close()


@pytest.mark.parametrize("release", [one for one in RELEASES if (SAMPLES / one / "state/home/past").exists()])
async def test_the_past_of_each_release(release: str, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / release / "state/home/past", tmp_path)
    past, day = Past(), Day()
    await PastFile(tmp_path / "past", past, day).read()
    if about(release)["members"] == "gw-berlin":
        assert (past.messages(""), day.messages("")) == ([], []), "a node alone has none"
        return
    ada = next(one.id for one in _members(release) if one.name == "laptop-ada")
    assert [(one.member_id, max(one.traffic) > 0, max(one.latency) > 0) for one in past.messages("")] == [
        (ada, True, True)
    ]
    assert [(one.member_id, max(one.traffic) > 0, max(one.latency_ms) > 0) for one in day.messages("")] == [
        (ada, True, True)
    ]


@pytest.mark.parametrize("release", [one for one in RELEASES if (SAMPLES / one / "backup").exists()])
def test_the_backup_and_the_recording_of_each_release(release: str) -> None:
    backup = unseal((SAMPLES / release / "backup").read_bytes(), PASSPHRASE)
    assert names(State.from_view(backup.view)) == about(release)["members"].split()
    updates = [local_pb2.WatchUpdate.FromString(one) for _, one in recording.read(SAMPLES / release / "recording")]
    assert updates[0].snapshot.meshes[0].name == "home"
    assert sorted(one.name for one in updates[0].snapshot.meshes[0].members) == about(release)["members"].split()


def test_there_is_a_recording_of_each_format() -> None:
    first = {(SAMPLES / one / "recording").read_bytes()[:2] == recording.PACKED for one in RELEASES if one != "first"}
    assert first == {False, True}


def _later(path: Path) -> bytes:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": 7}))
    return path.read_bytes()


def test_an_identity_of_a_later_release(home: Path) -> None:
    written = _later(home / "identity.json")
    with pytest.raises(NewerFormat, match=r"identity\.json was written by a later release: it has format 7") as caught:
        load_identity(home)
    assert "install that release again" in caught.value.fix
    assert (home / "identity.json").read_bytes() == written


def test_a_promise_of_a_later_release(home: Path) -> None:
    written = _later(home / "promise.json")
    with pytest.raises(NewerFormat, match=r"promise\.json .* format 7"):
        Promise.load(home / "promise.json")
    assert (home / "promise.json").read_bytes() == written


def test_a_view_of_a_later_release(home: Path) -> None:
    data = bytearray((home / "view").read_bytes())
    struct.pack_into(">I", data, 8, 2)
    (home / "view").write_bytes(data)
    with pytest.raises(NewerFormat, match=r"view .* format 2"):
        load_view(home / "view")
    assert (home / "view").read_bytes() == data, "not even renamed"


async def test_data_of_a_later_release(database: Database) -> None:
    await database.check_format()
    await database._connection.call("SET", scripts.FORMAT_KEY, str(scripts.FORMAT))
    await database.check_format()
    await database._connection.call("SET", scripts.FORMAT_KEY, str(scripts.FORMAT + 1))
    with pytest.raises(NewerFormat, match="the data in"):
        await database.check_format()
    await database._connection.call("SET", scripts.FORMAT_KEY, "new")
    with pytest.raises(MeshError, match="is no number"):
        await database.check_format()


def test_a_backup_of_a_later_release() -> None:
    data = (SAMPLES / "0.0.9/backup").read_bytes()
    with pytest.raises(NewerFormat, match=r"the backup .* format 2"):
        unseal(data.replace(backups.MAGIC, b"meshd-backup-2\n", 1), PASSPHRASE)


def test_a_recording_of_a_later_release(tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(gzip.compress(b"meshtui recording 7\n" + bytes(40)))
    with pytest.raises(recording.NoRecording, match=r"new has format 7 of a later release, .* show it with that"):
        list(recording.read(tmp_path / "new"))


async def test_a_past_of_a_later_release_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "past"
    later = b"meshpas2" + encode(local_pb2.WatchUpdate())[8:]
    path.write_bytes(later)
    with pytest.raises(NewerFormat):
        decode(later)
    file = PastFile(path, Past(), Day())
    await file.read()
    await file.write()
    assert await asyncio.to_thread(path.read_bytes) == later


def _second(document: Document) -> Document:
    return {**document, "endpoints": [document["endpoint"]]}


def _third(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "endpoint"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_steps_follow_one_another(number: int) -> None:
    written = {"format": number, "endpoint": "a", "endpoints": ["a"]}
    assert brought_up(written, "it", (_second, _third)) == (
        {"endpoints": ["a"]} if number < 3 else {"endpoint": "a", "endpoints": ["a"]}
    )
    assert written["format"] == number, "what was read is not changed"


@pytest.mark.parametrize("written", [None, [], {}, {"format": "1"}, {"format": 0}, {"format": True}, {"format": -1}])
def test_what_does_not_say_its_format(written: object) -> None:
    with pytest.raises(ValueError, match="does not say its format"):
        brought_up(written, "it")


def test_each_format_of_the_view_has_a_reader() -> None:
    assert len(view_file.READERS) == 1, "a new format needs a sample of the one before it, in tests/samples"
