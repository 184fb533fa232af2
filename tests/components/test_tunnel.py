import json

from tests.components.recorder import Declared, platform


def stack(**more: str) -> Declared:
    return platform(tunnel="true", **more)


def test_nothing_runs_while_nobody_uses_it() -> None:
    added = {r.type for r in stack().recording.resources if r.name.startswith("mlflow-tunnel")}
    assert added == {
        "trackstack:index:Tunnel",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:ecs/taskDefinition:TaskDefinition",
    }
    assert not [r.name for r in platform().recording.resources if "tunnel" in r.name]


def test_its_task_reaches_the_balancer_and_aws_s_apis_and_nobody_reaches_it() -> None:
    declared = stack()
    group = declared.one(":SecurityGroup", "mlflow-tunnel-access").id
    door = declared.one(":SecurityGroup", "mlflow-door-access").id
    out = [
        r.inputs for r in declared.all("GroupEgressRule") if r.inputs["securityGroupId"] == group
    ]
    assert {
        (r.get("referencedSecurityGroupId") or r["cidrIpv4"], r["fromPort"], r["toPort"])
        for r in out
    } == {(door, 443, 443), ("0.0.0.0/0", 443, 443)}
    into = declared.all("GroupIngressRule")
    assert [r for r in into if r.inputs["securityGroupId"] == group] == []
    (let_in,) = [r for r in into if r.inputs.get("referencedSecurityGroupId") == group]
    assert (let_in.inputs["securityGroupId"], let_in.inputs["fromPort"]) == (door, 443)


def test_its_role_answers_a_session_and_does_nothing_else() -> None:
    (statement,) = stack().policy(stack().one(":RolePolicy", "mlflow-tunnel-task"))
    assert set(statement["Action"]) == {
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
    start = stack().policy(stack().one(":RolePolicy", "mlflow-tunnel-start"))
    assert {s["Sid"] for s in start} == {"WriteTheLog", "LogInToTheRegistry", "PullTheImage"}
    log = stack().one(":LogGroup", "mlflow-server-log").outputs["name"]
    assert start[0]["Resource"].endswith(f":log-group:{log}:*")


def test_a_forgotten_task_ends_by_itself_after_a_working_day() -> None:
    container = stack().containers("mlflow-tunnel-definition")["tunnel"]
    assert container["command"] == ["python", "-c", "import time; time.sleep(28800)"]
    assert container["linuxParameters"]["initProcessEnabled"] is True
    assert container["readonlyRootFilesystem"] is True
    task = stack().one(":TaskDefinition", "mlflow-tunnel-definition").inputs
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert {m["sourceVolume"] for m in container["mountPoints"]} == {
        v["name"] for v in task["volumes"]
    }


def test_the_stack_tells_what_the_command_needs() -> None:
    declared = stack(internal="true", egress="nat")
    facts = declared.recording.outputs["tunnel"]
    assert facts == {
        "region": "us-east-1",
        "cluster": declared.one("ecs/cluster:Cluster").outputs["name"],
        "task_definition": declared.one(":TaskDefinition", "mlflow-tunnel-definition").outputs[
            "arn"
        ],
        "subnet_ids": ",".join(declared.outputs("Network")["private_subnet_ids"]),
        "security_group_id": declared.one(":SecurityGroup", "mlflow-tunnel-access").id,
        "assign_public_ip": "DISABLED",
        "balancer": declared.one(":LoadBalancer").outputs["dnsName"],
        "port": "443",
    }
    plain = stack(tls="plaintext")
    parameter = plain.one("ssm/parameter:Parameter", "mlflow-clients-settings")
    told = json.loads(parameter.inputs["value"].value)["tunnel"]
    assert told == plain.recording.outputs["tunnel"]
    assert told["port"] == "80"
    assert platform().recording.outputs["tunnel"] == {}
