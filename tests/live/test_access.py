"""Who gets in, asked of real servers: every route they have, by everything that could open it.

The routes are those of the running application, listed at the time of the test, so a route of
tomorrow's MLflow is asked for credentials before anybody relies on it.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import subprocess
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.live.conftest import StackFactory
from tests.live.stacks import Stack, copy_of_the_program
from trackstack.client.server import Login
from trackstack.embedded.sign_in import Signer, make_key
from trackstack.embedded.state import StackState
from trackstack.server.auth.decisions import SECONDS

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("access"), pytest.mark.timeout(1200)]

COMMON = """config:
  pulumi:disable-default-providers: ["aws"]
  mlflow-platform:image: example.com/trackstack@sha256:{zeros}
  mlflow-platform:expendable: true
"""
BASIC = """  mlflow-platform:tls: generated
  mlflow-platform:access: basic
  mlflow-platform:default_permission: none
  mlflow-platform:tracking_tasks: 2
  mlflow-platform:database_instance_class: db.t4g.small
"""
OIDC = """  mlflow-platform:tls: domain
  mlflow-platform:domain: mlflow.example.com
  mlflow-platform:hosted_zone: example.com
  mlflow-platform:egress: nat
  mlflow-platform:access: oidc
  mlflow-platform:oidc_issuer: https://login.example.com
  mlflow-platform:oidc_client_id: mlflow
  mlflow-platform:oidc_client_secret:
    secure: v1:AAAA
  mlflow-platform:oidc_authorization_endpoint: https://login.example.com/authorize
  mlflow-platform:oidc_token_endpoint: https://login.example.com/token
  mlflow-platform:oidc_user_info_endpoint: https://login.example.com/userinfo
  mlflow-platform:oidc_email_domains: ["example.com"]
"""
OPEN = {"/health", "/static-files/<path:path>", "/api/3.0/mlflow/server-info"}
ROUTES: dict[tuple[str, str], list[tuple[str, str]]] = {}
DATA = "x-amzn-oidc-data"
FAR = {"/ajax-api/3.0/mlflow/gateway/supported-models"}
"""Opened, it asks the internet for what language models cost: not in a test."""
LIST_ROUTES = """
import json
from starlette.routing import Mount
from mlflow.server import app as flask
from trackstack.server.auth.app import create_app

def listed(routes):
    for route in routes:
        if isinstance(route, Mount):
            assert not route.path, route
            yield from ([rule.rule, sorted(rule.methods)] for rule in flask.url_map.iter_rules())
        elif hasattr(route, "effective_candidates"):
            yield from listed(route.effective_candidates())
        else:
            yield [route.path, sorted(route.methods)]

