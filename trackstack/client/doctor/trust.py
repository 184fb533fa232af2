"""Whom MLflow's client trusts over TLS: by its own variables, requests' ones, then certifi."""

import contextlib
import hashlib
import importlib.util
import shlex
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from trackstack.client.doctor.address import Address
from trackstack.client.doctor.setup import SetUp
from trackstack.core.client_settings import CERTIFICATE_PATH, INSECURE

CLIENT_CERTIFICATE = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
_BUNDLES = (CERTIFICATE_PATH, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

SELF_SIGNED = {18, 19}
EXPIRED, NOT_YET_VALID = 10, 9
WRONG_NAME = {62, 64}
"""OpenSSL's codes (X509_V_ERR_…)."""


class TrustError(Exception):
    """A variable that MLflow's client stumbles over; the message is a sentence without its end."""

    def __init__(self, sentence: str, variable: str) -> None:
        super().__init__(sentence)
        self.variable = variable


def is_insecure(environment: Mapping[str, str]) -> bool:
    """Whether certificates aren't checked at all."""
    return environment.get(INSECURE, "").lower() in {"true", "1"}


def context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """What MLflow's client would trust.

    Raises:
        TrustError: a variable names a file that can't be used.
    """
    if is_insecure(environment):
        if environment.get(CERTIFICATE_PATH):
            sentence = f"{INSECURE} and {CERTIFICATE_PATH} are both set, which MLflow refuses"
            raise TrustError(sentence, INSECURE)
        found = ssl.create_default_context()
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    else:
        found = _trusting(environment)
    own = environment.get(CLIENT_CERTIFICATE)
    if own:
        try:
            found.load_cert_chain(own)
        except (OSError, ValueError):
            sentence = f"{CLIENT_CERTIFICATE} names no certificate with its key: {own}"
            raise TrustError(sentence, CLIENT_CERTIFICATE) from None
    return found


def _trusting(environment: Mapping[str, str]) -> ssl.SSLContext:
    variable = next((name for name in _BUNDLES if environment.get(name)), "")
    bundle = environment.get(variable, "") or _certifi()
    if not bundle:
        return ssl.create_default_context()
    try:
        if Path(bundle).is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ValueError):
        raise TrustError(f"{variable} names no certificates: {bundle}", variable) from None


def _certifi() -> str:
    """The authorities that requests trusts, when it is installed beside us."""
    found = importlib.util.find_spec("certifi")
    file = Path(found.origin).with_name("cacert.pem") if found and found.origin else None
    return str(file) if file and file.is_file() else ""


def explain(setup: SetUp, address: Address, wrong: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Why a certificate isn't trusted, and the command that mends it."""
    code, host = wrong.verify_code, address.host
    if code in WRONG_NAME:
        names = _names(setup, address)
        told = f"The certificate of {address.uri} is not made out to {host!r}"
        if not names:
            return f"{told}.", ""
        better = address.uri.replace(host, names[0].replace("*", "mlflow"), 1)
        return f"{told}, but to {', '.join(names)}.", f"export MLFLOW_TRACKING_URI={better}"
    if code == EXPIRED:
        return (
            f"The certificate of {address.uri} has expired: whoever runs the server renews it."
        ), ""
    if code == NOT_YET_VALID:
        return (
            f"The certificate of {address.uri} is not valid yet: this machine's clock is behind, or"
            " the server's was ahead."
        ), "date -u"
    if setup.stack_at(address.uri):
        sentence = f"The certificate of {address.uri} is its own, and {CERTIFICATE_PATH} lacks it."
        return sentence, setup.take_variables(address.uri)
    return _unknown_authority(setup, address, code)


def _unknown_authority(setup: SetUp, address: Address, code: int) -> tuple[str, str]:
    system = ssl.get_default_verify_paths().cafile
    if system and _is_trusted(setup, address, system):
        sentence = (
            f"The certificate of {address.uri} is trusted by this machine, but not by Python's"
            " requests, which brings its own list of authorities."
        )
        return sentence, f"export {CERTIFICATE_PATH}={shlex.quote(system)}"
    if code not in SELF_SIGNED:
        sentence = (
            f"The certificate of {address.uri} comes from an authority that nobody here trusts:"
            f" get the authority's own from whoever runs the server, and name its file in"
            f" {CERTIFICATE_PATH}."
        )
        return sentence, ""
    pem = ""
    with contextlib.suppress(OSError, ValueError):
        pem = ssl.get_server_certificate((address.host, address.port), timeout=setup.timeout)
    sentence = f"The certificate of {address.uri} is signed by itself."
    if not pem:
        return sentence, ""
    print_ = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    fetch = (
        "import ssl, sys;"
        " print(ssl.get_server_certificate((sys.argv[1], int(sys.argv[2]))), end='')"
    )
    command = (
        f'python3 -c "{fetch}" {shlex.quote(address.host)} {address.port} > mlflow-server.pem'
        f' && export {CERTIFICATE_PATH}="$PWD/mlflow-server.pem"'
    )
    sentence += f" Trust it only if whoever runs the server confirms its SHA-256, {print_}."
    return sentence, command


def _is_trusted(setup: SetUp, address: Address, bundle: str) -> bool:
    try:
        with _handshake(setup, address, ssl.create_default_context(cafile=bundle)):
            return True
    except (OSError, ValueError):
        return False


def _names(setup: SetUp, address: Address) -> list[str]:
    """The names in a certificate that is trusted but for its name."""
    try:
        trusting = context(setup.environment)
        trusting.check_hostname = False
        with _handshake(setup, address, trusting) as connection:
            told = connection.getpeercert() or {}
    except (OSError, ValueError, TrustError):
        return []
    alternatives = told.get("subjectAltName", ())
    return [str(value) for _, value in alternatives]  # type: ignore[str-unpack]


def speaks_tls(setup: SetUp, address: Address) -> bool:
    """Whether the port wants TLS, whoever is behind it."""
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        with _handshake(setup, address, anyone):
            return True
    except (OSError, ValueError):
        return False


def _handshake(setup: SetUp, address: Address, trusting: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((address.host, address.port), timeout=setup.timeout)
    try:
        return trusting.wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise
