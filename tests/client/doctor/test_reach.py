"""The way to the server: each way that it fails, told apart."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.doctor.planted import Client, Planted, certificate, serving
from trackstack.client.doctor import trust


def listening(backlog: int) -> socket.socket:
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(backlog)
    return found


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address whose packets nobody answers: the kernel drops them once its queue is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(listening(0))
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


def test_a_name_that_is_not_known(client: Client) -> None:
    client.environment["MLFLOW_TRACKING_URI"] = "http://no-such-host.invalid:5000"
    found = client.finding("connection")
    assert found.level == "error"
    assert "name 'no-such-host.invalid' is not known" in found.sentence
    assert found.command == "trackstack run -- python train.py"


def test_a_port_that_refuses_and_the_command_that_starts_what_should_listen(
    client: Client,
) -> None:
    with listening(1) as closed:
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
    client.environment["MLFLOW_TRACKING_URI"] = uri
    found = client.finding("connection")
    assert "refuses connections" in found.sentence
    assert found.command == 'trackstack up && eval "$(trackstack env)"'
    client.stacks = {"staging": uri}
    assert client.finding("connection").command == "trackstack up --stack staging"
    client.stacks = {"dev": "http://127.0.0.1:1"}
    assert client.finding("connection").command == 'eval "$(trackstack env)"'


def test_a_black_hole_is_told_from_a_server_that_hangs(client: Client, black_hole: str) -> None:
    client.timeout = 0.5
    client.environment["MLFLOW_TRACKING_URI"] = black_hole
    assert "swallows connections" in client.finding("connection").sentence
    with listening(5) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client.environment["MLFLOW_TRACKING_URI"] = uri
        assert client.ill() == {"server": "error"}
        assert "does not answer within 0.5 s" in client.finding("server").sentence
        assert client.finding("database").sentence == "First mend what is wrong with: server."


def test_a_proxy_in_the_way_is_named_and_led_around(
    client: Client, server: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(1) as closed:
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("http_proxy", proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    found = client.finding("connection")
    assert "This machine's proxy stands in between" in found.sentence
    client.type(found.command)
    monkeypatch.setenv("no_proxy", client.environment["no_proxy"])
    assert client.ill() == {}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {"Server": "nginx"}, b""), "answers 404 like no MLflow server (it calls itself 'ng"),
        ((200, {}, b"<html>"), "like no MLflow server"),
        ((403, {"Server": "AirTunes/7"}, b""), "AirPlay receiver has taken port 5000"),
        ((502, {}, b""), "no server behind it"),
        ((503, {}, b""), "no server behind it"),
        ((302, {"Location": "https://login.example.com/authorize"}, b""), "to sign in at"),
    ],
)
def test_what_answers_is_not_mlflow(
    client: Client, server: Planted, answer: tuple[int, dict[str, str], bytes], said: str
) -> None:
    server.answers["/health"] = answer
    assert client.ill() == {"server": "error"}
    assert said in client.finding("server").sentence


def test_a_redirect_to_the_same_server_is_mended_by_its_end(
    client: Client, server: Planted
) -> None:
    with serving(Planted()) as moved:
        moved.answers["/health"] = (301, {"Location": f"{server.uri}/health"}, b"")
        client.environment["MLFLOW_TRACKING_URI"] = moved.uri
        found = client.finding("server")
    assert "a redirected POST becomes a GET" in found.sentence
    client.type(found.command)
    assert client.ill() == {}


def test_credentials_follow_no_redirect(client: Client, server: Planted) -> None:
    with serving(Planted()) as other:
        server.answers["/health"] = (302, {"Location": f"{other.uri}/health"}, b"")
        client.environment |= {
            "MLFLOW_TRACKING_USERNAME": "ada",
            "MLFLOW_TRACKING_PASSWORD": "secret",
        }
        client.findings()
        assert other.asked == []


def test_https_in_front_of_plain_http_and_the_other_way_round(
    client: Client, server: Planted, tmp_path: Path
) -> None:
    right = server.uri
    client.environment["MLFLOW_TRACKING_URI"] = right.replace("http:", "https:")
    client.type(client.finding("certificate").command)
    assert client.environment["MLFLOW_TRACKING_URI"] == right
    file = certificate(tmp_path, "127.0.0.1")
    with serving(Planted(), file) as secure:
        client.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(file)
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri.replace("https:", "http:")
        found = client.finding("server")
        assert "speaks TLS only" in found.sentence
        client.type(found.command)
        assert client.ill() == {}


def test_a_certificate_signed_by_itself_is_trusted_by_the_printed_line(
    client: Client, tmp_path: Path
) -> None:
    with serving(Planted(), certificate(tmp_path, "127.0.0.1")) as secure:
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        found = client.finding("certificate")
        assert "is signed by itself" in found.sentence
        assert "SHA-256" in found.sentence
        client.type(found.command)
        assert client.ill() == {}


def test_the_certificate_of_a_stack_of_this_machine_comes_from_env(
    client: Client, tmp_path: Path
) -> None:
    with serving(Planted(), certificate(tmp_path, "127.0.0.1")) as secure:
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        client.stacks = {"staging": secure.uri}
        command = client.finding("certificate").command
    assert command == 'eval "$(trackstack env --stack staging)"'


def test_an_authority_that_nobody_trusts(client: Client, tmp_path: Path) -> None:
    authority = certificate(tmp_path, ca=True)
    file = certificate(tmp_path, "127.0.0.1", issuer=authority)
    with serving(Planted(), file) as secure:
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        found = client.finding("certificate")
        assert "from an authority that nobody here trusts" in found.sentence
        client.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(authority)
        assert client.ill() == {}


def test_an_authority_that_the_machine_trusts_but_requests_does_not(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path, ca=True)
    file = certificate(tmp_path, "127.0.0.1", issuer=authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))  # where Python looks for the system's
    with serving(Planted(), file) as secure:
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        found = client.finding("certificate")
        assert "trusted by this machine, but not by Python's requests" in found.sentence
        client.type(found.command)
        assert client.ill() == {}


def test_a_certificate_for_another_name_says_which(client: Client, tmp_path: Path) -> None:
    file = certificate(tmp_path, "localhost", "mlflow.example.com")
    with serving(Planted(), file) as secure:
        client.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(file)
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        found = client.finding("certificate")
        assert "is not made out to '127.0.0.1', but to localhost, mlflow.exa" in found.sentence
        client.type(found.command)
        assert client.environment["MLFLOW_TRACKING_URI"].startswith("https://localhost:")
        assert client.ill() == {}


def test_an_expired_certificate(client: Client, tmp_path: Path) -> None:
    file = certificate(tmp_path, "127.0.0.1", days=-1)
    with serving(Planted(), file) as secure:
        client.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(file)
        client.environment["MLFLOW_TRACKING_URI"] = secure.uri
        assert "has expired" in client.finding("certificate").sentence


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
def test_a_variable_that_names_no_certificate_is_mended_by_unsetting_it(
    client: Client, tmp_path: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setattr("trackstack.client.doctor.trust._certifi", lambda: str(file))
    with serving(Planted(), file) as secure:
        client.environment |= {"MLFLOW_TRACKING_URI": secure.uri, variable: "/not/there.pem"}
        found = client.finding("certificate")
        assert found.sentence == f"{variable} names no certificates: /not/there.pem."
        client.type(found.command)
        assert client.ill() == {}


def test_trust_in_everybody_is_warned_of(client: Client, tmp_path: Path) -> None:
    file = certificate(tmp_path, "somebody-else")
    with serving(Planted(), file) as secure:
        client.environment |= {
            "MLFLOW_TRACKING_URI": secure.uri,
            "MLFLOW_TRACKING_INSECURE_TLS": "true",
        }
        assert client.ill() == {"certificate": "warning"}
        client.environment["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(file)
        found = client.finding("certificate")
        assert "both set, which MLflow refuses" in found.sentence
        client.type(found.command)
        assert "MLFLOW_TRACKING_INSECURE_TLS" not in client.environment


def test_openssl_means_the_same_by_its_codes(tmp_path: Path) -> None:
    """The numbers in trust.py, as this OpenSSL gives them."""
    for names, days, codes in (
        (("127.0.0.1",), 10, trust.SELF_SIGNED),
        (("elsewhere",), 10, trust.WRONG_NAME),
        (("127.0.0.1",), -1, {trust.EXPIRED}),
    ):
        file = certificate(tmp_path, *names, days=days)
        context = ssl.create_default_context()
        if codes is not trust.SELF_SIGNED:
            context.load_verify_locations(file)
        with serving(Planted(), file) as secure, socket.socket() as plain:
            plain.connect(("127.0.0.1", int(secure.uri.rpartition(":")[2])))
            with pytest.raises(ssl.SSLCertVerificationError) as raised:
                context.wrap_socket(plain, server_hostname="127.0.0.1")
        assert raised.value.verify_code in codes
