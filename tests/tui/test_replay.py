"""A recording made from one meshd, shown again without it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from meshproto import local_pb2
from meshproto.byte_scale import packed
from meshproto.recording import Recorder
from meshtui.app import MeshtuiApp
from tui.conftest import press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd
from tui.recordings import NOW_MS, S

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SIZE = (120, 30)


def grace(latency_ms: float) -> local_pb2.WatchUpdate:
    member = recordings.members()[4]
    member.latency_ms = latency_ms
    return local_pb2.WatchUpdate(
        differences=[local_pb2.MeshDifference(mesh_id="mesh-home", members=[member])], at_ms=NOW_MS
    )


def hour(path: Path) -> Path:
    """A snapshot, and a new latency of laptop-grace every 2 s."""
    recorder = Recorder(path)
    snapshot = recordings.status(recordings.mesh())
    recorder.write(NOW_MS, local_pb2.WatchUpdate(snapshot=snapshot, at_ms=NOW_MS).SerializeToString())
    for number in range(1, 6):
        recorder.write(NOW_MS + number * 2 * S, grace(100 + number).SerializeToString())
    recorder.close()
    return path


async def test_what_is_recorded_is_shown_again(make_app: MakeApp, make_meshd: MakeMeshd, tmp_path: Path) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()), recordings.events())
    app = make_app(record=tmp_path / "hour")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        meshd.push(grace(99.5))
        await shows(app, "99.5 ms")
    meshd.stop()
    again = make_app(replay=tmp_path / "hour", speed=60)
    async with again.run_test(size=SIZE) as pilot:
        await shows(again, "gw-berlin", "99.5 ms", "end of the recording")


async def test_a_full_disk_ends_the_recording_not_the_watching(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    app._recorder = Recorder.__new__(Recorder)
    app._recorder._packer = zlib.compressobj()
    app._recorder._file = open("/dev/full", "wb", buffering=0)  # noqa: ASYNC230  # closed by the app
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await shows(app, "the recording ends here: No space left on device")
        meshd.push(grace(99.5))
        await shows(app, "99.5 ms")


async def test_pause_step_and_pace(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(replay=hour(tmp_path / "hour"), speed=0.1)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await shows(app, "▶ recording 0.1×", "31.0 ms")
        await press(pilot, "space")
        await shows(app, "‖ recording, paused at 0.1×")
        for number in (1, 2):
            await press(pilot, "full_stop")
            await shows(app, f"10{number}.0 ms")
            assert "end of" not in screen_text(app)
        await press(pilot, *["greater_than_sign"] * 7)
        await shows(app, "paused at 60×")
        await press(pilot, "less_than_sign")
        await shows(app, "paused at 30×")
        await press(pilot, "space")
        await shows(app, "105.0 ms", "■ end of the recording")


async def test_pause_and_step_work_in_a_story_too(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(replay=hour(tmp_path / "hour"), speed=0.1)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, *"jjjj", "enter")
        await shows(app, "Members › laptop-grace", "31.0 ms now", "space pause", ". step", "> faster")
        assert "d remove" not in screen_text(app), "nothing can be done in a recording"
        await press(pilot, "space")
        await shows(app, "‖ recording, paused at 0.1×", "space run")
        for number in (1, 2):
            await press(pilot, "full_stop")
            await shows(app, f"10{number}.0 ms now", "Members › laptop-grace")
        await press(pilot, *["greater_than_sign"] * 7)
        await shows(app, "paused at 60×")
        await press(pilot, "less_than_sign")
        await shows(app, "paused at 30×")
        await pilot.click("KeyHints", offset=(3, 0))
        await shows(app, "105.0 ms now", "■ end of the recording")


async def test_nothing_is_offered_in_a_recording(make_app: MakeApp, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "empty")
    alone = recordings.mesh(members=[recordings.laptop_ada()], routes=[], pending=recordings.pending())
    for snapshot in (recordings.status(), recordings.status(alone)):
        update = local_pb2.WatchUpdate(snapshot=snapshot, at_ms=NOW_MS)
        recorder.write(NOW_MS, update.SerializeToString())
    recorder.close()
    app = make_app(replay=tmp_path / "empty", speed=0.1)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        for tab, text in (("2", "Nobody else"), ("4", "No routes yet."), ("5", "asks to be let in"), ("8", "No exam")):
            await press(pilot, tab)
            await shows(app, text)
            assert "Key " not in screen_text(app)
            assert "then y" not in screen_text(app)


async def test_what_doctor_found_is_recorded(make_app: MakeApp, make_meshd: MakeMeshd, tmp_path: Path) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.checks = recordings.checks()
    app = make_app(record=tmp_path / "hour")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "8")
        await shows(app, "apt install nftables", "x examines again")
    meshd.stop()
    again = make_app(replay=tmp_path / "hour", speed=60)
    async with again.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "8")
        await shows(again, "apt install nftables")
        assert "x examines" not in screen_text(again)


async def test_nothing_is_done_in_a_recording(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(replay=hour(tmp_path / "hour"))
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "d")
        await shows(app, "this is a recording")
        await press(pilot, "8")
        await until(lambda: "Examining" in screen_text(app) or "recording" in screen_text(app), "doctor to say so")


async def test_a_damaged_update_ends_it_with_a_reason(make_app: MakeApp, tmp_path: Path) -> None:
    path = hour(tmp_path / "hour")
    path.write_bytes(path.read_bytes() + b"\xff" * 64)
    app = make_app(replay=path, speed=300)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await shows(app, "hour is damaged", "105.0 ms")


async def test_a_recording_has_the_last_day_of_everybody(make_app: MakeApp, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "day")
    member = recordings.members()[4]
    day = local_pb2.MemberDay(
        mesh_id="mesh-home",
        member_id=member.id,
        newest_minute=NOW_MS // 60_000,
        traffic=bytes([packed(2e6)] * 1440),
        latency_ms=bytes([0] * 1439 + [packed(48)]),
    )
    snapshot = recordings.status(recordings.mesh())
    update = local_pb2.WatchUpdate(snapshot=snapshot, at_ms=NOW_MS, days=[day])
    recorder.write(NOW_MS, update.SerializeToString())
    recorder.close()
    app = make_app(replay=tmp_path / "day")
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j", "enter")
        await shows(app, "24 hours", "latency, 46.0 ms at worst", "traffic, 1.9 MB/s at most")


async def test_when_it_was_is_said_at_80_columns_too(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(replay=hour(tmp_path / "hour"), speed=0.1)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "space")
        await shows(app, "‖ recording, paused at 0.1×", "home ● connected")
        assert "11-21 14:02:" in screen_text(app).splitlines()[0]
