import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hpt_ros.bringup.layout import Argument, Layout, Process
from hpt_ros.bringup.shared_memory import remove_segments
from hpt_ros.bringup.supervisor import ChildDiedError, Supervisor

pytestmark = pytest.mark.live


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Modules that play nodes: one that ends politely, one that ignores signals, one that dies."""
    bodies = {
        "polite": "import time; print('up', flush=True); time.sleep(60)",
        "stubborn": "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)",
        "dying": "import sys; sys.exit('the camera is unplugged')",
    }
    for name, body in bodies.items():
        (tmp_path / f"fake_{name}.py").write_text(textwrap.dedent(body))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def supervised(names: list[str], log_dir: Path) -> Supervisor:
    processes = tuple(Process(name, f"fake_{name}", {}) for name in names)
    return Supervisor(Layout("fake", "", (Argument("x", "", ""),), processes), {}, 99, log_dir)


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_all_end_within_five_seconds_even_the_stubborn(modules):
    with supervised(["polite", "stubborn"], modules / "log") as supervisor:
        wait_until(lambda: all("up" in path.read_text() for path in supervisor.logs.values()))
        pids = [child.pid for child in supervisor._children.values()]
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    assert not any(alive(pid) for pid in pids)


def test_a_death_is_told_with_its_last_words(modules):
    with supervised(["polite", "dying"], modules / "log") as supervisor:
        wait_until(lambda: not alive(supervisor._children["dying"].pid))
        with pytest.raises(ChildDiedError, match=r"(?s)dying ended with code 1.*the camera is unplugged"):
            supervisor.check()


def test_children_end_when_their_parent_is_killed(modules):
    code = f"""
import time
from pathlib import Path
from test_supervisor import supervised
with supervised(["polite"], Path({str(modules / "log")!r})) as supervisor:
    print(supervisor._children["polite"].pid, flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": f"{modules}{os.pathsep}{Path(__file__).parent}"}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until(lambda: "up" in (modules / "log" / "polite.log").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not alive(pid), 5.0)


def test_only_unused_shared_memory_of_our_own_is_removed():
    ours, foreign = Path("/dev/shm/fastdds_00000000deadbeef"), Path("/dev/shm/fastdds_00000000cafecafe")
    for path in (ours, foreign):
        path.write_bytes(b"x")
    try:
        remove_segments({ours.name}, 99)
        assert not ours.exists()
        assert foreign.exists()
    finally:
        for path in (ours, foreign):
            path.unlink(missing_ok=True)
