"""What tells people how the platform is: alarms, a dashboard and saved questions to the log.

Why a component: an alarm that nobody can act on is switched off, and the real one with it. Here
each says what has happened and what to do, listens to what the server really prints and measures,
and reaches the topic whether it begins or ends; the dashboard shows the same figures beside the
limits that they are held to. Which alarms there are is one table in ``trackstack.core.alarms``.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import cloudwatch, sns

from trackstack.core import alarms as table
from trackstack.core import policies, server_metrics
from trackstack.core.dashboard import Watched, dashboard, end_of_arn
from trackstack.core.database import usable_connections
from trackstack.core.log_lines import phrase_filter
from trackstack.core.log_queries import LOG_QUERIES


class WatchedServersArgs(TypedDict):
    """The servers and the way to them."""

    roles: list[str]
    """Their roles: `tracking`, and `artifacts` when that is separate."""
    balancer_arn: Input[str]
    """The balancer."""
    target_group_arns: Input[dict[str, str]]
    """Role to target group."""
    cluster_name: Input[str]
    """The ECS cluster."""
    service_names: Input[dict[str, str]]
    """Role to service."""
    log_group_name: Input[str]
    """Log of all containers."""
    certificate_arn: NotRequired[Input[str]]
    """The balancer's certificate. Default: it has none, and no alarm looks at its end."""


class WatchedDatabaseArgs(TypedDict):
    """The database."""

    identifier: Input[str]
    """Its name in RDS."""
    instance_class: str
    """Its class, which tells how many connections it holds."""
    storage_gib: int
    """Size of its disk."""


class ObservabilityArgs(TypedDict):
    """What is watched, and who is told."""

    region: str
    """Region of the stack."""
    account_id: Input[str]
    """Account of the stack, whose alarms alone may use the topic."""
    servers: WatchedServersArgs
    """The servers and the way to them."""
    database: WatchedDatabaseArgs
    """The database."""
    bucket: NotRequired[Input[str]]
    """The artifact bucket. Default: one that AWS doesn't hold, and whose size isn't shown."""
    alarms: NotRequired[bool]
    """Make the alarms and their topic. Default: the dashboard and the saved queries only."""
    alarm_emails: NotRequired[list[str]]
    """Addresses that the topic writes to; each must confirm by a link. Default: none."""
    kms_key_arn: NotRequired[Input[str]]
    """Key of the topic, which CloudWatch must be let use. Default, or empty: no key of ours."""


