"""``MLFLOW_TRACKING_URI``: MLflow takes nearly any text, and logs into a folder of that name."""

import difflib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from trackstack.client.doctor.finding import Finding, error, not_judged, ok, warning
from trackstack.client.doctor.setup import SetUp, installed_mlflow, set_uri, version
from trackstack.client.server import Login
from trackstack.core.client_settings import TRACKING_URI

CHECK = "tracking URI"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/.*)?|localhost(/.*)?|[\w-]+(\.[\w-]+)+(/.*)?")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%\w+)?")
_DATABASES = ("postgresql", "mysql", "mssql", "oracle")
_STORAGE = ("s3", "s3a", "gs", "wasb", "wasbs", "abfs", "abfss", "hdfs", "viewfs", "dbfs", "ftp",
            "sftp", "r2", "oss", "mlflow-artifacts")  # fmt: skip
_ELSEWHERE = ("databricks", "databricks-uc", "uc")
_SQLITE_SINCE = (3, 7)


@dataclass(frozen=True)
class Address:
    """A tracking URI of a server, without what proves who asks."""

    uri: str
    host: str
    port: int
    secure: bool
    login: Login | None

    @property
    def authority(self) -> str:
        """Host and port as the URI spells them: what the server reads in the Host header."""
        return urlsplit(self.uri).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def judge(setup: SetUp) -> tuple[Finding, Address | None]:  # noqa: PLR0911 - one for each fault
    """The variable, and the server it names if it names one."""
    value = setup.tracking_uri
    mend = setup.take_variables()
    if value is None:
        return error(CHECK, f"{TRACKING_URI} is not set, so {_logs_beside(setup)}.", mend), None
    if not value:
        sentence = (
            f"{TRACKING_URI} is set but empty, as by a CI secret that doesn't exist, so"
            f" {_logs_beside(setup)}."
        )
        return error(CHECK, sentence, mend), None
    clean = value.strip().strip("\"'").strip()
    if clean != value:
        sentence = f"{TRACKING_URI} has blanks or quotes around its value: {shown(value)!r}."
        return error(CHECK, sentence, set_uri(shown(clean)) if clean else mend), None
    found = _SCHEME.fullmatch(value)
    if value in _ELSEWHERE:
        return _other_scheme(value, value, mend), None
    if found is None or _HOST_AND_PORT.fullmatch(value):
        return _without_scheme(value, mend), None
    scheme = found[1].lower()
    if scheme in {"http", "https"}:
        return _server(value, mend)
    return _other_scheme(value, scheme, mend), None


def shown(uri: str) -> str:
    """The URI without a password."""
    return re.sub(r"(//)[^/@\s]*:[^/@\s]*@", r"\1", uri)


def sqlite_file(uri: str | None, folder: Path) -> Path | None:
    """The file behind ``sqlite:///…`` for somebody in a folder; None for anything else."""
    found = re.fullmatch(r"sqlite(\+\w+)?:///(.+)", uri or "", re.DOTALL)
    return folder / found[2].partition("?")[0] if found else None


def _logs_beside(setup: SetUp) -> str:
    known = installed_mlflow()
    if not known:
        store = "./mlflow.db or ./mlruns"
    elif version(known) >= _SQLITE_SINCE and not any(setup.folder.glob("mlruns/*/meta.yaml")):
        store = "./mlflow.db"
    else:
        store = "./mlruns"
    return f"MLflow logs without a word into {store} of the folder that training starts in"


def _without_scheme(value: str, mend: str) -> Finding:
    if _HOST_AND_PORT.fullmatch(value):
        return error(
            CHECK, f"{TRACKING_URI}={value} lacks http:// or https://.", set_uri(f"http://{value}")
        )
    return error(
        CHECK, f"{TRACKING_URI}={value} is a folder: the runs stay on this machine's disk.", mend
    )


def _server(value: str, mend: str) -> tuple[Finding, Address | None]:
    safe = shown(value)
    scheme, _, rest = value.partition(":")
    if not rest.startswith("//") and rest.strip("/"):
        mended = f"{scheme.lower()}://{shown('//' + rest.strip('/'))[2:]}"
        return error(CHECK, f"{TRACKING_URI}={safe} lacks a slash.", set_uri(mended)), None
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError as wrong:
        return error(CHECK, f"{TRACKING_URI}={safe} is no address: {wrong}.", mend), None
    if not _HOST.fullmatch(host):
        sentence = f"{TRACKING_URI}={safe} names no host" + (
            f": {host!r} is none." if host else "."
        )
        return error(CHECK, sentence, mend), None
    if parts.fragment or parts.query or "#" in value:
        base = f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"
        sentence = f"{TRACKING_URI}={safe} is a page of the UI, not the server's address."
        return error(CHECK, sentence, set_uri(base)), None
    secure = parts.scheme == "https"
    login = None
    if parts.username is not None:
        login = Login(unquote(parts.username), unquote(parts.password or ""))
    uri = f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"
    address = Address(uri, host, port or (443 if secure else 80), secure, login)
    if parts.password:
        sentence = (
            f"{TRACKING_URI} holds a password, which MLflow prints with the link to each run; it"
            " belongs into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
        return warning(CHECK, sentence, set_uri(uri)), address
    return ok(CHECK, uri), address


def _authority(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _other_scheme(value: str, scheme: str, mend: str) -> Finding:  # noqa: PLR0911 - one for each fault
    safe, rest = shown(value), value.partition(":")[2]
    base = scheme.partition("+")[0]
    if base in {"sqlite", "file"}:
        what = "a file" if base == "sqlite" else "a folder"
        sentence = f"{TRACKING_URI}={safe} is {what}: the runs stay on this machine's disk."
        return error(CHECK, sentence, mend)
    if base in _DATABASES:
        sentence = (
            f"{TRACKING_URI} leads into a {base} database, past the server: whoever trains needs"
            " its password, and a newer MLflow here makes the server's unable to read it."
        )
        return warning(CHECK, sentence, mend)
    if scheme in _STORAGE:
        sentence = f"{TRACKING_URI}={safe} is where artifacts lie; runs are logged to a server."
        return error(CHECK, sentence, mend)
    if scheme in _ELSEWHERE:
        return not_judged(CHECK, f"{safe} is Databricks' own, which is not looked at here.")
    plugins = importlib.metadata.entry_points(group="mlflow.tracking_store")
    if scheme in {plugin.name for plugin in plugins}:
        return not_judged(CHECK, f"A plugin of MLflow's is in charge of {scheme}.")
    sentence = f"{TRACKING_URI}={safe} begins with {scheme!r}, which MLflow doesn't know."
    alike = difflib.get_close_matches(scheme, ["http", "https"], n=1, cutoff=0.6)
    if alike and rest.strip("/"):
        return error(CHECK, sentence, set_uri(f"{alike[0]}://{shown('//' + rest.strip('/'))[2:]}"))
    return error(CHECK, sentence, mend)
