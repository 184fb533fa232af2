"""The schema revisions that the installed MLflow knows, read from its files.

Why not by alembic: importing mlflow and loading 67 migration modules takes 2-3 s, and the first
container of every task would spend them to learn that there is nothing to do. Reading two
assignments a file takes 10 ms.
"""

import ast
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from psycopg2 import sql

from trackstack.server.problem import Refusal

_ASSIGNMENT = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Revisions:
    """What a version of MLflow can read: its head and everything that leads to it."""

    head: str
    known: frozenset[str]


def installed_revisions() -> Revisions:
    """Return the revisions of the MLflow that this interpreter would import."""
    return revisions_in(_mlflow() / "store" / "db_migrations" / "versions")


def auth_migrations() -> Path:
    """Return the folder of the migrations of MLflow's tables of users and permissions."""
    return _mlflow() / "server" / "auth" / "db" / "migrations"


def _mlflow() -> Path:
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        raise Refusal("MLflow is not installed in this environment.")
    return Path(spec.origin).parent


def revisions_in(folder: Path) -> Revisions:
    """Return the revisions that the migration files of a folder describe."""
    known: set[str] = set()
    parents: set[str] = set()
    for file in sorted(folder.glob("*.py")):
        found = {
            name: ast.literal_eval(value.split("#")[0].strip())
            for name, value in _ASSIGNMENT.findall(file.read_text(encoding="utf-8"))
        }
        if "revision" not in found:
            continue
        known.add(found["revision"])
        down = found.get("down_revision") or ()
        parents.update([down] if isinstance(down, str) else down)
    heads = known - parents
    if len(heads) != 1 or parents - known:
        raise Refusal(f"The migrations in {folder} don't end in one head: {sorted(heads)}.")
    return Revisions(head=heads.pop(), known=frozenset(known))


def current_revision(cursor: Any, table: str = "alembic_version") -> str | None:
    """Return the revision that a database's tables are at, or None when nobody made any.

    Args:
        cursor: of psycopg2.
        table: where alembic notes it; several rows are several heads, joined by ``+``.
    """
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"public.{table}",))
    if not cursor.fetchone()[0]:
        return None
    name = sql.Identifier("public", table)
    cursor.execute(sql.SQL("SELECT version_num FROM {} ORDER BY version_num").format(name))
    return "+".join(row[0] for row in cursor.fetchall()) or None
