"""Where the platform's parts live, and how its tasks get out.

Why a component: a VPC is a dozen resources whose mistakes cost money or safety. Here the default
security group lets nothing through, artifacts travel to S3 without passing a NAT gateway that
bills each gigabyte, and a zone added later renumbers no subnet. An existing VPC takes the same
place with the same outputs, so nothing else asks whose it is.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ec2

from trackstack.core import policies
from trackstack.core.subnets import plan_subnets


class ExistingNetworkArgs(TypedDict):
    """A VPC that somebody else keeps."""

    vpc_id: Input[str]
    """Its id."""
    public_subnet_ids: Input[list[str]]
    """Subnets with a route to an internet gateway; empty when nothing public is asked for."""
    private_subnet_ids: Input[list[str]]
    """Subnets in two zones or more, for the database and for an internal balancer."""


class NetworkArgs(TypedDict):
    """What a caller decides about the network."""

    region: str
    """The region, in the name of the S3 endpoint."""
    egress: NotRequired[str]
    """How tasks get out: `public` addresses of their own, one `nat` gateway, or `nat_per_zone`.
    Default: `public`."""
    existing: NotRequired[ExistingNetworkArgs]
    """Use this VPC and make nothing. Default: a VPC is made."""
    cidr: NotRequired[str]
    """Range of the VPC that is made. Default: 10.20.0.0/16."""
    zones: NotRequired[list[Input[str]]]
    """Names of the availability zones to span, two or more; needed for a VPC that is made."""
    artifact_bucket_arn: NotRequired[Input[str]]
    """The bucket that the S3 endpoint lets through. Default, or empty: none but ECR's."""
    log_bucket_arn: NotRequired[Input[str]]
    """Bucket that each connection is noted in. Default: none is noted."""


class Network(pulumi.ComponentResource):
    """A VPC with public and private subnets, made or existing."""

    vpc_id: Output[str]
    """The VPC that everything else is put into."""
    public_subnet_ids: Output[list[str]]
    """For what the internet may reach."""
    private_subnet_ids: Output[list[str]]
    """For what it may not: the database, and an internal balancer."""
    task_subnet_ids: Output[list[str]]
    """Where tasks run: the subnets from which they get out."""
    assign_public_ip: Output[bool]
    """Whether a task needs a public address to get out."""

    def __init__(self, name: str, args: NetworkArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("trackstack:index:Network", name, {**args}, opts)
        by_public_address = args.get("egress", "public") == "public"

        existing = args.get("existing")
        if existing is None:
            self._make(name, args)
        else:
            self.vpc_id = Output.from_input(existing["vpc_id"])
            self.public_subnet_ids = Output.from_input(existing["public_subnet_ids"])
            self.private_subnet_ids = Output.from_input(existing["private_subnet_ids"])
        self.task_subnet_ids = (
            self.public_subnet_ids if by_public_address else self.private_subnet_ids
        )
        self.assign_public_ip = Output.from_input(by_public_address)
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
                "task_subnet_ids": self.task_subnet_ids,
                "assign_public_ip": self.assign_public_ip,
            }
        )

    def _make(self, name: str, args: NetworkArgs) -> None:
        child = ResourceOptions(parent=self)
        zones = args.get("zones", [])
        plan = plan_subnets(args.get("cidr", "10.20.0.0/16"), len(zones))

        vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.get("cidr", "10.20.0.0/16"),
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": name},
            opts=child,
        )
        # AWS's own lets every member of the group reach every other.
        ec2.DefaultSecurityGroup(
            f"{name}-closed",
            vpc_id=vpc.id,
            ingress=[],
            egress=[],
            tags={"Name": f"{name}-closed"},
            opts=child,
        )
        gateway = ec2.InternetGateway(
            f"{name}-internet", vpc_id=vpc.id, tags={"Name": name}, opts=child
        )
        public_routes = ec2.RouteTable(
            f"{name}-public", vpc_id=vpc.id, tags={"Name": f"{name}-public"}, opts=child
        )
        out = ec2.Route(
            f"{name}-public-out",
            route_table_id=public_routes.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=child,
        )

        public: list[ec2.Subnet] = []
        private: list[ec2.Subnet] = []
        tables = [public_routes]
        nats: list[ec2.NatGateway] = []
        nat_count = {"public": 0, "nat": 1, "nat_per_zone": len(zones)}[
            args.get("egress", "public")
        ]
        for index, zone in enumerate(zones):
            place = str(index + 1)
            # The list of zones may change under a stack; a subnet that moved would be replaced.
            stays = ResourceOptions(parent=self, ignore_changes=["availability_zone"])
            public.append(
                ec2.Subnet(
                    f"{name}-public-{place}",
                    vpc_id=vpc.id,
                    availability_zone=zone,
                    cidr_block=plan.public[index],
                    tags={"Name": f"{name}-public-{place}"},
                    opts=stays,
                )
            )
            ec2.RouteTableAssociation(
                f"{name}-public-{place}",
                subnet_id=public[-1].id,
                route_table_id=public_routes.id,
                opts=child,
            )
            if index < nat_count:
                nats.append(self._nat(f"{name}-nat-{place}", public[-1], out))
            private.append(
                ec2.Subnet(
                    f"{name}-private-{place}",
                    vpc_id=vpc.id,
                    availability_zone=zone,
                    cidr_block=plan.private[index],
                    tags={"Name": f"{name}-private-{place}"},
                    opts=stays,
                )
            )
            table = ec2.RouteTable(
                f"{name}-private-{place}",
                vpc_id=vpc.id,
                tags={"Name": f"{name}-private-{place}"},
                opts=child,
            )
            tables.append(table)
            ec2.RouteTableAssociation(
                f"{name}-private-{place}",
                subnet_id=private[-1].id,
                route_table_id=table.id,
                opts=child,
            )
            if nats:
                ec2.Route(
                    f"{name}-private-{place}-out",
                    route_table_id=table.id,
                    destination_cidr_block="0.0.0.0/0",
                    nat_gateway_id=nats[min(index, nat_count - 1)].id,
                    opts=child,
                )
        region = args["region"]
        partition = policies.partition_of(region)
        ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            policy=Output.from_input(args.get("artifact_bucket_arn", "")).apply(
                lambda bucket: policies.s3_endpoint(partition, region, bucket)
            ),
            tags={"Name": f"{name}-s3"},
            opts=child,
        )

        if "log_bucket_arn" in args:
            ec2.FlowLog(
                f"{name}-flows",
                vpc_id=vpc.id,
                traffic_type="ALL",
                log_destination_type="s3",
                log_destination=args["log_bucket_arn"],
                tags={"Name": f"{name}-flows"},
                opts=child,
            )

        # A route is part of what a subnet promises: who takes the ids waits for it.
        self.vpc_id = vpc.id
        self.public_subnet_ids = Output.all(*[subnet.id for subnet in public])
        self.private_subnet_ids = Output.all(*[subnet.id for subnet in private])

    def _nat(self, name: str, subnet: ec2.Subnet, out: ec2.Route) -> ec2.NatGateway:
        child = ResourceOptions(parent=self)
        address = ec2.Eip(name, domain="vpc", tags={"Name": name}, opts=child)
        return ec2.NatGateway(
            name,
            subnet_id=subnet.id,
            allocation_id=address.id,
            tags={"Name": name},
            # It comes up only where the internet gateway's route exists already.
            opts=ResourceOptions(parent=self, depends_on=[out]),
        )
