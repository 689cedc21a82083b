"""What `hpt-ros doctor` says of the machine: what is missing is named with what mends it, and only what must be there fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hpt_ros.cli import machine
from hpt_ros.cli.finding import Finding
from hpt_ros.paths import share_dir


def test_a_clock_that_changes_is_shown_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "governors", lambda: ["performance", "powersave"])
    found = machine.processor_clock()
    assert (found.ok, found.fails) == (False, False)
    assert found.seen == "performance, powersave"
    assert "cpupower" in found.remedy
    for governors in (["performance"] * 4, []):
        monkeypatch.setattr(machine, "governors", lambda found=governors: found)
        assert machine.processor_clock().ok


@pytest.mark.parametrize(
    ("name", "check", "granted", "refused"),
    [
        ("fifo_permitted", machine.realtime_priority, 98, 0),
        ("memory_lock_limit", machine.locked_memory, None, 8_000_000),
    ],
)
def test_rights_that_a_user_lacks(
    monkeypatch: pytest.MonkeyPatch, name: str, check: Any, granted: object, refused: object
) -> None:
    monkeypatch.setattr(machine, name, lambda: granted)
    assert check().ok
    monkeypatch.setattr(machine, name, lambda: refused)
    found: Finding = check()
    assert (found.ok, found.fails) == (False, False)
    assert "/etc/security/limits.d/realtime.conf" in found.remedy


@pytest.mark.parametrize(
    ("limit", "ok", "seen"), [("4194304", True, "4.2 MB"), ("212992", False, "0.2 MB"), (None, True, "not")]
)
def test_sockets_hold_what_nodes_say_when_they_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, ok: bool, seen: str
) -> None:
    told = tmp_path / "rmem_max"
    if limit:
        told.write_text(limit + "\n")
    monkeypatch.setattr(machine, "_SOCKET_LIMIT", told)
    found = machine.socket_buffer()
    assert (found.ok, found.fails) == (ok, False)
    assert seen in found.seen
    assert "net.core.rmem_max=4194304" in found.remedy or ok


def test_the_profile_asks_for_the_buffer_that_is_looked_for() -> None:
    profile = (share_dir() / "config" / "fastdds.xml").read_text()
    assert f"<receiveBufferSize>{machine.SOCKET_BUFFER}</receiveBufferSize>" in profile


class Cuda:
    """A card: what it multiplies to is `product`; an exception is raised."""

    def __init__(self, product: float | Exception, free: float = 60e9) -> None:
        self._product, self._free = product, free

    def ones(self, *_: int, device: str) -> torch.Tensor:
        if isinstance(self._product, Exception):
            raise self._product
        return torch.full((8, 8), (self._product / 512.0) ** 0.5)

    def mem_get_info(self) -> tuple[int, int]:
        return int(self._free), 80 * 10**9


@pytest.mark.parametrize(
    ("card", "ok", "fails", "says"),
    [
        (Cuda(512.0), True, False, "60.0 of 80.0 GB free"),
        (Cuda(512.0, free=1e9), False, False, "1.0 of 80.0 GB free"),
        (Cuda(0.0), False, True, "wrong sums"),
        (Cuda(RuntimeError("no kernel image is available\nmore")), False, True, "Card: no kernel image is available"),
    ],
)
def test_a_gpu_is_tried(monkeypatch: pytest.MonkeyPatch, card: Cuda, ok: bool, fails: bool, says: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", card.mem_get_info)
    monkeypatch.setattr(torch, "ones", card.ones)
    found = machine.gpu()
    assert (found.ok, found.fails) == (ok, fails)
    assert says in found.seen


def test_a_gpu_that_torch_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    driver = tmp_path / "version"
    monkeypatch.setattr(machine, "_DRIVER", driver)
    assert machine.gpu().ok
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1\nGCC\n")
    found = machine.gpu()
    assert (found.ok, found.fails) == (False, False)
    assert "580.1" in found.seen
    assert "torch" in found.remedy
