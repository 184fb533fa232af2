"""The project on disk: which stacks there are and what a program is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trackstack.embedded.errors import UsageError
from trackstack.embedded.project import Project
from trackstack.embedded.wire import UNKNOWN_STRING

Make = Callable[..., Path]


def test_the_project_is_found_from_a_folder_below_it(make_project: Make) -> None:
    below = make_project("") / "stacks"
    assert Project.find(below).name == "shop"


def test_without_a_project_the_sentence_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Project.find(tmp_path)
    assert str(caught.value) == (
        f"There is no Pulumi.yaml in {tmp_path} or above it: change into the folder of the"
        " program, or name it with --cwd."
    )


def test_defaults_of_the_project_reach_the_program_and_the_stack_wins(make_project: Make) -> None:
    folder = make_project(
        "",
        {"shop:zones": 3, "aws:region": "eu-west-1", "shop:cidrs": ["10.0.0.0/8"]},
        zones={"type": "integer", "default": 2},
        tls={"type": "string", "default": "domain"},
        wide={"type": "boolean", "default": False},
        plain="yes",
    )
    assert Project.find(folder).configuration("dev").values == {
        "shop:zones": "3",
        "shop:tls": "domain",
        "shop:wide": "false",
        "shop:plain": "yes",
        "shop:cidrs": '["10.0.0.0/8"]',
        "aws:region": "eu-west-1",
    }


def test_an_encrypted_value_is_unknown_until_this_machine_is_told(
    make_project: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = Project.find(make_project("", {"shop:api-key": {"secure": "v1:x"}}))
    unknown = project.configuration("dev")
    assert unknown.values["shop:api-key"] == UNKNOWN_STRING
    assert unknown.missing == ("api-key",)
    assert unknown.secret_keys == ("shop:api-key",)

    file = tmp_path / "secrets.yaml"
    file.touch(mode=0o600)
    file.write_text("api-key: from a file\n")
    told = project.configuration("dev", file)
    assert (told.values["shop:api-key"], told.missing) == ("from a file", ())

    monkeypatch.setenv("TRACKSTACK_SECRET_API_KEY", "from a variable")
    assert project.configuration("dev", file).values["shop:api-key"] == "from a variable"


def test_a_secrets_file_that_others_can_read_is_refused(make_project: Make, tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    file.write_text("api-key: x\n")
    file.chmod(0o644)
    project = Project.find(make_project("", {"shop:api-key": {"secure": "v1:x"}}))
    with pytest.raises(UsageError, match=r"can be read by others: chmod 600 it"):
        project.configuration("dev", file)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("dve", "There is no stack 'dve'; the stacks here are dev. Did you mean 'dev'?"),
        ("moon", "There is no stack 'moon'; the stacks here are dev."),
    ],
)
def test_an_unknown_stack_is_named_with_those_that_exist(
    make_project: Make, asked: str, sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        Project.find(make_project("")).configuration(asked)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("config: [1, 2]", "`config:` in Pulumi.dev.yaml must be a map of keys to values."),
        ("config: {a: 1", "Pulumi.dev.yaml line 2 is not valid YAML."),
        ("- 1", "Pulumi.dev.yaml must be a map of keys to values."),
    ],
)
def test_a_broken_stack_file_is_told_in_a_sentence(
    make_project: Make, text: str, sentence: str
) -> None:
    folder = make_project("")
    (folder / "stacks" / "Pulumi.dev.yaml").write_text(text + "\n")
    with pytest.raises(UsageError) as caught:
        Project.find(folder).configuration("dev")
    assert str(caught.value) == sentence
