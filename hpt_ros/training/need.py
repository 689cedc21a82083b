"""How much memory training will take, worked out before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hpt_ros.errors import DataError
from hpt_ros.model import Batch, HPTPolicy
from hpt_ros.training.ahead import AHEAD
from hpt_ros.training.features.room import available_bytes

ENCODING = 20  # working memory of a frozen encoder without gradients, in multiples of its float32 input
MARGIN = 1.15  # for what is alive for a moment only


@dataclass(frozen=True)
class Need:
    """Bytes besides the weights. update: gradients, moments, averages, and the copy of all that is written as the run's state.

    activations: what one batch leaves for its backward pass. batches: those that are read, and read ahead.
    """

    update: int
    activations: int
    batches: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.update + self.activations + self.batches

    def require(self, device: torch.device) -> None:
        """Raise DataError where the device has less than that."""
        free = _free(device)
        if free is not None and self.total > free:
            parts = ", ".join(f"{field.name} {getattr(self, field.name) / 1e9:.2f}" for field in fields(self))
            raise DataError(
                f"training needs about {self.total / 1e9:.2f} GB of memory ({parts}), {free / 1e9:.2f} GB are free on {device}",
                "lower batch_size, set policy.recompute_blocks: true, freeze more of the trunk, or end other programs",
            )

    def room(self, device: torch.device) -> int:
        """Bytes of a device that something else may take: half of what training leaves, for its blocks come in unlike sizes."""
        return max(0, ((_free(device) or 0) - self.total) // 2)


def _free(device: torch.device) -> int | None:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()


def training_need(
    policies: Sequence[HPTPolicy],
    trained_bytes: int,
    *,
    batch_size: int,
    averaged: bool,
    cached: bool,
) -> Need:
    """Of training these policies by turns; what one batch keeps is measured on small batches of nothing.

    Args:
        trained_bytes: of all parameters that are updated here. averaged: an average of the weights is kept. cached: features of the image encoder are read, not computed.
    """
    copies = 3 + int(averaged)  # gradient and moments, or weight and moments
    update = 2 * copies * trained_bytes
    with torch.random.fork_rng(devices=[]):
        activations = max(_activations(policy, batch_size, cached) for policy in policies)
        batches = max(_bytes(_blank(policy, 1, cached)) for policy in policies) * batch_size * (2 + AHEAD)
    return Need(update, activations, batches)


def _activations(policy: HPTPolicy, batch_size: int, cached: bool) -> int:
    """They grow in proportion to the batch, from what does not depend on it."""
    (one, trunk_one), (two, trunk_two) = _kept(policy, 1, cached), _kept(policy, 2, cached)
    whole, trunk = one + (two - one) * (batch_size - 1), trunk_one + (trunk_two - trunk_one) * (batch_size - 1)
    config = policy.config
    if config.recompute_blocks and config.num_blocks:
        tokens = sum(getattr(config, f"{name}_tokens") for name in policy.modalities)
        inputs = config.num_blocks * batch_size * tokens * config.embed_dim * 4
        whole += inputs + trunk // config.num_blocks - trunk
    if not cached and not config.encoder.trained:
        images = _blank(policy, 1, cached).images.values()
        whole += ENCODING * 4 * batch_size * sum(view.numel() for view in images)
    return int(MARGIN * whole)


def _kept(policy: HPTPolicy, count: int, cached: bool) -> tuple[int, int]:
    """Bytes that the loss of a batch keeps for its gradient, and those of them that the trunk keeps."""
    weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    kept: dict[int, int] = {}
    before_after: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # alive, so that no other tensor gets its place

    def mark(*_: object) -> None:
        before_after.append(sum(kept.values()))

    trunk, training, recompute = policy.trunk, policy.training, policy.trunk.recompute
    hooks = [trunk.register_forward_pre_hook(mark), trunk.register_forward_hook(mark)]
    policy.train()
    trunk.recompute = False
    try:
        batch = _blank(policy, count, cached)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = policy.loss(batch)
    finally:
        trunk.recompute = recompute
        policy.train(training)
        for hook in hooks:
            hook.remove()
    before, after = before_after
    del loss
    return sum(kept.values()), after - before


def _blank(policy: HPTPolicy, count: int, cached: bool) -> Batch:
    """A batch of the right shapes, on the policy's device."""
    body, device = policy.embodiment, next(policy.parameters()).device
    samples, language = body.policy.observation_horizon, policy.config.language
    rows = count, policy.rows
    batch = Batch(
        state=torch.zeros(count, samples, len(body.state_names)),
        images={c.name: torch.zeros(count, samples, *c.size_px, 3, dtype=torch.uint8) for c in body.cameras},
        depth={c.name: torch.zeros(count, samples, *c.size_px, dtype=torch.uint16) for c in body.depth},
        language=None if language is None else torch.zeros(count, language.max_tokens, language.width),
        language_keep=None if language is None else torch.ones(count, language.max_tokens, dtype=torch.bool),
        action=torch.zeros(*rows, len(body.action_columns)),
        valid=torch.ones(*rows, dtype=torch.bool),
    ).to(device)
    if not cached:
        return batch
    with torch.no_grad():
        features = policy.encoder("image")(batch)
    return replace(batch, images={}, features={"image": features})


def _bytes(batch: Batch) -> int:
    tensors = [batch.state, *batch.images.values(), *batch.depth.values(), batch.language, batch.action]
    tensors += [features.values for features in batch.features.values()]
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)
