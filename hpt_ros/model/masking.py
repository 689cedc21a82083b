"""What training hides, so that a policy does not lean on one sensor or on a long past."""

from __future__ import annotations

import torch

from hpt_ros.model.batch import Features, Tokens


def hide_old_samples(features: Features, hidden: torch.Tensor) -> Features:
    """Hide the oldest `hidden` (N,) samples of each window; the newest always stays."""
    samples = torch.arange(features.values.shape[1], device=hidden.device)
    recent = samples >= hidden[:, None]  # (N, T)
    keep = features.keep
    if keep is None:
        return Features(features.values, recent)
    return Features(features.values, keep & recent.view(*recent.shape, *[1] * (keep.ndim - 2)))


def random_history(count: int, horizon: int, device: torch.device) -> torch.Tensor:
    """For each of `count` windows how many of its `horizon` samples are hidden: 0 to horizon - 1, each as likely."""
    return torch.randint(0, horizon, (count,), device=device)


def drop_modalities(tokens: list[Tokens], probability: float) -> list[Tokens]:
    """Hide, with `probability` for each sample, all tokens of one of its modalities, but never the only one it has."""
    device, count = tokens[0].values.device, len(tokens[0].values)
    keeps = [t.keep if t.keep is not None else t.values.new_ones(t.values.shape[:2], dtype=torch.bool) for t in tokens]
    present = torch.stack([keep.any(dim=1) for keep in keeps], dim=1)
    chosen = torch.randint(0, len(tokens), (count,), device=device)
    unlucky = torch.rand(count, device=device) < probability
    drop = torch.nn.functional.one_hot(chosen, len(tokens)).bool() & unlucky[:, None]
    drop &= (present & ~drop).any(dim=1, keepdim=True)
    return [Tokens(t.values, keep & ~drop[:, i, None]) for i, (t, keep) in enumerate(zip(tokens, keeps, strict=True))]
