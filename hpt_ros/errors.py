"""Errors that name their cause and what to do about it. The command line prints them in one piece and exits with their code."""

from __future__ import annotations


class HptRosError(Exception):
    """Base of every refusal of this package.

    Args:
        message: what was seen and what was expected.
        remedy: what the reader can do now; printed on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class ConfigError(HptRosError):
    """A value in a configuration file that cannot be accepted; the message starts with the path of the key."""

    exit_code = 2

    def __init__(self, path: str, found: object, allowed: str, remedy: str = "") -> None:
        super().__init__(f"{path}: found {found!r}, allowed: {allowed}", remedy)
        self.path, self.found, self.allowed = path, found, allowed

    def under(self, prefix: str) -> ConfigError:
        """The same refusal with the path of the mapping that holds the key put before it."""
        return ConfigError(prefix + self.path, self.found, self.allowed, self.remedy)


class FingerprintError(HptRosError):
    """Two parts that must share an embodiment do not."""

    exit_code = 3


class MissingDependencyError(HptRosError):
    """An optional library or system package that the requested feature needs is not there."""

    exit_code = 4


class DataError(HptRosError):
    """A bag, demonstration set or checkpoint that cannot be used as it is."""

    exit_code = 5


class StreamError(HptRosError):
    """A live topic that is missing, stale or of the wrong type."""

    exit_code = 6


class BusyError(HptRosError):
    """Something another run holds: a domain, a folder, a command topic."""

    exit_code = 7


class WaitError(StreamError, TimeoutError):
    """Something that was waited for did not happen in time."""
