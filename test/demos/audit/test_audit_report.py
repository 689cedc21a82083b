"""What a person and a script get: order, screen, page, JSON, exit status, documentation."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import clean
import cv2
import numpy as np
import pytest
import synthetic
from clean import JOINTS, ROBOT
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.cli.main import main
from hpt_ros.demos.audit import KINDS, AuditConfig, Finding, audit, kinds_table
from hpt_ros.demos.audit.audit import AuditReport, check_views
from hpt_ros.demos.audit.facts import facts
from hpt_ros.demos.audit.findings import SEVERITIES, ranked
from hpt_ros.demos.audit.measures import following
from hpt_ros.demos.audit.page import html_page
from hpt_ros.demos.audit.view import Series
from hpt_ros.errors import ConfigError

CONFIG = AuditConfig()


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bags; the picture of the first stands, fingers of the second bounce."""
    root = tmp_path_factory.mktemp("report")
    frozen = [
        (key, stamp, synthetic.image(stamp, synthetic.frame(5)) if key == "camera.front" else raw)
        for key, stamp, raw in clean.messages(0)
    ]
    synthetic.record(root, ROBOT, iter(frozen))
    synthetic.record(root, ROBOT, clean.messages(1))
    return root


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good")
    synthetic.record(root, ROBOT, clean.messages(1))
    return root


def test_the_worst_comes_first() -> None:
    def finding(kind: str, episode: str, excess: float) -> Finding:
        return Finding(kind, episode, "", "seen", "expected", excess)

    groups = ranked(
        [
            finding("gripper_unused", "", 1),
            finding("outlier", "a", 9),
            finding("gap", "a", 3),
            finding("idle", "a", 1),
            finding("idle", "b", 2),
            finding("joint_jump", "a", 5),
        ]
    )
    assert [group.kind for group in groups] == ["joint_jump", "gap", "idle", "outlier", "gripper_unused"]
    idle = groups[2]
    assert (idle.worst.episode, idle.episodes, idle.summary()) == ("b", ("a", "b"), "2 episodes, worst b")


def test_exit_status_and_screen(bags, good, capsys) -> None:
    assert main(["audit", str(bags)]) == 1
    screen = capsys.readouterr()
    assert screen.out == ""
    assert "camera_frozen" in screen.err
    assert "camera.front" in screen.err
    assert "restart the camera driver" in screen.err
    assert main(["audit", str(good)]) == 0
    assert "nothing found" in capsys.readouterr().err


def test_what_is_no_recording_is_refused(tmp_path, capsys) -> None:
    assert main(["audit", str(tmp_path)]) == 5
    assert "no bag here" in capsys.readouterr().err


