"""The served policy against `policy.predict`, the plain way."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hpt_ros.embodiment import DepthCamera, Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, Checkpoint, HPTPolicy, PolicyConfig, PolicyRunner, runner
from hpt_ros.model.config import EncoderConfig, HeadConfig, LanguageConfig, LoraConfig
from hpt_ros.model.language import InstructionCache, LanguageTokens
from hpt_ros.model.serving import FixedTokens, Threads, plain_copy

POOLINGS = ("mean", "max", "last", "action_token")
SMALL = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}


@dataclass(frozen=True)
class Seen:
    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    depth: dict[str, NDArray[np.uint16]] = field(default_factory=dict)


def _with(embodiment: Embodiment, horizon: int, views: int, size_px: tuple[int, int] = (32, 32)) -> Embodiment:
    first = embodiment.cameras[0]
    cameras = tuple(replace(first, name=f"view{i}", topic=f"/view{i}", size_px=size_px) for i in range(views))
    return replace(embodiment, cameras=cameras, policy=replace(embodiment.policy, observation_horizon=horizon))


def _policy(config: PolicyConfig, embodiment: Embodiment, seed: int = 0) -> HPTPolicy:
    torch.manual_seed(seed)
    policy = HPTPolicy(config, embodiment)
    rows = np.random.default_rng(seed).uniform(-1, 1, (50, len(embodiment.state_names)))
    policy.scaling.fit(rows, rows)
    return policy.eval()


def _seen(embodiment: Embodiment, frames: list[tuple[int, ...]], seed: int) -> Seen:
    """Frames by number: the same number of the same camera is the same picture."""
    rng = np.random.default_rng(seed)
    images = {}
    for i, camera in enumerate(embodiment.cameras):
        pool = np.random.default_rng(i).integers(0, 256, (4, *camera.size_px, 3), np.uint8)
        images[camera.name] = pool[[numbers[i] for numbers in frames]]
    return Seen(rng.uniform(-1, 1, (len(frames), len(embodiment.state_names))).astype(np.float32), images)


def _batch(seen: Seen) -> Batch:
    images = {name: torch.from_numpy(pixels)[None] for name, pixels in seen.images.items()}
    depth = {name: torch.from_numpy(maps)[None] for name, maps in seen.depth.items()}
    return Batch(torch.from_numpy(seen.state)[None], images, depth)


def _clamped(policy: HPTPolicy, chunk: torch.Tensor) -> NDArray[np.float32]:
    stats = policy.scaling.action.input_stats
    rows: NDArray[np.float32] = chunk[0].clamp(stats.min, stats.max).detach().numpy()
    return rows


def _plain(policy: HPTPolicy, seen: Seen, generator: torch.Generator | None = None) -> NDArray[np.float32]:
    with torch.no_grad():
        return _clamped(policy, policy.predict(_batch(seen), generator))


@given(data=st.data())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_are_those_of_the_plain_policy_whatever_frames_come(data: st.DataObject, embodiment: Embodiment) -> None:
    horizon, views = data.draw(st.integers(1, 3), "horizon"), data.draw(st.integers(1, 3), "views")
    kind = data.draw(st.sampled_from(["spatial_softmax", "resnet18"]), "encoder")
    encoder = EncoderConfig(kind, "random" if kind == "resnet18" else "")  # type: ignore[arg-type]
    body = _with(embodiment, horizon, views)
    policy = _policy(
        PolicyConfig(**SMALL, pooling=data.draw(st.sampled_from(POOLINGS), "pooling"), encoder=encoder), body
    )  # type: ignore[arg-type]
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    numbers = st.tuples(*[st.integers(0, 3)] * views)
    windows = data.draw(
        st.lists(st.lists(numbers, min_size=horizon, max_size=horizon), min_size=1, max_size=4), "frames"
    )
    for seed, frames in enumerate(windows):
        seen = _seen(body, frames, seed)
        np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-4)


def test_frame_that_stays_is_encoded_once(embodiment: Embodiment) -> None:
    body = _with(embodiment, 2, 2)
    served = PolicyRunner(Checkpoint(_policy(PolicyConfig(**SMALL), body), body, {}), threads=1)
    before = served.reused_frames
    for newest in range(1, 4):
        served.act(_seen(body, [(newest - 1,) * 2, (newest,) * 2], newest))
    assert served.reused_frames - before == 4


def test_policy_of_the_checkpoint_stays_as_it_is(embodiment: Embodiment) -> None:
    body = _with(embodiment, 2, 1)
    policy = _policy(PolicyConfig(**SMALL, encoder=EncoderConfig("resnet18", "random")), body)
    before, shape = {k: v.clone() for k, v in policy.state_dict().items()}, str(policy)
    wanted = {name: p.requires_grad for name, p in policy.named_parameters()}
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    served.act(_seen(body, [(0,), (1,)], 0))
    assert str(policy) == shape
    assert "PackedConv2d" in str(served.served)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())
    assert {name: p.requires_grad for name, p in policy.named_parameters()} == wanted


def test_low_rank_factors_are_served_merged(embodiment: Embodiment) -> None:
    body = _with(embodiment, 1, 1)
    policy = _policy(PolicyConfig(**SMALL, lora=LoraConfig(rank=4)), body)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("lora_b"):
                parameter.normal_(0, 0.1)
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    seen = _seen(body, [(0,)], 0)
    np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-4)
    assert "lora" not in " ".join(served.served.state_dict())


@pytest.mark.parametrize("options", [{"quantize": "int8"}, {"dtype": "bfloat16"}])
def test_coarser_arithmetic_says_how_far_it_moves_actions(
    options: dict[str, Any], embodiment: Embodiment, caplog: pytest.LogCaptureFixture
) -> None:
    body = _with(embodiment, 2, 1)
    policy = _policy(PolicyConfig(**SMALL, encoder=EncoderConfig("resnet18", "random")), body)
    with caplog.at_level(logging.INFO):
        served = PolicyRunner(Checkpoint(policy, body, {}), threads=1, **options)
    seen = _seen(body, [(0,), (1,)], 0)
    assert 0 < np.abs(served.act(seen) - _plain(policy, seen)).max() < 0.1
    assert 0 < served.deviation < 0.05
    assert f"{served.deviation:.2g} of their range" in caplog.text


def test_fast_parts_that_disagree_are_not_served(
    embodiment: Embodiment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(policy: HPTPolicy, options: Any, example: Any) -> HPTPolicy:
        copy = plain_copy(policy, options)
        copy.stems["sim_panda_image"].cross_attention.to_out.bias.add_(1)
        return copy

    body = _with(embodiment, 1, 1)
    policy = _policy(PolicyConfig(**SMALL), body)
    monkeypatch.setattr(runner, "prepared", broken)
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    assert "serving the plain policy" in caplog.text
    seen = _seen(body, [(0,)], 0)
    np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-6)


def test_compiling_that_fails_is_reported_and_done_without(
    embodiment: Embodiment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(_: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    body = _with(embodiment, 1, 1)
    policy = _policy(PolicyConfig(**SMALL), body)
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1, compile=True)
    assert "torch.compile failed, serving without: no C++ compiler" in caplog.text
    seen = _seen(body, [(0,)], 0)
    np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-4)


def test_private_operators_that_are_gone_are_done_without(
    embodiment: Embodiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "ops", None)
    monkeypatch.delattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    body = _with(embodiment, 1, 1)
    policy = _policy(PolicyConfig(**SMALL, encoder=EncoderConfig("resnet18", "random")), body)
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    assert "Packed" not in str(served.served)
    seen = _seen(body, [(0,)], 0)
    np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-4)


def test_threads_are_those_asked_for_or_measured(embodiment: Embodiment) -> None:
    body = _with(embodiment, 1, 1)
    checkpoint = Checkpoint(_policy(PolicyConfig(**SMALL), body), body, {})
    assert PolicyRunner(checkpoint, threads=1).threads == Threads(1, 1)
    assert PolicyRunner(checkpoint, threads=2).threads.encoder == 2
    measured = PolicyRunner(checkpoint).threads
    assert min(measured.encoder, measured.rest) >= 1
    torch.set_num_threads(1)


def test_drawing_heads_start_anew_with_a_seed(embodiment: Embodiment) -> None:
    body = _with(embodiment, 1, 1)
    policy = _policy(PolicyConfig(**SMALL), body)

    def draw(context: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return torch.rand(1, policy.rows, len(body.action_names), generator=generator) * 2 - 1

    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1, seed=3)
    served.served.head.sample = draw  # type: ignore[method-assign]
    seen = _seen(body, [(0,)], 0)
    first, second = served.act(seen), served.act(seen)
    assert np.abs(first - second).max() > 0.1
    served.seed(3)
    np.testing.assert_array_equal(served.act(seen), first)
    served.seed(4)
    assert np.abs(served.act(seen) - first).max() > 0.1


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("transformer_decoder", "none"), ("diffusion", "mean"), ("flow", "mean"), ("gmm", "mean"), ("bins", "mean")],
)
def test_every_head_gives_what_it_gives_in_the_plain_policy(kind: str, pooling: str, embodiment: Embodiment) -> None:
    body = _with(embodiment, 2, 1)
    head = HeadConfig(kind=kind, draw=kind in ("gmm", "bins"))  # type: ignore[arg-type]
    policy = _policy(PolicyConfig(**SMALL, pooling=pooling, head=head), body)  # type: ignore[arg-type]
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1, seed=5)
    seen = _seen(body, [(0,), (1,)], 0)
    expected = _plain(policy, seen, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(served.act(seen), expected, rtol=0, atol=1e-3 if kind == "diffusion" else 1e-4)


def test_instruction_is_followed_and_its_tokens_are_made_once(embodiment: Embodiment) -> None:
    body = _with(embodiment, 2, 1)
    language = LanguageConfig(weights="none", max_tokens=4, width=8)
    policy = _policy(PolicyConfig(**SMALL, language=language), body)
    keep = torch.tensor([True, True, False, False])
    entries = {text: LanguageTokens(torch.randn(4, 8), keep) for text in ("open the door", "close the door")}
    policy.instructions = InstructionCache(entries)
    seen, chunks = _seen(body, [(0,), (1,)], 0), []
    for text, tokens in entries.items():
        served = PolicyRunner(Checkpoint(policy, body, {}), threads=1, instruction=text)
        served.served.stems["sim_panda_language"].register_forward_pre_hook(_never_again)
        chunks.append(served.act(seen))
        batch = replace(_batch(seen), language=tokens.values[None], language_keep=tokens.keep[None])
        np.testing.assert_allclose(chunks[-1], _clamped(policy, policy.predict(batch)), rtol=0, atol=1e-4)
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-4
    with pytest.raises(DataError, match="open the door"):
        PolicyRunner(Checkpoint(policy, body, {}), instruction="")


def _never_again(module: torch.nn.Module, _: Any) -> None:
    assert isinstance(module, FixedTokens)


def test_instruction_for_a_policy_without_language_is_refused(embodiment: Embodiment) -> None:
    body = _with(embodiment, 1, 1)
    with pytest.raises(ConfigError, match="no language"):
        PolicyRunner(Checkpoint(_policy(PolicyConfig(**SMALL), body), body, {}), instruction="pick the cube")


def test_depth_is_read_and_checked(embodiment: Embodiment) -> None:
    camera = _with(embodiment, 2, 1)
    depth = DepthCamera("depths", "/depth", (32, 32), (0.1, 2.0), camera.cameras[0].timing)
    body = replace(camera, depth=(depth,))
    policy = _policy(PolicyConfig(**SMALL), body)
    served = PolicyRunner(Checkpoint(policy, body, {}), threads=1)
    maps = np.random.default_rng(0).integers(0, 2500, (2, 32, 32), np.uint16)
    seen = replace(_seen(body, [(0,), (1,)], 0), depth={"depths": maps})
    np.testing.assert_allclose(served.act(seen), _plain(policy, seen), rtol=0, atol=1e-4)
    with pytest.raises(DataError, match="lacks depth camera depths"):
        served.act(replace(seen, depth={}))
    with pytest.raises(DataError, match="depth camera depths: found uint8"):
        served.act(replace(seen, depth={"depths": maps.astype(np.uint8)}))
