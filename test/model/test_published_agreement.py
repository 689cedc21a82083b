"""Agreement with the published code: its outputs for a small policy with random weights (test/fixtures).

hpt_reference_small.npz: weights, inputs and outputs of the policy as it is trained by default.
hpt_reference_variants.npz: outputs alone, as `<case>/<output>`, of the published code at commit 549433f in evaluation mode,
for the weights and inputs of the small file; tensors that it lacks, or has in another shape, are `drawn`. The comments in
`CASES` say what the published policy was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpt_ros.embodiment import Camera
from hpt_ros.embodiment.schema import Timing
from hpt_ros.model import Batch, EncoderConfig, Features, HPTPolicy, PolicyConfig
from hpt_ros.model.config import LanguageConfig
from hpt_ros.model.weights import load_exactly

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-5
UNUSED_AS_PUBLISHED = "modalities_tokens."  # in published files, read by nothing
VIEWS = ("front", "wrist")

Inputs = dict[str, Features]


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """N(0, 1) / sqrt(last axis), from a stream seeded by the first four bytes of the name's SHA-256."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    values = np.random.RandomState(seed).randn(*shape) / np.sqrt(shape[-1])
    return torch.from_numpy(values.astype(np.float32))


def _load(name: str) -> dict[str, Tensor]:
    with np.load(FIXTURES / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture(scope="module")
def small() -> dict[str, Tensor]:
    # The published run's image features are the first draws of this stream; leaving them out halves the file.
    features = np.abs(np.random.RandomState(1).randn(3, 2, 2, 49, 512)).astype(np.float32)
    return {**_load("hpt_reference_small.npz"), "input/image": torch.from_numpy(features)}


@pytest.fixture(scope="module")
def variants() -> dict[str, Tensor]:
    return _load("hpt_reference_variants.npz")


def policy_with(weights: Mapping[str, Tensor], views: int = 2, **options: Any) -> HPTPolicy:
    """The fixture's policy: 9 state values, 7 action values, 4 rows."""
    timing = Timing(rate_hz=30, max_age_s=0.2, allowance_s=0.0)
    shape: Any = SimpleNamespace(
        name="panda",
        state_names=tuple("abcdefghi"),
        action_names=tuple("abcdefg"),
        cameras=tuple(Camera(name, f"/{name}", "raw", (224, 224), timing) for name in VIEWS[:views]),
        depth=(),
        policy=SimpleNamespace(action_horizon=4),
    )
    encoder = EncoderConfig("resnet18", "random")
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, encoder=encoder, **options), shape).eval()
    own = policy.state_dict()
    given = {name.removeprefix("weights/"): t for name, t in weights.items() if name.startswith("weights/")}
    assert all(name in own or name.startswith(UNUSED_AS_PUBLISHED) for name in given)
    fitting = {name: given[name] for name, t in own.items() if name in given and given[name].shape == t.shape}
    encoders = {name: t for name, t in own.items() if name.startswith("encoders.")}
    absent = {name: drawn(name, tuple(t.shape)) for name, t in own.items() if name not in fitting | encoders}
    assert set(absent) <= ADDED
    load_exactly(policy, fitting | encoders | absent, FIXTURES)
    return policy


ADDED = {
    "action_tokens.panda",
    "heads.panda.net.6.weight",  # of action tokens: one row of the chunk, not all of it
    "heads.panda.net.6.bias",
    "stems.panda_language.tokens",
    "stems.panda_language.net.0.weight",
    "stems.panda_language.net.0.bias",
    "stems.panda_language.net.2.weight",
    "stems.panda_language.net.2.bias",
    "stems.panda_language.cross_attention.to_q.weight",
    "stems.panda_language.cross_attention.to_kv.weight",
    "stems.panda_language.cross_attention.to_out.weight",
    "stems.panda_language.cross_attention.to_out.bias",
}


