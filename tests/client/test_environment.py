"""Credentials in CI: what may be seen in a log or an artifact."""

import json

import pytest

from trackstack.client import environment
from trackstack.core.adoption import is_ci

PASSWORD = "100%\nsecret"
FOUND = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
    "MLFLOW_TRACKING_USERNAME": "client",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
}


def test_github_is_told_to_hide_a_password_before_it_is_printed() -> None:
    told, aside = environment.handed_out(FOUND, "github")
    # One line, escaped as GitHub's workflow commands want it.
    assert aside == ["::add-mask::100%25%0Asecret"]
    assert told == FOUND
    assert "add-mask" not in environment.render(told, "github")  # which goes into $GITHUB_ENV


def test_a_gitlab_report_that_anybody_downloads_holds_no_password() -> None:
    told, aside = environment.handed_out(FOUND, "gitlab")
    assert PASSWORD not in environment.render(told, "gitlab")
    assert set(told) == {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"}
    (advice,) = aside
    assert "MLFLOW_TRACKING_PASSWORD left out" in advice
    assert PASSWORD not in advice


@pytest.mark.parametrize("form", environment.FORMATS)
def test_without_a_password_nothing_is_said_and_nothing_left_out(form: str) -> None:
    open_to_all = {"MLFLOW_TRACKING_URI": "https://mlflow.example.com"}
    assert environment.handed_out(open_to_all, form) == (open_to_all, [])


@pytest.mark.parametrize("form", [f for f in environment.FORMATS if f not in {"github", "gitlab"}])
def test_a_shell_gets_the_password_itself(form: str) -> None:
    assert environment.handed_out(FOUND, form) == (FOUND, [])


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, "github"),
        ({"GITLAB_CI": "true", "CI": "true"}, "gitlab"),
        ({"JENKINS_URL": "https://ci.example.com"}, "jenkins"),
        ({"CI": "true"}, "ci"),
    ],
)
def test_a_job_s_runs_carry_the_ci_that_logged_them(job: dict[str, str], name: str) -> None:
    told = environment.of_ci(job)
    context = told["MLFLOW_RUN_CONTEXT"]
    assert is_ci(json.loads(context))
    assert json.loads(context) == {"trackstack.ci": name}
    # A context that the job has already is its own affair.
    assert environment.of_ci({**job, "MLFLOW_RUN_CONTEXT": "{}"}) == {}


def test_a_person_s_shell_is_no_ci() -> None:
    assert environment.of_ci({"HOME": "/home/ada"}) == {}


def test_mlflow_s_client_reads_the_context_as_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    context = pytest.importorskip("mlflow.tracking.context.registry", reason="needs mlflow")
    for key, value in environment.of_ci({"GITLAB_CI": "true"}).items():
        monkeypatch.setenv(key, value)
    assert context.resolve_tags()["trackstack.ci"] == "gitlab"