class Observability(pulumi.ComponentResource):
    """Alarms that say what to do, a dashboard, and the questions one asks first."""

    topic_arn: Output[str]
    """Topic of the alarms, for further subscribers; empty without alarms."""
    dashboard_name: Output[str]
    """The dashboard in CloudWatch."""

    def __init__(
        self, name: str, args: ObservabilityArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:Observability", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        project, stack = pulumi.get_project(), pulumi.get_stack()
        self.topic_arn = Output.from_input("")
        alarm_arns: list[Output[str]] = []
        if args.get("alarms", False):
            topic = self._topic(name, args)
            alarm_arns = self._alarms(name, args, topic)
            self.topic_arn = topic.arn

        servers, database = args["servers"], args["database"]
        known: dict[str, Input[Any]] = {
            "balancer": servers["balancer_arn"],
            "target_groups": servers["target_group_arns"],
            "database": database["identifier"],
            "cluster": servers["cluster_name"],
            "services": servers["service_names"],
            "log_group": servers["log_group_name"],
            "bucket": args.get("bucket", ""),
            "alarm_arns": Output.all(*alarm_arns),
        }

        def body(v: dict[str, Any]) -> str:
            return dashboard(
                Watched(
                    region=args["region"],
                    stack=server_metrics.stack_value(project, stack),
                    balancer=end_of_arn(v["balancer"], "app/"),
                    target_groups={
                        role: end_of_arn(arn, "targetgroup/")
                        for role, arn in v["target_groups"].items()
                    },
                    database=v["database"],
                    usable_connections=usable_connections(database["instance_class"]),
                    cluster=v["cluster"],
                    services=v["services"],
                    log_group=v["log_group"],
                    bucket=v["bucket"],
                    alarm_arns=tuple(v["alarm_arns"]),
                )
            )

        page = cloudwatch.Dashboard(
            f"{name}-overview",
            # An account's dashboards are of all its regions.
            dashboard_name=f"{project}-{stack}-{args['region']}",
            dashboard_body=Output.all(**known).apply(body),
            opts=child,
        )
        for question, query in LOG_QUERIES.items():
            cloudwatch.QueryDefinition(
                f"{name}-{question}",
                name=f"{project}/{stack}/{question}",
                log_group_names=[servers["log_group_name"]],
                query_string=query,
                opts=child,
            )

        self.dashboard_name = page.dashboard_name
        self.register_outputs({"topic_arn": self.topic_arn, "dashboard_name": self.dashboard_name})

    def _topic(self, name: str, args: ObservabilityArgs) -> sns.Topic:
        """Who is told: e-mail addresses, and whoever else subscribes."""
        child = ResourceOptions(parent=self)
        topic = sns.Topic(
            f"{name}-alarms",
            # SNS's own managed key (alias/aws/sns) would be none to CloudWatch: its policy can't
            # be changed, and every message would be lost without a word.
            kms_master_key_id=Output.from_input(args.get("kms_key_arn", "")).apply(_or_none),
            opts=child,
        )
        sns.TopicPolicy(
            f"{name}-alarms-only",
            arn=topic.arn,
            policy=Output.all(topic.arn, args["account_id"]).apply(
                lambda v: policies.told_of_alarms(v[0], args["region"], v[1])
            ),
            opts=child,
        )
        for email in args.get("alarm_emails", []):
            sns.TopicSubscription(
                f"{name}-to-{email}", topic=topic.arn, protocol="email", endpoint=email, opts=child
            )
        return topic

    def _alarms(self, name: str, args: ObservabilityArgs, topic: sns.Topic) -> list[Output[str]]:
        """The alarms of the table, and the filters that count what some of them listen for."""
        child = ResourceOptions(parent=self)
        servers, database = args["servers"], args["database"]
        project, stack = pulumi.get_project(), pulumi.get_stack()
        namespace = table.log_namespace(project, stack)
        for metric, sentence in table.LOG_FILTERS.items():
            cloudwatch.LogMetricFilter(
                f"{name}-{metric}",
                log_group_name=servers["log_group_name"],
                pattern=phrase_filter(sentence),
                # Without a default value: a month in which it counts nothing costs nothing.
                metric_transformation={"namespace": namespace, "name": metric, "value": "1"},
                opts=child,
            )
        facts: dict[str, Input[str]] = {
            table.STACK: server_metrics.stack_value(project, stack),
            table.BALANCER: Output.from_input(servers["balancer_arn"]).apply(
                lambda arn: end_of_arn(arn, "app/")
            ),
            table.DATABASE: database["identifier"],
        }
        if "certificate_arn" in servers:
            facts[table.CERTIFICATE] = servers["certificate_arn"]
        # After the services: a first deployment is no outage.
        known = Output.all(servers["target_group_arns"], servers["service_names"])
        groups = known.apply(lambda v: v[0])
        for role in servers["roles"]:
            facts[table.target_group(role)] = groups[role].apply(
                lambda arn: end_of_arn(arn, "targetgroup/")
            )
        return [
            self._alarm(f"{name}-{alarm.role}", alarm, facts, topic)
            for alarm in table.alarms(
                roles=servers["roles"],
                instance_class=database["instance_class"],
                storage_gib=database["storage_gib"],
                encrypted="certificate_arn" in servers,
                log_namespace=namespace,
            )
        ]

    def _alarm(
        self, name: str, alarm: table.Alarm, facts: Mapping[str, Input[str]], topic: sns.Topic
    ) -> Output[str]:
        seconds = alarm.minutes * 60
        about: dict[str, Any]
        if alarm.expression:
            about = {
                "metric_queries": [
                    {"id": "watched", "expression": alarm.expression, "return_data": True},
                    *(
                        {
                            "id": key,
                            "metric": {
                                "namespace": metric.namespace,
                                "metric_name": metric.name,
                                "stat": metric.statistic,
                                "period": seconds,
                                "dimensions": _resolved(metric, facts),
                            },
                        }
                        for key, metric in alarm.metrics.items()
                    ),
                ]
            }
        else:
            (metric,) = alarm.metrics.values()
            about = {
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "period": seconds,
                "dimensions": _resolved(metric, facts),
            }
            if metric.statistic.startswith("p"):
                about["extended_statistic"] = metric.statistic
                # With few requests a percentile is the worst of them.
                about["evaluate_low_sample_count_percentiles"] = "ignore"
            else:
                about["statistic"] = metric.statistic
        made = cloudwatch.MetricAlarm(
            name,
            alarm_description=alarm.description,
            comparison_operator=alarm.comparison,
            threshold=alarm.threshold,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.breaching,
            treat_missing_data=alarm.missing,
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            **about,
            opts=ResourceOptions(parent=self),
        )
        arn: Output[str] = made.arn
        return arn


def _resolved(metric: table.Metric, facts: Mapping[str, Input[str]]) -> dict[str, Input[str]]:
    return {dimension: facts[fact] for dimension, fact in metric.dimensions.items()}


def _or_none(text: str) -> str | None:
    return text or None
