"""The database credential: a file that libpq reads on every new connection.

Replacing the file is therefore a whole rotation: no restart, no pool to drain. RDS accepts a token
for 15 minutes and only looks at it while a connection is made.
"""

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from trackstack.core.log_lines import TOKEN_NOT_RENEWED
from trackstack.server.environment import Database, Login
from trackstack.server.problem import FAILED, Refusal

RENEWAL_SECONDS = 600.0
VALID_SECONDS = 900.0
_FIRST_RETRY_SECONDS = 5.0
_LAST_RETRY_SECONDS = 60.0


def password_line(database: Database, password: str) -> str:
    """Return the file's one line; any database of this host, because it is one role's password."""
    if "\n" in password or "\0" in password:
        raise Refusal("The database password holds a line break, which no password file can hold.")
    fields = (database.host, str(database.port), None, database.user, password)
    return ":".join("*" if field is None else _escaped(field) for field in fields) + "\n"


def write_password_file(path: Path, line: str) -> None:
    """Replace the file in one step, readable for its owner only: libpq ignores any other."""
    write_owner_only(path, line, what="password file")


def write_owner_only(path: Path, text: str, what: str = "file") -> None:
    """Replace a file in one step, readable for its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise Refusal(f"The {what} {path} can't be written: {error.strerror}.", FAILED) from error


def rds_token_maker(database: Database, region: str) -> Callable[[], str]:
    """Return what signs an RDS token with the task's role; the role itself renews its keys."""
    import boto3  # noqa: PLC0415 - 40 MB that a server with a password doesn't need
    import botocore.session  # noqa: PLC0415

    session = botocore.session.Session()
    if os.environ.get("MLFLOW_S3_ENDPOINT_URL"):
        # The keys in the environment are an S3-compatible server's; RDS knows only the role.
        session.get_component("credential_provider").remove("env")
    client = boto3.Session(botocore_session=session).client("rds", region_name=region)

    def make() -> str:
        return str(
            client.generate_db_auth_token(
                DBHostname=database.host,
                Port=database.port,
                DBUsername=database.user,
                Region=region,
            )
        )

    return make


class Renewal:
    """Writes a new token well before the old one ends, and says so when it can't.

    A failure is not the end of the server: connections that exist go on, and the next try may
    succeed. So it complains at every failure, with the time that is left.
    """

    def __init__(
        self,
        renew: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        complain: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self._renew = renew
        self._clock = clock
        self._complain = complain
        self._written_at = clock()
        self._retry_seconds = 0.0

    def next_wait(self) -> float:
        """Return the seconds until the next step is due."""
        return self._retry_seconds or RENEWAL_SECONDS

    def step(self) -> None:
        """Renew once."""
        try:
            self._renew()
        except Exception as error:  # noqa: BLE001 - whatever it was, the thread must live on
            self._retry_seconds = min(
                max(_FIRST_RETRY_SECONDS, self._retry_seconds * 2), _LAST_RETRY_SECONDS
            )
            left = self._written_at + VALID_SECONDS - self._clock()
            consequence = (
                f"the present one is valid for {left:.0f} s more"
                if left > 0
                else "the last one has expired, so new connections to the database fail"
            )
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            self._complain(f"{TOKEN_NOT_RENEWED} ({reason}); {consequence}.")
        else:
            if self._retry_seconds:
                self._complain("The database token is renewed again.")
            self._written_at = self._clock()
            self._retry_seconds = 0.0

    def start(self) -> None:
        """Renew from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="database-token", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self.next_wait())
            self.step()


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace(":", "\\:")


def keep_logged_in(database: Database, login: Login) -> None:
    """Write the file that libpq reads, and go on renewing it where tokens take a password's place.

    Raises:
        Refusal: the file can't be written, or no token can be made.
    """
    if login.password is not None:
        write_password_file(login.file, password_line(database, login.password))
        return
    try:
        make_token = rds_token_maker(database, login.region)

        def renew() -> None:
            write_password_file(login.file, password_line(database, make_token()))

        renew()
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(f"No database token can be made: {str(error).rstrip('.')}.") from error
    Renewal(renew).start()
