"""Prepare .venv: ROS 2 wheels, the learning stack, our messages. Standard library only; run again, it repairs or does nothing.

Usage: python3 tools/setup_env.py [--demo]    (--demo: without the messages of a Franka's controllers)
"""

import ctypes.util
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
CACHE = os.path.join(ROOT, ".cache")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "hpt_ros_setup.json")
SUPPORTED = ((3, 10), (3, 13))  # ROS 2 Kilted has wheels for these
NEEDED_BYTES = 5 * 10**9
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
DROP_DIRS = os.path.join(ROOT, "cmake", "drop_missing_include_dirs.cmake")
ROBOT_PACKAGES = [
    os.path.join(ROOT, "test", "ros_packages", name)
    for name in ("control_msgs", "controller_manager_msgs", "franka_msgs")
]
REQUIREMENTS = ("torch", "ros-kilted", "core", "sim", "dev")


class SetupError(Exception):
    """A refusal with its remedy, shown without a traceback."""


def main():
    try:
        check_python()
        os.makedirs(CACHE, exist_ok=True)
        with open(os.path.join(CACHE, "setup.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two `make` at once: the second waits, then finds nothing to do
            prepare()
    except SetupError as error:
        sys.stderr.write("\nsetup: {}\n".format(error))
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nsetup: interrupted; run the same command again to go on\n")
        return 130
    return 0


def prepare():
    steps = [("packages", packages_key(), install_packages), ("messages", messages_key(), build_messages)]
    if "--demo" not in sys.argv[1:]:
        steps.append(("robot_messages", robot_messages_key(), build_robot_messages))
    done = read_stamp()
    if all(done.get(name) == key for name, key, _ in steps) and os.path.exists(PYTHON):
        return
    check_system()
    check_space()
    for name, key, step in steps:
        if done.get(name) == key and os.path.exists(PYTHON):
            continue
        done.pop(name, None)
        write_stamp(done)
        step()
        done[name] = key
        write_stamp(done)
    shutil.rmtree(os.path.join(CACHE, "pip"), ignore_errors=True)
    say("ready: .venv/bin/hpt-ros")


def check_python():
    found = sys.version_info[:2]
    if not SUPPORTED[0] <= found <= SUPPORTED[1]:
        raise SetupError(
            "Python {}.{} found, 3.10 to 3.13 needed (ROS 2's wheels exist for these)\n"
            "  -> install one of them, then: make PYTHON=/path/to/python3.12 setup".format(*found)
        )


def check_system():
    """Compiler, CMake, headers, venv and the headless graphics library; root gets them installed, others get the line."""
    missing = []
    if not (shutil.which("c++") or shutil.which("g++")):
        missing.append(("a C++ compiler", "g++"))
    if not shutil.which("cmake"):
        missing.append(("CMake", "cmake"))
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        missing.append(("Python's headers", "python{}.{}-dev".format(*sys.version_info[:2])))
    if subprocess.call([sys.executable, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL) != 0:
        missing.append(("Python's venv", "python{}.{}-venv".format(*sys.version_info[:2])))
    if ctypes.util.find_library("EGL") is None:
        missing.append(("the headless graphics library", "libegl1 libgl1-mesa-dri"))
    if not missing:
        return
    packages = " ".join(package for _, package in missing).split()
    names = ", ".join(name for name, _ in missing)
    line = "apt-get update && apt-get install -y --no-install-recommends " + " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SetupError("missing: {}\n  -> sudo sh -c '{}'".format(names, line))
    say("installing the system packages " + " ".join(packages))
    run(["sh", "-c", line], env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))


def check_space():
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise SetupError(
            "{:.1f} GB free in {}, {:.0f} GB needed\n  -> free some space and run the same command again".format(
                free / 1e9, ROOT, NEEDED_BYTES / 1e9
            )
        )


def install_packages():
    say("creating .venv with Python {}.{}.{}".format(*sys.version_info[:3]))
    run([sys.executable, "-m", "venv", "--clear", VENV])
    # of 17 000 modules few are ever imported; Python compiles those when they are
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--no-input", "--no-compile"]
    run(pip + ["--upgrade", "pip>=24"])
    say("installing PyTorch")
    torch = pip + ["-r", requirement("torch")]
    cpu = ["--extra-index-url", TORCH_CPU_INDEX, "--retries", "0", "--timeout", "15"]
    if shutil.which("nvidia-smi") or not succeeds(torch + cpu):
        run(torch)
    say("installing ROS 2 Kilted, the simulator and the tools")
    # one command for all of ROS: see requirements/ros-kilted.txt
    run(pip + [item for name in REQUIREMENTS for item in ("-r", requirement(name))])


def build_messages():
    say("building the messages (colcon)")
    colcon([ROOT], "build", ["--symlink-install"], "Release")
    link_command()
    run([PYTHON, "-c", "import rclpy, torch, mujoco, cv2, rosbags; from hpt_ros.msg import ActionChunk"])


def build_robot_messages():
    """What the controllers of a Franka speak, for the stand-in of the robot and its tests. There are no wheels of these packages."""
    say("building the robot's messages (colcon)")
    colcon(ROBOT_PACKAGES, "build_robot", [], "None")  # not optimised: compiles in half the time
    run([PYTHON, "-c", "import franka_msgs.action, control_msgs.action, controller_manager_msgs.srv"])


def colcon(paths, build_name, options, build_type):
    environment = dict(os.environ, VIRTUAL_ENV=VENV, AMENT_PREFIX_PATH=VENV, CMAKE_PREFIX_PATH=VENV)
    environment["PATH"] = os.path.join(VENV, "bin") + os.pathsep + os.environ.get("PATH", "")
    environment["COLCON_HOME"] = os.path.join(VENV, "colcon")
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "COLCON_PREFIX_PATH"):  # of a ROS that may be sourced
        environment.pop(name, None)
    build = os.path.join(VENV, build_name)
    try:
        run(
            [os.path.join(VENV, "bin", "colcon"), "--log-base", os.path.join(VENV, "log"), "build", "--paths"]
            + [*paths, "--merge-install", "--install-base", VENV, "--build-base", build, *options]
            + ["--cmake-args", "-DBUILD_TESTING=OFF", "-DCMAKE_BUILD_TYPE=" + build_type],
            env=environment,
        )
    except SetupError:
        shutil.rmtree(build, ignore_errors=True)  # the next run starts clean
        raise


def link_command():
    """.venv/bin/hpt-ros, and these sources first on the path: `pip install -e` would uninstall what colcon installed."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"  # ours would name Debian's dist-packages
    site = subprocess.check_output([PYTHON, "-c", ask], universal_newlines=True).strip()
    with open(os.path.join(site, "hpt_ros_sources.pth"), "w") as stream:
        stream.write("import sys; sys.path.insert(0, {!r})\n".format(ROOT))
    command = os.path.join(VENV, "bin", "hpt-ros")
    with open(command, "w") as stream:
        stream.write('#!/bin/sh\nexec "{0}/bin/python" "{0}/lib/hpt_ros/hpt-ros" "$@"\n'.format(VENV))
    os.chmod(command, 0o755)


def requirement(name):
    return os.path.join(ROOT, "requirements", name + ".txt")


def packages_key():
    return digest([requirement(name) for name in REQUIREMENTS], "{} {}".format(ROOT, sys.version))


def messages_key():
    files = [os.path.join(ROOT, name) for name in ("CMakeLists.txt", "package.xml", "setup.py", "pyproject.toml")]
    files.append(DROP_DIRS)
    for folder in ("msg", "srv"):
        files += sorted(os.path.join(ROOT, folder, name) for name in os.listdir(os.path.join(ROOT, folder)))
    return digest(files, packages_key())


def robot_messages_key():
    files = [os.path.join(ROOT, "test", "ros_packages", "interfaces.cmake"), DROP_DIRS]
    for package in ROBOT_PACKAGES:
        for folder, folders, names in os.walk(package):
            folders.sort()
            files += sorted(os.path.join(folder, name) for name in names)
    return digest(files, packages_key())


def digest(paths, extra):
    state = hashlib.sha256(extra.encode())
    for path in paths:
        with open(path, "rb") as stream:
            state.update(path.encode() + b"\0" + stream.read())
    return state.hexdigest()


def read_stamp():
    try:
        with open(STAMP) as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return {}


def write_stamp(done):
    if os.path.isdir(VENV):
        with open(STAMP + ".new", "w") as stream:
            json.dump(done, stream)
        os.replace(STAMP + ".new", STAMP)


def succeeds(command):
    try:
        run(command)
    except SetupError:
        return False
    return True


def run(command, env=None):
    """Run a command, its output into the log, its last line on the terminal; its end is our refusal when it fails."""
    environment = dict(env or os.environ, PIP_CACHE_DIR=os.path.join(CACHE, "pip"))
    log_path = os.path.join(CACHE, "setup.log")
    tail, shown = [], time.monotonic()
    with open(log_path, "a") as log:
        log.write("\n$ {}\n".format(" ".join(command)))
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for line in child.stdout:
            log.write(line)
            tail = tail[-14:] + [line]
            shown = show(line, shown)
        child.wait()
    show_end()
    if child.returncode != 0:
        raise SetupError(
            "failed: {}\n{}  (whole log: {})\n  -> mend what it says and run the same command again".format(
                " ".join(command[:6]), "".join("  | " + line for line in tail), log_path
            )
        )


def show(line, shown):
    """One moving line on a terminal; a line every 10 s elsewhere."""
    now = time.monotonic()
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K  " + line.strip()[: shutil.get_terminal_size().columns - 4])
        sys.stdout.flush()
    elif now - shown > 10:
        sys.stdout.write("  ... {}\n".format(line.strip()[:100]))
        sys.stdout.flush()
        return now
    return shown


def show_end():
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K")
        sys.stdout.flush()


def say(text):
    sys.stdout.write("setup: {}\n".format(text))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