def test_json_is_all_there_is_on_standard_output(bags, capsys) -> None:
    assert main(["audit", str(bags), "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["harmful"] is True
    (finding,) = report["findings"]
    assert set(finding) == {"severity", "kind", "episode", "subject", "seen", "expected", "remedy"}
    assert (finding["kind"], finding["subject"]) == ("camera_frozen", "camera.front")
    assert report["facts"]["episodes"] == len(report["episodes"]) == 2
    assert report["facts"]["streams"]["joints"]["lowest_rate_hz"] == pytest.approx(200)
    json.dumps(report, allow_nan=False)


class _Page(HTMLParser):
    """Tags that are open, text, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.sources: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(bags, tmp_path) -> None:
    target = tmp_path / "new" / "audit.html"
    assert main(["audit", str(bags), "--html", str(target)]) == 1
    page = _Page()
    page.feed(target.read_text())
    assert page.open == []
    assert "the picture stands for" in page.text
    pictures = [source.removeprefix("data:image/png;base64,") for source in page.sources]
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(p, validate=True), np.uint8), 1) for p in pictures]
    assert len(decoded) == 3 + 2 * 2 * 3, "plots, and three pictures of two cameras in two episodes"
    assert all(picture.std() > 5 for picture in decoded)
    assert not re.search(r"(src|href)=\"?http", target.read_text())


def test_text_of_a_bag_cannot_become_markup() -> None:
    view = replace(clean.view(0), name="<script>alert(1)</script>")
    finding = Finding("gap", view.name, "<b>", "<i>", "<u>")
    page = html_page(AuditReport((view,), (finding,), facts([view], CONFIG)), "<title>")
    assert not re.search(r"<(script|b|i|u)>", page)


def test_without_an_episode_there_is_still_a_page() -> None:
    assert "unreadable" in html_page(AuditReport((), (Finding("unreadable", "a", "", "cut", "whole"),)), "t")
    empty = clean.view(0, joints=Series(np.empty(0), np.empty((0, JOINTS))))
    assert "not known" in html_page(AuditReport((empty,), (), facts([empty], CONFIG)), "t")


@pytest.mark.parametrize("lag_s", [-0.05, 0.0, 0.013, 0.08, 0.3])
@pytest.mark.parametrize("rate_hz", [15.0, 100.0])
def test_lag_and_offset_are_measured(lag_s, rate_hz) -> None:
    """At the rate of commands to 5 ms, at the ticks of a set to a fifth of a tick."""
    time_s = np.arange(0, clean.DURATION_S, 1 / rate_hz)
    arm = clean.commanded(time_s - lag_s, 0)[:, :JOINTS]
    arm[:, 2] -= 0.05
    view = clean.view(0, joints=Series(time_s, arm), command=Series(time_s, clean.commanded(time_s, 0)))
    found = following(view, CONFIG)
    assert found.arm_lag_s == pytest.approx(lag_s, abs=0.005 if rate_hz == 100 else 0.2 / rate_hz)
    np.testing.assert_allclose(found.offset_rad, np.where(np.arange(JOINTS) == 2, 0.05, 0), atol=0.005)


def test_facts_describe_the_set() -> None:
    found = facts(clean.views(3), CONFIG)
    assert found["duration_s"] == pytest.approx(3 * clean.DURATION_S, rel=0.01)
    assert found["scores"] == {"1": 3}
    assert found["gripper_events_per_episode"] == {"min": 1.0, "median": 1.0, "max": 1.0}
    assert found["joints"]["panda_joint2"]["lag_ms"] == pytest.approx(1e3 * clean.LAG_S, abs=2)
    low, high = found["coverage"]["x_m"]
    assert 0.3 < high < 0.8
    assert high - low > CONFIG.narrow_m / 2
    assert facts([], CONFIG) == {}


def part(series: Series, count: int, spoilt: list[int]) -> Series:
    """The first rows of a series, some of them not finite."""
    values = series.values[:count].copy()
    values[[i for i in spoilt if i < len(values)]] = np.nan
    return Series(series.time_s[:count], values)


@settings(max_examples=40)
@given(
    counts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=3),
    spoilt=st.lists(st.integers(0, 60), max_size=30),
)
def test_whatever_is_left_of_an_episode_gives_a_report(counts, spoilt) -> None:
    """Few rows, none, or none that is finite: no check fails, and the figures are valid JSON."""
    views = []
    for number, (rows, commands, frames) in enumerate(counts):
        whole = clean.view(number)
        picture = whole.cameras["front"]
        cut = replace(picture, time_s=picture.time_s[:frames], digest=picture.digest[:frames])
        views.append(
            replace(
                whole,
                joints=part(whole.joints, rows, spoilt),
                gripper=part(whole.gripper, rows // 2, spoilt),
                command=part(whole.command, commands, spoilt),
                cameras={"front": cut},
                streams={},
            )
        )
    report = AuditReport(tuple(views), tuple(check_views(views, CONFIG)), facts(views, CONFIG))
    json.dumps(report.to_mapping(), allow_nan=False)
    assert ("bad_values" in {f.kind for f in report.findings}) == any(
        not np.isfinite(series.values).all() for v in views for series in (v.joints, v.gripper, v.command)
    )


def test_thresholds_are_checked_and_have_their_reasons() -> None:
    source = (Path(__file__).parents[3] / "hpt_ros/demos/audit/config.py").read_text()
    for field in fields(AuditConfig):
        assert re.search(rf"\n    {field.name}: \w+ = \S+  # \w", source), field.name
        with pytest.raises(ConfigError, match=field.name):
            AuditConfig(**{field.name: -1})
    with pytest.raises(ConfigError, match="closed_share"):
        AuditConfig(closed_share=0.7)


def test_documentation_has_every_finding() -> None:
    documentation = (Path(__file__).parents[3] / "docs/audit.md").read_text()
    assert kinds_table() in documentation, f"put this table into docs/audit.md:\n{kinds_table()}"
    assert {kind.severity for kind in KINDS.values()} == set(SEVERITIES)


def test_a_broken_bag_alone_gives_a_report(good, tmp_path) -> None:
    bag = tmp_path / "bags" / "reach" / "cut"
    bag.mkdir(parents=True)
    whole = next(path for path in (good / "reach").iterdir() if path.is_dir())
    for path in whole.iterdir():
        (bag / path.name).write_bytes(path.read_bytes()[:3000])
    report = audit([tmp_path / "bags"])
    assert [finding.kind for finding in report.findings] == ["unreadable"]
    assert main(["audit", str(tmp_path / "bags"), "--html", str(tmp_path / "a.html")]) == 1
