"""`compare_with_reference` on a file that this implementation wrote, and on damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.model import EncoderConfig, Features, HPTPolicy, PolicyConfig
from hpt_ros.model.reference import compare_with_reference

FIXTURE = Path(__file__).parents[1] / "fixtures" / "hpt_reference_small.npz"


@pytest.fixture
def arrays(embodiment: Embodiment) -> dict[str, np.ndarray]:
    """Weights, inputs and outputs of a network with sizes of its own."""
    torch.manual_seed(0)
    config = PolicyConfig(
        embed_dim=24,
        num_blocks=3,
        num_heads=2,
        state_tokens=5,
        stem_hidden=20,
        encoder=EncoderConfig("resnet18", "random"),
    )
    policy = HPTPolicy(config, embodiment).eval()
    image, state = torch.rand(2, 1, 2, 49, 512), torch.rand(2, 1, len(embodiment.state_names))
    with torch.no_grad():
        features = {"image": Features(image), "state": Features(policy.scaling.state.normalize(state).unsqueeze(2))}
        tokens = policy.tokens(features)
        action = policy.scaling.action.unnormalize(policy.act(features)).flatten(1)
        outputs = {
            "stem_state": tokens.values[:, 16:],
            "trunk_tokens": policy.contextual(tokens).values,
            "action": action,
        }
    weights = {f"weights/{n}": t for n, t in policy.state_dict().items() if not n.startswith("encoders.")}
    tensors = weights | {"input/image": image, "input/state": state} | {f"output/{n}": t for n, t in outputs.items()}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def test_sizes_are_read_from_the_shapes(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", **arrays)
    found = compare_with_reference(tmp_path / "reference.npz", 2)
    assert found.keys() == {"stem_state", "trunk_tokens", "action"}
    assert max(found.values()) <= 1e-5
    assert compare_with_reference(tmp_path / "reference.npz", 3)["trunk_tokens"] > 1e-4  # heads matter


def test_number_of_heads_may_lie_in_the_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(DataError, match="number of attention heads"):
        compare_with_reference(tmp_path / "reference.npz")
    np.savez(tmp_path / "reference.npz", **arrays, **{"meta/num_heads": np.int64(2)})
    assert max(compare_with_reference(tmp_path / "reference.npz").values()) <= 1e-5


def test_a_changed_weight_shows(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    arrays["weights/trunk.trunk.blocks.2.mlp.fc1.bias"] += 0.1
    np.savez(tmp_path / "reference.npz", **arrays)
    found = compare_with_reference(tmp_path / "reference.npz", 2)
    assert found["stem_state"] <= 1e-5 < found["trunk_tokens"]


def test_published_fixture_agrees_with_the_inputs_it_leaves_out() -> None:
    features = np.abs(np.random.RandomState(1).randn(3, 2, 2, 49, 512)).astype(np.float32)
    assert max(compare_with_reference(FIXTURE, 4, inputs={"image": features}).values()) <= 1e-5
    with pytest.raises(DataError, match="lacks input/image"):
        compare_with_reference(FIXTURE, 4)


def test_file_that_lacks_something_is_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    file = tmp_path / "reference.npz"
    np.savez(file, **{name: a for name, a in arrays.items() if "to_out.bias" not in name})
    with pytest.raises(DataError, match=r"missing: stems\.sim_panda_image\.cross_attention\.to_out\.bias"):
        compare_with_reference(file, 2)
    np.savez(file, **arrays, **{"output/typo": np.zeros(1)})
    with pytest.raises(DataError, match="outputs typo"):
        compare_with_reference(file, 2)
    np.savez(file, weights=np.array([object()]))
    with pytest.raises(DataError, match=r"reference\.npz: not a readable"):
        compare_with_reference(file, 2)
    file.write_bytes(b"PK\x03\x04cut")
    with pytest.raises(DataError, match=r"reference\.npz: not a readable"):
        compare_with_reference(file, 2)
