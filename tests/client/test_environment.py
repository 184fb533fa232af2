"""Credentials in CI: what may be seen in a log or an artifact."""

import pytest

from trackstack.client import environment

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
