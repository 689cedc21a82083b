"""Files of weights that hold a trunk or a whole policy, in the published names; ours have the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from hpt_ros.errors import DataError
from hpt_ros.model.hub import Source
from hpt_ros.model.weights import read_tensors

CHECKPOINT = ("model.safetensors", "checkpoint.json")
TRUNK_FILES, POLICY_FILES = ("trunk.safetensors", "trunk.pth"), ("model.safetensors", "model.pth")
UNUSED_AS_PUBLISHED = "modalities_tokens.*"
"""Written by the published code and read by nothing."""
SIZES = ("embed_dim", "num_blocks", "num_heads")
_PER_DOMAIN = ("heads", "normalizer", "action_tokens")


@dataclass(frozen=True)
class PublishedFile:
    """Tensors under the names of the file, and the sections of the config.yaml beside it (none: empty).

    `origin` names the file for people: a path, or where on the hub it came from.
    """

    origin: str
    path: Path
    tensors: Mapping[str, Tensor]
    sections: Mapping[str, Mapping[str, Any]]

    @property
    def is_policy(self) -> bool:
        """Whether it holds more than a trunk."""
        return any(name.startswith(("stems.", "heads.", "trunk.trunk.")) for name in self.tensors)

    @property
    def trunk(self) -> dict[str, Tensor]:
        """The trunk's tensors by their names in a `trunk.pth`."""
        if not self.is_policy:
            return dict(self.tensors)
        return {name.removeprefix("trunk."): t for name, t in self.tensors.items() if name.startswith("trunk.trunk.")}

    @property
    def domains(self) -> tuple[str, ...]:
        """The embodiments that it holds a head for."""
        heads = (name.split(".")[1] for name in self.tensors if name.startswith("heads."))
        return tuple(dict.fromkeys(heads))

    def modalities(self, domain: str) -> tuple[str, ...]:
        """Modalities that a domain has a stem for."""
        keys = dict.fromkeys(name.split(".")[1] for name in self.tensors if name.startswith("stems."))
        return tuple(key.removeprefix(f"{domain}_") for key in keys if self._owner(key) == domain)

    def of_domain(self, domain: str, name: str) -> PublishedFile:
        """The same file without the tensors of other domains, and this one's under the domain `name`."""
        renamed = {self._renamed(key, domain, name): t for key, t in self.tensors.items()}
        return replace(self, tensors={key: t for key, t in renamed.items() if key})

    def setting(self, section: str, name: str, default: Any = None) -> Any:
        """A value of config.yaml; references to other keys (`${...}`) count as absent."""
        value = self.sections.get(section, {}).get(name, default)
        return default if isinstance(value, str) and "${" in value else value

    def _owner(self, key: str) -> str | None:
        """The domain of a stem: its name may itself contain the separator, so the longest fit wins."""
        fitting = [domain for domain in self.domains if key.startswith(f"{domain}_")]
        return max(fitting, key=len, default=None)

    def _renamed(self, key: str, domain: str, name: str) -> str:
        part, _, rest = key.partition(".")
        owner, _, tail = rest.partition(".")
        if part in _PER_DOMAIN:
            if owner == domain:
                return f"{part}.{name}.{tail}" if tail else f"{part}.{name}"
            return "" if owner in self.domains else key
        if part in ("stems", "encoders") and (found := self._owner(owner)) is not None:
            return f"{part}.{name}{owner.removeprefix(domain)}.{tail}" if found == domain else ""
        return key


def open_published(source: Source) -> PublishedFile:
    """Read a folder in the published layout, a checkpoint folder, or one file of weights.

    Raises:
        DataError: nothing to read there, two candidates, or a file that is damaged or holds code.
    """
    file = _weight_file(source.path)
    inside = file.relative_to(source.path).as_posix() if source.path.is_dir() else ""
    origin = f"{source.origin}/{inside}" if inside else source.origin
    return PublishedFile(origin, file, read_tensors(file), _sections(source.path, file.parent))


def _weight_file(path: Path) -> Path:
    if path.is_file():
        return path
    names = POLICY_FILES if (path / CHECKPOINT[1]).is_file() else (*TRUNK_FILES, *POLICY_FILES)
    found = [path / name for name in names if (path / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{path}: holds {' and '.join(f.name for f in found)}", "pass the file instead of the folder")
    raise DataError(
        f"no trunk at {path}, and no policy: found none of {', '.join(names)}",
        "pass a folder in the published layout (trunk.pth or model.pth, config.yaml), a checkpoint, a file of tensors, or none",
    )


def _sections(given: Path, folder: Path) -> dict[str, Mapping[str, Any]]:
    """`network`, `stem` and `head` of config.yaml; a checkpoint's sizes take the place of `network`."""
    if (folder / CHECKPOINT[1]).is_file():
        policy = json.loads((folder / CHECKPOINT[1]).read_text()).get("policy", {})
        return {"network": {name: policy[name] for name in SIZES if name in policy}}
    file = folder / "config.yaml"
    if not file.is_file():
        return {}
    try:
        data = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not YAML: {error}", "copy or download it again") from error
    found = data if isinstance(data, dict) else {}
    if given.is_dir() and not isinstance(found.get("network"), dict):
        raise DataError(f"{file}: has no section `network` with the sizes of the trunk", "copy or download it again")
    return {name: found[name] for name in ("network", "stem", "head") if isinstance(found.get(name), dict)}
