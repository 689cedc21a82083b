"""What is wrong with a running graph, and what to do about it: pure judgement of what was heard."""

from __future__ import annotations

from collections.abc import Iterator

from hpt_ros.cli.finding import Finding
from hpt_ros.embodiment import Embodiment
from hpt_ros.nodes.live_probe import LiveFacts, StreamFacts

_ENOUGH = 0.8  # of the expected rate
_AHEAD_S = 0.002
_COMMANDER = "commander_node"


def judge(embodiment: Embodiment, facts: LiveFacts) -> Iterator[Finding]:
    """One finding for each stream, the command topic, the controllers, the robot and the clocks."""
    for stream in facts.streams:
        yield _stream(stream)
    yield _clocks(facts)
    yield _command(embodiment, facts)
    if embodiment.recovery:
        yield _controllers(embodiment, facts)
    if embodiment.robot_state:
        yield _robot(embodiment, facts)


def _stream(stream: StreamFacts) -> Finding:
    spec, name = stream.spec, f"{stream.spec.key} {stream.spec.topic}"
    if not stream.publishers:
        return Finding(name, False, "nobody publishes it", "start its driver, or correct the topic in the embodiment")
    who = ", ".join(stream.publishers)
    if spec.msgtype not in stream.types:
        return Finding(name, False, f"{', '.join(stream.types)} from {who}", f"the embodiment expects {spec.msgtype}")
    if len(stream.publishers) > 1:
        return Finding(name, False, f"published by {who}", "stop all but one: their samples would be mixed")
    reliability = "reliable" if stream.reliable else "best effort"
    seen = f"{stream.rate_hz:.1f} Hz, {reliability}, from {who}"
    if stream.unstamped:
        return Finding(name, False, f"{seen}, {stream.unstamped} without a stamp", "make the driver stamp its messages")
    if stream.age_s is None:
        return Finding(
            name,
            False,
            f"published by {who}, but nothing arrives",
            "check the network, the ROS domain and QoS overrides",
        )
    seen += f", {stream.age_s[1] * 1e3:.0f} ms old at the most"
    if stream.disordered:
        seen += f", {stream.disordered} stamps not newer than the one before"
        return Finding(
            name, False, seen, "make the driver stamp each sample once, when it is taken; or one driver hangs"
        )
    if stream.rate_hz < _ENOUGH * spec.rate_hz:
        remedy = (
            f"{spec.rate_hz:g} Hz are expected: check the driver's rate, cable and network, or correct the embodiment"
        )
        if not stream.reliable and spec.key.startswith(("camera.", "depth.")):
            remedy = (
                "make the driver publish reliably, or use its compressed topic: large best-effort images lose fragments"
            )
        return Finding(name, False, seen, remedy)
    if stream.age_s[1] > spec.max_age_ns * 1e-9:
        return Finding(name, False, seen, f"older than its budget of {spec.max_age_ns / 1e6:.0f} ms: reduce the delay")
    return Finding(name, True, seen)


def _clocks(facts: LiveFacts) -> Finding:
    """A stamp from the future shows a clock that is ahead; one that is behind cannot be told from a delay."""
    ages = [(stream.age_s[0], stream.spec.key) for stream in facts.streams if stream.age_s]
    if not ages:
        return Finding("clocks", False, "no stamps to compare", "start the drivers first")
    youngest_s, key = min(ages)
    seen = f"the youngest sample ({key}) is {youngest_s * 1e3:.1f} ms old"
    if youngest_s < -_AHEAD_S:
        return Finding("clocks", False, seen, "the sender's clock is ahead of this one: run chrony or ptp on both")
    return Finding("clocks", True, seen)


def _command(embodiment: Embodiment, facts: LiveFacts) -> Finding:
    name = f"command {embodiment.command.topic}"
    others = [node for node in facts.command_publishers if not node.endswith(f"/{_COMMANDER}")]
    if others or len(facts.command_publishers) > 1:
        return Finding(
            name, False, f"published by {', '.join(facts.command_publishers)}", "only one commander may speak here"
        )
    if not facts.command_subscribers:
        return Finding(name, False, "nobody listens", "load and start the controller, or correct command.topic")
    backend, sent = embodiment.command.backend, facts.command_type
    for listener in facts.command_subscribers:
        if listener.msgtype != sent:
            remedy = f"{backend} sends {sent}, which never reaches it: correct command.backend or command.topic"
            return Finding(name, False, f"{listener.name} takes {listener.msgtype}", remedy)
        if listener.transient_local:
            remedy = "commands are volatile, and never reach it: make its subscription volatile"
            return Finding(name, False, f"{listener.name} asks for transient local durability", remedy)
    return Finding(name, True, f"heard by {', '.join(listener.name for listener in facts.command_subscribers)}")


def _controllers(embodiment: Embodiment, facts: LiveFacts) -> Finding:
    assert embodiment.recovery is not None
    name, manager = "controllers", embodiment.recovery.controller_manager
    if facts.controllers is None:
        return Finding(
            name, False, f"{manager} does not answer", "start the robot's driver, or install controller_manager_msgs"
        )
    wanted = embodiment.recovery.controllers
    states = ", ".join(f"{name}: {facts.controllers.get(name, 'not loaded')}" for name in wanted)
    down = [name for name in wanted if facts.controllers.get(name) != "active"]
    remedy = f"ros2 control switch_controllers --activate {' '.join(down)}, or recover_errors of the commander"
    return Finding(name, not down, states, remedy if down else "")


def _robot(embodiment: Embodiment, facts: LiveFacts) -> Finding:
    assert embodiment.robot_state is not None
    if facts.health is None:
        return Finding("robot", False, "no robot state", "check robot_state.topic, and that its broadcaster is active")
    seen = f"mode {facts.health.mode}, errors: {', '.join(facts.health.errors) or 'none'}"
    reason = facts.health.fault(embodiment.robot_state.min_success_rate)
    return Finding("robot", not reason, seen, "release the user stop, clear the error in Desk or by recover_errors")
