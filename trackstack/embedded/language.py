"""Runs a Pulumi program as its language host would: the child half of an evaluation.

Started as ``python -m trackstack.embedded.language`` with a JSON request on standard input, in a
process of its own, so that whatever the program imports, prints or breaks stays there. An error
goes back as JSON in the file that the request names: the user's own frames, none of ours.
"""

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime as rt


def run(program: Callable[[], None], request: dict[str, Any]) -> None:
    """Run a program against a monitor; raises what the program raises."""
    rt.set_all_config(request["config"], request["secret_keys"])
    rt.settings.ROOT.set(None)
    rt.configure(
        rt.Settings(
            project=request["project"],
            stack=request["stack"],
            monitor=request["address"],
            engine=request["address"],
            parallel=16,
            dry_run=True,
            organization="organization",
            root_directory=request["root"],
        )
    )
    # The SDK tells an engine of every step of a registration, hundreds of calls that nobody reads.
    pulumi.log.debug = _say_nothing
    # Asyncio complains of futures that a failing program left unobserved; that is harmless here.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    # RegisterResource blocks its thread: enough of them, as Pulumi's own host has.
    executor = ThreadPoolExecutor(max_workers=64)
    loop.set_default_executor(executor)
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(rt.run_in_stack(program))
    finally:
        asyncio.set_event_loop(None)
        executor.shutdown(wait=True)
        loop.close()


def _say_nothing(*_: Any, **__: Any) -> None:
    pass


def user_frames(error: BaseException, root: Path) -> list[dict[str, Any]]:
    """The frames of a traceback that lie in the project, outermost first."""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        inside = path.is_absolute() and path.is_relative_to(root)
        if not inside or "site-packages" in path.parts or path == Path(__file__):
            continue
        where = str(path.relative_to(root))
        if where == frame.filename or where.startswith("trackstack/embedded/"):
            continue
        frames.append(
            {"file": where, "line": frame.lineno, "function": frame.name, "text": frame.line}
        )
    return frames


def main() -> int:
    """Run the program of the request; 0, or 1 with the error in the report file."""
    request = json.load(sys.stdin)
    root = Path(request["root"])
    program = Path(request["program"])
    os.chdir(root)
    sys.argv = [str(program)]
    sys.path.insert(0, str(program.parent))

    def start() -> None:
        runpy.run_path(str(program), run_name="__main__")

    try:
        run(start, request)
    except pulumi.RunError as error:
        report: dict[str, Any] = {"kind": "refused", "message": str(error), "frames": []}
    except SystemExit as error:
        if not error.code:
            return 0
        report = {
            "kind": "exited",
            "message": f"the program ended itself with {error.code!r}",
            "frames": [],
        }
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is its user's to see
        report = {
            "kind": "raised",
            "message": "".join(traceback.format_exception_only(error)).strip(),
            "frames": user_frames(error, root),
        }
    else:
        return 0
    Path(request["report"]).write_text(json.dumps(report), encoding="utf-8")
    return 1


if __name__ == "__main__":
    # Threads of the RPC layer may still wait for a monitor that has gone: don't join them.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