def outputs(policy: HPTPolicy, inputs: Inputs) -> dict[str, Tensor]:
    """What the published code calls by these names; `inputs` with the state in physical units."""
    with torch.no_grad():
        state = policy.scaling.state.normalize(inputs["state"].values).unsqueeze(2)
        features = {**inputs, "state": Features(state)}
        tokens = policy.tokens(features)
        return {
            "stem_image": tokens.values[:, :16],
            "stem_state": tokens.values[:, 16:32],
            "stem_language": tokens.values[:, 32:40],
            "trunk_tokens": policy.contextual(tokens).values,
            "features": policy.pooled(features),
            "action": policy.scaling.action.unnormalize(policy.act(features)),
        }


def windows(small: Mapping[str, Tensor]) -> Inputs:
    """Three windows of two samples and two views."""
    return {"image": Features(small["input/image"]), "state": Features(small["input/state"])}


def one_sample(small: Mapping[str, Tensor]) -> Inputs:
    return {name: Features(f.values[1:2]) for name, f in windows(small).items()}


def one_view(small: Mapping[str, Tensor]) -> Inputs:
    return windows(small) | {"image": Features(small["input/image"][:, :, :1])}


def hidden_view(small: Mapping[str, Tensor]) -> Inputs:
    """The newest sample alone; the second view is there, holds nonsense, and is marked as missing."""
    images = small["input/image"][:, 1:].clone()
    images[:, :, 1] *= 1e3
    front_only = torch.tensor([True, False]).expand(3, 1, 2)
    return {"image": Features(images, front_only), "state": Features(small["input/state"][:, 1:])}


def instructed(small: Mapping[str, Tensor]) -> Inputs:
    """Five tokens of an instruction and two of padding, which the published code does not see."""
    tokens = torch.cat([drawn("input/language", (3, 5, 768)) * 768**0.5, torch.full((3, 2, 768), 9.0)], dim=1)
    keep = (torch.arange(7) < 5).expand(3, 7)
    encoder = policy_with(small, language=LanguageConfig()).encoder("language")
    return windows(small) | {"language": encoder(Batch(small["input/state"], language=tokens, language_keep=keep))}


CASES: dict[str, tuple[dict[str, Any], Callable[[Mapping[str, Tensor]], Inputs]]] = {
    "one_sample": ({}, one_sample),  # the second window alone
    "one_view": ({"views": 1}, one_view),  # image[:, :, :1]: a robot that has lost a camera before training
    "one_view_no_history": ({}, hidden_view),  # image[:, 1:, :1], state[:, 1:]
    "language": ({"language": LanguageConfig()}, instructed),  # modalities image, state, language; five tokens
    "max": ({"pooling": "max"}, windows),
    "last": ({"pooling": "last"}, windows),
    "action_token": ({"pooling": "action_token"}, windows),  # the head gives 7 values for each of 4 action tokens
}
"""Options of the policy, and its inputs."""


@pytest.mark.parametrize("name", ["stem_image", "stem_state", "trunk_tokens", "features", "action"])
def test_output_agrees_with_the_published_code(name: str, small: dict[str, Tensor]) -> None:
    found = outputs(policy_with(small), windows(small))[name]
    torch.testing.assert_close(
        found.reshape(small[f"output/{name}"].shape), small[f"output/{name}"], rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("case", CASES)
def test_variant_agrees_with_the_published_code(
    case: str, small: dict[str, Tensor], variants: dict[str, Tensor]
) -> None:
    options, inputs = CASES[case]
    found = outputs(policy_with(small, **options), inputs(small))
    expected = {key.partition("/")[2]: t for key, t in variants.items() if key.startswith(f"{case}/")}
    assert {"features", "action"} <= set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=TOLERANCE, msg=lambda text, n=name: f"{n}: {text}")


def test_every_stored_case_is_compared(variants: dict[str, Tensor]) -> None:
    assert {key.partition("/")[0] for key in variants} == set(CASES)
