"""A small policy on a small embodiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.model import Batch, HPTPolicy, PolicyConfig


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests share the machine; a second thread would mostly wait at barriers."""
    torch.set_num_threads(1)


@pytest.fixture
def embodiment() -> Embodiment:
    """sim_panda with 16 x 16 pixels."""
    full = load_embodiment("sim_panda")
    return replace(full, cameras=tuple(replace(camera, size_px=(16, 16)) for camera in full.cameras))


@pytest.fixture
def policy(embodiment: Embodiment) -> HPTPolicy:
    """A fitted policy in evaluation mode, weights from seed 0."""
    torch.manual_seed(0)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4), embodiment)
    rows = np.random.default_rng(0).uniform(-1, 1, (50, len(embodiment.state_names)))
    policy.scaling.fit(rows, rows * 0.5)
    return policy.eval()


@pytest.fixture
def batch(embodiment: Embodiment) -> Batch:
    """Four windows of noise; the last rows of each are invalid."""
    rng = np.random.default_rng(1)
    rows, width = embodiment.policy.action_horizon, len(embodiment.action_names)
    images = {c.name: rng.integers(0, 256, (4, 1, *c.size_px, 3), dtype=np.uint8) for c in embodiment.cameras}
    valid = np.ones((4, rows), bool)
    valid[:, -3:] = False
    return Batch(
        state=torch.from_numpy(rng.uniform(-1, 1, (4, 1, width)).astype(np.float32)),
        images={name: torch.from_numpy(pixels) for name, pixels in images.items()},
        action=torch.from_numpy(rng.uniform(-0.5, 0.5, (4, rows, width)).astype(np.float32)),
        valid=torch.from_numpy(valid),
    )


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with a tokenizer of a few words, as its library saves them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = ["<pad>", "</s>", "<unk>", "push", "pull", "the", "cube", "left", "right", "to"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("t5")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=len(words), **sizes)).save_pretrained(folder)
    return folder
