"""``trackstack status``."""

import json
import os
import time
from typing import TYPE_CHECKING, Any

import typer

from trackstack.cli.app import FromOption, JsonOption, ProjectOption, StackOption, app
from trackstack.cli.sources import find_login, find_outputs, find_state
from trackstack.client import health
from trackstack.client.relay import syncing

if TYPE_CHECKING:
    from trackstack.embedded.supervisor import Observed


@app.command()
def status(
    stack: StackOption = "dev",
    project: ProjectOption = "",
    source: FromOption = "here",
    as_json: JsonOption = False,
) -> None:
    """Check a stack as `curl /health` can't: its processes, database and artifact store.

    Exit code 0 only when a search answered from the database and a file could be written to,
    read from and deleted from the artifact store. What relays of this machine keep is told, too.
    """
    from trackstack.cli.view import out, print_text
    from trackstack.embedded import supervisor

    found = find_outputs(source, stack, project)
    uri = str(found["tracking_uri"])
    # A parameter knows of no admin; without one the artifact store isn't written to.
    login = find_login(found, source, stack, project, admin=not source.startswith("ssm:"))
    checks = health.Platform(uri, str(found.get("tracking_certificate") or ""), login).check()
    observed = supervisor.observe(find_state(stack, project)) if source == "here" else None
    relays = list(syncing.kept(os.environ))
    ok = all(check.ok for check in checks) and (observed is None or observed.ready)
    if as_json:
        told: dict[str, Any] = {
            "stack": stack,
            "ok": ok,
            "trackingUri": uri,
            "checks": [vars(check) for check in checks],
            "processes": _plain(observed),
            "relays": [one.plain for one in relays],
        }
        print_text(json.dumps(told, indent=2))
    else:
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
            out.print(
                f"{mark} [bold]{check.name}[/]  {check.detail} [dim]{check.milliseconds} ms[/]"
            )
        if observed is not None:
            _print_processes(observed)
        for one in relays:
            text = f"{one.waiting} writes wait for {one.server}"
            text += f", {len(one.refused)} were refused by it" if one.refused else ""
            out.print(f"[yellow]![/] [bold]relay[/]  {text}; `trackstack sync` says more")
    raise typer.Exit(0 if ok else 5)


def _plain(observed: "Observed | None") -> list[dict[str, Any]]:
    if observed is None:
        return []
    return [
        {
            "name": p.name,
            "service": p.service,
            "state": p.state if observed.alive else "stopped",
            "pid": p.pid if observed.alive else None,
            "restarts": p.restarts,
            "problem": p.problem,
        }
        for p in observed.processes.values()
    ]


def _print_processes(observed: "Observed") -> None:
    from rich.table import Table

    from trackstack.cli.view import out

    if not observed.alive:
        out.print("[red]✗[/] [bold]supervisor[/]  not running")
        return
    table = Table("process", "state", "pid", "for", "restarts", "", box=None, pad_edge=False)
    for p in observed.processes.values():
        age = f"{time.time() - p.since:.0f} s"
        table.add_row(p.name, p.state, str(p.pid or ""), age, str(p.restarts), p.problem)
    out.print(table)
