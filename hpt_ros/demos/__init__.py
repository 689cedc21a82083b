"""Bags -> demonstrations that a policy learns from."""

from hpt_ros.demos.convert import ConvertReport, convert
from hpt_ros.demos.demos import Demos, Episode, Window

__all__ = ["ConvertReport", "Demos", "Episode", "Window", "convert"]
