"""Which WireGuard is chosen, why, and that a live interface stays where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from meshd.dataplane.wireguard.backend import DeviceChange
from meshd.dataplane.wireguard.choice import ChosenBackend, Probes, choose_backend
from meshd.dataplane.wireguard.memory import MemoryBackend
from meshd.model.errors import Failed

NO_KERNEL = Failed("this kernel has no WireGuard", "modprobe wireguard, or use --backend userspace", "missing")
NO_USERSPACE = Failed("wireguard-go is not installed", "apt install wireguard-go", "missing")


def works() -> None:
    pass


def fails(error: Failed) -> Callable[[], None]:
    def probe() -> None:
        raise error

    return probe


EVERYTHING = Probes(works, works)
ONLY_KERNEL = Probes(works, fails(NO_USERSPACE))
ONLY_USERSPACE = Probes(fails(NO_KERNEL), works)
NOTHING = Probes(fails(NO_KERNEL), fails(NO_USERSPACE))


@pytest.mark.parametrize(
    ("setting", "probes", "backend", "reason"),
    [
        ("auto", EVERYTHING, "kernel", "this kernel has WireGuard"),
        ("auto", ONLY_KERNEL, "kernel", "this kernel has WireGuard"),
        ("auto", ONLY_USERSPACE, "userspace", "this kernel has no WireGuard"),
        ("kernel", EVERYTHING, "kernel", "it was asked for"),
        ("userspace", EVERYTHING, "userspace", "it was asked for"),
    ],
)
def test_what_works_is_chosen_and_why(setting: str, probes: Probes, backend: str, reason: str) -> None:
    choice = choose_backend(setting, probes)
    assert (choice.backend, choice.reason, choice.problem) == (backend, reason, None)


@pytest.mark.parametrize(
    ("setting", "probes", "words", "fix"),
    [
        ("kernel", ONLY_USERSPACE, ["this kernel has no WireGuard"], "modprobe wireguard"),
        ("userspace", ONLY_KERNEL, ["wireguard-go is not installed"], "apt install wireguard-go"),
        ("auto", NOTHING, ["no WireGuard", "not installed"], "modprobe wireguard; or apt install wireguard-go"),
    ],
)
def test_what_does_not_work_is_a_problem_with_a_fix(setting: str, probes: Probes, words: list[str], fix: str) -> None:
    choice = choose_backend(setting, probes)
    assert choice.problem is not None
    for word in words:
        assert word in choice.reason
        assert word in choice.problem.message
    assert fix in choice.problem.fix


def chosen(setting: str, probes: Probes) -> tuple[ChosenBackend, MemoryBackend, MemoryBackend]:
    kernel, userspace = MemoryBackend(), MemoryBackend()
    return ChosenBackend(setting, kernel, userspace, probes), kernel, userspace


async def test_new_interfaces_are_made_with_what_was_chosen() -> None:
    both, kernel, userspace = chosen("auto", EVERYTHING)
    assert (await both.choose_again()).backend == "kernel"
    assert await both.create("home", 1420) is True
    await both.apply("home", DeviceChange(fwmark=7))
    assert (kernel.devices["home"].fwmark, userspace.devices) == (7, {})
    assert (await both.read("home")).fwmark == 7
    assert both.name_of("home") == "kernel"


@pytest.mark.parametrize("setting", ["auto", "kernel"])
async def test_a_live_interface_stays_with_its_backend_until_it_is_removed(setting: str) -> None:
    both, kernel, userspace = chosen(setting, EVERYTHING)
    await userspace.create("home", 1420)
    await both.choose_again()
    assert await both.create("home", 1420) is False
    await both.apply("home", DeviceChange(fwmark=7))
    assert userspace.devices["home"].fwmark == 7
    assert (both.name_of("home"), both.name_of("other")) == ("userspace", "kernel")
    assert "was up already" in both.reason_of("home")
    assert both.reason_of("other") == both.choice.reason
    await both.delete("home")
    assert userspace.devices == {}
    assert await both.create("home", 1420) is True
    assert set(kernel.devices) == {"home"}


async def test_an_interface_that_died_is_made_again_by_the_same_backend() -> None:
    """Its listen port and its peers' sessions are the mesh's; a change of backend waits for `down` and `up`."""
    both, kernel, userspace = chosen("auto", EVERYTHING)
    await userspace.create("home", 1420)
    await both.choose_again()
    await both.create("home", 1420)
    userspace.devices.clear()
    assert not await both.exists("home")
    assert await both.create("home", 1420) is True
    assert (set(userspace.devices), kernel.devices) == ({"home"}, {})


async def test_both_backends_are_cleaned_of_an_interface() -> None:
    both, kernel, userspace = chosen("auto", EVERYTHING)
    await kernel.create("home", 1420)
    await userspace.create("home", 1420)
    await both.delete("home")
    assert (kernel.devices, userspace.devices) == ({}, {})


async def test_what_was_missing_may_have_been_installed_meanwhile() -> None:
    problems = [NO_KERNEL]

    def kernel_probe() -> None:
        if problems:
            raise problems[0]

    both, kernel, _ = chosen("kernel", Probes(kernel_probe, fails(NO_USERSPACE)))
    await both.choose_again()
    with pytest.raises(Failed, match="no WireGuard") as caught:
        await both.create("home", 1420)
    assert "modprobe" in caught.value.fix
    problems.clear()
    assert await both.create("home", 1420) is True
    assert both.choice.reason == "it was asked for"
    assert set(kernel.devices) == {"home"}


async def test_a_module_loaded_meanwhile_serves_what_is_made_from_then_on() -> None:
    problems = [NO_KERNEL]

    def kernel_probe() -> None:
        if problems:
            raise problems[0]

    both, kernel, userspace = chosen("auto", Probes(kernel_probe, works))
    await both.create("home", 1420)
    problems.clear()
    await both.create("office", 1420)
    await both.create("home", 1420)
    assert (set(kernel.devices), set(userspace.devices)) == ({"office"}, {"home"})
    await both.delete("home")
    await both.create("home", 1420)
    assert (set(kernel.devices), set(userspace.devices)) == ({"home", "office"}, set())


async def test_nothing_is_made_where_nothing_works() -> None:
    both, kernel, userspace = chosen("auto", NOTHING)
    await both.choose_again()
    with pytest.raises(Failed, match="neither WireGuard works"):
        await both.create("home", 1420)
    assert (kernel.devices, userspace.devices) == ({}, {})
