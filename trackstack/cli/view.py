"""How results look in a terminal: a live tree while it works, a summary after."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from trackstack.client.changes import Change
    from trackstack.embedded.converge import Summary

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

_MARK = {"done": "[green]✓[/]", "failed": "[red]✗[/]"}
_SIGN = {"created": "[green]+[/]", "changed": "[yellow]~[/]", "removed": "[red]-[/]", "same": " "}


class Progress:
    """A line for each thing being done; on a pipe each line is printed once it ends."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title, self._quiet = title, quiet
        self._lines: dict[str, tuple[str, str, float]] = {}
        self._live: Live | None = None
        self._spinner = Spinner("dots")

    def __enter__(self) -> Self:
        if not self._quiet:
            err.print(f"[bold]{self._title}[/]")
            if err.is_terminal:
                self._live = Live(
                    console=err, get_renderable=self._tree, refresh_per_second=10, transient=False
                )
                self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def report(self, what: str, state: str, text: str) -> None:
        """One line changed."""
        before = self._lines.get(what)
        start = before[2] if before else time.monotonic()
        if before and before[:2] == (state, text):
            return
        self._lines[what] = (state, text, start)
        if text == "as it was":
            del self._lines[what]
        elif self._live is None and not self._quiet and state != "running":
            err.print(self._line(what), markup=False)

    def _line(self, what: str) -> str:
        state, text, start = self._lines[what]
        mark = {"done": "ok", "failed": "!!"}.get(state, "..")
        return f"  {mark} {what}: {text} ({time.monotonic() - start:.1f} s)"

    def _tree(self) -> Group:
        rows: list[Any] = []
        for what, (state, text, start) in self._lines.items():
            row = Table.grid(padding=(0, 1))
            mark = Text.from_markup(_MARK[state]) if state in _MARK else self._spinner
            age = f"{time.monotonic() - start:.0f} s" if state == "running" else ""
            row.add_row(Text(" "), mark, Text(what), Text(f"{text} {age}".strip(), style="dim"))
            rows.append(row)
        return Group(*rows)


def print_summary(summary: "Summary", *, verb: str) -> None:
    """What an ``up`` or a preview amounts to."""
    for urn, change in summary.changes.items():
        if change != "same":
            kind, name = urn.split("::")[2].rpartition("$")[2], urn.rpartition("::")[2]
            out.print(f"  {_SIGN[change]} {kind} [bold]{name}[/]")
    same = summary.count("same")
    parts = [
        f"{summary.count(change)} {change}"
        for change in ("created", "changed", "removed")
        if summary.count(change)
    ]
    out.print(f"\n[bold]Resources[/]  {', '.join([*parts, f'{same} same'])}")
    processes = [f"{_SIGN[change]} {name}" for name, change in summary.processes.items()]
    out.print(f"[bold]Processes[/]  {'  '.join(processes)}")
    if verb == "preview" and summary.rows:
        table = Table("translated for this machine", "declared", "here", box=None, pad_edge=False)
        for row in summary.rows:
            table.add_row(row["what"], row["declared"], row["here"])
        out.print()
        out.print(table)
    only = summary.declared_only
    if only and verb == "preview":
        listed = ", ".join(
            kind.rpartition(":")[2] + (f" x {count}" if count > 1 else "")
            for kind, count in only.items()
        )
        out.print()
        out.print(f"[bold]Declared, not run here[/]  [dim]{listed}[/]", soft_wrap=False)
    elif only:
        out.print(
            f"[bold]Declared, not run here[/]  {sum(only.values())} resources of {len(only)} types"
            " [dim](`trackstack preview` lists them)[/]"
        )
    if summary.cost:
        out.print(f"[bold]On AWS[/]  {summary.cost} [dim](`trackstack cost` shows the lines)[/]")
    for urn in summary.kept:
        out.print(f"[yellow]Kept[/]  the data of {urn}, which left the program")
    for warning in summary.warnings:
        out.print(f"[yellow]Warning[/]  {warning}")


_LEVEL = {"mandatory": "[red]mandatory[/]", "advisory": "[yellow]advisory[/]"}


def print_findings(summary: "Summary") -> None:
    """What policy packs say, one row a finding; a line when they have nothing to say."""
    if summary.findings is None:
        return
    out.print()
    if not summary.findings:
        out.print("[bold]Policy[/]  no finding")
        return
    table = Table("policy", "level", "what is wrong, and where", box=None, pad_edge=False)
    for one in summary.findings:
        wrong = Text(f"{one.sentence}\n").append(one.urn or "the stack as a whole", style="dim")
        table.add_row(one.rule, _LEVEL[one.level], wrong)
    out.print(table)


def print_outputs(outputs: Mapping[str, Any]) -> None:
    """The stack's outputs, a line each."""
    out.print("[bold]Outputs[/]")
    for key, value in outputs.items():
        if isinstance(value, str) and "\n" in value:
            shown = f"[PEM, {len(value)} characters]"
        else:
            shown = str(value)
        out.print(f"  {key}: ", Text(shown), sep="")


def print_text(text: str) -> None:
    """Text as it is, for pipes: no markup, no wrapping."""
    sys.stdout.write(text + "\n")


def apply_changes(changes: "list[Change]", hint: str = "", *, yes: bool) -> None:
    """Show what would become of somebody's files, ask, and do it."""
    import typer

    from trackstack.client.changes import shown
    from trackstack.embedded.errors import UsageError

    if not any(change.does_something for change in changes):
        out.print("Nothing to change.")
        return
    print_text(shown(changes))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("Nobody can be asked here whether to write this: say --yes.")
        if not typer.confirm("Write this?", err=True):
            err.print("Nothing was written.")
            raise typer.Exit(1)
    for change in changes:
        if change.does_something:
            change.make()
            err.print(f"{'Removed' if change.after is None else 'Wrote'} {change.path}.")
    if hint:
        err.print(hint)
