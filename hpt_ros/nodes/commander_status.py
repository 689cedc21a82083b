"""What the commander says of itself, ten times a second."""

from __future__ import annotations

from hpt_ros.control.commander import Commander
from hpt_ros.control.latency import StageLatency
from hpt_ros.control.pacing import Pacer, Window
from hpt_ros.msg import CommanderStatus
from hpt_ros.nodes.messages import set_time


def commander_status(
    commander: Commander, now_ns: int, pacer: Pacer, lateness_s: Window, chunk_latency_s: Window, stages: StageLatency
) -> CommanderStatus:
    """The message; it reads counters that the control thread writes, so two of them may be a tick apart."""
    message = CommanderStatus(
        state=commander.state.value,
        reason=commander.reason,
        source=commander.source,
        ticks=pacer.periods,
        rate_hz=lateness_s.rate_hz(),
        lateness_p50_ms=lateness_s.percentile(50) * 1e3,
        lateness_p99_ms=lateness_s.percentile(99) * 1e3,
        lateness_max_ms=lateness_s.percentile(100) * 1e3,
        chunks_accepted=commander.chunks_accepted,
        chunks_rejected=commander.rejections.total(),
        last_rejection=commander.last_rejection,
        rows_late=commander.rows_late,
        limited_ticks=commander.limited_ticks,
        chunk_latency_p50_ms=chunk_latency_s.percentile(50) * 1e3,
        chunk_latency_p99_ms=chunk_latency_s.percentile(99) * 1e3,
        intervention=commander.intervention,
        joints_age_ms=commander.joints_age_ms(now_ns),
        robot_state_age_ms=commander.robot_state_age_ms(now_ns),
        missed_ticks=pacer.missed,
        seams=commander.seams,
        largest_seam_rad=commander.largest_seam_rad,
        stages=list(stages.stages),
        stage_p50_ms=stages.percentiles_ms(50),
        stage_p99_ms=stages.percentiles_ms(99),
        limits=list(commander.limit_ticks),
        limit_ticks=list(commander.limit_ticks.values()),
        rejections=list(commander.rejections),
        rejection_counts=list(commander.rejections.values()),
    )
    set_time(message.header.stamp, now_ns)
    return message
