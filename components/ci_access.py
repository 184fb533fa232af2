"""A way in for CI jobs that holds no key: GitHub and GitLab vouch for them, AWS lends a role.

Why a component: a job of a model repository needs to know where to log, and perhaps a password for
it, and nothing else of the account. A long-lived access key in CI is a leak that waits; a role that
trusts a whole organisation is one, too. Here the trust names exactly the repositories and branches,
the policy names exactly one parameter and the credentials' secrets, and the text to paste into the
other repository comes out ready.
"""

from collections.abc import Iterable
from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import iam

from trackstack.core import ci, policies

DEFAULT_GITLAB = "https://gitlab.com"


class CiAccessArgs(TypedDict):
    """Who may come, and what they may read."""

    region: str
    """Region of the parameter."""
    parameter_name: Input[str]
    """Name of the stack's client parameter."""
    parameter_arn: Input[str]
    """Its ARN."""
    secret_arns: NotRequired[Input[list[str]]]
    """Secrets with client credentials that a job may read. Default: there are none."""
    kms_key_arn: NotRequired[Input[str]]
    """Customer's key of those secrets. Default, or empty: AWS's own, which needs no grant."""
    github_repositories: NotRequired[list[str]]
    """The part of GitHub's `sub` after `repo:`, such as `org/repo:ref:refs/heads/main`."""
    github_oidc_provider_arn: NotRequired[str]
    """The account's provider for GitHub. Default, or empty: it is made; an account has one."""
    gitlab_projects: NotRequired[list[str]]
    """The part of GitLab's `sub` after `project_path:`."""
    gitlab_oidc_provider_arn: NotRequired[str]
    """The account's provider for this GitLab. Default, or empty: it is made."""
    gitlab_url: NotRequired[str]
    """Where GitLab is. Default: https://gitlab.com."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the roles. Default, or empty: none."""


class CiAccess(pulumi.ComponentResource):
    """Roles that named CI jobs take to read the client settings."""

    role_arns: Output[dict[str, str]]
    """``github`` and ``gitlab``, as far as asked for, to the role."""
    snippets: Output[dict[str, str]]
    """The same keys to the text that a job's definition takes."""

    def __init__(self, name: str, args: CiAccessArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:CiAccess", name, {**args}, opts)
        roles: dict[str, Output[str]] = {}
        snippets: dict[str, Output[str]] = {}
        region, parameter = args["region"], args["parameter_name"]
        if repositories := args.get("github_repositories"):
            roles[ci.GITHUB] = self._role(
                f"{name}-{ci.GITHUB}",
                args,
                ci.github(),
                args.get("github_oidc_provider_arn", ""),
                map(ci.github_subject, repositories),
            )
            snippets[ci.GITHUB] = Output.all(roles[ci.GITHUB], parameter).apply(
                lambda v: ci.github_snippet(v[0], region, v[1])
            )
        if projects := args.get("gitlab_projects"):
            issuer = ci.gitlab(args.get("gitlab_url", DEFAULT_GITLAB))
            roles[ci.GITLAB] = self._role(
                f"{name}-{ci.GITLAB}",
                args,
                issuer,
                args.get("gitlab_oidc_provider_arn", ""),
                map(ci.gitlab_subject, projects),
            )
            snippets[ci.GITLAB] = Output.all(roles[ci.GITLAB], parameter).apply(
                lambda v: ci.gitlab_snippet(v[0], region, v[1], issuer.audience)
            )

        self.role_arns = Output.all(**roles)
        self.snippets = Output.all(**snippets)
        self.register_outputs({"role_arns": self.role_arns, "snippets": self.snippets})

    def _role(
        self,
        name: str,
        args: CiAccessArgs,
        issuer: ci.Issuer,
        existing: str,
        subjects: Iterable[str],
    ) -> Output[str]:
        child = ResourceOptions(parent=self)
        named = tuple(subjects)
        provider: Input[str] = existing
        if not existing:
            provider = iam.OpenIdConnectProvider(
                f"{name}-provider", url=issuer.url, client_id_lists=[issuer.audience], opts=child
            ).arn
        role = iam.Role(
            name,
            description=f"CI jobs that {issuer.host} vouches for: where to log into MLflow",
            assume_role_policy=Output.from_input(provider).apply(
                lambda arn: policies.assumed_by_ci(arn, issuer.host, issuer.audience, named)
            ),
            permissions_boundary=args.get("permissions_boundary") or None,
            opts=child,
        )
        iam.RolePolicy(
            f"{name}-reads",
            role=role.id,
            policy=Output.all(
                args["parameter_arn"], args.get("secret_arns", []), args.get("kms_key_arn", "")
            ).apply(lambda v: policies.read_client_settings(v[0], v[1], v[2], args["region"])),
            opts=child,
        )
        arn: Output[str] = role.arn
        return arn
