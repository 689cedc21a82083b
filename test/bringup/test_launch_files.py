import importlib.util
import sys

import pytest

from hpt_ros.bringup.launching import launch_description
from hpt_ros.bringup.layout import LAYOUTS, layout
from hpt_ros.errors import MissingDependencyError
from hpt_ros.paths import share_dir


def generate(name: str):
    spec = importlib.util.spec_from_file_location(f"{name}_launch", share_dir() / "launch" / f"{name}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def test_without_ros2_launch_the_other_way_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "launch", None)
    with pytest.raises(MissingDependencyError, match=r"(?s)ros2launch.*hpt-ros up policy"):
        launch_description("policy")


@pytest.mark.parametrize("name", LAYOUTS)
def test_launch_files_declare_the_arguments_of_their_layout(name):
    launch = pytest.importorskip("launch", reason="needs ROS 2's launch, which has no wheel")
    pytest.importorskip("launch_ros", reason="needs ROS 2's launch_ros, which has no wheel")
    declared = [e.name for e in generate(name).entities if isinstance(e, launch.actions.DeclareLaunchArgument)]
    assert declared == [argument.name for argument in layout(name).arguments]
