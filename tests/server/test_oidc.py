"""The balancer's word counts only when it is proved to be our balancer's, and now."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trackstack.embedded.sign_in import Signer, make_key
from trackstack.server.auth.environment import Provider
from trackstack.server.auth.oidc import NotAdmitted, NotProved, Verifier

NOW = 1_800_000_000.0
KEYS = "https://public-keys.auth.elb.us-east-1.amazonaws.com"
KEY_ID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
PROVIDER = Provider(
    signer="arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/ours/0123456789ab",
    issuer="https://login.example.com",
    client_id="mlflow",
    keys_url=KEYS,
    user_claim="email",
    email_domains=(),
)
HEADER = {
    "signer": PROVIDER.signer,
    "iss": PROVIDER.issuer,
    "client": PROVIDER.client_id,
    "exp": int(NOW) + 120,
}
CLAIMS = {"sub": "abc123", "email": "Ada@Example.com", "email_verified": "true"}
SIGNER = Signer(make_key(), KEY_ID)


class Published:
    """AWS's place of keys, and what was asked of it."""

    def __init__(self, **keys: bytes) -> None:
        self.keys = {KEY_ID: SIGNER.public_pem, **keys}
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        try:
            return self.keys[url.removeprefix(f"{KEYS}/")]
        except KeyError:
            raise OSError("404") from None


def verifier(
    published: Callable[[str], bytes] | None = None, now: float = NOW, **changed: Any
) -> Verifier:
    provider = Provider(**{**vars(PROVIDER), **changed})
    return Verifier(provider, fetch=published or Published(), clock=lambda: now)


def token(header: dict[str, Any] | None = None, **claims: Any) -> str:
    return SIGNER.token({**HEADER, **(header or {})}, {**CLAIMS, **claims})


def test_whoever_the_balancer_signed_in_is_known_by_the_lower_case_address() -> None:
    assert verifier().user(token()) == "ada@example.com"


def test_the_balancers_padding_is_no_mistake() -> None:
    found = next(text for n in range(9) if "=" in (text := token(pad="x" * n)).split(".")[1])
    assert verifier().user(found) == "ada@example.com"


def test_the_subject_may_name_the_user() -> None:
    assert verifier(user_claim="sub").user(token()) == "abc123"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signer", PROVIDER.signer.replace("ours", "theirs")),
        ("signer", PROVIDER.signer.replace("111122223333", "999988887777")),
        ("iss", "https://login.example.org"),
        ("client", "another"),
    ],
)
def test_what_is_signed_for_somebody_else_proves_nobody(field: str, value: str) -> None:
    with pytest.raises(NotProved, match=f"another {field}"):
        verifier().user(token({field: value}))


@pytest.mark.parametrize("field", ["signer", "iss", "client", "exp"])
def test_what_a_balancer_always_says_must_be_said(field: str) -> None:
    header = {key: value for key, value in HEADER.items() if key != field}
    with pytest.raises(NotProved):
        verifier().user(SIGNER.token(header, CLAIMS))


@pytest.mark.parametrize("exp", [int(NOW), int(NOW) - 1, 0, "soon", None, True])
def test_a_word_counts_for_as_long_as_it_says(exp: Any) -> None:
    with pytest.raises(NotProved, match="expired"):
        verifier().user(token({"exp": exp}))


def test_a_signature_by_another_key_is_no_balancers() -> None:
    forged = Signer(make_key(), KEY_ID).token(HEADER, CLAIMS)
    with pytest.raises(NotProved, match="signature"):
        verifier().user(forged)


def test_claims_that_were_changed_after_signing_prove_nobody() -> None:
    head, _, mark = token().split(".")
    body = base64.urlsafe_b64encode(json.dumps({**CLAIMS, "email": "eve@example.com"}).encode())
    with pytest.raises(NotProved, match="signature"):
        verifier().user(f"{head}.{body.decode()}.{mark}")


def _unsigned(header: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"typ": "JWT", "kid": KEY_ID, **HEADER, **header}, CLAIMS)
    ]
    return ".".join(parts)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
