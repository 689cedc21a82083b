from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, T5EncoderModel

from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, HPTPolicy, LanguageConfig, PolicyConfig, PolicyRunner, load_checkpoint, save_checkpoint
from hpt_ros.model.language import InstructionCache, LanguageTokens, embed, with_instruction

LEFT, RIGHT = "push the cube to the left", "push the cube to the right"


@pytest.fixture
def config(t5_folder: Path) -> LanguageConfig:
    return LanguageConfig(str(t5_folder), max_tokens=8, width=24)


@pytest.fixture
def policy(embodiment: Embodiment, config: LanguageConfig) -> HPTPolicy:
    """A policy with language, which knows LEFT and RIGHT."""
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4, language=config), embodiment).eval()
    policy.scaling.fit(*(torch.rand(50, 8).numpy() for _ in range(2)))
    policy.instructions = embed(config, [LEFT, RIGHT])
    return policy


@pytest.fixture
def told(batch: Batch, policy: HPTPolicy) -> Batch:
    """The first half is told LEFT, the second RIGHT."""
    assert policy.instructions is not None
    tokens = [policy.instructions.tokens(text) for text in (LEFT, LEFT, RIGHT, RIGHT)]
    return replace(
        batch,
        language=torch.stack([t.values for t in tokens]),
        language_keep=torch.stack([t.keep for t in tokens]),
    )


def test_tokens_are_those_of_t5_and_the_rest_is_padding(config: LanguageConfig, t5_folder: Path) -> None:
    values, keep = embed(config, [f"  {LEFT}\n"]).tokens(LEFT)
    ids = AutoTokenizer.from_pretrained(t5_folder)(LEFT, return_tensors="pt").input_ids
    expected = T5EncoderModel.from_pretrained(t5_folder).eval()(input_ids=ids).last_hidden_state[0]
    assert keep.tolist() == [True] * 7 + [False]
    torch.testing.assert_close(values[:7], expected)
    assert not values[7:].any()


def test_tokens_do_not_depend_on_the_other_texts(config: LanguageConfig) -> None:
    alone, both = embed(config, [RIGHT]), embed(config, ["pull", RIGHT, LEFT, RIGHT])
    assert both.texts == ("pull", RIGHT, LEFT)
    assert torch.equal(alone.tokens(RIGHT).values, both.tokens(RIGHT).values)


