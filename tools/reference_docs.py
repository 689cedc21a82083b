"""Writes the pages of docs/ that come from the source: `python tools/reference_docs.py` (or `make docs`); --check only compares.

docs/embodiment.md from the dataclasses of the embodiment and their checks, docs/refusals.md from everything that raises an
error of the package.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hpt_ros"
HEADER = "<!-- Written by tools/reference_docs.py (make docs) from the source. Do not edit. -->\n\n"


# The embodiment


def embodiment_page() -> str:
    """A section for every mapping of the file, with the keys, their types, defaults and what is allowed."""
    from hpt_ros.embodiment import schema

    sections = "".join(_sections(schema.Embodiment, ""))
    return (
        HEADER
        + "# The embodiment, key by key\n\n"
        + "One YAML file describes a robot set-up for recording, conversion, training and deployment. Presets lie in "
        + "`config/embodiments/`; a path to a file of your own goes wherever a preset's name goes. A value that is not allowed is "
        + "refused with the path of its key, what was found and what is allowed.\n\n"
        + sections
    )


def _sections(cls: type[Any], path: str) -> Iterator[str]:
    hints, allowed = get_type_hints(cls), _allowed(cls)
    yield f"## {f'`{path}`' if path else 'Top level'}\n\n{_prose(cls)}\n\n"
    yield "| key | type | default | allowed |\n|---|---|---|---|\n"
    nested = []
    for field in dataclasses.fields(cls):
        inner = _dataclass_of(hints[field.name])
        kind = _kind(hints[field.name])
        yield f"| `{field.name}` | {kind} | {_default(field)} | {_cell('; '.join(allowed.get(field.name, [])))} |\n"
        if inner is not None:
            many = get_origin(hints[field.name]) is tuple
            nested.append((inner, f"{path}.{field.name}".lstrip(".") + ("[]" if many else "")))
    yield "\n"
    for inner, where in nested:
        if where.endswith("timing") and "." in where and not where.startswith("joints"):
            continue  # the same everywhere: described once, under joints
        yield from _sections(inner, where)


def _dataclass_of(hint: Any) -> Any:
    candidates = [hint, *get_args(hint)]
    return next((c for c in candidates if dataclasses.is_dataclass(c)), None)


def _kind(hint: Any) -> str:
    inner = _dataclass_of(hint)
    if inner is not None:
        return f"list of mappings ({inner.__name__})" if get_origin(hint) is tuple else f"mapping ({inner.__name__})"
    arguments = [a for a in get_args(hint) if a is not type(None)]
    if get_origin(hint) is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if get_origin(hint) is tuple and arguments:
        return f"list of {_kind(arguments[0])}" if Ellipsis in arguments else f"[{', '.join(map(_kind, arguments))}]"
    if arguments:
        return " or ".join(map(_kind, arguments))
    return {float: "number", int: "whole number", bool: "true or false", str: "text"}.get(hint, str(hint))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "empty"
    if field.default is None:
        return "none"
    return (
        "empty"
        if field.default in ("", ())
        else f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
    )


def _prose(cls: type[Any]) -> str:
    return re.split(r"\n\s*(?:Raises|Args):", inspect.cleandoc(cls.__doc__ or ""))[0].strip()


def _allowed(cls: type[Any]) -> dict[str, list[str]]:
    """What the checks of the class, and the helpers that they call, say about each key."""
    from hpt_ros.embodiment import schema

    source = textwrap.dedent(inspect.getsource(cls.__post_init__)) if "__post_init__" in vars(cls) else ""
    found: dict[str, list[str]] = {}
    _checks(ast.parse(source).body, dict(vars(schema)), found)
    return found


def _checks(body: list[Any], names: dict[str, Any], found: dict[str, list[str]]) -> None:
    for node in body:
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            for item in node.iter.elts:
                _checks(node.body, {**names, node.target.id: ast.literal_eval(item)}, found)
        elif isinstance(node, ast.Assign):
            try:
                names = {**names, node.targets[0].id: eval(ast.unparse(node.value), dict(names))}
            except Exception:  # it needs a value that only an embodiment has
                continue
        elif isinstance(node, (ast.FunctionDef, ast.If)):
            _checks(node.body, names, found)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            _check_call(node.value, names, found)


def _check_call(call: ast.Call, names: dict[str, Any], found: dict[str, list[str]]) -> None:
    function = getattr(call.func, "id", "")
    if function == "check":
        key = (
            call.args[1].value
            if isinstance(call.args[1], ast.Constant)
            else names.get(getattr(call.args[1], "id", ""), "")
        )
        text = _text(call.args[3], names)
        if key and text not in found.setdefault(key, []):
            found[key].append(text)
    elif function.startswith("_check_"):
        inner = ast.parse(inspect.getsource(names[function])).body[0]
        key = call.args[0].attr if isinstance(call.args[0], ast.Attribute) else ""
        own = {**names, "key": key}
        _checks(inner.body, own, found)


def _text(node: Any, names: dict[str, Any]) -> str:
    """A message as it would read; what is only known at run time is left out or stands in angle brackets."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return re.sub(r" \(\[[^]]*\]\)", "", "".join(_piece(value, names) for value in node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, names) + _text(node.right, names)
    if isinstance(node, ast.IfExp):
        return " / ".join(filter(None, (_text(node.body, names), _text(node.orelse, names))))
    return f"[{ast.unparse(node)}]"


