"""Plain `pip install .`: the ROS-free core and the `hpt-ros` command. colcon uses CMakeLists.txt instead."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def shared_files(folder: str) -> list[tuple[str, list[str]]]:
    by_parent: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            by_parent.setdefault(f"share/hpt_ros/{relative.parent}", []).append(str(relative))
    return list(by_parent.items())


setup(
    name="hpt_ros",
    version="0.1.0",
    description="Teleoperate, record, convert, fine-tune and deploy HPT policies on a Franka Panda",
    license="Apache-2.0",
    packages=find_packages(include=["hpt_ros", "hpt_ros.*"]),
    package_data={"hpt_ros": ["py.typed", "sim/assets/*"]},
    python_requires=">=3.10",
    install_requires=requirements("core"),
    extras_require={
        "sim": requirements("sim"),
        "dev": requirements("dev"),
        "lerobot": ["pyarrow>=15"],
        "video": ["av>=14"],
        "rerun": ["rerun-sdk>=0.24"],
        "tensorboard": ["tensorboardX>=2.6"],
        "wandb": ["wandb>=0.18"],
    },
    data_files=shared_files("config") + shared_files("launch") + shared_files("msg"),
    entry_points={"console_scripts": ["hpt-ros = hpt_ros.cli.main:main"]},
)
