"""What is open, and where the balancers' keys are."""

import pytest

from trackstack.core.access import balancer_keys_url, is_open


@pytest.mark.parametrize(
    "path",
    ["/health", "/favicon.ico", "/api/3.0/mlflow/server-info", "/static-files/static/js/main.js"],
)
def test_what_a_page_and_a_probe_need_is_open(path: str) -> None:
    assert is_open(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/version",
        "/metrics",
        "/graphql",
        "/signup",
        "/health/",
        "/healthy",
        "//health",
        "/static",
        "/static-file",
        "/favicon.ico/x",
        # MLflow itself leaves these open.
        "/ajax-api/3.0/mlflow/server-info",
        "/api/2.0/mlflow/server-info",
        "/mlflow/server-info",
    ],
)
def test_everything_else_asks_for_credentials(path: str) -> None:
    assert not is_open(path)


def test_the_balancers_keys_are_where_aws_publishes_them() -> None:
    assert balancer_keys_url("eu-central-1") == (
        "https://public-keys.auth.elb.eu-central-1.amazonaws.com"
    )
    assert balancer_keys_url("us-gov-west-1") == (
        "https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1"
    )
