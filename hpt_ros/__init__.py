"""From teleoperated demonstrations to a learned HPT policy on a Franka Panda."""

from pkgutil import extend_path

# The generated messages (hpt_ros.msg, hpt_ros.srv) may lie in another folder of sys.path than these sources.
__path__ = extend_path(__path__, __name__)
__version__ = "0.1.0"
