"""The processes that train together, as `torchrun` starts them. One process alone is a group of one, without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from hpt_ros.errors import DataError, HptRosError
from hpt_ros.training.state_file import RunState

T = TypeVar("T")

_BUCKET_NUMBERS = 1 << 24  # of gradients that travel together: 64 MB of copies at most
_PATIENCE = timedelta(hours=12)  # while another still computes features; torchrun ends all when one dies
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


class Workers:
    """This process among `size` equal ones; rank 0 writes the files. Use with `with`.

    Args:
        device: cpu, cuda, or a numbered one; with cuda each process of a machine takes the one of its local rank.
    """

    def __init__(self, device: str = "cpu") -> None:
        launched = all(name in os.environ for name in _LAUNCHED)
        self.rank = int(os.environ["RANK"]) if launched else 0
        self.size = int(os.environ["WORLD_SIZE"]) if launched else 1
        self.device = torch.device(
            f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and launched else device
        )

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def __enter__(self) -> Workers:
        if self.size > 1:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=_PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        if self.size > 1:
            dist.destroy_process_group()

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share: every item goes to exactly one."""
        return items[self.rank :: self.size]

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; all processes hold the same bits afterwards."""
        if self.size == 1:
            return
        for bucket in _buckets(list(tensors)):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def together(self, act: Callable[[], T]) -> T:
        """`act()` on every process; where one refuses, all do, so that none waits for it.

        Raises:
            HptRosError: this process's own, or the first other one's.
        """
        result: T | None = None
        own: HptRosError | None = None
        try:
            result = act()
        except HptRosError as error:
            own = error
        refusals = self.gathered(None if own is None else (own.message, own.remedy, own.exit_code))
        if own is not None:
            raise own
        for rank, refusal in enumerate(refusals):
            if refusal is not None:
                raise _OtherWorkerError(rank, *refusal)
        return result  # type: ignore[return-value]

    def require_same(self, facts: Mapping[str, Any]) -> None:
        """Refuse to train with processes that differ in one of the facts.

        Raises:
            DataError: naming each fact, and which process has what.
        """
        everyone = self.gathered(dict(facts))
        lines = [
            f"{name}: rank 0 has {everyone[0].get(name)!r}, rank {rank} has {found.get(name)!r}"
            for rank, found in enumerate(everyone)
            for name in {**everyone[0], **found}
            if found.get(name) != everyone[0].get(name)
        ]
        if lines:
            raise DataError(
                "the workers do not agree:\n  " + "\n  ".join(lines),
                "give every worker the same command, software and demonstration sets",
            )

    def shared_state(self, state: RunState | None) -> RunState | None:
        """What rank 0 gives, on every process."""
        if self.size == 1:
            return state
        own = None if state is None else {"facts": state.facts, "track": state.track, "tensors": _kinds(state.tensors)}
        told = self.gathered(own)[0]
        if told is None:
            return None
        tensors = {}
        for name, (shape, kind) in told["tensors"].items():
            empty = torch.empty(shape, dtype=getattr(torch, kind), device=self.device)
            tensors[name] = empty if state is None else state.tensors[name].to(self.device)
            dist.broadcast(tensors[name], src=0)
        return RunState(told["facts"], told["track"], tensors)

    def gathered(self, value: Any) -> list[Any]:
        """The value (plain JSON data) of every process, by rank; as text, for torch's own exchange of objects unpickles."""
        if self.size == 1:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        length = torch.tensor([len(text)], device=self.device)
        lengths = [torch.zeros_like(length) for _ in range(self.size)]
        dist.all_gather(lengths, length)
        longest = int(max(lengths))
        texts = [text.new_empty(longest) for _ in range(self.size)]
        dist.all_gather(texts, F.pad(text, (0, longest - len(text))))
        return [json.loads(bytes(t[: int(n)].tolist())) for t, n in zip(texts, lengths, strict=True)]


class _OtherWorkerError(HptRosError):
    def __init__(self, rank: int, message: str, remedy: str, exit_code: int) -> None:
        super().__init__(f"rank {rank}: {message}", remedy)
        self.exit_code = exit_code


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[list[int], str]]:
    return {name: (list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in tensors.items()}


def _buckets(tensors: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    numbers = 0
    for tensor in tensors:
        if bucket and (numbers + tensor.numel() > _BUCKET_NUMBERS or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, numbers = [], 0
        bucket.append(tensor)
        numbers += tensor.numel()
    if bucket:
        yield bucket
