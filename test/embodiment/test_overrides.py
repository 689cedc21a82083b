import pytest

from hpt_ros.embodiment import fingerprint, load_embodiment, overridden
from hpt_ros.errors import ConfigError

FR3 = load_embodiment("fr3")


def test_nothing_given_changes_nothing():
    assert overridden(FR3) == FR3


def test_a_run_is_slower_and_smoother_but_has_the_same_tensors():
    run = overridden(FR3, strategy="blend", limits_fraction=0.5, command_rate_hz=200.0, execute_rows=1)
    assert run.safety.velocity_fraction == FR3.safety.velocity_fraction / 2
    assert run.safety.acceleration_fraction == FR3.safety.acceleration_fraction / 2
    assert run.safety.jerk_fraction == FR3.safety.jerk_fraction / 2
    assert (run.policy.strategy, run.policy.execute_rows, run.command.rate_hz) == ("blend", 1, 200.0)
    assert fingerprint(run) == fingerprint(FR3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limits_fraction": 1.5}, "limits_fraction: found 1.5"),
        ({"limits_fraction": 0.0}, "limits_fraction: found 0.0"),
        ({"strategy": "hope"}, "receding_horizon, temporal_ensemble, blend"),
        ({"execute_rows": 17}, "execute_rows: found 17"),
        ({"command_rate_hz": 5.0}, "rate_hz: found 5.0"),
    ],
)
def test_what_is_out_of_range_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        overridden(FR3, **change)
