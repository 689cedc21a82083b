"""The Hugging Face hub as a place of weights: `hf://owner/name[@revision][/sub]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpt_ros.configuration import check
from hpt_ros.errors import DataError, MissingDependencyError

SCHEME = "hf://"
FILES = ("config.yaml", "checkpoint.json", "*.json", "*.safetensors", "trunk.pth", "model.pth")
"""What is downloaded: the two .pth names are read with `weights_only`; other pickles stay where they are."""
_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^/]+))?(/(?P<sub>.+?))?/?")


@dataclass(frozen=True)
class Source:
    """Where weights lie on this machine, and the name of that place for people and provenance."""

    path: Path
    origin: str


@dataclass(frozen=True)
class HubAddress:
    """A model on the hub, a revision of it (empty: the newest), and a folder or file inside."""

    repo: str
    revision: str = ""
    sub: str = ""

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Raises ConfigError when it is not `hf://owner/name[@revision][/sub]`."""
        found = _ADDRESS.fullmatch(text)
        well_formed = found is not None and ".." not in text.split("/")
        check(well_formed, "source", text, "hf://owner/name[@revision][/folder or file]")
        parts: dict[str, str | None] = found.groupdict() if found else {}
        return cls(parts["repo"] or "", parts["revision"] or "", parts["sub"] or "")

    @property
    def patterns(self) -> list[str]:
        """The files to download."""
        prefix = f"{self.sub}/" if self.sub else ""
        exact = [self.sub, f"{self.sub.rpartition('/')[0]}/config.yaml".lstrip("/")] if self.sub else []
        allowed = [name for name in exact if not name.endswith((".pth", ".pt", ".bin")) or _is_published(name)]
        return allowed + [prefix + name for name in FILES]


def resolve(source: str | Path, cache: Path | None = None) -> Source:
    """A place on this machine; what lies on the hub is downloaded first, into huggingface_hub's cache or `cache`.

    Raises:
        ConfigError: a hub address of another form.
        DataError: the hub cannot be reached and the files are not in the cache, or it has no such files.
        MissingDependencyError: huggingface_hub is not installed.
    """
    text = str(source)
    if not text.startswith(SCHEME):
        return Source(Path(source), text)
    address = HubAddress.parse(text)
    folder = _download(address, cache)
    path = folder / address.sub
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        raise DataError(
            f"{text}: the repository has none of {', '.join(address.patterns)}",
            f"look at what it holds: hf models info {address.repo}",
        )
    at = f"{SCHEME}{address.repo}@{folder.name}"
    return Source(path, f"{at}/{address.sub}" if address.sub else at)


def upload(folder: Path, repo: str, *, private: bool, revision: str = "", message: str = "Upload policy") -> str:
    """Put the files of `folder` into a model repository, which is created if need be; gives the commit's address.

    Raises:
        ConfigError: `repo` is not owner/name.
        DataError: the hub refused, or cannot be reached.
        MissingDependencyError: huggingface_hub is not installed.
    """
    check(re.fullmatch(r"[\w.-]+/[\w.-]+", repo) is not None, "repo", repo, "owner/name")
    hub = _library()
    api = hub.HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, revision=revision or None, commit_message=message)
    except Exception as error:  # the client raises its own, its transport's and OSError
        raise DataError(
            f"{repo}: not uploaded: {_reason(error)}",
            "log in with `hf auth login` to an account that may write there, and check the network",
        ) from error
    return str(done.commit_url)


def _download(address: HubAddress, cache: Path | None) -> Path:
    hub = _library()
    try:
        return Path(
            hub.snapshot_download(
                address.repo,
                revision=address.revision or None,
                allow_patterns=address.patterns,
                cache_dir=cache,
            )
        )
    except Exception as error:  # the client raises its own, its transport's and OSError
        at = f" --revision {address.revision}" if address.revision else ""
        command = f"hf download {address.repo}{at} --include {' '.join(repr(p) for p in address.patterns)}"
        raise DataError(
            f"{SCHEME}{address.repo}: not downloaded: {_reason(error)}; wanted: {', '.join(address.patterns)}; "
            f"nothing complete in the cache {cache or hub.constants.HF_HUB_CACHE}",
            f"with a network: {command}; else run that elsewhere with --local-dir FOLDER and pass the FOLDER",
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _is_published(name: str) -> bool:
    return name.rpartition("/")[2] in ("trunk.pth", "model.pth")


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError("the hub needs huggingface_hub", "pip install huggingface_hub") from error
    return huggingface_hub
