"""Settings in a person's own files: once, seen before, for nobody else, and out without a trace."""

import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackstack.client import join
from trackstack.client.changes import Change, shown
from trackstack.client.join import JoinError, Place

PASSWORD = """it's "a" $HOME `id` \\n 100% {x} #y"""
OPEN = {
    "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
GUARDED = {**OPEN, "MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
MARKED = ("bash", "zsh", "fish", "systemd", "dotenv")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "someone's home"
    folder.mkdir()
    return folder


def place(home: Path, kind: str, file: Path | None = None) -> Place:
    if kind in {"dotenv", "gitlab", "github"} and file is None:
        file = home / f"{kind}.env"
    return Place.find(kind, file, {"HOME": str(home)}, home / "kept" / "join")


def make(changes: list[Change]) -> int:
    wanted = [change for change in changes if change.does_something]
    for change in wanted:
        change.make()
    return len(wanted)


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(file.relative_to(folder)): (file.read_bytes(), stat.S_IMODE(file.stat().st_mode))
        for file in folder.rglob("*")
        if file.is_file()
    }


# --- once, and out again ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MARKED)
def test_joining_twice_is_joining_once_and_undo_leaves_no_trace(home: Path, kind: str) -> None:
    target = place(home, kind)
    before = tree(home)
    assert make(join.joined(target, GUARDED)) >= 1
    once = tree(home)
    assert make(join.joined(target, GUARDED)) == 0
    assert make(join.joined(target, OPEN)) >= 1  # a password that is no more leaves its file
    assert PASSWORD not in str(tree(home))
    assert make(join.joined(target, GUARDED)) >= 1
    assert tree(home) == once
    assert make(join.undone(target)) >= 1
    assert tree(home) == before
    assert make(join.undone(target)) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60),
    st.sampled_from(["", "\n", "\r\n", "\n\n"]),
    st.text(st.sampled_from("a \n#=é"), max_size=10),
    st.sampled_from(MARKED),
)
def test_what_is_not_ours_is_never_touched(text: str, end: str, later: str, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = place(Path(folder), kind, Path(folder) / "profile")
        content = (text + end).encode()
        target.path.write_bytes(content)
        target.path.chmod(0o600)
        make(join.joined(target, GUARDED))
        with target.path.open("ab") as file:
            file.write(later.encode())
        make(join.joined(target, OPEN))
        make(join.undone(target))
        left = target.path.read_bytes() if target.path.exists() else b""
        assert left == content + later.encode()


def test_a_profile_of_any_encoding_stays_as_it_is(home: Path) -> None:
    target = place(home, "bash")
    target.path.write_bytes(b"alias caf\xe9=true\r\n# no end")
    make(join.joined(target, OPEN))
    assert target.path.read_bytes().startswith(b"alias caf\xe9=true\r\n# no end\n# >>>")
    shown(join.undone(target)).encode()  # it can be printed
    make(join.undone(target))
    assert target.path.read_bytes() == b"alias caf\xe9=true\r\n# no end"


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_where_no_marks_may_stand_a_line_is_ours_by_its_name(home: Path, kind: str) -> None:
    target = place(home, kind)
    target.path.write_text("STAGE=test\nMLFLOW_TRACKING_URI=http://old\nLAST=1")
    make(join.joined(target, OPEN))
    assert target.path.read_text() == (
        "STAGE=test\nLAST=1\nMLFLOW_TRACKING_URI=https://mlflow.example.com\n"
        "MLFLOW_HTTP_REQUEST_TIMEOUT=20\n"
    )
    assert make(join.joined(target, OPEN)) == 0
    make(join.undone(target))
    assert target.path.read_text() == "STAGE=test\nLAST=1\n"


@pytest.mark.parametrize(
    "text",
    [
        "# >>> trackstack join >>>\nexport A=1\n",
        "# <<< trackstack join <<<\n",
        "# >>> trackstack join >>>\n# <<< trackstack join <<<\n" * 2,
    ],
)
def test_damaged_marks_are_a_sentence_and_nothing_is_written(home: Path, text: str) -> None:
    target = place(home, "bash")
    target.path.write_text(text)
    for step in (lambda: join.joined(target, OPEN), lambda: join.undone(target)):
        with pytest.raises(JoinError, match="don't belong together: remove the lines"):
            step()
    assert target.path.read_text() == text


# --- whose file it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_permissions_and_links_stay(home: Path, mode: int) -> None:
    (home / "dotfiles").mkdir()
    real = home / "dotfiles" / "bashrc"
    real.write_text("# mine\n")
    real.chmod(mode)
    target = place(home, "bash")
    target.path.symlink_to(real)
    make(join.joined(target, GUARDED))
    assert target.path.is_symlink()
    assert (stat.S_IMODE(real.stat().st_mode), real.read_text()[:7]) == (mode, "# mine\n")
    make(join.undone(target))
    assert (target.path.is_symlink(), real.read_text()) == (True, "# mine\n")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish", "systemd"])
def test_a_password_is_in_an_owners_only_file_and_in_no_profile(home: Path, kind: str) -> None:
    target = place(home, kind)
    make(join.joined(target, GUARDED))
    assert "100%" not in target.path.read_text()
    assert target.credentials is not None
    assert "100%" in target.credentials.read_text()
    assert stat.S_IMODE(target.credentials.stat().st_mode) == 0o600
    target.credentials.chmod(0o644)
    assert make(join.joined(target, GUARDED)) == 1
    assert stat.S_IMODE(target.credentials.stat().st_mode) == 0o600


def test_a_dotenv_file_that_others_read_gets_no_password(home: Path) -> None:
    target = place(home, "dotenv")
    target.path.write_text("A=1\n")
    target.path.chmod(0o644)
    make(join.joined(target, OPEN))
    with pytest.raises(JoinError, match=r"a password would stand in it: chmod 600 '.*dotenv\.env'"):
        join.joined(target, GUARDED)
    target.path.chmod(0o600)
    make(join.joined(target, GUARDED))
    assert stat.S_IMODE(target.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", MARKED)
def test_no_difference_that_is_shown_holds_a_password(home: Path, kind: str) -> None:
    target = place(home, kind)
    changes = join.joined(target, GUARDED)
    assert "MLFLOW_TRACKING_PASSWORD" in shown(changes)
    assert "100%" not in shown(changes)
    make(changes)
    for later in (
        join.joined(target, {**GUARDED, "MLFLOW_TRACKING_PASSWORD": "another"}),
        join.undone(target),
    ):
        assert "100%" not in shown(later)
        assert "another" not in shown(later)


# --- what reads it ------------------------------------------------------------------------------


def quiet(*argv: str, **variables: str) -> str:
    """What a program prints that has nothing to complain about."""
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    assert done.stderr == ""
    return done.stdout


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed here")
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_what_was_written(home: Path, shell: str) -> None:
    program = needed(shell)
    target = place(home, shell)
    make(join.joined(target, GUARDED))
    printed = quiet(program, "-c", 'source "$PROFILE"; env -0', PROFILE=str(target.path))
    told = dict(line.split("=", 1) for line in printed.split("\0") if "=" in line)
    assert {key: told.get(key) for key in GUARDED} == GUARDED


def test_systemds_user_environment_reads_what_was_written(home: Path) -> None:
    generator = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
    if not Path(generator).exists():
        pytest.skip("systemd's environment generator is not installed here")
    target = place(home, "systemd")
    make(join.joined(target, GUARDED))
    lines = dict(line.split("=", 1) for line in quiet(generator, HOME=str(home)).splitlines())
    assert lines["MLFLOW_TRACKING_URI"] == OPEN["MLFLOW_TRACKING_URI"]
    # It prints in shell's quotes.
    assert quiet("bash", "-c", f"printf %s {lines['MLFLOW_TRACKING_PASSWORD']}") == PASSWORD


# --- the command --------------------------------------------------------------------------------

FROM = ("join", "--from", "https://mlflow.example.com", "--unchecked", "--into", "bash")


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    own = {"HOME": str(home), "TRACKSTACK_JOURNAL": str(home / "journal"), "COLUMNS": "200"}
    return {**os.environ, **own, **(more or {})}


def command(home: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment(home, more),
    )


def test_without_an_answer_nothing_is_written(home: Path) -> None:
    done = command(home, *FROM)
    assert done.returncode == 2
    assert "+export MLFLOW_TRACKING_URI=https://mlflow.example.com" in done.stdout
    assert done.stderr.endswith("whether to write this: say --yes.\n")
    assert tree(home) == {}


@pytest.mark.parametrize("answer", ["y", "n"])
def test_somebody_at_a_terminal_is_asked(home: Path, answer: str) -> None:
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "trackstack.cli", *FROM],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    os.write(ours, f"{answer}\n".encode())
    out, err = running.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "+export MLFLOW_TRACKING_URI" in out
    assert "Write this?" in err
    assert running.returncode == {"y": 0, "n": 1}[answer]
    assert (home / ".bashrc").exists() == (answer == "y")


def test_the_command_joins_once_and_undoes_it(home: Path) -> None:
    who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = command(home, *FROM, "--yes", "--relay", **who)
    assert done.returncode == 0, done.stderr
    token = (home / "journal" / "token").read_text().strip()
    for secret in ("100%", token):
        assert secret not in done.stdout + done.stderr + (home / ".bashrc").read_text()
    script = '. ~/.bashrc; echo "$MLFLOW_TRACKING_URI $MLFLOW_TRACKING_TOKEN"'
    told = quiet("bash", "-c", script, HOME=str(home))
    assert told == f"http://127.0.0.1:5551 {token}\n"
    done = command(home, *FROM, "--yes", "--relay", **who)
    assert (done.returncode, done.stdout) == (0, "Nothing to change.\n")
    done = command(home, "join", "--into", "bash", "--undo", "--yes")
    assert done.returncode == 0, done.stderr
    assert not (home / ".bashrc").exists()
    assert not list(Path(os.environ["TRACKSTACK_HOME"]).glob("join/*"))


def test_a_job_is_told_to_hide_the_password_before_it_is_written(home: Path) -> None:
    file = home / "github.env"
    file.write_text("")
    who = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "word"}
    argv = (*FROM[:-1], "github", "--yes")
    done = command(home, *argv, **who, GITHUB_ENV=str(file))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("::add-mask::word\n")
    assert "word" not in done.stdout
    assert "MLFLOW_TRACKING_PASSWORD=word\n" in file.read_text()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("--into", "tcsh"), "There is no place 'tcsh' to write settings to: say --into with one"),
        (("--into", "dotenv"), "Say which file: --into dotenv --file PATH."),
        (("--into", "github"), "outside of a job there is no $GITHUB_ENV."),
    ],
)
def test_a_place_that_is_not_there_is_a_sentence(
    home: Path, argv: tuple[str, ...], sentence: str
) -> None:
    done = command(home, "join", "--undo", *argv, GITHUB_ENV="")
    assert done.returncode == 2
    assert sentence in done.stderr


def test_a_file_that_cannot_be_written_is_a_sentence(home: Path) -> None:
    (home / "file").write_text("")
    done = command(home, *FROM, "--yes", "--file", str(home / "file" / "rc"))
    assert done.returncode == 5
    assert "can't be" in done.stderr
    assert "Traceback" not in done.stderr