print(json.dumps(list(listed(create_app()._app.routes))))
"""


@dataclass(frozen=True)
class Service:
    """One server process, asked directly: nothing stands before it but its own gate."""

    name: str
    port: int
    environment: Mapping[str, str]
    python: str

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of every route of this very application; listing takes seconds."""
        key = (self.environment["TRACKSTACK_ACCESS"], self.name.partition("-")[0])
        if key not in ROUTES:
            ROUTES[key] = self._listed()
        return ROUTES[key]

    def _listed(self) -> list[tuple[str, str]]:
        done = subprocess.run(
            [self.python, "-W", "ignore", "-c", LIST_ROUTES],
            env=dict(self.environment),
            cwd=self.environment["HOME"],
            capture_output=True,
            text=True,
            check=True,
        )
        listed = json.loads(done.stdout.splitlines()[-1])
        return sorted({(method, path) for path, methods in listed for method in methods})

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = None if method in {"GET", "HEAD", "OPTIONS"} else json.dumps(body or {})
        told = {"Content-Type": "application/json", **(headers or {})}
        with contextlib.closing(connection):
            connection.request(method, path, sent, told)
            with connection.getresponse() as answer:
                return answer.status, answer.read()

    def sweep(
        self, headers: Mapping[str, str] | None = None, *, but: Collection[str] = ()
    ) -> dict[tuple[str, str], int]:
        """The status of every route, but of some paths, for somebody with these headers."""
        routes = [route for route in self.routes() if route[1] not in but]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda one: self.ask(one[0], filled(one[1]), headers)[0], routes)
            return dict(zip(routes, answers, strict=True))

    def post(
        self, method: str, headers: Mapping[str, str], **body: object
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer of a method of MLflow's API."""
        status, content = self.ask("POST", f"/api/{method}", headers, body)
        return status, json.loads(content) if status == http.HTTPStatus.OK else {}


def filled(rule: str) -> str:
    """A path of this rule, of Flask (``<path:x>``) or FastAPI (``{x:path}``)."""
    parts = rule.replace("{", "<").replace("}", ">").split("<")
    return parts[0] + "".join("7" + part.partition(">")[2] for part in parts[1:])


def services(stack: Stack) -> list[Service]:
    found = []
    for name, pid in stack.pids().items():
        if name.endswith(".serve"):
            child = psutil.Process(pid).children()[0]
            told = child.environ()
            found.append(Service(name, int(told["MLFLOW_PORT"]), told, child.cmdline()[0]))
    return found


def one_of_each(stack: Stack) -> list[Service]:
    """A tracking server and an artifacts server: their like run the same application."""
    return [one for one in services(stack) if one.name.endswith("-1.serve")]


def basic(login: tuple[str, str] | None) -> dict[str, str]:
    assert login
    return {"Authorization": Login(*login).header}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_the_program(tmp_path_factory.mktemp("program"))
    common = COMMON.format(zeros="0" * 64)
    (folder / "stacks" / "Pulumi.guarded.yaml").write_text(common + BASIC)
    (folder / "stacks" / "Pulumi.signed.yaml").write_text(common + OIDC)
    return folder


@pytest.fixture(scope="module")
def guarded(stack_factory: StackFactory, program: Path) -> Iterator[Stack]:
    """`access: basic`, where nobody may touch what is not theirs; two tracking servers and one."""
    stack = stack_factory(name="guarded", project=program)
    stack.up("--timeout", "270")
    yield stack
    stack.delete()


@pytest.fixture(scope="module")
def signed(stack_factory: StackFactory, program: Path) -> Iterator[Stack]:
    """`access: oidc`."""
    secret = {"TRACKSTACK_SECRET_OIDC_CLIENT_SECRET": "unused here"}
    stack = stack_factory(name="signed", project=program, extra=secret)
    stack.up("--timeout", "270")
    yield stack
    stack.delete()


@pytest.fixture(params=["guarded", "signed"])
def stack(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue(request.param)
    return found


# --- every route --------------------------------------------------------------------------------


def test_servers_that_start_together_on_an_empty_database_all_serve(guarded: Stack) -> None:
    told = guarded.status()
    assert told["ok"]
    restarts = {one["name"]: one["restarts"] for one in told["processes"]}
    servers = {name for name in restarts if name.endswith(".serve")}
    assert servers == {"tracking-1.serve", "tracking-2.serve", "artifacts-1.serve"}
    assert {restarts[name] for name in servers} == {0}
    for service in services(guarded):
        assert service.ask("GET", "/version", basic(guarded.login()))[0] == 200


def test_exactly_four_addresses_are_open_in_both_services(stack: Stack) -> None:
    for service in one_of_each(stack):
        statuses = service.sweep()
        assert len(statuses) > 200, "the application's own route map is larger than that"
        opened = {path for (_, path), status in statuses.items() if status != 401}
        assert opened == OPEN, service.name
        assert service.ask("GET", "/favicon.ico")[0] == 404  # MLflow has none, and asks nobody


@pytest.mark.parametrize(
    "login", [("nobody", "x" * 20), ("trackstack", ""), ("", ""), ("client", "wrong-password")]
)
def test_wrong_credentials_open_nothing(stack: Stack, login: tuple[str, str]) -> None:
    for service in one_of_each(stack):
        if login[0] == "nobody":
            statuses = service.sweep(basic(login))
            assert {path for (_, path), status in statuses.items() if status != 401} == OPEN
        for path in ("/", "/version", "/api/2.0/mlflow-artifacts/artifacts", "/graphql"):
            assert service.ask("GET", path, basic(login))[0] == 401


def test_right_credentials_open_every_route(stack: Stack) -> None:
    for service in one_of_each(stack):
        statuses = service.sweep(basic(stack.login("admin")), but=FAR)
        assert [one for one, status in statuses.items() if status == 401] == []


@pytest.mark.parametrize(
    "path",
    [
        "//version",
        "/./version",
        "/health/../version",
        "/health/version",
        "/health%2f..%2fversion",
        "/health;/version",
        "/static-files/../version",
        "/static-files/%2e%2e/version",
        "/static-files/..%2fversion",
        "/static-files//version",
        "/VERSION",
        "/version/",
        "/version?x=/health",
        "/favicon.ico/../version",
        "/api/3.0/mlflow/server-info/../../../version",
        "http://127.0.0.1/version",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_gate(guarded: Stack, path: str) -> None:
    for service in services(guarded)[:1]:
        status, content = service.ask("GET", path)
        assert status in {308, 400, 401, 404}
        assert b"3.17" not in content


@pytest.mark.parametrize(
    "headers",
    [
        {"x-trackstack-attested": "x trackstack"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ====="},
        {"Authorization": "Basic " + base64.b64encode(b"trackstack").decode()},
        {"X-MLflow-Authorization": "Basic dHJhY2tzdGFjazo="},
        {"X-Forwarded-User": "trackstack", "X-Remote-User": "trackstack"},
        {"x-amzn-oidc-identity": "trackstack"},
        {DATA: "x.y.z"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_no_header_but_credentials_opens_anything(stack: Stack, headers: dict[str, str]) -> None:
    for service in services(stack):
        for path in ("/version", "/api/2.0/mlflow-artifacts/artifacts/0/x", "/v1/traces"):
            assert service.ask("GET", path, headers)[0] == 401


# --- the balancer's word ------------------------------------------------------------------------


def signer(stack: Stack) -> Signer:
    state = StackState(stack.state)
    return Signer(state.read_secret("sign-in/key"), state.read_secret("sign-in/key-id"))


def word(
    service: Service, by: Signer, email: str = "ada@example.com", **header: object
) -> dict[str, str]:
    full: dict[str, object] = {
        "signer": service.environment["TRACKSTACK_OIDC_SIGNER"],
        "iss": "https://login.example.com",
        "client": "mlflow",
        "exp": int(time.time()) + 60,
        **header,
    }
    return {DATA: by.token(full, {"sub": "1", "email": email, "email_verified": "true"})}


def test_whom_the_balancer_signed_in_is_let_in_and_made_a_user(signed: Stack) -> None:
    for service in services(signed):
        email = f"{uuid.uuid4().hex}@example.com"
        assert service.ask("GET", "/version", word(service, signer(signed), email))[0] == 200
        assert email in signed.cli("users", "list", "--stack", "signed").stdout


def test_a_word_that_is_not_our_balancers_opens_no_route(signed: Stack) -> None:
    ours = signer(signed)
    for service in services(signed):
        forged = word(service, Signer(make_key(), ours.key_id))
        expired = word(service, ours, exp=int(time.time()) - 1)
        for headers in (forged, expired):
            statuses = service.sweep(headers)
            assert {path for (_, path), status in statuses.items() if status != 401} == OPEN
        for wrong in (
            word(service, ours, signer=service.environment["TRACKSTACK_OIDC_SIGNER"] + "x"),
            word(service, ours, iss="https://login.example.org"),
            word(service, ours, client="another"),
            word(service, Signer(ours.key_pem, str(uuid.uuid4()))),
            {DATA: word(service, ours)[DATA].rpartition(".")[0] + "."},
        ):
            assert service.ask("GET", "/version", wrong)[0] == 401


def test_who_is_of_another_domain_is_told_and_not_made_a_user(signed: Stack) -> None:
    service = services(signed)[0]
    status, content = service.ask("GET", "/version", word(service, signer(signed), "eve@evil.org"))
    assert status == 403
    assert b"eve@evil.org is not of example.com" in content
    assert "evil.org" not in signed.cli("users", "list", "--stack", "signed").stdout


def test_a_word_beside_wrong_credentials_counts_for_nothing(signed: Stack) -> None:
    """The balancer forwards whatever carries credentials: then its header is anybody's."""
    service = services(signed)[0]
    headers = {**word(service, signer(signed)), **basic(("nobody", "x" * 20))}
    assert service.ask("GET", "/version", headers)[0] == 401


def test_a_word_counts_only_where_the_balancers_word_is_taken(
    guarded: Stack, signed: Stack
) -> None:
    headers = word(services(signed)[0], signer(signed))
    assert services(guarded)[0].ask("GET", "/version", headers)[0] == 401


def through(stack: Stack, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Status and place to go on, through the balancer."""
    parts = urlsplit(stack.uri)
    assert parts.hostname
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port, context=stack.context, timeout=60
    )
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Location", "")


def test_through_the_balancer_browsers_are_sent_to_sign_in_and_programs_are_asked(
    signed: Stack,
) -> None:
    for path in ("/", "/version", "/api/2.0/mlflow-artifacts/artifacts"):
        status, place = through(signed, path)
        assert (status, place.partition("?")[0]) == (302, "/oauth2/sign-in")
        assert through(signed, path, basic(signed.login()))[0] == 200
        assert through(signed, path, basic(("nobody", "x" * 20)))[0] == 401
    assert through(signed, "/health")[0] == 200
    assert through(signed, "/api/3.0/mlflow/server-info")[0] == 200


def test_through_the_balancer_a_forged_word_is_replaced_or_refused(signed: Stack) -> None:
    forged = word(services(signed)[0], Signer(make_key(), signer(signed).key_id))
    assert through(signed, "/version", forged)[0] == 302
    assert through(signed, "/version", {**forged, **basic(("nobody", "x" * 20))})[0] == 401


# --- permissions, clients, users ----------------------------------------------------------------

CLIENT = """
import sys, pathlib, mlflow
name = sys.argv[1]
with mlflow.start_run(experiment_id=mlflow.create_experiment(name)) as run:
    mlflow.log_metric("loss", 0.5)
    pathlib.Path("weights.txt").write_text("w")
    mlflow.log_artifact("weights.txt")
again = mlflow.get_run(run.info.run_id)
assert again.data.metrics == {"loss": 0.5}
place = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="weights.txt")
assert pathlib.Path(place).read_text() == "w"
print(run.info.experiment_id, run.info.run_id)
"""


def train(stack: Stack, folder: Path, more: Mapping[str, str] | None = None) -> tuple[str, str]:
    (folder / "train.py").write_text(CLIENT)
    argv = (folder / "train.py", f"by-{uuid.uuid4().hex[:8]}")
    printed = stack.client(*argv, cwd=folder, more=more).stdout
    experiment, run = printed.splitlines()[-1].split()
    return experiment, run


def test_a_job_logs_with_what_env_hands_out(stack: Stack, tmp_path: Path) -> None:
    told = stack.client_environment
    assert told["MLFLOW_TRACKING_USERNAME"] == "client"
    train(stack, tmp_path)


def test_without_credentials_the_client_is_told_how_to_get_some(
    guarded: Stack, tmp_path: Path
) -> None:
    (tmp_path / "ask.py").write_text("import mlflow; mlflow.search_experiments()")
    nobody = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}
    done = guarded.client(tmp_path / "ask.py", cwd=tmp_path, more=nobody, check=False)
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in done.stderr


def made(stack: Stack, name: str, folder: Path) -> tuple[str, str]:
    """A new user's name and password."""
    file = folder / f"{name}.env"
    stack.cli("users", "add", name, "--stack", stack.name, "--to-file", str(file))
    assert file.stat().st_mode & 0o077 == 0
    told = dict(line.split("=", 1) for line in file.read_text().splitlines())
    return name, json.loads(told["MLFLOW_TRACKING_PASSWORD"])


def test_what_is_not_yours_is_closed_in_the_artifacts_service_too(
    guarded: Stack, tmp_path: Path
) -> None:
    experiment, run = train(guarded, tmp_path)
    bob = basic(made(guarded, "bob", tmp_path))
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/weights.txt"
    listing = f"/api/2.0/mlflow-artifacts/artifacts?path={experiment}/{run}/artifacts"

    def asked(headers: Mapping[str, str]) -> set[tuple[int, int, int]]:
        return {
            (
                service.ask("GET", path, headers)[0],
                service.ask("GET", listing, headers)[0],
                service.ask("PUT", path, headers)[0],
            )
            for service in services(guarded)
        }

    assert asked(basic(guarded.login())) == {(200, 200, 200)}
    assert asked(bob) == {(403, 403, 403)}
    granted(services(guarded)[0], basic(guarded.login("admin")), "bob", experiment, "READ")
    assert asked(bob) == {(200, 200, 403)}
    guarded.cli("users", "remove", "bob", "--stack", "guarded")
    assert not list(guarded.state.glob("run/**/*.db")), "MLflow made a stray store"


def granted(by: Service, admin: Mapping[str, str], user: str, experiment: str, what: str) -> None:
    """Let a user do this with an experiment, or take it away, by one of the servers."""
    told = {"username": user, "resource_type": "experiment", "resource_id": experiment}
    method = "grant" if what else "revoke"
    status, _ = by.post(f"3.0/mlflow/users/permissions/{method}", admin, **told, permission=what)
    assert status == 200


def test_what_is_made_at_one_server_is_its_makers_at_the_other_at_once(
    guarded: Stack, tmp_path: Path
) -> None:
    """Nobody may do anything with what is not theirs here: an old answer would be a refusal."""
    one, other = [service for service in services(guarded) if service.name.startswith("tracking")]
    eve = basic(made(guarded, "eve", tmp_path))
    for number in range(5):
        name = f"eves-{number}"
        status, answer = one.post("2.0/mlflow/experiments/create", eve, name=name)
        assert status == 200
        status, run = other.post("2.0/mlflow/runs/create", eve, **answer)
        assert status == 200
        told = {"run_id": run["run"]["info"]["run_id"], "key": "loss", "value": 1, "timestamp": 1}
        assert one.post("2.0/mlflow/runs/log-metric", eve, **told)[0] == 200
        status, found = other.post("2.0/mlflow/runs/search", eve, experiment_ids=[*answer.values()])
        assert (status, len(found["runs"])) == (200, 1)
        one, other = other, one


def test_what_is_taken_away_ends_here_at_once_and_elsewhere_in_seconds(
    guarded: Stack, tmp_path: Path
) -> None:
    experiment, run = train(guarded, tmp_path)
    admin = basic(guarded.login("admin"))
    dan = basic(made(guarded, "dan", tmp_path))
    one, other = [service for service in services(guarded) if service.name.startswith("tracking")]

    def logs(service: Service) -> int:
        point = {"run_id": run, "key": "loss", "value": 1, "timestamp": 1}
        return service.post("2.0/mlflow/runs/log-metric", dan, **point)[0]

    assert (logs(one), logs(other)) == (403, 403)
    granted(one, admin, "dan", experiment, "EDIT")
    assert (logs(one), logs(other)) == (200, 200)
    granted(one, admin, "dan", experiment, "")
    taken = time.monotonic()
    assert logs(one) == 403
    while logs(other) == 200:
        assert time.monotonic() < taken + SECONDS + 2, "it goes on"
        time.sleep(0.2)
    assert logs(other) == 403


def test_nobody_gets_at_a_run_by_claiming_its_id(guarded: Stack, tmp_path: Path) -> None:
    one, other = [service for service in services(guarded) if service.name.startswith("tracking")]
    fay, gus = (basic(made(guarded, name, tmp_path)) for name in ("fay", "gus"))
    _, fays = one.post("2.0/mlflow/experiments/create", fay, name="fays")
    _, guss = one.post("2.0/mlflow/experiments/create", gus, name="guss")
    chosen = uuid.uuid4().hex
    tags = [{"key": "trackstack.id", "value": chosen}, {"key": "secret", "value": "fays own"}]
    told = {"start_time": 1, "tags": tags}

    def create(service: Service, who: Mapping[str, str], where: object) -> tuple[int, bytes]:
        body = {**told, "experiment_id": where}
        return service.ask("POST", "/api/2.0/mlflow/runs/create", who, body)

    for service in (one, other, one):
        status, content = create(service, fay, fays["experiment_id"])
        assert (status, json.loads(content)["run"]["info"]["run_id"]) == (200, chosen)
    tags[1]["value"] = "guess"
    for service in (one, other):
        assert create(service, gus, fays["experiment_id"])[0] == 403
        status, content = create(service, gus, guss["experiment_id"])
        assert (status, json.loads(content)["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
        assert b"fays" not in content
        path = f"/api/2.0/mlflow/runs/get?run_id={chosen}"
        assert service.ask("GET", path, gus)[0] == 403


def test_users_come_get_another_password_and_go(stack: Stack) -> None:
    name, where = f"u-{uuid.uuid4().hex[:6]}", ("--stack", stack.name)
    printed = stack.cli("users", "add", name, "--admin", *where).stdout
    first = printed.split("PASSWORD=")[1].strip()
    listed = json.loads(stack.cli("users", "list", "--json", *where).stdout)
    assert {"name": name, "is_admin": True} in listed
    second = stack.cli("users", "rotate", name, *where).stdout.split("PASSWORD=")[1].strip()
    service = services(stack)[0]
    assert first != second
    assert service.ask("GET", "/version", basic((name, second)))[0] == 200
    stack.cli("users", "admin", name, "--revoke", *where)
    stack.cli("users", "remove", name, *where)
    assert name not in stack.cli("users", "list", *where).stdout
    again = stack.cli("users", "rotate", name, *where, check=False)
    assert again.returncode == 5
    assert "not found" in again.stderr
    own = stack.cli("users", "remove", "trackstack", *where, check=False)
    assert own.returncode == 2


def test_no_password_is_in_an_argument_or_a_log(stack: Stack) -> None:
    known = [login[1] for who in ("admin", "client") if (login := stack.login(who))]
    told = [" ".join(psutil.Process(pid).cmdline()) for pid in stack.pids().values()]
    told += [file.read_text(errors="replace") for file in stack.state.glob("logs/*")]
    told.append((stack.state / "wanted.json").read_text())
    told.append(stack.cli("outputs", "--stack", stack.name, "--json").stdout)
    for password in known:
        assert not any(password in text for text in told)
    for service in services(stack):
        for password in known:
            assert password not in service.environment.values()


def test_another_serial_gives_the_stack_other_passwords(guarded: Stack) -> None:
    """Last: it restarts the servers."""
    before = basic(guarded.login())
    file = guarded.project / "stacks" / "Pulumi.guarded.yaml"
    file.write_text(file.read_text() + "  mlflow-platform:admin_password_serial: 1\n")
    guarded.up("--timeout", "270")
    service = services(guarded)[0]
    assert service.ask("GET", "/version", before)[0] == 401
    assert service.ask("GET", "/version", basic(guarded.login()))[0] == 200
    assert guarded.status()["ok"]
