"""The way to a balancer that only the VPC reaches, for whom AWS's IAM knows.

Why a component: a VPN or a bastion host costs money while nobody uses it, and the latter is one
more machine to patch. Here nothing runs: the stack keeps only the definition of a small task.
``trackstack tunnel`` starts one, forwards a port through Session Manager's agent in it, and stops
it; who may do that is IAM's answer, and each session is in CloudTrail. The task may reach the
balancer and AWS's APIs, and do nothing but answer the session.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ec2, ecs, vpc

from components._task_roles import Roles
from components._ways import HTTPS_PORT, open_way
from trackstack.core import policies, tunnel
from trackstack.core.containers import AGENT_PLACES


class TunnelArgs(TypedDict):
    """What a caller decides about the tunnel."""

    region: str
    """Region of the stack."""
    account_id: Input[str]
    """Account of the stack."""
    vpc_id: Input[str]
    """The VPC of the task."""
    subnet_ids: Input[list[str]]
    """Subnets from which it gets out to AWS's APIs."""
    assign_public_ip: Input[bool]
    """Whether it needs a public address for it."""
    cluster_name: Input[str]
    """The ECS cluster that it runs in."""
    log_group_name: Input[str]
    """Log of the stack's containers."""
    image: Input[str]
    """Any image with Python, by digest: the server's own."""
    architecture: NotRequired[str]
    """Processor that the image was built for: `arm64` or `x86_64`. Default: `arm64`."""
    balancer_name: Input[str]
    """The balancer's own name, which the task resolves."""
    balancer_group_id: Input[str]
    """The balancer's security group; a rule from the task is added to it."""
    port: int
    """The balancer's port that the tunnel leads to."""
    permissions_boundary: NotRequired[str]
    """ARN of the policy that bounds the roles. Default, or empty: none."""


class Tunnel(pulumi.ComponentResource):
    """The definition of a task that a port is forwarded through; it runs only while used."""

    facts: Output[dict[str, str]]
    """What ``trackstack tunnel`` needs to know; nothing secret."""

    def __init__(self, name: str, args: TunnelArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:Tunnel", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        region = args["region"]
        group = ec2.SecurityGroup(
            f"{name}-access",
            description="MLflow tunnel",
            vpc_id=args["vpc_id"],
            tags={"Name": f"{name}-access"},
            opts=child,
        )
        ways = open_way(
            self, f"{name}-to-balancer", group.id, args["balancer_group_id"], args["port"]
        )
        ways.append(
            # Session Manager and the registry; their addresses are not ours to list.
            vpc.SecurityGroupEgressRule(
                f"{name}-out",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=HTTPS_PORT,
                to_port=HTTPS_PORT,
                cidr_ipv4="0.0.0.0/0",
                description=f"{name} out to port {HTTPS_PORT}",
                opts=child,
            )
        )
        roles = Roles(self, region, args["account_id"], args.get("permissions_boundary", ""))
        task_role = roles.role(f"{name}-task", "What MLflow's tunnel may do")
        answers = roles.grant(f"{name}-task", task_role, policies.answer_a_shell())
        starter, start = roles.starter(
            f"{name}-start",
            "Starts MLflow's tunnel",
            image=args["image"],
            log_arn=Output.all(args["account_id"], args["log_group_name"]).apply(
                lambda v: policies.log_group_arn(roles.partition, region, *v)
            ),
            secrets=[],
            kms_key_arn="",
        )
        task = ecs.TaskDefinition(
            f"{name}-definition",
            family=Output.concat(args["cluster_name"], "-", tunnel.CONTAINER),
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(tunnel.CPU),
            memory=str(tunnel.MEMORY_MIB),
            runtime_platform={
                "operating_system_family": "LINUX",
                "cpu_architecture": args.get("architecture", "arm64").upper(),
            },
            task_role_arn=task_role.arn,
            execution_role_arn=starter.arn,
            volumes=[{"name": volume} for volume in AGENT_PLACES],
            container_definitions=Output.all(args["image"], args["log_group_name"]).apply(
                lambda v: tunnel.definition(v[0], region, v[1])
            ),
            opts=ResourceOptions(parent=self, depends_on=[answers, start, *ways]),
        )

        self.facts = Output.all(
            region=region,
            cluster=args["cluster_name"],
            task_definition=task.arn,
            subnet_ids=Output.from_input(args["subnet_ids"]).apply(",".join),
            security_group_id=group.id,
            assign_public_ip=Output.from_input(args["assign_public_ip"]).apply(
                lambda public: "ENABLED" if public else "DISABLED"
            ),
            balancer=args["balancer_name"],
            port=str(args["port"]),
        )
        self.register_outputs({"facts": self.facts})
