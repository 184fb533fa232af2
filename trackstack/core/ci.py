"""How CI jobs of other repositories come in: who they are to AWS, and what they write to do so.

A subject is written as the issuer itself writes it, so that it can be copied from its documentation
or from a token, and it is compared as a whole. A wildcard is refused, because anybody can have a
repository whose name begins like yours: for many branches use an environment (GitHub) or name them.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

GITHUB = "github"
GITLAB = "gitlab"
GITHUB_ISSUER = "token.actions.githubusercontent.com"
GITHUB_AUDIENCE = "sts.amazonaws.com"
"""What ``aws-actions/configure-aws-credentials`` asks for."""

GITHUB_SUBJECT = (
    r"[\w.-]+(@\d+)?/[\w.-]+(@\d+)?:"
    r"(ref:refs/(heads|tags)/[^\s*?:]+|environment:[^\s*?:]+|pull_request)"
)
"""The token's ``sub`` after ``repo:``. Repositories made or renamed since the summer of 2026 carry
the numbers of owner and repository in it: ``org@123/repo@456:ref:refs/heads/main``."""
GITLAB_SUBJECT = r"[\w.-]+(/[\w.-]+)+:ref_type:(branch|tag):ref:[^\s*?:]+"
"""The token's ``sub`` after ``project_path:``."""

CONFIGURE_CREDENTIALS = (
    "aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c # v6.2.3"
)
INSTALL = "pip install 'trackstack[aws] @ git+https://<where the platform repository lies>'"


@dataclass(frozen=True)
class Issuer:
    """Whoever vouches for a job."""

    url: str
    """Of the OIDC provider."""
    audience: str
    """The tokens' ``aud``."""

    @property
    def host(self) -> str:
        """The URL as IAM's condition keys and provider ARNs write it."""
        return self.url.removeprefix("https://")


def github() -> Issuer:
    """GitHub.com; a GitHub Enterprise Server has an issuer of its own, which isn't covered."""
    return Issuer(f"https://{GITHUB_ISSUER}", GITHUB_AUDIENCE)


def gitlab(url: str) -> Issuer:
    """A GitLab; its documentation takes the own URL for the audience."""
    return Issuer(url, url)


def github_subject(repository: str) -> str:
    """The ``sub`` of an entry of ``github_repositories``."""
    return f"repo:{repository}"


def gitlab_subject(project: str) -> str:
    """The ``sub`` of an entry of ``gitlab_projects``."""
    return f"project_path:{project}"


def is_plain_url(url: str) -> bool:
    """Whether it is ``https://`` and a host, perhaps with a port: what an issuer is called by."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return False
    return bool(parts.hostname) and url == f"https://{parts.hostname}{port}"


def github_snippet(role_arn: str, region: str, parameter: str) -> str:
    """Steps of a GitHub workflow, ready to paste."""
    return f"""\
permissions:
  id-token: write # the job may ask GitHub for a token that says who it is
  contents: read
steps:
  - uses: {CONFIGURE_CREDENTIALS}
    with:
      role-to-assume: {role_arn}
      aws-region: {region}
  - run: {INSTALL}
  - run: trackstack env --from ssm:{parameter} --format github >> "$GITHUB_ENV"
  - run: python train.py
"""


def gitlab_snippet(role_arn: str, region: str, parameter: str, audience: str) -> str:
    """A GitLab job, ready to paste; boto3 itself exchanges the token for the role."""
    return f"""\
train:
  id_tokens:
    AWS_TOKEN:
      aud: {audience}
  variables:
    AWS_ROLE_ARN: {role_arn}
    AWS_REGION: {region}
    AWS_WEB_IDENTITY_TOKEN_FILE: /tmp/aws-token
  script:
    - (umask 077; printf %s "$AWS_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE")
    - {INSTALL}
    - eval "$(trackstack env --from ssm:{parameter})"
    - python train.py
"""
