"""Serves a policy of lerobot; runs in lerobot's own environment, which knows nothing of hpt_ros: `python lerobot_server.py FOLDER THREADS`.

Prints its port. Written after lerobot 0.4.4.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
import wire

_CONNECT_S = 30.0  # a node that was killed while this loaded never comes


def load(folder: str) -> tuple[Any, Any, Any]:
    """Policy, and what goes before and after it."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config = PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=folder)
    return policy.eval(), before, after


def remember(policy: Any, batch: dict[str, Any]) -> None:
    """Policies that look at several observations keep the last ones; `select_action` would do this."""
    from lerobot.policies.utils import populate_queues

    if hasattr(policy, "_queues"):
        seen = batch | {"observation.images": torch.stack([batch[key] for key in policy.config.image_features], dim=-4)}
        policy._queues = populate_queues(policy._queues, seen)
        batch |= seen


def main() -> None:
    """Serve until the client hangs up."""
    answer, sys.stdout = sys.stdout, sys.stderr  # lerobot prints
    policy, before, after = load(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))

    @torch.inference_mode()
    def act(arrays: dict[str, Any]) -> Any:
        batch = {"observation.state": torch.from_numpy(arrays["state"].copy())[None]}
        for name, image in arrays.items():
            if name != "state":
                pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
                batch[f"observation.images.{name}"] = pixels
        batch = {name: value for name, value in before(batch).items() if name != "action"}  # None here
        remember(policy, batch)
        return after(policy.predict_action_chunk(batch))[0].float().numpy()

    with socket.create_server((wire.HOST, 0)) as listener:
        listener.settimeout(_CONNECT_S)
        answer.write(f"{listener.getsockname()[1]}\n")
        answer.flush()
        wire.serve(act, listener)


if __name__ == "__main__":
    main()
