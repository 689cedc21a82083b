"""Which processes run together: the one description that launch files and `hpt-ros up` are both made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from hpt_ros.errors import ConfigError

Value = str | int | float


@dataclass(frozen=True)
class Argument:
    """A launch argument; without a default it must be given."""

    name: str
    description: str
    default: str | None = None

    def value(self, given: str | None) -> Value:
        """The given text or the default, as a number of the default's kind where the default is one.

        Raises:
            ConfigError: text where a number is needed.
        """
        text = given if given is not None else self.default or ""
        default = yaml.safe_load(self.default or "")
        try:
            if isinstance(default, bool):
                if text not in ("true", "false"):
                    raise ConfigError(self.name, text, "true or false")
                return text == "true"
            if not isinstance(default, (int, float)):
                return text
            return float(text) if isinstance(default, float) else int(text)
        except ValueError as error:
            raise ConfigError(self.name, text, f"a number such as {self.default}") from error


@dataclass(frozen=True)
class Process:
    """One node: its executable in lib/hpt_ros, its module, and its ROS parameters by the launch arguments that fill them.

    `when` names a launch argument; the process runs only if that argument is neither empty nor "false".
    """

    executable: str
    module: str
    parameters: Mapping[str, str]
    when: str = ""


@dataclass(frozen=True)
class Layout:
    """A named set of processes with documented arguments."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    processes: tuple[Process, ...]

    @property
    def simulated(self) -> bool:
        """Whether it holds the simulator, and so needs a ROS domain of its own."""
        return _SIM in self.processes or _STANDIN in self.processes

    def resolve(self, given: Mapping[str, str]) -> dict[str, Value]:
        """Every argument's value.

        Raises:
            ConfigError: an unknown argument, or a required one that is missing.
        """
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                raise ConfigError(f"{self.name}: {name}", given[name], f"one of the arguments {', '.join(known)}")
        for argument in self.arguments:
            if argument.default is None and not given.get(argument.name):
                raise ConfigError(
                    f"{self.name}: {argument.name}", "nothing", argument.description, f"add {argument.name}:=..."
                )
        return {name: argument.value(given.get(name)) for name, argument in known.items()}

    def active(self, values: Mapping[str, Value]) -> list[Process]:
        """The processes that run with these argument values."""
        return [p for p in self.processes if not p.when or str(values[p.when]).lower() not in ("", "false")]


def ros_parameters(process: Process, values: Mapping[str, Value]) -> dict[str, Value]:
    """ROS parameters of a process; an empty value is left out, so that the node's own default holds."""
    return {name: values[argument] for name, argument in process.parameters.items() if values[argument] != ""}


def namespace_of(values: Mapping[str, Value]) -> str:
    """The namespace that the arguments name, `/left`; empty if none."""
    name = str(values.get("namespace", "")).strip("/")
    return f"/{name}" if name else ""


_SIM = Process(
    "sim_node",
    "hpt_ros.sim.sim_node",
    {name: name for name in ("embodiment", "task", "seed", "speed", "variation", "disturbance")},
)
_STANDIN = Process(
    "standin_node",
    "hpt_ros.standin.standin_node",
    {"embodiment": "embodiment", "task": "task", "seed": "seed"},
)
_REALTIME_PARAMETERS = {"realtime_priority": "realtime_priority", "lock_memory": "lock_memory"}
_COMMANDER = Process(
    "commander_node", "hpt_ros.nodes.commander_node", {"embodiment": "embodiment", **_REALTIME_PARAMETERS}
)
_DEPLOYER = Process(
    "commander_node",
    "hpt_ros.nodes.commander_node",
    {
        "embodiment": "embodiment",
        "strategy": "strategy",
        "execute_rows": "execute_rows",
        "limits_fraction": "limits_fraction",
        "command_rate_hz": "command_rate_hz",
        "dry_run": "dry_run",
        **_REALTIME_PARAMETERS,
    },
)
_VISUALISER = Process(
    "visualiser_node",
    "hpt_ros.nodes.visualiser_node",
    {"embodiment": "embodiment", "annotate": "annotate"},
    when="visualise",
)
_POLICY = Process(
    "policy_node",
    "hpt_ros.nodes.policy_node",
    {"embodiment": "embodiment", "checkpoint": "checkpoint", "threads": "threads", "instruction": "instruction"},
    when="checkpoint",
)
_SERVED_POLICY = Process(
    "policy_node",
    "hpt_ros.nodes.policy_node",
    {
        **_POLICY.parameters,
        "device": "device",
        "camera_sync": "camera_sync",
        "strategy": "strategy",
        "execute_rows": "execute_rows",
        "rtc": "rtc",
    },
    when="checkpoint",
)
_RECORDER = Process(
    "recorder_node",
    "hpt_ros.nodes.recorder_node",
    {"embodiment": "embodiment", "bags_dir": "bags_dir"},
    when="bags_dir",
)
_BUTTONS = Process(
    "buttons_node",
    "hpt_ros.nodes.buttons_node",
    {"joy_topic": "joy_topic", "task": "task", "instruction": "instruction", "operator": "operator"},
    when="joy_topic",
)
_EXPERT = Process("expert_node", "hpt_ros.sim.expert_node", {"embodiment": "embodiment"}, when="expert")

