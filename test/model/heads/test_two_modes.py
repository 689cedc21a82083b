"""A task with two ways: chunks lie 0.5 above or below a course that the context gives, with equal chances."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hpt_ros.control.commitment import weights
from hpt_ros.model import HeadConfig, PolicyConfig
from hpt_ros.model.heads import Head, TransformerDecoderHead, build_head
from hpt_ros.model.heads.guidance import Prefix

ROWS, VALUES, WIDTH, WAY, BATCH, DRAWN = 4, 2, 4, 0.5, 64, 400
TRAINED = {
    "mlp": HeadConfig("mlp", widths=(64, 64)),
    "transformer_decoder": HeadConfig("transformer_decoder"),
    "diffusion": HeadConfig("diffusion", down_dims=(64,)),
    "flow": HeadConfig("flow", down_dims=(64,)),
    "gmm": HeadConfig("gmm", widths=(64, 64), modes=3, draw=True),
    "bins": HeadConfig("bins", widths=(64, 64), draw=True),
}


@dataclass(frozen=True)
class Drawn:
    """Chunks (N, rows, A) of a trained head for contexts (N, D), and how far they lie above the course."""

    head: Head
    context: Tensor
    chunks: Tensor

    @property
    def above(self) -> Tensor:
        return self.chunks - course(self.context)

    @property
    def values_on_a_way(self) -> float:
        return float(((self.above.abs() - WAY).abs() < 0.15).float().mean())

    @property
    def whole_chunks(self) -> float:
        """Share of chunks all of whose values lie on the same side."""
        return float(((self.above > 0).flatten(1).float().mean(dim=1).sub(0.5).abs() == 0.5).float().mean())


def course(context: Tensor) -> Tensor:
    return 0.3 * context[:, None, :VALUES] * torch.linspace(0, 1, ROWS)[:, None]


def read(head: Head, context: Tensor) -> Tensor:
    """The context as the head wants it."""
    return context[:, None] if isinstance(head, TransformerDecoderHead) else context


def train(head: Head, steps: int = 300) -> None:
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    valid = torch.ones(BATCH, ROWS, dtype=torch.bool)
    for _ in range(steps):
        context = torch.rand(BATCH, WIDTH) * 2 - 1
        way = WAY * (torch.randint(0, 2, (BATCH, 1, 1)) * 2 - 1)
        optimizer.zero_grad()
        torch.autograd.backward(head.loss(read(head, context), course(context) + way, valid))
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@pytest.fixture(scope="module", params=TRAINED)
def drawn(request: pytest.FixtureRequest) -> tuple[str, Drawn]:
    torch.manual_seed(0)
    config = TRAINED[request.param]
    pooling = "none" if config.kind == "transformer_decoder" else "mean"
    policy = PolicyConfig(embed_dim=WIDTH, num_heads=1, dropout=0.0, pooling=pooling, head=config)  # type: ignore[arg-type]
    head = build_head(policy, VALUES, ROWS)
    train(head)
    context = torch.rand(DRAWN, WIDTH) * 2 - 1
    with torch.no_grad():
        chunks = head.eval().sample(read(head, context), torch.Generator().manual_seed(1))
    return request.param, Drawn(head.requires_grad_(False), context, chunks)


def test_heads_keep_or_average_modes_as_they_say(drawn: tuple[str, Drawn]) -> None:
    kind, result = drawn
    if kind in ("mlp", "transformer_decoder"):
        assert result.values_on_a_way < 0.5, "one chunk for two ways lies between them"
    else:
        assert result.values_on_a_way > 0.8
        for side in (result.above[result.above > 0], result.above[result.above < 0]):
            assert float(side.mean().abs()) == pytest.approx(WAY, abs=0.1)
            assert 0.3 < side.numel() / result.above.numel() < 0.7
    if kind == "bins":
        assert result.whole_chunks < 0.2, "each value by itself"
    assert result.head.facts.multi_modal == (result.values_on_a_way > 0.8 and result.whole_chunks > 0.9)


def test_chunks_that_go_on_from_the_last_one_keep_its_mode(drawn: tuple[str, Drawn]) -> None:
    """A tick later: two of the rows that are left will be executed before the chunk arrives, the third is given less firmly."""
    kind, last = drawn
    assert last.head.facts.resumes == (kind in ("diffusion", "flow"))
    if not last.head.facts.resumes:
        return
    left = torch.cat([last.chunks[:, 1:], last.chunks[:, -1:]], dim=1)
    weight = torch.from_numpy(weights(ROWS, firm=2, overlap=ROWS - 1)).float()
    noise = [torch.Generator().manual_seed(2) for _ in range(2)]
    with torch.inference_mode():
        free = last.head.sample(last.context, noise[0])
        resumed = last.head.resume(last.context, Prefix(left, weight), noise[1])
    assert (resumed.abs() <= 1).all()
    whole = (last.above > 0).flatten(1).float().mean(dim=1).sub(0.5).abs() == 0.5
    side = last.above[whole].flatten(1).mean(dim=1).sign()[:, None, None]

    def kept(chunks: Tensor) -> float:
        return float(((chunks - course(last.context))[whole] * side > 0).flatten(1).all(dim=1).float().mean())

    def seam(chunks: Tensor) -> float:
        """At the first row that is executed of the new chunk."""
        return float((chunks - left)[whole, 2].abs().mean())

    assert kept(free) < 0.6
    assert kept(resumed) > 0.85
    assert seam(resumed) < 0.4 * seam(free)
    on_a_way = (((resumed - course(last.context)).abs() - WAY).abs() < 0.15).float().mean()
    assert on_a_way > last.values_on_a_way - 0.1, "not pulled to between the ways"
