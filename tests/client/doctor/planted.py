"""A server of MLflow's API with whatever is wrong with it, and a set-up to examine."""

import contextlib
import datetime as dt
import ipaddress
import json
import os
import ssl
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trackstack.client.doctor import Finding, SetUp, examine
from trackstack.client.doctor.setup import installed_mlflow

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
SEARCH = "/api/2.0/mlflow/experiments/search"
Answer = tuple[int, Mapping[str, str], bytes]
DEFAULT = {"experiment_id": "0", "name": "Default", "artifact_location": "mlflow-artifacts:/0"}


def _json(found: Any) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


@dataclass
class Planted:
    """What it answers; a test changes it."""

    answers: dict[str, Answer | Callable[[BaseHTTPRequestHandler], Answer]] = field(
        default_factory=dict
    )
    """By path, before all others."""
    experiments: list[dict[str, Any]] = field(default_factory=lambda: [DEFAULT])
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and credentials of each request."""
    uri: str = ""

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        """What is said to one request."""
        path = request.path
        self.asked.append((request.command, path, request.headers.get("Authorization")))
        planted = self.answers.get(f"{request.command} {path}") or self.answers.get(path)
        if planted is not None:
            return planted(request) if callable(planted) else planted
        if path == "/health":
            return 200, {}, b"OK"
        if path == "/version":
            return 200, {}, installed_mlflow().encode()
        if path == SEARCH:
            return _json({"experiments": self.experiments})
        if path.startswith(ARTIFACTS):
            return self._file(request.command, path, body)
        return 404, {}, b"no such thing"

    def _file(self, method: str, path: str, body: bytes) -> Answer:
        if method == "PUT":
            self.files[path] = body
        elif method == "DELETE":
            self.files.pop(path, None)
        else:
            return 200, {}, self.files[path]
        return _json({})


@contextlib.contextmanager
def serving(planted: Planted, certificate: Path | None = None) -> Iterator[Planted]:
    """It listens on loopback while the block lasts; over TLS with a certificate's file."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = planted.answer(self, body)
            self.send_response_only(status)
            if "Date" not in headers:
                self.send_header("Date", self.date_time_string())
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815 - http.server's names

        def log_message(self, *args: object) -> None:
            """Not into the test's output."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """A client that trusts us not breaks off."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        planted.uri = f"{scheme}://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield planted
        finally:
            server.shutdown()


def certificate(
    folder: Path, *names: str, days: int = 10, issuer: Path | None = None, ca: bool = False
) -> Path:
    """A file with key and certificate for names, signed by itself or by another such file."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "planted")])
    signer = key
    if issuer:
        pem = issuer.read_bytes()
        by = x509.load_pem_x509_certificate(pem).subject
        signer = serialization.load_pem_private_key(pem, None)  # type: ignore[assignment]
    else:
        by = subject
    told = [
        x509.IPAddress(ipaddress.ip_address(name))
        if name.replace(".", "").isdecimal()
        else x509.DNSName(name)
        for name in names
    ]
    if ca:
        subject = by = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if told:
        made = made.add_extension(x509.SubjectAlternativeName(told), critical=False)
    signed = made.sign(signer, hashes.SHA256())
    file = folder / f"{'-'.join(names) or 'authority'}{days}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@dataclass
class Client:
    """Somebody with a working tree and a shell."""

    folder: Path
    environment: dict[str, str]
    stacks: dict[str, str] = field(default_factory=dict)
    timeout: float = 10

    def findings(self, check: str = "") -> list[Finding]:
        """What the doctor finds, of one check or of all."""
        setup = SetUp(self.folder, self.environment, self.folder.parent, self.timeout, self.stacks)
        return [one for one in examine(setup) if check in {"", one.check}]

    def finding(self, check: str) -> Finding:
        """The one finding of a check."""
        (found,) = self.findings(check)
        return found

    def ill(self) -> dict[str, str]:
        """Check to level, for whatever is wrong."""
        return {
            one.check: one.level for one in self.findings() if one.level in {"error", "warning"}
        }

    def type(self, command: str) -> None:
        """Run a line in this somebody's shell, whose variables stay changed."""
        file, scripts = self.folder.parent / "environment", sysconfig.get_path("scripts")
        subprocess.run(
            ["bash", "-ec", f"{command}\nenv -0 > {file}"],
            cwd=self.folder,
            env={"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", **self.environment},
            check=True,
            capture_output=True,
        )
        pairs = (one.partition("=") for one in file.read_text().split("\0") if one)
        self.environment = {key: value for key, _, value in pairs}
