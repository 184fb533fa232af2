"""A tracking URI written into the project's code, which wins over every variable."""

import ast
import json
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trackstack.client.doctor.address import shown
from trackstack.client.doctor.finding import Finding, error, ok, warning
from trackstack.client.doctor.setup import SetUp
from trackstack.client.tree import Walk
from trackstack.core.client_settings import TRACKING_URI

CHECK = "code"
_LARGEST_BYTES = 4_000_000
_SHOWN = 20
_TEST_FOLDERS = {"test", "tests"}


@dataclass(frozen=True)
class HardCoded:
    """A URI in a file, and the lines of the statement if it can be left out as a whole."""

    path: Path
    line: int
    uri: str
    call: str
    lines: tuple[int, int] | None


def judge(setup: SetUp) -> list[Finding]:
    """One finding a place; what a place says is compared with the variable."""
    found, whole = find(setup.folder)
    findings = [_finding(setup, one) for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        findings.append(error(CHECK, f"{len(found) - _SHOWN} more places set a tracking URI."))
    if not whole:
        findings.append(
            warning(CHECK, f"{setup.folder} holds too many files to read all of its Python.")
        )
    return findings or [ok(CHECK, "no tracking URI is written into the project's Python")]


def find(folder: Path) -> tuple[list[HardCoded], bool]:
    """Every place below a folder but tests, and whether all files were seen."""
    found: list[HardCoded] = []
    walk = Walk(folder)
    for here, folders, files in walk:
        folders[:] = [name for name in folders if name not in _TEST_FOLDERS]
        for name in files:
            if name.endswith(".py") and not (name.startswith("test_") or name == "conftest.py"):
                found.extend(_in_module(here / name))
            elif name.endswith(".ipynb"):
                found.extend(_in_notebook(here / name))
    return found, walk.whole


def _finding(setup: SetUp, one: HardCoded) -> Finding:
    file = one.path.relative_to(setup.folder).as_posix()
    where = f"{file}:{one.line}: {one.call} sets {shown(one.uri)!r} in the code"
    command = _comment_out(one) if one.lines else ""
    advice = "" if command else " Leave it out there."
    if setup.tracking_uri and one.uri.rstrip("/") == setup.tracking_uri.rstrip("/"):
        sentence = f"{where}: what {TRACKING_URI} says today, but not when it changes.{advice}"
        return warning(CHECK, sentence, command)
    sentence = f"{where}, whatever {TRACKING_URI} says.{advice}"
    return error(CHECK, sentence, command)


def _comment_out(one: HardCoded) -> str:
    """A ``pass`` in its place, so that a block that held it alone still stands."""
    first, last = one.lines or (0, 0)
    edit = rf"{first}s/^\([[:blank:]]*\)/\1pass  # /"
    if last > first:
        edit += rf"; {first + 1},{last}s/^/# /"
    # With a suffix -i means the same to every sed.
    return f"sed -i.bak '{edit}' {shlex.quote(str(one.path))}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else b""
    except OSError:
        return b""


def _in_module(path: Path) -> Iterator[HardCoded]:
    source = _read(path)
    # Parsing takes a hundred times longer than reading.
    if b"tracking_uri" in source or b"MLFLOW_TRACKING_URI" in source or b"MlflowClient" in source:
        yield from _in_source(path, source)


def _in_notebook(path: Path) -> Iterator[HardCoded]:
    try:
        cells = json.loads(_read(path))["cells"]
        texts = ["".join(one["source"]) for one in cells if one["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return
    for text in texts:
        # A magic line is no Python; a blank comment keeps the numbers.
        lines = (
            "#" if one.lstrip().startswith(("%", "!", "?")) else one for one in text.split("\n")
        )
        for one in _in_source(path, "\n".join(lines).encode()):
            yield HardCoded(one.path, one.line, one.uri, one.call, None)


def _in_source(path: Path, source: bytes) -> Iterator[HardCoded]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of an escape in somebody's text
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    constants = _constants(tree)
    alone = _whole_lines(tree, source)
    for node in ast.walk(tree):
        for call, value in _settings(node):
            uri = _literal(value, constants)
            if uri and value is not None:
                yield HardCoded(path, value.lineno, uri, call, alone.get(id(node)))


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names that the module binds once, to a text."""
    bound: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.setdefault(node.id, []).append(None)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and len(bound.get(target.id, ())) == 1:
                    bound[target.id] = [statement.value]
    return {
        name: values[0].value
        for name, values in bound.items()
        if isinstance(values[0], ast.Constant) and isinstance(values[0].value, str)
    }


def _whole_lines(tree: ast.Module, source: bytes) -> dict[int, tuple[int, int]]:
    """First and last line of each call or assignment that shares them with nothing else."""
    lines = source.split(b"\n")
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr | ast.Assign):
            continue
        last, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        after = lines[last - 1][end:].strip()
        if not lines[node.lineno - 1][: node.col_offset].strip() and after[:1] in {b"", b"#"}:
            what = node.value if isinstance(node, ast.Expr) else node
            found[id(what)] = (node.lineno, last)
    return found


def _settings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """What sets the URI in this node: how it is called, and to what."""
    if isinstance(node, ast.Call):
        yield from _in_call(node)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if (
                isinstance(target, ast.Subscript)
                and _last_name(target.value) == "environ"
                and _is(target.slice, TRACKING_URI)
            ):
                yield f'os.environ["{TRACKING_URI}"]', node.value


def _in_call(node: ast.Call) -> Iterator[tuple[str, ast.expr | None]]:
    name = _last_name(node.func)
    named = {one.arg: one.value for one in node.keywords}
    first = node.args[0] if node.args else None
    if name == "set_tracking_uri":
        yield f"{name}()", first or named.get("uri")
    elif name == "MlflowClient":
        yield f"{name}()", first or named.get("tracking_uri")
    elif name == "putenv" and _is(first, TRACKING_URI):
        yield "os.putenv()", node.args[-1]
    elif name == "update" and _is_environ(node.func):
        given = {key: value for key, value in named.items() if key}
        if isinstance(first, ast.Dict):
            keys = ((key, value) for key, value in zip(first.keys, first.values, strict=True))
            given |= {str(key.value): value for key, value in keys if isinstance(key, ast.Constant)}
        yield "os.environ.update()", given.get(TRACKING_URI)


def _is(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _is_environ(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and _last_name(function.value) == "environ"


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr | None, constants: dict[str, str]) -> str:
    """The text it stands for; empty when that is decided elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id, "")
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return ast.unparse(node)[2:-1]
    return ""
