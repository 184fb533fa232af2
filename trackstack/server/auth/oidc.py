"""The balancer's word for who somebody is: ``x-amzn-oidc-data``, taken only when it is proved.

Anybody can send the header. It counts when it is signed by AWS's key for balancers (ES256, nothing
else), for our balancer, issuer and client, and has not expired. AWS's keys are everybody's who has
a balancer in the region: without the signer's ARN any of them could let himself in here.
"""

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trackstack.core import access
from trackstack.server.auth.environment import Provider

_TOKEN_LENGTH_MAX = 16 * 1024
"""A balancer's limit for one header line is 16 K (ELB User Guide, quotas)."""
_NAME_LENGTH_MAX = 255
"""MLflow's column."""
_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY_LENGTH_MAX = 4096
_FETCH_SECONDS = 3.0
_FETCHES_A_MINUTE = 20
"""Key ids in forged tokens cost a request to AWS each; real ones change a few times a year."""


class NotProved(Exception):  # noqa: N818 - an answer, not a defect
    """The token proves nobody; the sentence is for the log and the one who sent it."""


class NotAdmitted(Exception):  # noqa: N818 - an answer, not a defect
    """The balancer's word is good, but this person may not enter."""


class Verifier:
    """Turns a signed token into the name of a user."""

    def __init__(
        self,
        provider: Provider,
        *,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._keys = _Keys(provider.keys_url, fetch or _fetch, clock)
        self._clock = clock

    def user(self, token: str) -> str:
        """Return the user's name.

        Raises:
            NotProved: the token is not our balancer's, or no longer.
            NotAdmitted: it is, but its claims name nobody who may enter.
        """
        return self._named(self._claims(token))

    def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > _TOKEN_LENGTH_MAX:
            raise NotProved("The signed data is longer than any balancer's.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise NotProved("The signed data is no token.") from None
        expected = {
            "alg": "ES256",
            "signer": self._provider.signer,
            "iss": self._provider.issuer,
            "client": self._provider.client_id,
        }
        for field, value in expected.items():
            if header.get(field) != value:
                raise NotProved(f"The signed data has another {field} than this platform's.")
        key_id = header.get("kid")
        if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
            raise NotProved("The signed data names no key of a balancer.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys.get(key_id),
                algorithms=["ES256"],
                # Balancers write the times into the header; those of the claims are the provider's.
                options={"verify_aud": False, "verify_exp": False, "verify_iss": False},
            )
        except jwt.InvalidTokenError:
            raise NotProved("The signature is not a balancer's.") from None
        # Only now: before, the header was anybody's.
        end = header.get("exp")
        if not isinstance(end, int | float) or isinstance(end, bool) or end <= self._clock():
            raise NotProved("The signed data has expired.")
        return claims

    def _named(self, claims: Mapping[str, Any]) -> str:
        claim = self._provider.user_claim
        name = claims.get(claim)
        if not isinstance(name, str) or not name or len(name) > _NAME_LENGTH_MAX:
            raise NotAdmitted(f"The identity provider tells no {claim} of you.")
        if claim == "email":
            name = name.lower()
            if "@" not in name:
                raise NotAdmitted("The identity provider tells no address of you.")
            if str(claims.get("email_verified", True)).lower() == "false":
                raise NotAdmitted(f"The identity provider has not verified the address {name}.")
            domains = self._provider.email_domains
            if domains and name.rpartition("@")[2] not in domains:
                raise NotAdmitted(f"{name} is not of {' or '.join(domains)}.")
        # A colon ends the user's name in Basic credentials.
        if name in access.RESERVED_USERS or not name.isprintable() or ":" in name:
            raise NotAdmitted(f"{name!r} can't be the name of a user here.")
        return name


class _Keys:
    """AWS's public keys by id, each fetched once, and not more often than a forger deserves."""

    def __init__(self, url: str, fetch: Callable[[str], bytes], clock: Callable[[], float]) -> None:
        self._url, self._fetch, self._clock = url, fetch, clock
        self._known: dict[str, ec.EllipticCurvePublicKey] = {}
        self._fetched_at: list[float] = []
        self._turn = threading.Lock()

    def get(self, key_id: str) -> ec.EllipticCurvePublicKey:
        with self._turn:
            if key_id not in self._known:
                self._known[key_id] = self._new(key_id)
            return self._known[key_id]

    def _new(self, key_id: str) -> ec.EllipticCurvePublicKey:
        now = self._clock()
        self._fetched_at = [at for at in self._fetched_at if at > now - 60]
        if len(self._fetched_at) >= _FETCHES_A_MINUTE:
            raise NotProved("Too many unknown keys were named within a minute.")
        self._fetched_at.append(now)
        try:
            key = load_pem_public_key(self._fetch(f"{self._url}/{key_id}"))
        except (OSError, ValueError, UnsupportedAlgorithm):
            raise NotProved(f"The key {key_id} is not among those of the balancers.") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise NotProved(f"The key {key_id} is of another kind than balancers have.")
        return key


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_FETCH_SECONDS) as answer:  # noqa: S310 - ours
        content: bytes = answer.read(_KEY_LENGTH_MAX)
        return content
