"""What the environment says about access."""

from dataclasses import dataclass

from trackstack.core import access
from trackstack.core import server_environment as names
from trackstack.server.environment import Reader

PERMISSIONS = ("READ", "EDIT", "MANAGE", "NO_PERMISSIONS")


@dataclass(frozen=True)
class Provider:
    """Whose signed word is taken for who somebody is."""

    signer: str
    """ARN of the balancer."""
    issuer: str
    client_id: str
    keys_url: str
    user_claim: str
    email_domains: tuple[str, ...]
    """Empty: everybody whom the identity provider signs in."""


@dataclass(frozen=True)
class Access:
    """How requests prove who they are."""

    default_permission: str
    provider: Provider | None
    """None: by user and password alone."""


def read_access(reader: Reader) -> Access | None:
    """Read the access mode; None when the server asks nobody."""
    if reader.optional(names.ACCESS) is None:
        return None
    mode = reader.choice(names.ACCESS, (access.BASIC, access.OIDC))
    reader.text(names.SESSION_KEY)
    permission = reader.choice(names.DEFAULT_PERMISSION, PERMISSIONS)
    return Access(permission, read_provider(reader) if mode == access.OIDC else None)


def read_provider(reader: Reader) -> Provider:
    """Read whose word is taken."""
    domains = reader.optional(names.OIDC_EMAIL_DOMAINS) or ""
    return Provider(
        signer=reader.text(names.OIDC_SIGNER),
        issuer=reader.text(names.OIDC_ISSUER),
        client_id=reader.text(names.OIDC_CLIENT_ID),
        keys_url=reader.text(names.OIDC_KEYS_URL).rstrip("/"),
        user_claim=reader.choice(names.OIDC_USER_CLAIM, ("email", "sub")),
        email_domains=tuple(domain for domain in domains.split(",") if domain),
    )