def _piece(node: Any, names: dict[str, Any]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    try:
        return format(eval(ast.unparse(node.value), dict(names)), _format(node))
    except Exception:  # whatever it needs is known at run time only: its source stands for it
        return f"[{ast.unparse(node.value)}]"


def _format(node: ast.FormattedValue) -> str:
    spec = node.format_spec
    return (
        str(spec.values[0].value)
        if isinstance(spec, ast.JoinedStr) and isinstance(spec.values[0], ast.Constant)
        else ""
    )


# Refusals


@dataclasses.dataclass(frozen=True)
class Refusal:
    """One place that raises an error of the package."""

    module: str
    error: str
    message: str
    remedy: str


def refusals_page() -> str:
    """Exit codes, then every refusal by module: what it says and what to do."""
    from hpt_ros.errors import HptRosError

    classes = _error_classes()
    codes: dict[int, list[str]] = {}
    for name, (code, doc) in sorted(classes.items()):
        codes.setdefault(code, []).append(f"`{name}`: {doc}")
    lines = [
        HEADER,
        "# Refusals, and what to do about them\n\n",
        "Every refusal says what was found, what is expected, and on a line of its own (`->`) what to do. The command `hpt-ros` and the "
        "nodes exit with the code of the error's class; 130 is Ctrl-C. Parts in [brackets] are filled in at run time.\n\n",
        "| exit code | errors |\n|---|---|\n",
        *(f"| {code} | {_cell('<br>'.join(names))} |\n" for code, names in sorted(codes.items())),
        "\n",
    ]
    assert HptRosError.exit_code == 1
    by_module: dict[str, list[Refusal]] = {}
    for refusal in refusals(set(classes)):
        by_module.setdefault(refusal.module, []).append(refusal)
    for module, found in by_module.items():
        lines.append(f"## `{module}`\n\n| error | message | what to do |\n|---|---|---|\n")
        lines += [f"| `{r.error}` | {_cell(r.message)} | {_cell(r.remedy)} |\n" for r in found]
        lines.append("\n")
    return "".join(lines)


def refusals(errors: set[str]) -> Iterator[Refusal]:
    """Every `raise` of these classes and every `check`, in the order of the files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            name = getattr(call.func, "id", "")
            if name == "check" and len(call.args) >= 4:
                yield _config_refusal(module, call)
            elif name == "ConfigError" and len(call.args) >= 3:
                yield _config_refusal(module, ast.Call(call.func, [ast.Constant(True), *call.args], []))
            elif name in errors and name != "ConfigError" and call.args:
                remedy = call.args[1] if len(call.args) > 1 else None
                yield Refusal(module, name, _text(call.args[0], {}), _text(remedy, {}) if remedy is not None else "")


def _config_refusal(module: str, call: ast.Call) -> Refusal:
    remedy = _text(call.args[4], {}) if len(call.args) > 4 else ""
    return Refusal(
        module, "ConfigError", f"{_text(call.args[1], {})}: found ..., allowed: {_text(call.args[3], {})}", remedy
    )


def _error_classes() -> dict[str, tuple[int, str]]:
    """Exit code and first line of the docstring by the name of each error class."""
    nodes = {
        node.name: node
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    found: dict[str, tuple[int, str]] = {}

    def code(name: str) -> int | None:
        if name not in nodes:
            return None
        for item in nodes[name].body:
            if isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == "exit_code":
                return int(ast.literal_eval(item.value))
        inherited = [code(getattr(base, "id", "")) for base in nodes[name].bases]
        return next((c for c in inherited if c is not None), None)

    for name, node in nodes.items():
        number = code(name)
        if number is not None:
            found[name] = (number, (ast.get_docstring(node) or "").split("\n")[0])
    return found


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).replace("|", "\\|")


PAGES = {"embodiment.md": embodiment_page, "refusals.md": refusals_page}


def main(arguments: list[str]) -> int:
    """Write the pages; with --check say which are out of date and change nothing."""
    stale = [name for name, make in PAGES.items() if _old(name) != make()]
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is out of date: make docs\n")
        return 1 if stale else 0
    for name in stale:
        (ROOT / "docs" / name).write_text(PAGES[name]())
    return 0


def _old(name: str) -> str:
    path = ROOT / "docs" / name
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
