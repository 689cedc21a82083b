import pytest

from hpt_ros.bringup.layout import LAYOUTS, layout, namespace_of, ros_parameters
from hpt_ros.bringup.supervisor import Supervisor
from hpt_ros.errors import ConfigError
from hpt_ros.paths import share_dir


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_its_launch_file_and_only_real_arguments(name):
    assert (share_dir() / "launch" / f"{name}.launch.py").is_file()
    names = {argument.name for argument in layout(name).arguments}
    for process in layout(name).processes:
        assert set(process.parameters.values()) <= names
        assert process.when in names | {""}


def test_a_required_argument_is_asked_for():
    with pytest.raises(ConfigError, match=r"policy: checkpoint.*\n.*checkpoint:="):
        layout("policy").resolve({})


def test_an_unknown_argument_or_layout_is_refused():
    with pytest.raises(ConfigError, match="speeed"):
        layout("sim").resolve({"speeed": "2"})
    with pytest.raises(ConfigError, match="sim, viewer, policy, record, demo"):
        layout("dmeo")


def test_processes_follow_their_switch():
    demo = layout("demo")
    assert [p.executable for p in demo.active(demo.resolve({}))] == ["sim_node", "commander_node"]
    values = demo.resolve({"expert": "true", "bags_dir": "/tmp/bags"})
    assert [p.executable for p in demo.active(values)] == ["sim_node", "commander_node", "recorder_node", "expert_node"]


def test_parameters_have_the_type_of_the_default():
    values = layout("sim").resolve({"speed": "3", "seed": "7"})
    parameters = ros_parameters(layout("sim").processes[0], values)
    texts = {"embodiment": "sim_panda", "task": "reach", "variation": "none"}
    assert parameters == texts | {"seed": 7, "speed": 3.0, "disturbance": 0.0}
    assert isinstance(parameters["speed"], float)
    with pytest.raises(ConfigError, match=r"speed: found 'fast', allowed: a number such as 1.0"):
        layout("sim").resolve({"speed": "fast"})


def test_text_that_looks_like_a_number_stays_text():
    values = layout("demo").resolve({"bags_dir": "2026"})
    assert values["bags_dir"] == "2026"


def test_a_run_of_a_policy_is_set_by_its_arguments():
    policy = layout("policy")
    values = policy.resolve({"checkpoint": "c", "dry_run": "true", "namespace": "left/", "visualise": "true"})
    assert namespace_of(values) == "/left"
    assert [p.executable for p in policy.active(values)] == ["policy_node", "commander_node", "visualiser_node"]
    commander = ros_parameters(policy.active(values)[1], values)
    assert (commander["dry_run"], commander["limits_fraction"]) == (True, 1.0)
    with pytest.raises(ConfigError, match="dry_run: found 'maybe', allowed: true or false"):
        policy.resolve({"checkpoint": "c", "dry_run": "maybe"})


def test_cameras_need_ros2_launch(tmp_path):
    with pytest.raises(ConfigError, match="ros2 launch starts them"):
        Supervisor(layout("policy"), {"checkpoint": "c", "cameras": "front:123"}, 1, tmp_path)
