"""``mlflow server`` that becomes its own uvicorn.

MLflow's command imports the whole server to check the configuration and the stores, starts uvicorn
and then only waits: two processes of 245 MB for one worker, of which one serves nobody. Here the
same command runs in full, but where it would start uvicorn it turns into it.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from trackstack.core import server_environment as names
from trackstack.server.parent_death import end_with_parent

_UVICORN = ["-m", "uvicorn"]
_OURS = ["-m", "trackstack.server.web"]
_STOCK_APP = "mlflow.server.fastapi_app:app"
_OPEN = "trackstack.server.app:app"
"""MLflow's app, which takes ids from clients."""
_GATED = "trackstack.server.auth.app:create_app"
"""MLflow's auth app, the same, with a gate before every route."""


def main() -> None:
    """Run ``mlflow server`` with the configuration of the environment."""
    end_with_parent(int(sys.argv[1]))
    import mlflow.server  # noqa: PLC0415
    from mlflow.cli import cli  # noqa: PLC0415

    build = mlflow.server._build_uvicorn_command  # noqa: SLF001 - pinned version, held by a test
    mlflow.server._build_uvicorn_command = lambda *given: [  # noqa: SLF001 - the same
        _OPEN if part == _STOCK_APP else part for part in build(*given)
    ]
    if os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "").lower() not in {"1", "true"}:
        mlflow.server._exec_cmd = _become  # noqa: SLF001 - the same
    command = ["server"]
    if os.environ.get(names.ACCESS):
        command += ["--app-name", "basic-auth"]
        mlflow.server._find_app = lambda _: _GATED  # noqa: SLF001 - the same
    cli(command, prog_name="mlflow")


def _become(command: list[str], *, extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    command = [str(part) for part in command]
    if command[1:3] == _UVICORN:
        command[1:3] = _OURS
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**os.environ, **extra_env})  # noqa: S606


if __name__ == "__main__":
    main()
