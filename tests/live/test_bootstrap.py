"""What a stack file declares inside MLflow, made on a stack with users by the CLI."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.conftest import StackFactory
from tests.live.stacks import Stack, copy_of_the_program
from trackstack.client.server import Login, Server
from trackstack.client.tracking import Tracking, TrackingError

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("bootstrap")]

KEY = "mlflow-platform:"
ADA = "ada@example.com"
EXPERIMENTS = {
    "growth-churn/v1.2": {"tags": {"team": "growth"}, "permissions": {ADA: "none"}},
    "risk-fraud/v2": {"permissions": {ADA: "manage", "bob@example.com": "read"}},
}


def declare(stack: Stack, **settings: object) -> None:
    file = stack.project / "stacks" / "Pulumi.dev.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"] |= {KEY + key: value for key, value in settings.items()}
    file.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def stack(stack_factory: StackFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = copy_of_the_program(tmp_path_factory.mktemp("program") / "platform")
    made = stack_factory(project=folder)
    declare(made, access="basic", tls="generated", database_instance_class="db.t4g.small")
    made.up()
    yield made
    made.delete()


def bootstrap(stack: Stack, *options: str, code: int = 0) -> list[str]:
    done = stack.cli("bootstrap", "--json", *options, check=False)
    assert done.returncode == code, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return [change["sentence"] for change in told["changes"]]


def as_user(stack: Stack, name: str, password: str) -> Tracking:
    pem = stack.outputs["tracking_certificate"]
    return Tracking(Server(stack.uri, pem, Login(name, password), timeout=60), rest=0)


def test_a_stack_gets_what_its_file_declares_once(stack: Stack) -> None:
    added = stack.cli("users", "add", ADA).stdout
    password = added.split("MLFLOW_TRACKING_PASSWORD=")[1].strip()
    pattern = "{team}-{model}/v{model_version}"
    declare(stack, experiments=EXPERIMENTS, experiment_name_pattern=pattern)

    wanted = [
        f"naming standard: {pattern}",
        "growth-churn/v1.2: created",
        "growth-churn/v1.2: tag team='growth'",
        f"growth-churn/v1.2: {ADA} may do nothing",
        "risk-fraud/v2: created",
        f"risk-fraud/v2: {ADA} may manage",
        "risk-fraud/v2: bob@example.com may read",
    ]
    # Bob is no user yet: told by the exit code, and the rest is done.
    assert bootstrap(stack, "--dry-run", code=4) == wanted
    assert bootstrap(stack, code=4) == wanted
    assert bootstrap(stack, code=4) == wanted[-1:]
    stack.cli("users", "add", "bob@example.com")
    assert bootstrap(stack) == wanted[-1:]
    assert bootstrap(stack) == []

    hers = as_user(stack, ADA, password)
    with pytest.raises(TrackingError) as caught:
        hers.ask("GET", "experiments/get-by-name?experiment_name=growth-churn/v1.2")
    assert caught.value.status == 403
    risk = hers.ask("GET", "experiments/get-by-name?experiment_name=risk-fraud/v2")["experiment"]
    body = {"experiment_id": risk["experiment_id"], "new_name": "fraud"}
    hers.ask("POST", "experiments/update", body)

    listed = json.loads(stack.cli("experiments", "--json").stdout)
    broken = {one["name"]: one["breaksStandard"] for one in listed}
    assert set(broken) == {"Default", "growth-churn/v1.2", "fraud"}
    assert [name for name, wrong in broken.items() if wrong] == ["fraud"]
    table = stack.cli("experiments").stdout
    assert "✗ fraud" in table
    assert "'fraud' breaks the standard {team}-{model}/v{model_version}: " in table

    hers.ask("POST", "experiments/update", {**body, "new_name": "risk-fraud/v2"})
    declare(stack, experiments={**EXPERIMENTS, "growth-churn/v1.2": {"permissions": {ADA: "edit"}}})
    assert bootstrap(stack) == [f"growth-churn/v1.2: {ADA} may edit instead of 'none'"]
    assert bootstrap(stack) == []
    hers.ask("GET", "experiments/get-by-name?experiment_name=growth-churn/v1.2")


def test_what_is_declared_for_mlflow_changes_nothing_that_runs(stack: Stack) -> None:
    before = stack.pids()
    declare(stack, experiments={"growth-sales/v1": {}}, experiment_name_pattern="")
    summary = stack.up()
    assert set(summary["processes"].values()) == {"same"}
    assert stack.pids() == before
