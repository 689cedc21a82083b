"""What makes a policy fast to serve; the numbers stay those of the policy."""

from hpt_ros.model.serving.frames import FrameCache
from hpt_ros.model.serving.options import ServingOptions
from hpt_ros.model.serving.prepare import FixedTokens, fast_encoder, plain_copy, prepared
from hpt_ros.model.serving.threads import Threads, candidates, fastest, warn_if_waiting_burns

__all__ = [
    "FixedTokens",
    "FrameCache",
    "ServingOptions",
    "Threads",
    "candidates",
    "fast_encoder",
    "fastest",
    "plain_copy",
    "prepared",
    "warn_if_waiting_burns",
]
