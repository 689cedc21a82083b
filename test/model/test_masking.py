from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.embodiment import Embodiment
from hpt_ros.model import Batch, Features, HPTPolicy, PolicyConfig, Tokens
from hpt_ros.model.masking import drop_modalities, hide_old_samples, random_history


@given(st.integers(1, 6), st.integers(0, 5))
def test_the_newest_sample_always_stays(horizon: int, hidden: int) -> None:
    features = Features(torch.zeros(1, horizon, 2, 3), torch.ones(1, horizon, 2, dtype=torch.bool))
    keep = hide_old_samples(features, torch.tensor([min(hidden, horizon - 1)])).keep
    assert keep is not None
    assert keep[0, -1].all()
    assert keep[0].all(dim=1).sum() == horizon - min(hidden, horizon - 1)


def test_every_length_of_history_is_drawn_as_often() -> None:
    torch.manual_seed(0)
    counts = torch.bincount(random_history(30_000, 3, torch.device("cpu")))
    assert counts.tolist() == [int(c) for c in counts]
    assert ((counts / 10_000 - 1).abs() < 0.05).all()


def test_a_sample_loses_one_modality_at_most_and_never_its_last() -> None:
    torch.manual_seed(0)
    n = 20_000
    sometimes = torch.rand(n, 1) < 0.5  # half of the samples have no image
    parts = [
        Tokens(torch.zeros(n, 3, 1), sometimes.expand(-1, 3)),
        Tokens(torch.zeros(n, 2, 1)),
    ]
    image, state = (t.keep for t in drop_modalities(parts, 0.4))
    assert image is not None
    assert state is not None
    shown = torch.stack([image.any(1), state.any(1)], dim=1)
    assert shown.any(dim=1).all()
    assert shown[~sometimes[:, 0], 1].all()
    lost = (~shown[sometimes[:, 0]]).float().mean(dim=0)
    assert ((lost - 0.2).abs() < 0.02).all()


def test_hidden_history_changes_nothing_in_evaluation_and_something_in_training(
    embodiment: Embodiment, batch: Batch
) -> None:
    torch.manual_seed(0)
    config = PolicyConfig(embed_dim=32, num_heads=4, dropout=0.0, drop_path=0.0, history_masking=True)
    policy = HPTPolicy(config, embodiment)
    images = {name: pixels.repeat(1, 3, 1, 1, 1) for name, pixels in batch.images.items()}
    state = torch.linspace(-1, 1, 3).view(1, 3, 1).expand(4, 3, 8)
    window = Batch(state, images)
    assert len({policy.eval()(window).sum().item() for _ in range(4)}) == 1
    assert len({policy.train()(window).sum().item() for _ in range(8)}) > 1
