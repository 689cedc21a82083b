"""From where on the audit speaks: every threshold, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hpt_ros.configuration import check
from hpt_ros.demos.idle import MOVING_M_S, MOVING_RAD_S
from hpt_ros.demos.settings import ConvertSettings

_FROM_ONE = frozenset({"command_gap_periods", "jump_factor", "chatter_events", "duplicate_points"})


@dataclass(frozen=True)
class AuditConfig:
    """Thresholds of all checks. What the embodiment already says (ages, limits, fractions, workspace) is taken from there.

    Raises:
        ConfigError: a value out of range.
    """

    # Timing
    rate_share: float = 0.9  # of the declared rate; the simulator on a loaded machine keeps 0.97
    command_gap_periods: float = 2.0  # policy periods without a command: two labels in a row repeat an old one
    skew_s: float = 0.05  # of a stream's quickest deliveries behind the others', beyond its allowance: 2 cm at 0.4 m/s
    ahead_s: float = 0.005  # a measurement cannot arrive before it was made; NTP keeps a local network within 1 to 2 ms
    old_sample_periods: float = 2.0  # of the stream: one period at most is expected, plus its allowance
    old_sample_s: float = 0.02  # on top: what a busy machine adds

    # Pictures
    frame_sample_s: float = 0.2  # brightness is measured this often; repeated frames are looked for in all of them
    black_level: int = 16  # of 255, in the brightest channel: the black of video range
    white_level: int = 250  # of 255, in the darkest channel: the sensor's end
    picture_share: float = 0.6  # of the pixels; a white table fills a third of an image, a lamp less
    black_frames_share: float = 0.02  # of the frames: a cable with a bad contact shows itself in few
    white_frames_share: float = 0.1  # of the frames: automatic exposure overshoots for some after a change
    still_rad: float = 0.005  # a joint step that shows: 2 to 4 mm at the hand; simulated frames repeat up to 0.0012
    frozen_s: float = 0.5  # the longest age budget that presets give a camera is 0.25 s
    frozen_rad: float = 0.05  # motion of a joint while the picture stands: no view of the arm stays equal over 2 cm
    repeated_share: float = 0.1  # of the frame pairs in motion; below, single drops are masked by the camera's rate
    repeated_min_pairs: int = 10  # fewer pairs in motion say nothing of a share

    # Motion
    jump_factor: float = 1.2  # of the velocity limit: differences of noisy angles exceed the true speed a little
    jump_window_s: float = 0.005  # shortest time for a speed: at 1 kHz noise of 0.1 mrad would be 0.1 rad/s
    speed_window_s: float = 0.2  # for idleness and velocity limits: stamps of commands jitter by up to 10 ms
    limit_tolerance_rad: float = 0.005  # how near to the commander's margin counts as lying on it
    limit_share: float = 0.02  # of the time: passing by is no fault
    velocity_share: float = 0.97  # of fraction x table; the scripted expert reaches 0.88
    velocity_time_share: float = 0.05  # of the time, so that one fast reach is no fault
    offset_rad: float = 0.03  # median, after the lag: 2 cm at the hand; a position-controlled Panda sags below 0.005
    lag_s: float = 0.15  # commands ahead of the arm: trajectory controllers 0.01 to 0.05, soft impedance up to 0.1
    lead_s: float = 0.04  # arm ahead of the commands, impossible but for jitter of ticks and a wrong clock
    lag_search_s: float = 0.5  # lags up to this are looked for
    lag_correlation: float = 0.5  # below, arm and command do not resemble each other enough to give a lag
    lag_motion_rad: float = 0.05  # a joint that moves less gives no lag
    idle_rad_s: float = MOVING_RAD_S  # all joints slower: what the conversion cuts off at the ends
    idle_m_s: float = MOVING_M_S  # the fingers slower: as above
    idle_share: float = 0.5  # of an episode; DROID's idle share of 70 % froze policies trained on it
    idle_min_s: float = 1.0  # a pause shorter than a second is no fault, however short the episode

    # Gripper
    open_share: float = 0.6  # of the full width: above, open; hysteresis down to the next value
    closed_share: float = 0.4  # of the full width: below, closed
    chatter_s: float = 1.0  # the Franka Hand needs about as long to close and open once
    chatter_events: int = 3  # changes within chatter_s

    # Coverage
    voxel_m: float = 0.05  # about the size of a cube that is grasped
    narrow_m: float = 0.1  # longest side of the box of all TCP positions
    dead_rad: float = 0.001  # range of a joint over all episodes: a tenth of what a person sees
    dead_m: float = 0.001  # range of the fingers over all episodes
    outside_m: float = 0.01  # beyond the workspace box: sag and overshoot stay below

    # Episodes against each other
    failed_score: float = ConvertSettings.min_score  # what conversion leaves out by default
    outlier_min_episodes: int = 8  # with fewer, a median absolute deviation says nothing
    outlier_z: float = 6.0  # robust z-score; durations of people have heavy tails, 3.5 would name good episodes
    outlier_floor: float = 0.1  # of the median is the least deviation: equal episodes would make every other an outlier
    outlier_start_rad: float = 0.3  # distance of the start pose from the median one below which it is never odd
    duplicate_rad: float = 0.003  # mean joint distance of two paths; a person does not repeat a motion to 2 mm
    duplicate_points: int = 32  # that a path is resampled to

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share"):
                check(0 < value <= 1, field.name, value, "above 0, at most 1")
            elif field.name in _FROM_ONE:
                check(value >= 1, field.name, value, ">= 1")
            else:
                check(value > 0, field.name, value, "> 0")
        check(
            self.closed_share < self.open_share, "closed_share", self.closed_share, f"< open_share ({self.open_share})"
        )
