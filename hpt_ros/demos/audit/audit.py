"""All checks over all episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpt_ros.demos.audit import coverage, gripper, motion, pictures, population, timing, tracking, values
from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.facts import facts
from hpt_ros.demos.audit.findings import Finding, Group, ranked
from hpt_ros.demos.audit.read import bag_view, demos_views
from hpt_ros.demos.audit.view import EpisodeView
from hpt_ros.demos.bag import episode_name, find_bags, open_bag
from hpt_ros.demos.demos import Demos
from hpt_ros.demos.store import INDEX
from hpt_ros.embodiment import require_same
from hpt_ros.errors import DataError

Check = Callable[[EpisodeView, AuditConfig], Iterator[Finding]]
SetCheck = Callable[[Sequence[EpisodeView], AuditConfig], Iterator[Finding]]
Progress = Callable[[int, int, str], None]
"""Called with (sources done, sources in all, name of the one that comes next)."""

EPISODE_CHECKS: tuple[Check, ...] = (
    values.bad_values,
    timing.rates,
    timing.gaps,
    timing.clocks,
    pictures.pictures,
    motion.jumps,
    motion.position_limits,
    motion.velocity_limits,
    motion.idleness,
    tracking.tracking,
    gripper.chatter,
    coverage.workspace,
)
SET_CHECKS: tuple[SetCheck, ...] = (
    gripper.use,
    coverage.breadth,
    coverage.dead_dimensions,
    population.failures,
    population.outliers,
    population.near_duplicates,
)


@dataclass(frozen=True)
class AuditReport:
    """What was looked at and what was found. `left_out`: bags that a person excluded. `facts`: figures of the whole set."""

    views: tuple[EpisodeView, ...]
    findings: tuple[Finding, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def groups(self) -> list[Group]:
        """Most harmful first."""
        return ranked(self.findings)

    @property
    def harmful(self) -> bool:
        """Whether anything of the highest severity was found."""
        return any(finding.severity == "harmful" for finding in self.findings)

    def to_mapping(self) -> dict[str, Any]:
        """Plain data."""
        findings = [finding.to_mapping() for group in self.groups for finding in group.findings]
        return {
            "harmful": self.harmful,
            "facts": self.facts,
            "left_out": list(self.left_out),
            "episodes": [view.name for view in self.views],
            "findings": findings,
        }


def check_views(views: Sequence[EpisodeView], config: AuditConfig) -> list[Finding]:
    """All checks of episodes and of the set that they make."""
    found = [finding for view in views for check in EPISODE_CHECKS for finding in check(view, config)]
    return found + [finding for check in SET_CHECKS for finding in check(views, config)]


def audit(paths: Iterable[Path], config: AuditConfig | None = None, progress: Progress | None = None) -> AuditReport:
    """Look at bags, folders of bags and demonstration sets; all of them must be of one embodiment.

    Raises:
        DataError: a path holds neither, or a demonstration set is damaged.
        FingerprintError: their tensors differ.
    """
    config = config or AuditConfig()
    sources = _sources(paths)
    collected = _Collected(config)
    for done, source in enumerate(sources):
        if progress:
            progress(done, len(sources), source.name)
        if (source / INDEX).is_file():
            collected.add_demos(Demos.open(source))
        else:
            collected.add_bag(source)
    if progress:
        progress(len(sources), len(sources), "")
    views = tuple(collected.views)
    findings = (*collected.findings, *check_views(views, config))
    return AuditReport(views, findings, facts(views, config), tuple(collected.left_out))


def _sources(paths: Iterable[Path]) -> list[Path]:
    sources: list[Path] = []
    for path in paths:
        sources += [path] if (path / INDEX).is_file() else find_bags([path])
    return list(dict.fromkeys(sources))


class _Collected:
    """Views of all sources, and what is found while reading them."""

    def __init__(self, config: AuditConfig) -> None:
        self._config = config
        self.views: list[EpisodeView] = []
        self.findings: list[Finding] = []
        self.left_out: list[str] = []

    def add_demos(self, demos: Demos) -> None:
        for view in demos_views(demos, self._config):
            self._add(view)
        self.findings += timing.sync_report(demos.sync, demos.embodiment, self._config)

    def add_bag(self, path: Path) -> None:
        try:
            with open_bag(path) as bag:
                if bag.edit.excluded:
                    self.left_out.append(episode_name(path))
                    return
                view = bag_view(bag, self._config)
        except DataError as error:
            self.findings.append(Finding("unreadable", episode_name(path), "", error.message, "a whole bag"))
            return
        self._add(view)

    def _add(self, view: EpisodeView) -> None:
        if self.views:
            first = self.views[0]
            require_same(first.embodiment, view.embodiment, first.name, view.name)
        self.views.append(view)