def test_without_a_signature_nobody_is_proved(alg: str) -> None:
    with pytest.raises(NotProved):
        verifier().user(_unsigned({"alg": alg}) + ".")


def test_the_public_key_is_not_taken_for_a_shared_secret() -> None:
    text = _unsigned({"alg": "HS256"})
    mark = hmac.new(SIGNER.public_pem, text.encode(), hashlib.sha256).digest()
    forged = f"{text}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"
    with pytest.raises(NotProved, match="another alg"):
        verifier().user(forged)


def test_a_key_of_another_kind_is_not_used() -> None:
    other = rsa.generate_private_key(65537, 2048)
    pem = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = jwt.encode(CLAIMS, other, "RS256", {"kid": KEY_ID, **HEADER})
    with pytest.raises(NotProved):
        verifier(Published(**{KEY_ID: pem})).user(forged)
    head = jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": KEY_ID})
    with pytest.raises(NotProved):
        verifier(Published(**{KEY_ID: pem})).user(head)
    with pytest.raises(NotProved, match="another kind"):
        verifier(Published(**{KEY_ID: pem})).user(token())


@pytest.mark.parametrize(
    "key_id",
    [
        "../../latest/meta-data",
        "x?y=",
        f"{KEY_ID}/../x",
        f"{KEY_ID}\n",
        KEY_ID.upper(),
        "",
        None,
        7,
        [KEY_ID],
    ],
)
def test_a_key_id_that_is_no_uuid_is_never_fetched(key_id: Any) -> None:
    published = Published()
    with pytest.raises(NotProved):
        verifier(published).user(SIGNER.token({**HEADER, "kid": key_id}, CLAIMS))
    assert published.asked == []


def test_a_key_that_is_not_published_proves_nobody() -> None:
    unknown = KEY_ID.replace("0", "9")
    with pytest.raises(NotProved, match="not among"):
        verifier().user(SIGNER.token({**HEADER, "kid": unknown}, CLAIMS))


def test_a_key_is_fetched_once() -> None:
    published = Published()
    asked = verifier(published)
    for _ in range(3):
        asked.user(token())
    assert published.asked == [f"{KEYS}/{KEY_ID}"]


def test_forgers_make_few_fetches_and_lock_nobody_out() -> None:
    published = Published()
    asked = verifier(published)
    asked.user(token())
    for number in range(100):
        with pytest.raises(NotProved):
            asked.user(SIGNER.token({**HEADER, "kid": f"{number:08x}{KEY_ID[8:]}"}, CLAIMS))
    assert len(published.asked) <= 20
    assert asked.user(token()) == "ada@example.com"


@pytest.mark.parametrize("text", ["", "x", "a.b.c", ".".join("abcd"), "é", "." * 9, "a" * 20_000])
def test_what_is_no_token_proves_nobody(text: str) -> None:
    with pytest.raises(NotProved):
        verifier().user(text)


def test_nobody_becomes_one_of_the_stacks_own_users() -> None:
    for name in ("trackstack", "client"):
        with pytest.raises(NotAdmitted):
            verifier(user_claim="sub").user(token(sub=name))
        with pytest.raises(NotAdmitted):
            verifier().user(token(email=name.upper()))


@pytest.mark.parametrize(
    "value", [None, "", 7, ["ada@example.com"], "x" * 300, "a:b@c.de", "a\nb@c.de", "example.com"]
)
def test_a_claim_that_can_be_no_name_admits_nobody(value: Any) -> None:
    with pytest.raises(NotAdmitted):
        verifier().user(token(email=value))


@pytest.mark.parametrize("told", ["false", "False", False])
def test_an_address_that_was_not_verified_is_nobodys(told: Any) -> None:
    with pytest.raises(NotAdmitted, match="not verified"):
        verifier().user(token(email_verified=told))


def test_only_the_listed_domains_may_enter() -> None:
    asked = verifier(email_domains=("example.com",))
    assert asked.user(token()) == "ada@example.com"
    for address in (
        "ada@example.org",
        "ada@evil-example.com",
        "ada@sub.example.com",
        "ada@example.com@example.org",
    ):
        with pytest.raises(NotAdmitted, match="is not of"):
            asked.user(token(email=address))
