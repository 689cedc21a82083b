"""What every trial does, whoever scores it: policy, bag, video, engagement, the watch over it, and its row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from hpt_ros.bringup.switch import PolicySwitch
from hpt_ros.errors import BusyError, StreamError
from hpt_ros.evaluation.order import PlannedTrial
from hpt_ros.evaluation.trials import Trial
from hpt_ros.evaluation.watch import Glimpse, TrialWatch
from hpt_ros.nodes.film import Film
from hpt_ros.nodes.session import Session

_LOAD_S = 60.0
_LISTEN_S = 4.0  # participants announce themselves every 3 s: one that was missed at first is heard by then
_HOME_S = 60.0
_POLICY_STATUS = "/hpt_ros/policy/status"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is tried: its folder and the SHA-256 of its weights."""

    path: Path
    weights_sha256: str


@dataclass(frozen=True)
class TrialSetup:
    """What all trials share. `records`: each is recorded as a bag."""

    task: str
    instruction: str
    operator: str
    seed: int
    timeout_s: float
    out: Path
    records: bool


class TrialRunner:
    """One trial after the other, for one caller at a time; `film` None makes no videos."""

    def __init__(
        self,
        session: Session,
        switch: PolicySwitch,
        candidates: Sequence[Candidate],
        setup: TrialSetup,
        film: Film | None,
    ) -> None:
        self.session, self.setup = session, setup
        self._switch, self._candidates, self._film = switch, candidates, film
        self._loaded: Candidate | None = None
        self._watch = TrialWatch(0.0, setup.timeout_s)
        self._before = (0, 0)
        self._duration_s = 0.0
        self._bag = self._video = ""
        self._runs = False

    def require_nodes(self, owns_domain: bool) -> None:
        """Wait for the commander, and for the recorder if trials are recorded; end what an earlier run left.

        `owns_domain`: nobody else can be in this ROS domain, so nobody is listened for.

        Raises:
            StreamError: one of them is not there.
            BusyError: somebody else's policy runs, or somebody records.
        """
        self.session.wait_for_status("commander")
        deadline = time.monotonic() + (0.0 if owns_domain else _LISTEN_S)
        while time.monotonic() < deadline:
            if policy := self.session.latest.get("policy"):
                raise _other_policy(policy.checkpoint)
            time.sleep(0.05)
        if self.setup.records:
            self._require_recorder()

    def _require_recorder(self) -> None:
        try:
            recorder = self.session.wait_for_status("recorder", 10.0)
        except StreamError as error:
            raise StreamError(
                f"no recorder: {error.message}", "start evaluate.launch.py, or add --no-bags: then trials leave no bag"
            ) from error
        if recorder.state == "RECORDING" and recorder.task != self.setup.task:
            raise BusyError(f"{recorder.path} is being recorded", "stop or discard it first")
        if recorder.state == "RECORDING":  # of a run that was killed
            self.session.stop_episode(0.0, INTERRUPTED, "the evaluation ended before this trial did")

    def load(self, planned: PlannedTrial, always: bool) -> None:
        """Let the trial's policy be the one that runs.

        `always` starts a new process for the same checkpoint too, so that nobody can tell whether it was exchanged.
        """
        wanted = self._candidates[planned.candidate]
        if wanted is self._loaded and not always:
            return
        self._loaded = None
        self._switch.to(wanted.path.resolve())
        self.session.latest.pop("policy", None)
        self._loaded = wanted

    def wait_for_policy(self) -> None:
        """Until the loaded policy publishes chunks, and no other is there any more.

        One that had to be killed counts until the middleware gives it up.
        """

        def acting() -> bool:
            status = self.session.latest.get("policy")
            return status is not None and status.state == "RUNNING" and self._is_loaded(status.checkpoint)

        self.session.wait_for("the policy's first chunk", acting, _LOAD_S)
        self.session.wait_for("the end of other policies", lambda: not self._has_rival(), _LOAD_S)

    def home(self) -> None:
        """Bring the arm home, by the commander.

        Raises:
            StreamError: refused, or given up on the way.
        """
        self.session.insist(lambda: self.session.trigger("/hpt_ros/commander/home"))
        time.sleep(0.2)  # until the status is not the one before
        self.session.wait_for("the arm's way home", lambda: self.session.latest["commander"].state != "HOMING", _HOME_S)
        status = self.session.latest["commander"]
        if status.reason != "at home":
            raise StreamError(f"the arm is not at home: {status.state}, {status.reason}", "bring it there by hand")

    def start(self, planned: PlannedTrial) -> None:
        """Start bag and video, then engage: from here on the arm moves.

        Raises:
            StreamError: recorder or commander refuse; nothing is left of the attempt.
            BusyError: another policy has come.
        """
        if self._has_rival():
            raise _other_policy("another process")
        name = f"trial_{planned.index:04d}"
        setup = self.setup
        self._before = self._counters()
        if setup.records:
            self._bag = self.session.insist(
                lambda: self.session.start_episode(setup.task, setup.instruction, setup.operator)
            )
        try:
            self.session.engage()
        except StreamError:
            self.drop()
            raise
        if self._film:
            self._video = f"videos/{name}.webm"
            self._film.begin(setup.out / self._video, f"{setup.task}  trial {planned.index + 1}")
        self._watch, self._runs = TrialWatch(time.monotonic(), setup.timeout_s), True

    def look(self) -> str:
        """How the trial has ended; empty while it goes on."""
        commander, sim = self.session.latest["commander"], self.session.latest.get("sim")
        seen = Glimpse(commander.state, commander.reason, commander.source, bool(sim and sim.success))
        return self._watch.look(time.monotonic(), seen)

    @property
    def elapsed_s(self) -> float:
        """Since the engagement."""
        return self._watch.elapsed_s(time.monotonic())

    def stop(self) -> None:
        """The trial is over: let go of the arm. A fault stays."""
        self._duration_s, self._runs = self.elapsed_s, False
        if self.session.latest["commander"].state != "FAULT":
            with suppress(StreamError):  # a fault came in between
                self.session.trigger("/hpt_ros/commander/disengage")
        if self._film:
            self._film.end()

    def row(self, planned: PlannedTrial, score: float, termination: str, note: str = "") -> Trial:
        """The trial's row.

        Raises:
            StreamError: another policy than the planned one acted.
        """
        policy, commander, sim = (self.session.latest.get(name) for name in ("policy", "commander", "sim"))
        assert policy is not None and commander is not None, "waited for before the start"  # noqa: PT018
        if not self._is_loaded(policy.checkpoint):
            raise StreamError(
                f"the policy of {policy.checkpoint} acted, not the planned one", "stop the other policy node"
            )
        return Trial(
            index=planned.index,
            seed=self.setup.seed + planned.block,
            score=score,
            termination=termination,
            duration_s=round(self._duration_s, 3),
            policy_rate_hz=policy.rate_hz,
            policy_latency_p50_ms=policy.latency_p50_ms,
            policy_latency_p99_ms=policy.latency_p99_ms,
            command_rate_hz=commander.rate_hz,
            command_lateness_p99_ms=commander.lateness_p99_ms,
            chunk_latency_p99_ms=commander.chunk_latency_p99_ms,
            stale_ticks=policy.stale_ticks - self._before[0],
            rows_late=commander.rows_late - self._before[1],
            real_time_factor=sim.real_time_factor if sim else 1.0,
            checkpoint=self._candidates[planned.candidate].weights_sha256,
            block=planned.block,
            reason=self._watch.reason,
            note=note,
            interventions=self._watch.interventions,
            bag=self._bag,
            video=self._video,
            ended_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def keep(self, trial: Trial) -> None:
        """Complete the bag; the row is on the disk already. The bag's note says which trial of which weights it is."""
        if self._bag:
            note = f"trial={trial.index} checkpoint={trial.checkpoint} {trial.note}".rstrip()
            self.session.stop_episode(trial.score, trial.termination, note)
        self._bag = ""

    def drop(self) -> None:
        """The trial does not count: discard its bag."""
        if self._bag:
            self.session.trigger("/hpt_ros/recorder/discard")
        self._bag = ""

    def abandon(self) -> None:
        """The evaluation ends, perhaps in the middle of a trial: let go, and keep the bag as interrupted."""
        if self._runs:
            self.stop()
        if self._bag:
            self.session.stop_episode(0.0, INTERRUPTED, "the evaluation was ended in the middle of this trial")
        self._bag = ""

    def _has_rival(self) -> bool:
        return int(self.session.node.count_publishers(_POLICY_STATUS)) > 1

    def _is_loaded(self, checkpoint: str) -> bool:
        return self._loaded is not None and checkpoint == str(self._loaded.path.resolve())

    def _counters(self) -> tuple[int, int]:
        return self.session.latest["policy"].stale_ticks, self.session.latest["commander"].rows_late


def _other_policy(whose: str) -> BusyError:
    return BusyError(
        f"a policy of {whose} runs already",
        "stop it, e.g. use evaluate.launch.py instead of policy.launch.py: trials start their policies themselves",
    )