@pytest.mark.parametrize(
    ("changes", "texts", "message"),
    [
        ({}, ["push " * 8], "has 9 tokens .* at most 8"),
        ({}, [LEFT, " "], "an instruction is empty"),
        ({}, [LEFT, "push the Würfel"], "'push the Würfel' has words that the language model cannot read"),
        ({"sha256": "0" * 64}, [LEFT], f"expected {'0' * 64}"),
        ({"weights": "gone"}, [LEFT], "missing: gone"),
    ],
)
def test_refusals(config: LanguageConfig, changes: dict[str, str], texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        embed(replace(config, **changes), texts)


def test_a_model_of_another_width_is_refused(config: LanguageConfig) -> None:
    with pytest.raises(ConfigError, match=r"language\.width: found 768, allowed: 24"):
        embed(replace(config, width=768), [LEFT])


def test_a_language_model_without_tokenizer_is_refused(config: LanguageConfig, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((Path(config.weights) / name).read_bytes())
    with pytest.raises(DataError, match=r"missing: .*tokenizer\.json") as refusal:
        embed(replace(config, weights=str(tmp_path)), [LEFT])
    assert f"hf download google-t5/t5-base --local-dir {tmp_path}" in refusal.value.remedy


def test_configuration_survives_plain_data(config: LanguageConfig) -> None:
    policy = PolicyConfig(language=config)
    assert from_mapping(PolicyConfig, json.loads(json.dumps(to_mapping(policy)))) == policy
    assert from_mapping(PolicyConfig, {"language": {}}).language == LanguageConfig()


def test_cache_survives_its_files_bit_for_bit(config: LanguageConfig, tmp_path: Path) -> None:
    cache = embed(config, [LEFT, RIGHT])
    cache = replace(cache, entries={**cache.entries, "den Würfel nach rechts": cache.tokens(RIGHT)})
    assert {path.name for path in cache.save(tmp_path)} == {"instructions.safetensors", "instructions.json"}
    loaded = InstructionCache.load(tmp_path)
    assert (loaded.texts, loaded.source) == (cache.texts, cache.source)
    for text in cache.texts:
        assert all(map(torch.equal, loaded.tokens(text), cache.tokens(text)))


def test_swapped_texts_and_spoilt_tokens_are_refused(config: LanguageConfig, tmp_path: Path) -> None:
    embed(config, [LEFT, RIGHT]).save(tmp_path)
    path = tmp_path / "instructions.safetensors"
    tensors = load_file(path)
    tensors["values"][0, 0, 0] += 1
    save_file(tensors, path)
    with pytest.raises(DataError, match="not the tokens"):
        InstructionCache.load(tmp_path)
    (tmp_path / "instructions.json").unlink()
    with pytest.raises(DataError, match=r"instructions\.json"):
        InstructionCache.load(tmp_path)


def test_empty_means_the_only_instruction(config: LanguageConfig) -> None:
    one, two = embed(config, [LEFT]), embed(config, [LEFT, RIGHT])
    assert torch.equal(one.tokens("").values, one.tokens(LEFT).values)
    with pytest.raises(DataError, match=f"no instruction is given; known: '{LEFT}', '{RIGHT}'"):
        two.tokens("")
    with pytest.raises(DataError, match=f"'pull' is unknown; known: '{LEFT}', '{RIGHT}'"):
        two.tokens("pull")


def test_unknown_instruction_is_computed_where_the_same_model_is(config: LanguageConfig) -> None:
    cache = embed(config, [LEFT])
    more = with_instruction(cache, config, RIGHT)
    assert torch.equal(more.tokens(RIGHT).values, embed(config, [RIGHT]).tokens(RIGHT).values)
    assert with_instruction(cache, replace(config, weights="gone"), LEFT) is cache
    with pytest.raises(DataError) as refusal:
        with_instruction(cache, replace(config, weights="gone"), RIGHT)
    assert f"known: '{LEFT}'" in refusal.value.message
    assert "hf download google-t5/t5-base --local-dir gone" in refusal.value.remedy


def test_tokens_of_another_model_are_not_mixed_in(config: LanguageConfig) -> None:
    cache = embed(config, [LEFT])
    other = replace(cache, source={**cache.source, "sha256": "0" * 64})
    with pytest.raises(DataError, match=f"expected {'0' * 64}"):
        with_instruction(other, config, RIGHT)


def test_language_comes_after_state_with_the_published_names(policy: HPTPolicy, embodiment: Embodiment) -> None:
    assert policy.modalities[:3] == ("image", "state", "language")
    names = {n.removeprefix(f"stems.{embodiment.name}_language.") for n in policy.state_dict() if "_language." in n}
    assert {"tokens", "net.0.weight", "net.2.bias", "cross_attention.to_q.weight"} <= names
    assert policy.state_dict()[f"stems.{embodiment.name}_language.tokens"].shape == (1, 8, 32)
    assert policy.state_dict()[f"stems.{embodiment.name}_language.net.0.weight"].shape == (128, 24)


@torch.no_grad()
def test_padding_changes_nothing_and_words_do(policy: HPTPolicy, told: Batch) -> None:
    action = policy(told)
    assert told.language is not None
    assert told.language_keep is not None
    spoilt = replace(told, language=told.language.masked_fill(~told.language_keep[..., None], 50.0))
    torch.testing.assert_close(policy(spoilt), action)
    assert float((policy(replace(told, language=told.language.flip(0))) - action).abs().max()) > 1e-5


def test_batch_without_language_or_of_another_width_is_refused(policy: HPTPolicy, batch: Batch) -> None:
    with pytest.raises(DataError, match="no language"):
        policy(batch)
    other = replace(batch, language=torch.zeros(4, 8, 16), language_keep=torch.ones(4, 8, dtype=torch.bool))
    with pytest.raises(DataError, match=r"expected \(samples, tokens, 24\)"):
        policy(other)


def test_policy_whose_instructions_are_unknown_is_not_saved(
    policy: HPTPolicy, embodiment: Embodiment, tmp_path: Path
) -> None:
    policy.instructions = None
    with pytest.raises(DataError, match="instructions"):
        save_checkpoint(tmp_path / "checkpoint", policy, embodiment, {})
    assert not (tmp_path / "checkpoint").exists()


@torch.no_grad()
def test_checkpoint_serves_its_instructions_without_transformers(
    policy: HPTPolicy, told: Batch, embodiment: Embodiment, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, policy, embodiment, {})
    torch.save((told.state, dict(told.images)), tmp_path / "observation.pt")
    program = f"""
import sys
sys.modules["transformers"] = None  # an import fails from here on
import numpy as np, torch
from types import SimpleNamespace
from hpt_ros.errors import DataError
from hpt_ros.model import PolicyRunner, load_checkpoint
checkpoint = load_checkpoint({str(folder)!r})
state, images = torch.load({str(tmp_path / "observation.pt")!r})
observation = SimpleNamespace(state=state[0].numpy(), images={{k: v[0].numpy() for k, v in images.items()}}, depth={{}})
chunks = [PolicyRunner(checkpoint, 1, text).act(observation) for text in ({LEFT!r}, {RIGHT!r})]
np.save({str(tmp_path / "chunks.npy")!r}, np.stack(chunks))
try:
    PolicyRunner(checkpoint, 1, "pull the cube")
except DataError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert f"'pull the cube' is unknown; known: '{LEFT}', '{RIGHT}'" in said
    assert "pip install 'transformers" in said
    import numpy as np

    served = torch.from_numpy(np.load(tmp_path / "chunks.npy"))
    seen = policy.scaling.action.input_stats
    same_view = replace(
        told,
        state=told.state[:1].expand(4, -1, -1),
        images={n: v[:1].expand(4, -1, -1, -1, -1) for n, v in told.images.items()},
    )
    expected = policy.predict(same_view)[[0, 2]].clamp(seen.min, seen.max)
    torch.testing.assert_close(served, expected, atol=1e-4, rtol=1e-4)
    assert float((served[0] - served[1]).abs().max()) > 1e-4


def test_runner_without_instruction_needs_a_single_one(
    policy: HPTPolicy, embodiment: Embodiment, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "two", policy, embodiment, {})
    with pytest.raises(DataError, match="no instruction is given"):
        PolicyRunner(load_checkpoint(tmp_path / "two"), 1)
    policy.instructions = InstructionCache({LEFT: LanguageTokens(torch.rand(8, 24), torch.ones(8, dtype=torch.bool))})
    save_checkpoint(tmp_path / "one", policy, embodiment, {})
    PolicyRunner(load_checkpoint(tmp_path / "one"), 1)


def test_instruction_for_a_policy_without_language_is_refused(embodiment: Embodiment, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, HPTPolicy(PolicyConfig(embed_dim=32, num_heads=4), embodiment), embodiment, {})
    with pytest.raises(ConfigError, match="no language"):
        PolicyRunner(load_checkpoint(tmp_path), 1, LEFT)
