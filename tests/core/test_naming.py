import pytest

from trackstack.core.naming import Standard

TEAM = Standard("{team}-{model}/v{model_version}")
VERSION = Standard("v{model_version}")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("growth-churn/v1", {"team": "growth", "model": "churn", "model_version": "1"}),
        ("a.b-c-d/v1.2.0-rc.1", {"team": "a.b", "model": "c-d", "model_version": "1.2.0-rc.1"}),
    ],
)
def test_a_name_that_keeps_the_standard_is_read(name: str, found: dict[str, str]) -> None:
    assert TEAM.match(name) == found
    assert TEAM.why_not(name) == TEAM.sentence(name) == ""


@pytest.mark.parametrize(
    ("standard", "name", "why", "right"),
    [
        (
            TEAM,
            "growth churn v2",
            "after 'growth' stands ' churn v2' instead of '-'",
            "growth-churn/v2",
        ),
        (TEAM, "growth-churn", "after 'growth-churn' is nothing instead of '/v'", ""),
        (
            TEAM,
            "growth-churn/v1 ",
            (
                "after 'growth-churn/v1' it goes on with ' ', and {team}-{model}/v{model_version}"
                " ends there"
            ),
            "growth-churn/v1",
        ),
        (TEAM, "", "it has 0 characters, and MLflow takes 1 to 500", ""),
        (VERSION, "1.2", "at its beginning stands '1.2' instead of 'v'", "v1.2"),
        (VERSION, "Version 3", "at its beginning stands 'Version 3' instead of 'v'", "v3"),
        (
            VERSION,
            "v",
            "after 'v' is nothing instead of a version such as 1.2.0 for {model_version}",
            "",
        ),
        # A word too many: what it says can't be kept, so nothing is suggested.
        (VERSION, "churn 1.2", "at its beginning stands 'churn 1.2' instead of 'v'", ""),
        (
            Standard("{model}_{train_date}"),
            "2026-11-20 churn",
            "after '2026-11-20' stands ' churn' instead of '_'",
            "churn_2026-11-20",
        ),
        (
            Standard("{model}#{issue_id}"),
            "churn#x",
            "after 'churn#' stands 'x' instead of digits for {issue_id}",
            "",
        ),
    ],
)
def test_a_name_that_breaks_it_is_told_where_and_what_would_be_right(
    standard: Standard, name: str, why: str, right: str
) -> None:
    assert standard.match(name) is None
    assert standard.why_not(name) == why
    assert standard.suggest(name) == right
    assert standard.match(right or standard.example) is not None
    told = standard.sentence(name)
    assert told.startswith(f"{name!r} breaks the standard {standard.pattern}: {why}; write ")
    assert repr(right or standard.example) in told


def test_mlflow_s_own_experiment_breaks_nothing() -> None:
    assert list(VERSION.breaking(["Default", "v1", "latest"])) == ["latest"]


def test_a_long_name_is_read_at_once() -> None:
    standard = Standard("{a}-{b}-{c}-{d}-{e}!")
    assert standard.match("a-" * 249) is None
    assert standard.match("_a." * 166) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "'' is no pattern"),
        ("plain", "'plain' has no placeholder, so it would allow one name alone"),
        ("{team", "'{team' has a lone '{'"),
        ("{Team}", "{Team} is no placeholder; name it by lowercase letters, digits and _."),
        ("{a}{b}", "where {a} ends can't be seen"),
        ("{a}x{b}", "where {a} ends can't be seen"),
        ("{a}-{a}", "{a} stands in it twice"),
    ],
)
def test_a_pattern_that_can_t_be_one_is_told_why(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared
        Standard(pattern)
    assert str(caught.value).startswith(sentence)
