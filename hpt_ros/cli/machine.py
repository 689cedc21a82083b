"""What the machine gives to a control loop and to inference: the processor's clock, real-time rights, locked memory, sockets, a GPU."""

from __future__ import annotations

from pathlib import Path

from hpt_ros.cli.finding import Finding
from hpt_ros.control.realtime import GROUP_FILE, HIGHEST_PRIORITY, fifo_permitted, governors, memory_lock_limit

STEADY = frozenset({"performance"})
_SOCKET_LIMIT = Path("/proc/sys/net/core/rmem_max")
_DRIVER = Path("/proc/driver/nvidia/version")
_LEAST_FREE_BYTES = 2 * 10**9
SOCKET_BUFFER = 4_194_304  # what config/fastdds.xml asks for


def processor_clock() -> Finding:
    """A clock that slows down while the loop sleeps makes its next tick late."""
    found = sorted(set(governors()))
    if not found:
        return Finding("processor governor", True, "not shown by this system (usual in virtual machines)")
    return Finding(
        "processor governor",
        set(found) <= STEADY,
        ", ".join(found),
        "sudo cpupower frequency-set -g performance",
        optional=True,
    )


def realtime_priority() -> Finding:
    """Whether the commander's `realtime_priority` would be granted."""
    highest = fifo_permitted()
    if highest:
        return Finding("realtime priority", True, f"SCHED_FIFO up to {highest}: use it with realtime_priority:=60")
    return Finding(
        "realtime priority",
        False,
        "SCHED_FIFO is refused: a busy machine delays commands",
        f"add `@realtime - rtprio {HIGHEST_PRIORITY}` to {GROUP_FILE}, join that group and log in again "
        "(a container: --cap-add=SYS_NICE --ulimit rtprio=98)",
        optional=True,
    )


def locked_memory() -> Finding:
    """Whether the commander's `lock_memory` would be granted."""
    limit = memory_lock_limit()
    if limit is None:
        return Finding("memory lock", True, "unlimited: use it with lock_memory:=true")
    return Finding(
        "memory lock",
        False,
        f"{limit / 1e6:.0f} MB at most: memory of the commander may be paged out",
        f"add `@realtime - memlock unlimited` to {GROUP_FILE}, join that group and log in again "
        "(a container: --ulimit memlock=-1)",
        optional=True,
    )


def _largest_socket_buffer() -> int | None:
    """Bytes that a program may ask for; None where the system does not tell."""
    try:
        return int(_SOCKET_LIMIT.read_text())
    except (OSError, ValueError):
        return None


def socket_buffer() -> Finding:
    """Whether the sockets can hold what the nodes tell of themselves when they start together."""
    name, permitted = "socket buffer", _largest_socket_buffer()
    if permitted is None:
        return Finding(name, True, "not shown by this system")
    return Finding(
        name,
        permitted >= SOCKET_BUFFER,
        f"{permitted / 1e6:.1f} MB at most (net.core.rmem_max)",
        f"sudo sysctl -w net.core.rmem_max={SOCKET_BUFFER}, and the same in /etc/sysctl.d/60-dds.conf: otherwise nodes that "
        "start together may find each other seconds late",
        optional=True,
    )


def gpu() -> Finding:
    """Whether the inference can use the GPU that the machine has: driver, build of torch, architecture, memory."""
    name = "GPU"
    try:
        import torch
    except ImportError as error:
        return Finding(name, False, str(error), "pip install hpt_ros, or make setup")
    if not torch.cuda.is_available():
        if not _DRIVER.exists():
            return Finding(name, True, "none: the inference runs on the CPU")
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is a build without CUDA"
        return Finding(
            name,
            False,
            f"{_DRIVER.read_text().splitlines()[0].strip()}, but torch {torch.__version__} {built} and finds no GPU",
            "install a torch for this driver (pytorch.org/get-started), or leave device at cpu",
            optional=True,
        )
    try:
        ones = torch.ones(8, 8, device="cuda")
        works = float((ones @ ones).sum()) == 512.0
        free, total = torch.cuda.mem_get_info()
    except RuntimeError as error:  # an architecture that torch was not built for, or a card that hangs
        remedy = "install a torch that knows this card (pytorch.org/get-started), or leave device at cpu"
        return Finding(name, False, f"{torch.cuda.get_device_name()}: {str(error).splitlines()[0]}", remedy)
    seen = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free: use it with device:=cuda"
    if not works:
        return Finding(
            name, False, f"{seen}; it computes wrong sums", "look at dmesg and nvidia-smi -q, or use the CPU"
        )
    return Finding(name, free > _LEAST_FREE_BYTES, seen, "end what else runs on it (nvidia-smi)", optional=True)


CHECKS = (processor_clock, realtime_priority, locked_memory, socket_buffer, gpu)
