import dataclasses

import pytest
import yaml

from hpt_ros.embodiment import embodiment_from, embodiment_to, fingerprint, load_embodiment, presets, require_same
from hpt_ros.errors import ConfigError, FingerprintError
from hpt_ros.paths import config_dir


def sim_panda() -> dict:
    return yaml.safe_load((config_dir("embodiments") / "sim_panda.yaml").read_text())


def test_the_presets_are_there():
    assert {"sim_panda", "panda", "fr3"} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_presets_load_and_survive_a_round_trip(name):
    embodiment = load_embodiment(name)
    assert embodiment.name == name
    assert embodiment_from(embodiment_to(embodiment)) == embodiment


@pytest.mark.parametrize("name", [name for name in presets() if not load_embodiment(name).simulated])
def test_presets_of_real_robots_see_a_hanging_camera_and_a_table(name):
    robot = load_embodiment(name)
    assert all(0 < camera.timing.frozen_after_s <= 1 for camera in robot.cameras)
    assert robot.safety.table_z_m == 0.0
    for stream in (robot.joints, robot.gripper, *robot.cameras):  # one lost sample is no stop
        timing = stream.timing
        assert timing.max_age_s >= timing.allowance_s + 3 / timing.rate_hz


def test_streams_stand_in_the_order_of_the_tensors():
    keys = [spec.key for spec in load_embodiment("sim_panda").streams()]
    assert keys == ["joints", "gripper", "camera.front", "camera.wrist"]


@pytest.mark.parametrize(
    ("path", "value", "key", "hint"),
    [
        (("policy", "rate_hz"), 0, "policy.rate_hz", "above 0"),
        (("policy", "rate_hz"), "fast", "policy.rate_hz", "a number"),
        (("policy", "execute_rows"), 99, "policy.execute_rows", "action_horizon"),
        (("cameras", 0, "transport"), "theora", "cameras[0].transport", "'raw', 'compressed'"),
        (("cameras", 1, "name"), "front", "cameras", "differ"),
        (("joints", "timing", "max_age_s"), 0.001, "joints.timing.max_age_s", "> allowance_s"),
        (("joints", "timing", "frozen_after_s"), 0.001, "joints.timing.frozen_after_s", "three periods"),
        (("joints", "names"), ["panda_joint1"], "joints.names", "7 joints"),
        (("joints", "topic"), "joint states", "joints.topic", "absolute topic"),
        (("safety", "limits"), "ur5", "safety.limits", "fer, fr3"),
        (("safety", "velocity_fraction"), 2.0, "safety.velocity_fraction", "at most 1"),
        (("safety", "workspace", "x_m"), [0.5, 0.1], "safety.workspace.x_m", "low < high"),
        (("home_rad",), [0, 0, 0, 0, 0, 0, 0], "home_rad", "position limits"),
        (("jonits",), {}, "jonits", "one of name"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_path(path, value, key, hint):
    data = sim_panda()
    target = data
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(ConfigError) as refusal:
        embodiment_from(data)
    assert refusal.value.path == key
    assert hint in str(refusal.value)


def test_a_missing_key_is_refused(tmp_path):
    data = sim_panda()
    del data["joints"]["topic"]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=r"mine.yaml: joints.topic: found 'nothing'"):
        load_embodiment(file)


@pytest.mark.parametrize("text", ["[1, 2", "- a\n- b\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_embodiment(tmp_path / "bad.yaml")


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match="fr3_crisp_pose, panda, panda_multipanda, sim_panda"):
        load_embodiment("kuka")


def test_fingerprint_follows_tensors_only():
    base = load_embodiment("sim_panda")
    moved = dataclasses.replace(base, joints=dataclasses.replace(base.joints, topic="/other/joint_states"))
    assert fingerprint(moved) == fingerprint(base)
    swapped = dataclasses.replace(base, cameras=base.cameras[::-1])
    assert fingerprint(swapped) != fingerprint(base)


def test_the_fingerprint_is_the_same_on_every_machine():
    assert fingerprint(load_embodiment("sim_panda")) == "e2041fe138ab847c"


def test_a_mismatch_prints_each_difference():
    base = load_embodiment("sim_panda")
    other = dataclasses.replace(base, policy=dataclasses.replace(base.policy, rate_hz=20.0))
    require_same(base, base, "a", "b")
    with pytest.raises(FingerprintError, match=r"policy.rate_hz: expected 15.0, found 20.0"):
        require_same(base, other, "the checkpoint", "the robot")
