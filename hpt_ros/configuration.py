"""YAML or JSON mappings <-> frozen dataclasses, with the path of the key in every error."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from hpt_ros.errors import ConfigError

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2: PyYAML follows 1.1, where `1e-3` and `1.0e9` are text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds something else at the top.
    """
    try:
        data = yaml.load(path.read_text(), _Loader)  # a safe loader
    except OSError as error:
        raise ConfigError(str(path), error.strerror, "a readable YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"not YAML: {error}", "a YAML mapping") from error
    if not isinstance(data, dict):
        raise ConfigError(str(path), type(data).__name__, "a YAML mapping of keys to values")
    return data


def from_mapping(cls: type[T], data: object, path: str = "") -> T:
    """Build the frozen dataclass `cls` from plain data; `path` prefixes every key in errors.

    Raises:
        ConfigError: an unknown or missing key, a value of another type, or a refusal of the class's own check.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(path or cls.__name__, data, "a mapping of keys to values")
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ConfigError(_join(path, str(key)), "an unknown key", f"one of {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(_join(path, name), "nothing", _describe(hints[name]), "add the key")
    try:
        return cls(**values)
    except ConfigError as error:
        raise error.under(f"{path}." if path else "") from None


def to_mapping(value: Any) -> Any:
    """The plain data (dicts, lists, scalars) that `from_mapping` accepts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_mapping(item) for item in value]
    return value


def check(condition: bool, path: str, found: object, allowed: str, remedy: str = "") -> None:
    """Raise ConfigError unless `condition` holds."""
    if not condition:
        raise ConfigError(path, found, allowed, remedy)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}.get(
        hint, "a mapping" if dataclasses.is_dataclass(hint) else str(hint).replace("typing.", "")
    )


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert_union([a for a in args if a is not type(None)], value, path)
    if origin is Literal:
        check(value in args, path, value, _describe(hint))
        return value
    if origin is tuple:
        return _convert_tuple(args, value, path)
    if origin is dict:
        check(isinstance(value, Mapping), path, value, "a mapping")
        return {str(k): _convert(args[1], v, _join(path, str(k))) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, path)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, path)


def _convert_union(hints: list[Any], value: Any, path: str) -> Any:
    for hint in hints[:-1]:
        try:
            return _convert(hint, value, path)
        except ConfigError:
            continue
    try:
        return _convert(hints[-1], value, path)
    except ConfigError as error:
        if len(hints) == 1:
            raise
        raise ConfigError(path, value, ", or ".join(_describe(hint) for hint in hints)) from error


def _convert_tuple(args: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    check(isinstance(value, (list, tuple)), path, value, "a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    check(len(value) == len(args), path, value, f"a list of {len(args)} values")
    return tuple(_convert(hint, item, f"{path}[{i}]") for i, (hint, item) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, path: str) -> Any:
    is_bool = isinstance(value, bool)
    if hint is float and isinstance(value, (int, float)) and not is_bool:
        return float(value)
    accepted = (hint is int and isinstance(value, int) and not is_bool) or (
        hint in (bool, str) and isinstance(value, hint)
    )
    check(accepted or hint is Any, path, value, _describe(hint))
    return value