_TELEOP = Process(
    "teleop_node", "hpt_ros.nodes.teleop_node", {"embodiment": "embodiment", "device": "device", "rate_hz": "rate_hz"}
)

_VIEWER = Process("viewer_node", "hpt_ros.sim.viewer_node", {"embodiment": "embodiment"})

_TASK = Argument("task", "task of the simulated scene: reach, lift or push", "reach")
_SEED = Argument("seed", "seed of the first scene", "0")
_SPEED = Argument("speed", "simulated seconds per second; other than 1.0 publishes /clock", "1.0")
_DISTURBANCE = Argument("disturbance", "how far the arm is pushed about as it moves; 1.0: by 0.03 rad", "0.0")
_VARIATION = Argument("variation", "what the cameras see otherwise: none, dim, bright, camera, cube, table", "none")
_SIM_EMBODIMENT = Argument("embodiment", "preset name or YAML file of the robot set-up", "sim_panda")
_EMBODIMENT = Argument("embodiment", "preset name (panda, fr3, sim_panda) or YAML file of the robot set-up", "panda")
_NAMESPACE = Argument("namespace", "of every node and topic, the robot's and the cameras' included; empty: none", "")
_THREADS = Argument("threads", "CPU threads of the inference", "1")
_INSTRUCTION = Argument(
    "instruction", "what a policy with language is to do; empty: the only instruction that its checkpoint knows", ""
)
_REALTIME = (
    Argument(
        "realtime_priority",
        "SCHED_FIFO priority of the commander, 1 to 98; 0: off; -1: what this user may ask for (hpt-ros doctor), at most 60",
        "-1",
    ),
    Argument("lock_memory", "true: the commander's memory is never paged out", "false"),
)
_BAGS = Argument("bags_dir", "folder that episodes are written below, as <bags_dir>/<task>/<stamp>_<n>", "bags")

POLICY_ALONE = Layout(
    "policy alone",
    "what hpt-ros evaluate exchanges between trials",
    (
        Argument("checkpoint", "folder of a trained checkpoint"),
        Argument("embodiment", "preset name or YAML file of the robot set-up; empty: the checkpoint's own", ""),
        _NAMESPACE,
        _THREADS,
        _INSTRUCTION,
    ),
    (_POLICY,),
)

LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "sim", "the simulated Panda", (_SIM_EMBODIMENT, _TASK, _SEED, _SPEED, _VARIATION, _DISTURBANCE), (_SIM,)
        ),
        Layout("viewer", "a window on a simulated Panda that runs already", (_SIM_EMBODIMENT,), (_VIEWER,)),
        Layout(
            "policy",
            "a trained policy and the commander that executes it",
            (
                Argument("checkpoint", "folder of a trained checkpoint, e.g. runs/reach/last"),
                _EMBODIMENT,
                _NAMESPACE,
                _THREADS,
                _INSTRUCTION,
                Argument("device", "of the inference: cpu, or cuda", "cpu"),
                Argument(
                    "strategy",
                    "receding_horizon, temporal_ensemble or blend; empty: as the embodiment. The policy's rate is its checkpoint's",
                    "",
                ),
                Argument(
                    "execute_rows",
                    "rows of a chunk before the next one takes over (receding_horizon, blend); 0: as the embodiment",
                    "0",
                ),
                Argument(
                    "rtc",
                    "true: chunks go on from the rows that are executed while they are made (strategy:=blend execute_rows:=1; head flow or diffusion)",
                    "false",
                ),
                Argument("command_rate_hz", "commands per second to the arm; 0: as the embodiment", "0.0"),
                Argument(
                    "limits_fraction", "share of the embodiment's speed limits; 0.3 is good for first runs", "1.0"
                ),
                *_REALTIME,
                Argument("dry_run", "true: everything but the commands, to arm and gripper alike", "false"),
                Argument("visualise", "true: what the policy intends, as topics for RViz and Foxglove", "false"),
                Argument("annotate", "true: what the network sees, as images (visualise; needs cv_bridge)", "false"),
                Argument(
                    "camera_sync",
                    "none, or approximate: only frames that belong together (needs message_filters)",
                    "none",
                ),
                Argument(
                    "cameras",
                    "realsense2_camera nodes to start with ros2 launch, as name:serial,name:serial; empty: none",
                    "",
                ),
                Argument("bags_dir", "folder that the trials are recorded below; empty: no recorder", ""),
            ),
            (_SERVED_POLICY, _DEPLOYER, _RECORDER, _VISUALISER),
        ),
        Layout(
            "record",
            "the recorder and the commander, for demonstrations by teleoperation",
            (
                _EMBODIMENT,
                _NAMESPACE,
                _BAGS,
                Argument("joy_topic", "sensor_msgs/msg/Joy whose buttons start and stop episodes; empty: none", ""),
                Argument("task", "task of the episodes that a button starts; empty: that of the last one", ""),
                Argument("instruction", "instruction of the episodes that a button starts", ""),
                Argument("operator", "who demonstrates, for the episodes that a button starts", ""),
                *_REALTIME,
            ),
            (_COMMANDER, _RECORDER, _BUTTONS),
        ),
        Layout(
            "demo",
            "the simulated Panda with commander, and on request expert, recorder and policy",
            (
                _SIM_EMBODIMENT,
                _TASK,
                _SEED,
                _SPEED,
                _VARIATION,
                Argument("checkpoint", "folder of a trained checkpoint; empty: no policy", ""),
                Argument("bags_dir", "folder that episodes are written below; empty: no recorder", ""),
                Argument("expert", "true: the scripted expert takes the teleoperator's place", "false"),
                _DISTURBANCE,
                *_REALTIME,
                _THREADS,
                _INSTRUCTION,
            ),
            (_SIM, _COMMANDER, _RECORDER, _EXPERT, _POLICY),
        ),
        Layout(
            "teleop",
            "a person's device and the commander that executes it, and on request the recorder; beside `sim` or a robot",
            (
                Argument("device", "preset (spacemouse, joy, keyboard, leader, pose, hand) or YAML file", "spacemouse"),
                _EMBODIMENT,
                _NAMESPACE,
                Argument("rate_hz", "chunks per second of the device", "30.0"),
                Argument("bags_dir", "folder that episodes are written below; empty: no recorder", ""),
                *_REALTIME,
            ),
            (_COMMANDER, _TELEOP, _RECORDER),
        ),
        Layout(
            "standin",
            "the simulated Panda behind the controllers, gripper actions and robot state of a real one, to rehearse",
            (_EMBODIMENT, _NAMESPACE, _TASK, _SEED),
            (_STANDIN,),
        ),
        Layout(
            "evaluate",
            "commander and recorder for scored trials; hpt-ros evaluate starts the policies, so that it can exchange them",
            (
                _EMBODIMENT,
                _NAMESPACE,
                Argument("bags_dir", "folder that trials are recorded below; false: no recorder", "trials"),
                *_REALTIME,
            ),
            (_COMMANDER, _RECORDER),
        ),
    )
}


def layout(name: str) -> Layout:
    """A layout by name.

    Raises:
        ConfigError: no such layout.
    """
    if name not in LAYOUTS:
        raise ConfigError("up", name, f"one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
