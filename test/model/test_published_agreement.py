"""Agreement with the published code: its outputs for a small policy with random weights (test/fixtures)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpt_ros.embodiment import Camera
from hpt_ros.embodiment.schema import Timing
from hpt_ros.model import EncoderConfig, Features, HPTPolicy, PolicyConfig
from hpt_ros.model.weights import load_exactly

FIXTURE = Path(__file__).parents[1] / "fixtures" / "hpt_reference_small.npz"
TOLERANCE = 1e-5
UNUSED_AS_PUBLISHED = "modalities_tokens."  # in published files, read by nothing


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(FIXTURE) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    # The published run's image features are the first draws of this stream; leaving them out halves the file.
    features = np.abs(np.random.RandomState(1).randn(3, 2, 2, 49, 512)).astype(np.float32)
    return {**tensors, "input/image": torch.from_numpy(features)}


@pytest.fixture(scope="module")
def policy(reference: dict[str, Tensor]) -> HPTPolicy:
    """The fixture's policy: 9 state values, 7 action values, 4 rows, 2 views."""
    timing = Timing(rate_hz=30, max_age_s=0.2, allowance_s=0.0)
    shape: Any = SimpleNamespace(
        name="panda",
        state_names=tuple("abcdefghi"),
        action_names=tuple("abcdefg"),
        cameras=tuple(Camera(name, f"/{name}", "raw", (224, 224), timing) for name in ("front", "wrist")),
        policy=SimpleNamespace(action_horizon=4),
    )
    encoder = EncoderConfig("resnet18", "random")
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, encoder=encoder), shape).eval()
    weights = {name.removeprefix("weights/"): t for name, t in reference.items() if name.startswith("weights/")}
    used = {name: t for name, t in weights.items() if not name.startswith(UNUSED_AS_PUBLISHED)}
    encoders = {name: t for name, t in policy.state_dict().items() if name.startswith("encoders.")}
    load_exactly(policy, used | encoders, FIXTURE)
    return policy


@pytest.fixture(scope="module")
def outputs(policy: HPTPolicy, reference: dict[str, Tensor]) -> Mapping[str, Tensor]:
    image, state = reference["input/image"], reference["input/state"]
    with torch.no_grad():
        normalized = policy.scaling.state.normalize(state).unsqueeze(2)
        features = {"image": Features(image), "state": Features(normalized)}
        tokens = policy.tokens(features)
        return {
            "stem_image": tokens.values[:, :16],
            "stem_state": tokens.values[:, 16:],
            "trunk_tokens": policy.contextual(tokens).values,
            "features": policy.pooled(features),
            "action": policy.scaling.action.unnormalize(policy.act(features)).flatten(1),
        }


@pytest.mark.parametrize("name", ["stem_image", "stem_state", "trunk_tokens", "features", "action"])
def test_output_agrees_with_the_published_code(
    name: str, outputs: Mapping[str, Tensor], reference: dict[str, Tensor]
) -> None:
    torch.testing.assert_close(outputs[name], reference[f"output/{name}"], rtol=0, atol=TOLERANCE)
