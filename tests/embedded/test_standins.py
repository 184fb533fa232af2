"""Stand-ins: what a declared resource becomes here, and what they refuse to guess."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_random as random
import pulumi_tls as tls
import pytest
from cryptography import x509
from pulumi_aws import acm, ec2, ecs, lb, rds, route53, s3, secretsmanager

from trackstack.core import server_environment as names
from trackstack.embedded import converge, monitor
from trackstack.embedded.errors import ConvergeError, ProgramError
from trackstack.embedded.host import LiveHost, PreviewHost, StackAnswers
from trackstack.embedded.record import Recording, Secret
from trackstack.embedded.specs import ExitReady, HttpReady, ProcessSpec
from trackstack.embedded.standins import STAND_INS, database
from trackstack.embedded.standins.base import Plan
from trackstack.embedded.state import StackState

Record = Callable[..., Recording]


def plan_of(recording: Recording) -> Plan:
    """The plan of a preview: nothing is made."""
    state = StackState.open("shop", "test")
    return converge.make_plan(
        Plan(recording, PreviewHost(state), converge.PreviewPaths(state), preview=True)
    )


def container(**more: Any) -> dict[str, Any]:
    return {
        "name": "serve",
        "image": "example/server@sha256:00",
        "essential": True,
        "command": ["python", "-m", "trackstack.server", "serve"],
        "portMappings": [{"containerPort": 5000}],
        "environment": [
            {"name": "MLFLOW_PORT", "value": "5000"},
            {"name": "MLFLOW_HOST", "value": "0.0.0.0"},
            {"name": "ANYTHING", "value": "as declared"},
        ],
        **more,
    }


def platform(
    containers: list[dict[str, Any]] | None = None,
    *,
    count: int = 1,
    rules: tuple[str, ...] = (),
    protocol: str = "HTTP",
    default: dict[str, Any] | None = None,
) -> None:
    """The least program with a balancer, a service and its task."""
    balancer = lb.LoadBalancer("door", internal=True, idle_timeout=120)
    group = lb.TargetGroup("web", port=5000, health_check={"path": "/health"})
    listener = lb.Listener(
        "front",
        load_balancer_arn=balancer.arn,
        port=443 if protocol == "HTTPS" else 80,
        protocol=protocol,
        default_actions=[default or {"type": "forward", "target_group_arn": group.arn}],
    )
    for index, pattern in enumerate(rules):
        lb.ListenerRule(
            f"rule-{index}",
            listener_arn=listener.arn,
            priority=index + 1,
            conditions=[{"path_pattern": {"values": [pattern]}}],
            actions=[{"type": "forward", "target_group_arn": group.arn}],
        )
    task = ecs.TaskDefinition(
        "task",
        family="task",
        container_definitions=pulumi.Output.json_dumps(containers or [container()]),
    )
    service = ecs.Service(
        "service",
        task_definition=task.arn,
        desired_count=count,
        load_balancers=[
            {"target_group_arn": group.arn, "container_name": "serve", "container_port": 5000}
        ],
    )
    pulumi.export("services", {"tracking": service.name})
    pulumi.export("tracking_uri", pulumi.Output.concat("http://", balancer.dns_name))


def spec(plan: Plan, name: str) -> ProcessSpec:
    return next(one for one in plan.processes if one.name == name)


# Tasks


def test_a_service_runs_as_many_tasks_as_declared_each_on_its_own_port(record: Record) -> None:
    plan = plan_of(record(lambda: platform(count=3)))
    tasks = [one for one in plan.processes if one.service == "tracking"]
    assert [one.name for one in tasks] == [f"tracking-{n}.serve" for n in (1, 2, 3)]
    ports = {one.environment["MLFLOW_PORT"] for one in tasks}
    assert len(ports) == 3
    assert "5000" not in ports


def test_command_and_environment_reach_the_process_as_declared(record: Record) -> None:
    declared = container(
        command=["python", "-m", "anything", "--flag", "a b"],
        environment=[{"name": f"KEY_{n}", "value": f"value {n}: /tmpfoo s3://x"} for n in range(9)],
    )
    process = spec(plan_of(record(lambda: platform([declared]))), "tracking-1.serve")
    assert process.argv[1:] == ("-m", "anything", "--flag", "a b")
    for item in declared["environment"]:
        assert process.environment[item["name"]] == item["value"]
    own = set(process.environment) - {item["name"] for item in declared["environment"]}
    assert own == {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "LANG", "HOME"}


def test_of_the_real_program_only_the_table_is_translated(
    evaluate: Callable[[str], Recording],
) -> None:
    """Every variable of every container is the declared one, or stands in this list."""
    translated = {
        "MLFLOW_PORT",
        "MLFLOW_HOST",
        "MLFLOW_SERVER_ALLOWED_HOSTS",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        names.DATABASE_SSL_MODE,
        names.DATABASE_SSL_ROOT,
        names.DATABASE_AUTH,
        names.PASSWORD_FILE,
        names.METRICS_STACK,
    }
    added = {"MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}
    image = {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "LANG", "HOME", "TMPDIR"}
    for stack in ("dev", "staging", "prod"):
        recording = evaluate(stack)
        plan = plan_of(recording)
        for found in recording.of_type("aws:ecs/taskDefinition:TaskDefinition"):
            for declared in json.loads(found.inputs["containerDefinitions"]):
                role = "artifacts" if "artifacts" in found.name else "tracking"
                process = spec(plan, f"{role}-1.{declared['name']}")
                environment = {item["name"]: item["value"] for item in declared["environment"]}
                for key, value in environment.items():
                    if key == names.METRICS_STACK:
                        assert key not in process.environment, "its lines would fill the log"
                    elif key not in translated:
                        assert process.environment[key] == value, key
                assert set(process.environment) - set(environment) <= added | image
                assert list(process.argv[1:]) == declared["command"][1:]


def test_a_task_port_that_the_process_does_not_listen_on_is_not_papered_over(
    record: Record,
) -> None:
    wrong = container(environment=[{"name": "MLFLOW_PORT", "value": "5001"}])
    process = spec(plan_of(record(lambda: platform([wrong]))), "tracking-1.serve")
    assert process.environment["MLFLOW_PORT"] == "5001"
    assert isinstance(process.ready, HttpReady)
    assert not process.ready.url.startswith("http://127.0.0.1:5001")


def test_a_container_that_another_waits_for_runs_once_before_it(record: Record) -> None:
    containers = [
        {"name": "migrate", "essential": False, "command": ["python", "-m", "m"]},
        container(dependsOn=[{"containerName": "migrate", "condition": "SUCCESS"}]),
    ]
    plan = plan_of(record(lambda: platform(containers)))
    assert isinstance(spec(plan, "tracking-1.migrate").ready, ExitReady)
    assert spec(plan, "tracking-1.serve").after == ("tracking-1.migrate",)


def test_a_secret_reaches_a_task_by_reference_only(record: Record) -> None:
    def program() -> None:
        secret = secretsmanager.Secret("word")
        secretsmanager.SecretVersion("word", secret_id=secret.id, secret_string='{"a": "hush"}')
        listed = secret.arn.apply(
            lambda arn: [container(secrets=[{"name": "WORD", "valueFrom": f"{arn}:a::"}])]
        )
        platform_with(listed)

    def platform_with(listed: pulumi.Output[Any]) -> None:
        task = ecs.TaskDefinition(
            "task", family="t", container_definitions=pulumi.Output.json_dumps(listed)
        )
        ecs.Service("service", task_definition=task.arn, desired_count=1)

    plan = plan_of(record(program))
    process = spec(plan, "service-1.serve")
    (reference,) = process.secrets.values()
    arn, _, key = reference.partition("#")
    assert key == "a"
    assert plan.store_secrets[arn] == '{"a": "hush"}'
    assert "hush" not in json.dumps(process.to_json())


def test_a_container_without_a_command_is_refused(record: Record) -> None:
    silent = container()
    del silent["command"]
    with pytest.raises(ProgramError, match=r"'serve' of 'service' has no command"):
        plan_of(record(lambda: platform([silent])))


def test_unknown_container_definitions_are_refused_by_property_and_resource(
    record: Record,
) -> None:
    def program() -> None:
        net = ec2.Vpc("net", cidr_block="10.0.0.0/16")
        text = pulumi.Output.json_dumps([container(image=net.main_route_table_id)])
        task = ecs.TaskDefinition("task", family="t", container_definitions=text)
        ecs.Service("service", task_definition=task.arn)

    with pytest.raises(ProgramError) as caught:
        plan_of(record(program))
    assert str(caught.value) == (
        "aws:ecs/taskDefinition:TaskDefinition 'task' needs 'containerDefinitions' to run here,"
        " but its value comes from a resource that has no stand-in on this machine: derive it"
        " from something else, or deploy with `pulumi up`."
    )


# Balancer


def caddy(plan: Plan) -> dict[str, Any]:
    (text,) = spec(plan, "balancer").files.values()
    config: dict[str, Any] = json.loads(text)
    return config


def test_rules_are_tried_in_order_of_priority_and_match_case_and_whole_path(
    record: Record,
) -> None:
    plan = plan_of(record(lambda: platform(rules=("/api/x/*", "/a?c"))))
    routes = caddy(plan)["apps"]["http"]["servers"]["front"]["routes"]
    patterns = [route["match"][0]["path_regexp"]["pattern"] for route in routes[:-1]]
    assert patterns == ["^/api/x/.*$", "^/a.c$"]
    assert "match" not in routes[-1]


def test_the_idle_timeout_is_the_declared_one(record: Record) -> None:
    server = caddy(plan_of(record(platform)))["apps"]["http"]["servers"]["front"]
    assert server["idle_timeout"] == "120s"


def test_https_gets_a_certificate_of_the_stacks_own_authority(record: Record) -> None:
    plan = plan_of(record(lambda: platform(protocol="HTTPS")))
    assert caddy(plan)["apps"]["pki"]["certificate_authorities"]["local"]["install_trust"] is False
    assert plan.certificate is not None


def test_the_public_name_is_translated_everywhere_it_is_declared(record: Record) -> None:
    def program() -> None:
        platform()
        balancer = lb.LoadBalancer("second")
        group = lb.TargetGroup("other")
        lb.Listener(
            "second-front",
            load_balancer_arn=balancer.arn,
            protocol="HTTPS",
            port=443,
            default_actions=[{"type": "forward", "target_group_arn": group.arn}],
        )
        route53.Record(
            "name",
            name="mlflow.example.com",
            type="A",
            zone_id="Z1",
            aliases=[
                {
                    "name": balancer.dns_name,
                    "zone_id": balancer.zone_id,
                    "evaluate_target_health": True,
                }
            ],
        )
        pulumi.export("second", "https://mlflow.example.com/x and mlflow.example.com:*")

    plan = plan_of(record(program))
    outputs = converge.local_outputs(plan)
    first, second = plan.host.port("listener:front", 5500), plan.host.port("listener:second-front")
    assert outputs["tracking_uri"] == f"http://127.0.0.1:{first}"
    assert outputs["second"].startswith("https://127.0.0.1:")
    assert outputs["second"].endswith("/x and 127.0.0.1:*")
    assert second != first


def test_a_redirect_leaves_the_front_door_s_port_to_the_listener_it_leads_to(
    record: Record,
) -> None:
    def program() -> None:
        to = {
            "type": "redirect",
            "redirect": {"protocol": "HTTPS", "port": "443", "status_code": "HTTP_301"},
        }
        lb.Listener("plain", load_balancer_arn="arn", port=80, default_actions=[to])
        platform(protocol="HTTPS")

    plan = plan_of(record(program))
    servers = caddy(plan)["apps"]["http"]["servers"]
    front = plan.host.port("listener:front", 5500)
    assert servers["front"]["listen"] == [f"127.0.0.1:{front}"]
    assert servers["plain"]["listen"] != servers["front"]["listen"]
    (only,) = servers["plain"]["routes"]
    assert only["handle"][0]["status_code"] == "301"
    assert only["handle"][0]["headers"]["Location"] == [
        f"https://127.0.0.1:{front}{{http.request.uri}}"
    ]
    (process,) = [one for one in plan.processes if one.name == "balancer"]
    assert process.ready.url.startswith(f"https://127.0.0.1:{front}/")


def test_a_fixed_response_is_what_it_says(record: Record) -> None:
    fixed = {
        "type": "fixed-response",
        "fixed_response": {
            "status_code": "404",
            "content_type": "text/plain",
            "message_body": "no",
        },
    }
    routes = caddy(plan_of(record(lambda: platform(default=fixed))))["apps"]["http"]["servers"]
    handler = routes["front"]["routes"][-1]["handle"][0]
    assert (handler["status_code"], handler["body"]) == ("404", "no")


def test_an_action_that_cannot_run_here_is_refused(record: Record) -> None:
    with pytest.raises(ProgramError, match=r"'front' has an action of type 'authenticate-oidc'"):
        plan_of(record(lambda: platform(default={"type": "authenticate-oidc"})))


# Database


def declare_database(**more: Any) -> rds.Instance:
    return rds.Instance(
        "store",
        instance_class="db.t4g.micro",
        **{
            "engine": "postgres",
            "engine_version": "18",
            "username": "trackstack",
            "db_name": "mlflow",
            "manage_master_user_password": True,
            **more,
        },
    )


def test_the_database_answers_with_its_place_on_this_machine(record: Record) -> None:
    def program() -> None:
        store = declare_database()
        pulumi.export("at", store.endpoint)
        pulumi.export("secret", store.master_user_secrets[0].secret_arn)

    plan = plan_of(record(program))
    outputs = plan.recording.outputs
    port = plan.host.port("backend:store")
    assert outputs["at"] == f"127.0.0.1:{port}"
    assert outputs["secret"].startswith("arn:aws:secretsmanager:")
    assert str(port) in spec(plan, "backend").argv


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"engine": "mysql"}, "declares the engine 'mysql'; only 'postgres' runs here."),
        ({"engine_version": "16"}, "declares PostgreSQL 16; the one on this machine is 18"),
    ],
)
def test_another_engine_or_major_is_refused(
    record: Record, more: dict[str, str], sentence: str
) -> None:
    recording = record(lambda: declare_database(**more))
    state = StackState.open("shop", "test")
    plan = Plan(recording, PreviewHost(state), converge.PreviewPaths(state))
    with pytest.raises(ProgramError, match=sentence):
        converge.make_plan(plan)


def test_a_preview_shows_a_major_that_only_aws_runs(record: Record) -> None:
    plan = plan_of(record(lambda: declare_database(engine_version="16")))
    (row,) = [row for row in plan.rows if row.what == "database major version"]
    assert row.here == "refused by `up`: 18 only"


def test_the_major_here_is_the_one_that_the_stacks_declare(
    evaluate: Callable[[str], Recording],
) -> None:
    for stack in ("dev", "staging", "prod"):
        (instance,) = evaluate(stack).of_type(database.TYPE)
        assert instance.inputs["engineVersion"] == database.MAJOR


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        ("database name", {"db_name": "one"}, {"db_name": "two"}),
        ("master user", {"username": "one"}, {"username": "two"}),
    ],
)
def test_a_change_of_the_datas_identity_is_refused_with_what_aws_would_do(
    record: Record, what: str, before: dict[str, str], after: dict[str, str]
) -> None:
    state = StackState.open("shop", "test")
    first = plan_of(record(lambda: declare_database(**before)))
    state.write_json("identities.json", first.identities)
    second = plan_of(record(lambda: declare_database(**after)))
    with pytest.raises(ConvergeError) as caught:
        converge._check_identities(state, second)
    assert str(caught.value) == (
        f"The {what} of 'store' changed from 'one' to 'two'. On AWS this replaces the resource by"
        " an empty one; its data here is untouched: take the change back, or start anew with"
        " `trackstack down --delete-data`."
    )
    converge._check_identities(state, first)


# Buckets


def test_a_renamed_bucket_with_an_alias_keeps_its_name_and_folder() -> None:
    state = StackState.open("shop", "test")
    answers = StackAnswers(LiveHost(state))

    def program(name: str, former: str | None = None) -> Callable[[], None]:
        aliases = [pulumi.Alias(name=former)] if former else []
        return lambda: pulumi.export(
            "bucket", s3.Bucket(name, opts=pulumi.ResourceOptions(aliases=aliases)).bucket
        )

    old = monitor.record(program("old"), answers)
    paths = converge.LivePaths(state)
    folder = paths.data(old.resources[1])
    new = monitor.record(program("new", "old"), answers)
    assert new.outputs == old.outputs
    assert paths.data(new.resources[1]) == folder
    other = monitor.record(program("other"), answers)
    assert other.outputs != old.outputs


# Values


def test_a_random_value_is_made_once_and_secret() -> None:
    state = StackState.open("shop", "test")
    answers = StackAnswers(LiveHost(state))

    def program(length: int) -> Callable[[], None]:
        return lambda: pulumi.export(
            "word", random.RandomPassword("admin", length=length, special=False).result
        )

    first = monitor.record(program(20), answers).outputs["word"]
    assert isinstance(first, Secret)
    assert len(first.value) == 20
    assert first.value.isalnum()
    assert monitor.record(program(20), answers).outputs["word"] == first
    assert monitor.record(program(21), answers).outputs["word"] != first


def test_a_preview_makes_no_secret(record: Record) -> None:
    def program() -> None:
        pulumi.export("word", random.RandomPassword("admin", length=20).result)

    outputs = record(program).outputs
    assert "word" in outputs
    assert not (StackState.open("shop", "test").path / "secrets").exists()


def test_a_generated_certificate_is_a_real_one() -> None:
    def program() -> None:
        key = tls.PrivateKey("key", algorithm="ECDSA", ecdsa_curve="P256")
        made = tls.SelfSignedCert(
            "cert",
            private_key_pem=key.private_key_pem,
            validity_period_hours=24,
            allowed_uses=["server_auth"],
            dns_names=["door.example.com"],
            subject={"common_name": "door"},
        )
        acm.Certificate("kept", private_key=key.private_key_pem, certificate_body=made.cert_pem)
        pulumi.export("pem", made.cert_pem)

    answers = StackAnswers(LiveHost(StackState.open("shop", "test")))
    pem = monitor.record(program, answers).outputs["pem"]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names_in_it = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names_in_it.value.get_values_for_type(x509.DNSName) == ["door.example.com"]


def test_every_listed_type_has_a_stand_in() -> None:
    for kind in (
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:ecs/service:Service",
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:lb/targetGroup:TargetGroup",
        "aws:lb/listener:Listener",
        "aws:lb/listenerRule:ListenerRule",
        "aws:secretsmanager/secret:Secret",
        "aws:secretsmanager/secretVersion:SecretVersion",
        "aws:ssm/parameter:Parameter",
        "aws:cloudwatch/logGroup:LogGroup",
    ):
        assert kind in STAND_INS


def test_registrations_answered_at_once_lose_no_saved_value() -> None:
    state = StackState.open("shop", "test")

    def program() -> None:
        for number in range(25):
            random.RandomPassword(f"word-{number}", length=20)
            s3.Bucket(f"bucket-{number}")
            rds.Instance(f"store-{number}", instance_class="db.t4g.micro", engine="postgres")

    recording = monitor.record(program, StackAnswers(LiveHost(state, front_port=None)))
    ports = {one.outputs["port"] for one in recording.of_type(database.TYPE)}
    assert len(ports) == 25
    assert set(state.saved_ports().values()) == ports
    assert len(state.secret_names()) == 25
    assert len(state.read_json("names.json")) == 50


def test_a_bucket_of_somebody_else_is_a_folder_under_its_name(record: Record) -> None:
    there = [{"name": "MLFLOW_ARTIFACTS_DESTINATION", "value": "s3://not-ours/runs"}]
    plan = plan_of(record(lambda: platform([container(environment=there)])))
    (urn,) = [urn for urn in plan.identities if urn.endswith("::not-ours")]
    assert plan.identities[urn] == {"bucket": "not-ours"}
    assert "MLFLOW_S3_ENDPOINT_URL" in spec(plan, "tracking-1.serve").environment
    converge._check_identities(StackState.open("shop", "test"), plan)


def test_an_s3_compatible_server_is_left_to_itself(record: Record) -> None:
    there = [
        {"name": "MLFLOW_ARTIFACTS_DESTINATION", "value": "s3://not-ours/runs"},
        {"name": "MLFLOW_S3_ENDPOINT_URL", "value": "https://minio.example.com"},
    ]
    plan = plan_of(record(lambda: platform([container(environment=there)])))
    environment = spec(plan, "tracking-1.serve").environment
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "https://minio.example.com"
    assert "artifact-store" not in {one.name for one in plan.processes}


def test_two_runs_of_one_program_want_exactly_the_same(
    evaluate: Callable[[str], Recording],
) -> None:
    first = evaluate("prod")
    again = Recording(first.project, first.stack, tuple(reversed(first.resources)), first.outputs)
    wanted = [{s.name: s.to_json() for s in plan_of(one).processes} for one in (first, again)]
    assert wanted[0] == wanted[1]


def test_a_bucket_is_served_for_the_tasks_that_use_it_declared_or_only_named(
    record: Record,
) -> None:
    def to(name: str) -> dict[str, Any]:
        there = {"name": "MLFLOW_ARTIFACTS_DESTINATION", "value": f"s3://{name}/runs"}
        return container(name=name, environment=[there])

    def program() -> None:
        s3.Bucket("ours", bucket="ours")
        s3.Bucket("logs", bucket="logs")
        platform([to("ours"), to("not-ours")])

    plan = plan_of(record(program))
    kept = [one["bucket"] for one in plan.identities.values() if "bucket" in one]
    assert sorted(kept) == ["not-ours", "ours"]
