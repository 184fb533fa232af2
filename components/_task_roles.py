"""The roles of the server's tasks: who a task is, and who starts it."""

from collections.abc import Callable
from dataclasses import dataclass

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import iam

from trackstack.core import policies


@dataclass(frozen=True)
class Roles:
    """Makes roles with their one policy each, below one component."""

    parent: pulumi.ComponentResource
    region: str
    account_id: Input[str]
    boundary: str
    """ARN of the policy that bounds every role; empty: none."""

    @property
    def partition(self) -> str:
        """First part of every ARN in the region."""
        return policies.partition_of(self.region)

    def role(
        self,
        name: str,
        description: str,
        trust: Callable[[str, str, str], str] = policies.assumed_by_tasks,
    ) -> iam.Role:
        """A role; ``trust`` makes its trust policy of partition, region and account."""
        return iam.Role(
            name,
            description=description,
            assume_role_policy=Output.from_input(self.account_id).apply(
                lambda account: trust(self.partition, self.region, account)
            ),
            permissions_boundary=self.boundary or None,
            opts=ResourceOptions(parent=self.parent),
        )

    def grant(self, name: str, role: iam.Role, policy: Input[str]) -> pulumi.Resource:
        """The role's policy; who uses the role waits for it."""
        made: pulumi.Resource = iam.RolePolicy(
            name, role=role.id, policy=policy, opts=ResourceOptions(parent=self.parent)
        )
        return made

    def starter(
        self,
        name: str,
        description: str,
        *,
        image: Input[str],
        log_arn: Input[str],
        secrets: list[Input[str]],
        kms_key_arn: Input[str],
    ) -> tuple[iam.Role, pulumi.Resource]:
        """Who starts a task: its image, its log and its secrets."""
        starter = self.role(name, description)
        policy = Output.all(image, log_arn, kms_key_arn, *secrets).apply(
            lambda v: policies.start_tasks(
                v[1], v[3:], policies.repository_arn(self.partition, v[0]), v[2]
            )
        )
        return starter, self.grant(name, starter, policy)
