"""The README.md of a policy on the hub, made from what its checkpoint knows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

import hpt_ros
from hpt_ros.embodiment import fingerprint
from hpt_ros.model.parameters import all_parameters
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.provenance import parameters, stored_record, trunk_line

_TEXT = """\
# {title}

An HPT policy (arXiv 2409.20537) for the embodiment `{embodiment}` (fingerprint `{fingerprint}`), made with hpt_ros {version}.
It sees {cameras} and a state of {states} values, and gives {rows} rows of {actions} at {rate_hz:g} Hz.

## Use

```python
from hpt_ros.model import HPTPolicy

policy = HPTPolicy.from_pretrained("hf://{repo}")
```

On a robot: `hf download {repo} --local-dir policy`, then `hpt-ros up policy checkpoint:=policy`.
The robot must have the same streams in the same order; another embodiment is refused with each difference.

## Network

{network}

Head: {loss}; {calls}; {guarantees}.
{trunk}

## Training

{training}

## Metrics

{metrics}

## Provenance

{provenance}

## Limits

It has seen only its demonstrations' robot, cameras and task. Use it behind the limits of a commander, with a person at the stop button.
"""


def model_card(policy: HPTPolicy, *, repo: str = "OWNER/NAME", licence: str = "other") -> str:
    """Markdown with the hub's metadata block; `licence` is one of the hub's identifiers, such as apache-2.0."""
    e, known, facts = policy.embodiment, policy.provenance, policy.head.facts
    metadata = {"license": licence, "library_name": "hpt_ros", "pipeline_tag": "robotics", "tags": ["robotics", "hpt"]}
    return f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n" + _TEXT.format(
        title=repo.rpartition("/")[2],
        embodiment=e.name,
        fingerprint=fingerprint(e),
        version=hpt_ros.__version__,
        cameras=", ".join(f"`{c.name}` ({c.size_px[1]} x {c.size_px[0]})" for c in e.cameras),
        states=len(e.state_names),
        rows=policy.rows,
        actions=", ".join(f"`{name}`" for name in e.action_names),
        rate_hz=e.policy.rate_hz,
        repo=repo,
        network=_network(policy),
        loss=f"`{policy.config.head.kind}`, {facts.loss}",
        calls=f"{facts.network_calls} call{'s' if facts.network_calls > 1 else ''} of its network for a chunk",
        guarantees=facts.guarantees,
        trunk=trunk_line(known).capitalize() + ".",
        training=_training(known),
        metrics=_table(("metric", "value"), list(known.get("metrics", {}).items())) or "None recorded.",
        provenance=_provenance(known),
    )


def _network(policy: HPTPolicy) -> str:
    c = policy.config
    counts = parameters(policy, policy.provenance)
    total = all_parameters(counts)
    rows = [(part, f"{n['total']:,}", f"{n['trained']:,}") for part, n in (counts | {"all": total}).items()]
    lora = f", LoRA of rank {c.lora.rank}" if c.lora else ""
    return (
        f"Trunk {c.embed_dim} x {c.num_blocks} blocks x {c.num_heads} heads{lora}; encoder `{c.encoder.kind}`; "
        f"modalities {', '.join(policy.modalities)}.\n\n" + _table(("part", "parameters", "trained"), rows)
    )


def _training(known: Mapping[str, Any]) -> str:
    data, settings = known.get("data", {}), known.get("settings", {})
    if not data:
        return "Not trained by hpt_ros: weights as they were loaded."
    sets = ", ".join(f"`{path}`" for path in data.get("sets", []))
    return (
        f"Data: {sets} (hash `{data.get('hash', 'unknown')}`), seed {known.get('seed', 'unknown')}. Settings:\n\n"
        f"```json\n{json.dumps({k: v for k, v in settings.items() if k != 'policy'}, indent=1)}\n```"
    )


def _provenance(known: Mapping[str, Any]) -> str:
    entries = known.get("trunk", {}).get("tensors", {}) | known.get("tensors", {})
    rows = [
        (f"`{name}`", "x".join(map(str, entry["shape"])), entry["status"], f"`{entry['hash']}`")
        for name, entry in ((name, stored_record(stored)) for name, stored in entries.items())
    ]
    return _table(("tensor", "shape", "status", "hash"), rows) or "No record."


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
