"""A person's recording session: `hpt-ros record` in a real terminal, with the recorder over real topics."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from live_robot import live_robot, slow_embodiment, wait_until_recordable
from pseudo_terminal import Terminal, terminal

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from hpt_ros.cli.record import committed
from hpt_ros.cli.record_calls import Calls, Guard, Job
from hpt_ros.nodes.session import Session
from hpt_ros.recording.metadata import EpisodeMetadata, scene_note
from hpt_ros.recording.operator import Event, Operator, Request

_COMMAND = ["-m", "hpt_ros.cli.main", "record", "--task", "reach", "--bags", "bags", "--operator", "ada"]
_PATH = r"(\S*bags/reach/[\w.-]+)"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def recorder(ros_env: dict[str, str], start: Start, tmp_path: Path, monkeypatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.chdir(tmp_path)
    for name, value in ros_env.items():
        monkeypatch.setenv(name, value)
    robot = slow_embodiment(tmp_path)
    with live_robot(ros_env, robot):
        yield start("hpt_ros.nodes.recorder_node", "-p", "bags_dir:=bags", "-p", f"embodiment:={robot}")


def wait_for_robot(ros_env: dict[str, str]) -> None:
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as session:
        wait_until_recordable(session)


@pytest.fixture
def person(recorder, ros_env: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    with terminal([*_COMMAND, "--instruction", "reach the cube", "--episodes", "3"], ros_env, tmp_path) as shown:
        wait_for_robot(ros_env)  # while the command starts
        shown.expect("READY")
        yield shown


def started(person: Terminal) -> Path:
    """The episode that begins, after another "s" as often as it is refused: on a busy machine a stream may be slow.

    The screen shows a refusal until something goes right; "s" means nothing while recording.
    """
    for _ in range(20):
        if path := person.expect(rf"(?s:.*?)started: {_PATH}|(?s:.*)refused: start")[1]:
            return Path(path)
        time.sleep(1.0)
        person.type("s")
    raise AssertionError(f"no start was granted:\n{person.text[-3000:]}")


def metadata(bag: Path) -> EpisodeMetadata:
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    return EpisodeMetadata.from_custom_data(information["custom_data"])


def test_a_whole_session(person: Terminal, tmp_path: Path) -> None:
    before = person.expect("start")
    assert before
    person.type("s")
    started(person)
    person.expect("RECORDING")
    person.type("n")
    person.expect("note, then Enter")
    person.wait_for_keys(False)
    person.type("slipped once\r")
    person.wait_for_keys()
    person.type("5")
    half = Path(person.expect(f"saved, partly: {_PATH}")[1])
    person.expect("1/3 done")
    assert committed(tmp_path / "bags" / "reach") == [half]
    kept = metadata(half)
    assert (kept.score, kept.note, kept.operator, kept.instruction) == (0.5, "slipped once", "ada", "reach the cube")

    person.type("\x1b[6~")  # the right pedal
    started(person)
    person.expect("RECORDING")
    person.type("b")
    person.expect("discarded")
    person.expect("READY")
    assert committed(tmp_path / "bags" / "reach") == [half]

    person.type(" ")
    started(person)
    person.expect("RECORDING")
    person.type("1")
    second = Path(person.expect(f"saved: {_PATH}")[1])
    person.expect("2/3 done")
    person.type("r")
    person.expect("undone")
    started(person)
    person.expect("RECORDING")
    assert committed(tmp_path / "bags" / "reach") == [half]
    person.type("0")
    third = Path(person.expect(f"saved, failed: {_PATH}")[1])
    assert committed(tmp_path / "bags" / "reach") == [half, third]
    person.type("u")
    person.expect("undone")
    person.expect("1/3 done")
    person.type("q")
    assert person.wait() == 0
    person.expect("1 episodes in bags/reach")
    assert committed(tmp_path / "bags" / "reach") == [half]
    assert second != third


def test_the_scene_of_a_simulated_episode_is_noted_with_what_the_person_noted() -> None:
    asked: list[object] = []

    class Answering:
        def call(self, service, name, content, timeout_s):
            asked.append(content)
            return service.Response()

    scenes = iter((7, 12))
    job = Job("reach", "", "ada", 2, Path("bags/reach"))
    with Calls(Answering(), job, Guard(), lambda: scene_note(next(scenes))) as calls:  # type: ignore[arg-type]
        for note in ("", "slipped once"):
            operator = Operator(target=2)
            operator.note = note
            for event, request in ((Event.START, Request.START), (Event.SUCCESS, Request.STOP)):
                operator.press(event)
                calls.send(request, operator, 2)
                while calls.take() is None:
                    pass
                operator.granted("bags/reach/one", "", 0.0)
                operator.note = note
    notes = [stop.note for stop in asked[1::2]]  # type: ignore[attr-defined]
    assert notes == ["scene seed 7", "scene seed 12; slipped once"]


def test_the_screen_shows_what_matters_and_the_keys_of_the_moment(person: Terminal) -> None:
    for text in ("reach", r"0/3 done", "enter space pagedown s start", "u undo the last", "q quit"):
        assert re.search(text, person.text), text
    person.expect(r"/wrist_camera/color/image_raw +\d+\.\d +\d+\.\d")
    person.expect(r"disk: \d+\.\d GB free")
    person.expect("ada: reach the cube")
    person.type("s")
    started(person)
    person.expect("RECORDING")
    person.expect("1 success")
    person.type("q")
    person.expect("ASKING")
    person.expect("q DISCARD this episode and quit")


def test_quitting_while_recording_takes_a_second_key(person: Terminal, tmp_path: Path) -> None:
    before = person.modes
    assert person.reads_keys
    person.type("s")
    started(person)
    person.expect("RECORDING")
    person.type("\x03")
    person.expect("quit?")
    person.expect("ASKING")
    person.type("x")
    person.expect("resumed")
    person.type("\x03")
    person.expect("ASKING")
    person.type("1")
    saved = Path(person.expect(f"saved: {_PATH}")[1])
    assert person.wait() == 0
    assert committed(tmp_path / "bags" / "reach") == [saved]
    assert person.modes != before


def test_ctrl_c_in_haste_discards_nothing(person: Terminal, recorder, ros_env, tmp_path: Path) -> None:
    person.type("s")
    path = started(person)
    person.type("\x03")
    person.expect("ASKING")
    person.type("\x03")
    assert person.wait() == 130
    person.expect("was not stopped")
    assert not person.reads_keys
    with Session(domain_id=int(ros_env["ROS_DOMAIN_ID"])) as session:
        assert session.wait_for_status("recorder").state == "RECORDING"
        assert Path(session.stop_episode(1.0, "operator")) == path


def test_sigterm_restores_the_terminal_and_the_next_session_joins_the_episode(
    person: Terminal, ros_env, tmp_path: Path
) -> None:
    person.type("s")
    path = started(person)
    person.send(signal.SIGTERM)
    assert person.wait() == 130
    assert not person.reads_keys
    person.expect("was not stopped")
    finished = subprocess.run(
        [sys.executable, *_COMMAND, "--episodes", "3"],
        input="1\nq\n",
        env=ros_env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert f"started: {path}" in finished.stderr
    assert committed(tmp_path / "bags" / "reach") == [path]


def test_the_death_of_the_recorder_ends_the_session_loudly(
    person: Terminal, recorder: subprocess.Popen[str], tmp_path: Path
) -> None:
    person.type("s")
    started(person)
    person.expect("RECORDING")
    recorder.kill()
    person.expect("THE RECORDER IS GONE")
    assert person.wait() == 6
    assert not person.reads_keys


def test_a_refused_start_is_shown_and_the_session_goes_on(ros_env, start: Start, tmp_path: Path, monkeypatch) -> None:
    start("hpt_ros.nodes.recorder_node", "-p", f"bags_dir:={tmp_path / 'bags'}")
    with terminal(_COMMAND, ros_env, tmp_path) as shown:
        shown.expect("READY")
        shown.type("s")
        shown.expect(r"refused: start: .*(\n.*)*no publisher")
        shown.expect("READY")
        shown.type("p")
        shown.expect("PAUSED")
        shown.type("q")
        assert shown.wait() == 0


def test_piped_keys_record_too(recorder, ros_env, tmp_path: Path) -> None:
    wait_for_robot(ros_env)
    finished = subprocess.run(
        [sys.executable, *_COMMAND, "--episodes", "2"],
        input="s\nn\nby a script\n5\ns\nd\n",
        env=ros_env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    (bag,) = committed(tmp_path / "bags" / "reach")
    assert metadata(bag).note == "by a script"
    assert "1/2 done" in finished.stderr
    assert "discarded" in finished.stderr


def test_an_input_that_ends_in_an_episode_is_no_silent_discard(recorder, ros_env, tmp_path: Path) -> None:
    wait_for_robot(ros_env)
    finished = subprocess.run(
        [sys.executable, *_COMMAND],
        input="s\n",
        env=ros_env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 6
    assert "the input ended while an episode was being recorded" in finished.stderr
    assert "hpt-ros record joins it" in finished.stderr
