"""A ROS domain of one's own, so that two runs on one machine never hear each other."""

from __future__ import annotations

from pathlib import Path

from hpt_ros.bringup.name_lock import NameLock
from hpt_ros.errors import BusyError

DOMAINS = range(1, 101)  # above 101 the ports of DDS run into Linux' ephemeral range
_PORT_BASE, _PORTS_PER_DOMAIN = 7400, 250  # DDSI-RTPS 9.6.1.1


class DomainLock:
    """Holds one ROS domain for as long as the object lives.

    Raises:
        BusyError: another run of this package, or any DDS participant, uses the domain.
    """

    def __init__(self, domain_id: int) -> None:
        self.domain_id = domain_id
        try:
            self._lock = NameLock(f"domain.{domain_id}")
        except OSError as error:
            raise BusyError(
                f"ROS domain {domain_id} is used by another run of hpt_ros",
                "choose another --domain, or leave it out to get a free one",
            ) from error
        if domain_in_use(domain_id):
            self._lock.close()
            raise BusyError(
                f"ROS domain {domain_id} is used by other ROS nodes on this machine",
                "choose another --domain, or stop those nodes",
            )

    @classmethod
    def any_free(cls) -> DomainLock:
        """The first domain of `DOMAINS` that nobody uses."""
        for domain_id in DOMAINS:
            try:
                return cls(domain_id)
            except BusyError:
                continue
        raise BusyError(f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use", "stop some of the runs")

    def close(self) -> None:
        """Give the domain back."""
        self._lock.close()

    def __enter__(self) -> DomainLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def domain_in_use(domain_id: int) -> bool:
    """Whether a process of this machine has bound a UDP port of the domain."""
    first = _PORT_BASE + _PORTS_PER_DOMAIN * domain_id
    return any(first <= port < first + _PORTS_PER_DOMAIN for port in _bound_udp_ports())


def _bound_udp_ports() -> set[int]:
    try:
        lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {int(line.split()[1].rsplit(":", 1)[1], 16) for line in lines}
