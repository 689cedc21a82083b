"""Checks of stamps: rates, gaps, clocks, ages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import Finding
from hpt_ros.demos.audit.view import EpisodeView
from hpt_ros.embodiment import Embodiment
from hpt_ros.streams import PATIENCE_NS

_COMMAND = "command"


def rates(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """rate_low: mean rate between the first and the last stamp, pauses that `gaps` names left out."""
    for key, rate_hz in declared_rates_hz(view.embodiment).items():
        steps_s = np.diff(view.streams[key].time_s) if key in view.streams else np.empty(0)
        steps_s = steps_s[steps_s <= _longest_s(view.embodiment, config)[key]]
        if len(steps_s) and steps_s.sum() > 0:
            yield from _rate(view.name, key, len(steps_s) / float(steps_s.sum()), rate_hz, config)


def gaps(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """gap: a pause after which a tick finds no sample within the age budget, or repeats an old command.

    A stream that ends before the commands do is in a pause until then.
    """
    longest_s = _longest_s(view.embodiment, config)
    for key, arrivals in view.streams.items():
        end_s = view.streams[_COMMAND].time_s[-1:] if _COMMAND in view.streams else np.empty(0)
        time_s = np.append(arrivals.time_s, end_s[end_s > arrivals.time_s[-1]])
        steps_s = np.diff(time_s)
        if not len(steps_s) or steps_s.max() <= longest_s[key]:
            continue
        count, worst_s = int((steps_s > longest_s[key]).sum()), float(steps_s.max())
        at_s = float(time_s[int(steps_s.argmax())])
        seen = f"{worst_s * 1e3:.0f} ms at {at_s:.1f} s" + (f", {count} gaps" if count > 1 else "")
        yield Finding("gap", view.name, key, seen, f"<= {longest_s[key] * 1e3:.0f} ms", worst_s / longest_s[key])


def clocks(view: EpisodeView, config: AuditConfig) -> Iterator[Finding]:
    """clock_skew: quickest deliveries of the streams that lie too far apart, or come before their stamp; stamps that jump.

    The quickest deliveries (5th percentile) hold whatever the load. Commands are left out: they are stamped for later.
    """
    delays_s = {
        key: float(np.percentile(arrivals.delay_s, 5))
        for key, arrivals in view.streams.items()
        if key != _COMMAND and len(arrivals.delay_s)
    }
    usual_s = float(np.median(list(delays_s.values()))) if delays_s else 0.0
    allowances_s = {spec.key: spec.allowance_ns / 1e9 for spec in view.embodiment.streams()}
    for key, delay_s in delays_s.items():
        jump_s = float(np.ptp(view.streams[key].delay_s))
        for seen, expected, excess in _skew(delay_s, usual_s, config.skew_s + allowances_s[key], jump_s, config):
            yield Finding("clock_skew", view.name, key, seen, expected, excess)


def _skew(
    delay_s: float, usual_s: float, allowed_s: float, jump_s: float, config: AuditConfig
) -> Iterator[tuple[str, str, float]]:
    """What is wrong with a clock, the plainest reason first: seen, expected, excess."""
    late_s, patience_s = delay_s - usual_s, PATIENCE_NS / 1e9
    if delay_s < -config.ahead_s:
        yield f"arrives {-delay_s * 1e3:.0f} ms before its stamp", "after its stamp", -delay_s / config.ahead_s
    elif jump_s > patience_s:
        seen = f"stamps jump by {jump_s:.2f} s against the times of arrival"
        yield seen, f"<= {patience_s:g} s", jump_s / patience_s
    elif late_s > allowed_s:
        seen = f"arrives {delay_s * 1e3:.0f} ms after its stamp, the others {usual_s * 1e3:.0f} ms"
        yield seen, f"at most {allowed_s * 1e3:.0f} ms after the others", late_s / allowed_s


def sync_report(
    sync: Mapping[str, Mapping[str, Any]], embodiment: Embodiment, config: AuditConfig
) -> Iterator[Finding]:
    """rate_low and old_samples, from what the conversion wrote about all episodes of a set."""
    for spec in (*embodiment.streams(), embodiment.command_stream()):
        figures = sync.get(spec.key)
        if figures is None:
            continue
        low = list(_rate("", spec.key, figures["rate_hz"], spec.rate_hz, config))
        yield from low
        expected_ms = (spec.allowance_ns / 1e9 + config.old_sample_periods / spec.rate_hz + config.old_sample_s) * 1e3
        if not low and figures["age_p95_ms"] > expected_ms:
            seen = f"{figures['age_p95_ms']:.0f} ms old at the ticks (p95)"
            excess = figures["age_p95_ms"] / expected_ms
            yield Finding("old_samples", "", spec.key, seen, f"<= {expected_ms:.0f} ms", excess)


def declared_rates_hz(embodiment: Embodiment) -> dict[str, float]:
    """By stream key, the commands included."""
    return {spec.key: spec.rate_hz for spec in (*embodiment.streams(), embodiment.command_stream())}


def _longest_s(embodiment: Embodiment, config: AuditConfig) -> dict[str, float]:
    """The pause that a tick survives: its sample must be `allowance` old and may be `max_age` old."""
    longest = {spec.key: (spec.max_age_ns - spec.allowance_ns) / 1e9 for spec in embodiment.streams()}
    return longest | {_COMMAND: config.command_gap_periods / embodiment.policy.rate_hz}


def _rate(episode: str, key: str, found_hz: float, declared_hz: float, config: AuditConfig) -> Iterator[Finding]:
    if found_hz < config.rate_share * declared_hz:
        expected = f">= {config.rate_share * declared_hz:g} Hz ({declared_hz:g} Hz declared)"
        yield Finding("rate_low", episode, key, f"{found_hz:.1f} Hz", expected, declared_hz / max(found_hz, 1e-3))
