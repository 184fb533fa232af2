"""Saved state: what is kept, what damage costs, and who may read it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trackstack.embedded import state as module
from trackstack.embedded.state import (
    FileLock,
    StackState,
    StateError,
    home,
    port_is_free,
    reachable_path,
)

DB = "urn:pulumi:dev::shop::trackstack:index:BackendStore$aws:rds/instance:Instance::Store/DB"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKSTACK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "_REACHABLE_ROOT", tmp_path / "outside")


@pytest.fixture
def state() -> StackState:
    return StackState.open("shop", "dev")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def listen_on(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


# --- where and who ---------------------------------------------------------------------


def test_opening_makes_nothing(state: StackState) -> None:
    assert not state.exists()
    assert not home().exists()
    assert StackState.all() == []


def test_the_home_is_the_users_data_directory_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKSTACK_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data/of/me")
    assert home().name == "trackstack"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(StateError, match="can't be a folder name"):
        StackState.open("shop", name)


def test_all_stacks_of_one_project_or_of_every_project_are_found() -> None:
    for project, stack in [("shop", "dev"), ("shop", "prod"), ("bank", "dev")]:
        StackState.open(project, stack).port("web")
    (home() / "bank" / "stray").mkdir()
    assert [(s.project, s.stack) for s in StackState.all()] == [
        ("bank", "dev"),
        ("shop", "dev"),
        ("shop", "prod"),
    ]
    assert [s.stack for s in StackState.all("shop")] == ["dev", "prod"]


def test_everything_is_the_owners_alone_whatever_the_umask(state: StackState) -> None:
    before = os.umask(0)
    try:
        state.port("web")
        state.secret("a/b", lambda: "x")
        state.write_json("wanted.json", {})
        state.data_path(DB)
        assert state.logs_path.is_dir()
        assert state.run_path.is_dir()
        with state.lock():
            pass
    finally:
        os.umask(before)
    for path in (home(), *home().rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


# --- ports -----------------------------------------------------------------------------


def test_a_port_is_chosen_once(state: StackState) -> None:
    port = state.port("web")
    with listen_on(port):  # by now it runs
        assert StackState.open("shop", "dev").port("web", prefer=port + 1) == port
    assert state.saved_ports() == {"web": port}


def test_a_preferred_port_is_taken_when_it_is_free(state: StackState) -> None:
    free = StackState.open("other", "probe").port("x") + 1
    assert state.port("a", prefer=free) == free
    with listen_on(state.port("b") + 1) as busy:
        taken = busy.getsockname()[1]
        assert not port_is_free(taken)
        assert state.port("c", prefer=taken) != taken


def test_no_two_stacks_get_the_same_port_even_when_none_runs() -> None:
    stacks = [StackState.open("shop", name) for name in ("dev", "staging", "prod")]
    ports = [s.port(key, prefer=23_456) for s in stacks for key in ("web", "db", "s3")]
    assert len(set(ports)) == 9


def test_ports_chosen_at_the_same_moment_do_not_collide() -> None:
    code = (
        "import sys; from trackstack.embedded.state import StackState;"
        "s = StackState.open('shop', sys.argv[1]);"
        "print(*[s.port(str(k), prefer=24_000 + k) for k in range(10)])"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, f"s{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    ports = [int(p) for each in started for p in each.communicate()[0].split()]
    assert len(ports) == len(set(ports)) == 30


def test_a_deleted_stack_gets_its_ports_again(state: StackState) -> None:
    port = state.port("web")
    state.delete_data()
    assert state.port("web") == port


def test_a_port_can_be_set(state: StackState) -> None:
    state.set_port("web", 5000)
    assert state.port("web") == 5000


# --- secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["plain", "a/b:c!d", "..", "UPPER", "upper", "x.bak", "ü", "a%2fb"]
)
def test_any_name_can_be_a_secrets(state: StackState, name: str) -> None:
    state.secret("neighbour", lambda: "n")
    assert state.secret(name, lambda: "first") == "first"
    assert state.secret(name, lambda: "second") == "first"
    assert state.read_secret(name) == "first"
    assert state.secret_names() == sorted({name, "neighbour"})
    assert {f.parent for f in state.path.rglob("*") if f.is_file()} == {state.path / "secrets"}


def test_names_that_differ_in_case_are_two_files_on_any_disk(state: StackState) -> None:
    state.write_secret("Key", "a")
    state.write_secret("key", "b")
    names = [f.name for f in (state.path / "secrets").iterdir()]
    assert len({name.lower() for name in names}) == len(names) == 4


def test_one_key_of_a_json_secret_can_be_read(state: StackState) -> None:
    state.write_secret("rds!db", json.dumps({"username": "root", "port": 5432}))
    state.write_secret("with#hash", "whole")
    assert state.read_secret("rds!db#username") == "root"
    assert state.read_secret("rds!db#port") == "5432"
    assert state.read_secret("with#hash") == "whole"


def test_a_missing_secret_is_named_and_never_quoted(state: StackState) -> None:
    state.write_secret("plain", "hunter2")
    with pytest.raises(StateError, match=r"^the stack has no secret named 'none'$"):
        state.read_secret("none#key")
    with pytest.raises(StateError, match=r"^the secret 'plain' has no key 'key'$") as caught:
        state.read_secret("plain#key")
    assert caught.value.__suppress_context__


# --- damage ----------------------------------------------------------------------------


def test_a_file_cut_in_half_costs_a_sentence_and_nothing_else(state: StackState) -> None:
    port, secret = state.port("web"), state.secret("s", lambda: "precious")
    folder = state.data_path(DB)
    state.write_json("wanted.json", {"generation": 7})
    for file in ("ports.json", "secrets/s", "data.json", "wanted.json"):
        halve(state.path / file)
    again = StackState.open("shop", "dev")
    assert again.port("web") == port
    assert again.secret("s", lambda: "another") == secret
    assert again.data_path(DB) == folder
    assert again.read_json("wanted.json") == {"generation": 7}
    assert str(again.damaged[0]) == (
        f"{state.path}/ports.json isn't whole; it was kept as ports.json.damaged-1 and its copy "
        "is used instead"
    )
    assert len(again.damaged) == 4
    # Repaired: the next command has nothing to say.
    third = StackState.open("shop", "dev")
    assert third.port("web") == port
    assert third.damaged == []


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff\xfe\x00", b"[1, 2]", b'{"web": "x"}', b"[" * 99_999]
)
def test_garbage_in_both_copies_starts_empty_and_says_so(state: StackState, garbage: bytes) -> None:
    state.port("web")
    for name in ("ports.json", "ports.json.bak"):
        (state.path / name).write_bytes(garbage)
    assert state.saved_ports() == {}
    assert "it was kept as ports.json.damaged-1 and it starts empty" in str(state.damaged[0])
    assert isinstance(state.port("web"), int)


def test_damage_to_the_index_of_data_loses_no_data(state: StackState) -> None:
    (state.data_path(DB) / "PG_VERSION").write_text("18")
    for name in ("data.json", "data.json.bak"):
        (state.path / name).write_text("{")
    assert (StackState.open("shop", "dev").data_path(DB) / "PG_VERSION").read_text() == "18"


def test_another_stacks_damaged_ports_are_respected_and_left_alone(state: StackState) -> None:
    other = StackState.open("shop", "prod")
    other.set_port("web", 25_000)
    halve(other.path / "ports.json")
    assert state.port("web", prefer=25_000) != 25_000
    assert (other.path / "ports.json").exists()
    assert state.damaged == []


def test_a_write_that_fails_leaves_the_old_file_and_one_sentence(
    state: StackState, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write_json("wanted.json", {"generation": 1})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match=r"wanted\.json can't be written: No space left on device"):
        state.write_json("wanted.json", {"generation": 2})
    assert state.read_json("wanted.json") == {"generation": 1}
    assert not list(state.path.glob(".*"))


# --- data ------------------------------------------------------------------------------


def test_data_is_found_by_urn_in_a_folder_that_a_person_recognises(state: StackState) -> None:
    folder = state.data_path(DB)
    assert folder == state.path / "data" / "instance-store-db"
    assert state.data_path(DB) == folder
    assert state.data_paths() == {DB: folder}


def test_two_resources_never_share_a_folder(state: StackState) -> None:
    other = DB.replace("BackendStore", "OtherStore")
    assert state.data_path(DB) != state.data_path(other)


def test_a_renamed_resource_with_an_alias_keeps_its_data(state: StackState) -> None:
    folder = state.data_path(DB)
    renamed = DB.replace("Store/DB", "backend")
    assert state.data_path(renamed, aliases=["urn:unknown", DB]) == folder
    assert state.data_path(renamed) == folder
    assert state.data_paths() == {renamed: folder}
    # The old name begins anew, in a folder of its own.
    assert state.data_path(DB) != folder


def test_deleting_leaves_nothing_of_this_stack_and_everything_of_others(state: StackState) -> None:
    other = StackState.open("shop", "prod")
    other.port("web")
    state.data_path(DB)
    reachable = reachable_path(state)
    state.delete_data()
    assert not state.path.exists()
    assert not reachable.exists()
    assert other.exists()
    state.delete_data()  # once more is harmless


def test_root_gets_a_folder_that_nobody_can_reach_and_others_cannot_read(
    state: StackState, tmp_path: Path
) -> None:
    path = reachable_path(state)
    assert reachable_path(state) == path
    if os.geteuid() != 0:
        assert path == state.path / "data"
        return
    assert path.parent == tmp_path / "outside"  # pytest's own folder is closed to others
    assert path.parent.stat().st_mode & 0o777 == 0o711
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_uid == module.nobody()[0]  # type: ignore[index]


def test_root_keeps_data_beside_the_state_where_others_may_pass(
    monkeypatch: pytest.MonkeyPatch, state: StackState
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has to let nobody in")
    monkeypatch.setattr(module, "_traversable", lambda _: True)
    state.secret("s", lambda: "x")
    path = reachable_path(state)
    assert path == state.path / "nobody"
    monkeypatch.setattr(module, "_traversable", lambda _: False)
    assert reachable_path(state) == path  # the data is there, so there it stays
    assert state.path.stat().st_mode & 0o777 == 0o711
    assert (state.path / "secrets").stat().st_mode & 0o777 == 0o700


# --- locks -----------------------------------------------------------------------------


def test_a_second_command_is_told_who_is_at_work(state: StackState) -> None:
    with state.lock():
        expected = (
            rf"^another command \(pid {os.getpid()}\) is changing stack 'dev' right now: "
            "wait until it has finished, or end it$"
        )
        with pytest.raises(StateError, match=expected), StackState.open("shop", "dev").lock():
            pass
    with state.lock():
        pass


def test_a_lock_dies_with_its_holder(state: StackState) -> None:
    code = (
        "import os; from trackstack.embedded.state import StackState;"
        "s = StackState.open('shop', 'dev'); s.lock().__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (state.path / "up.lock").exists()
    with state.lock():
        pass


def test_a_lock_on_a_deleted_file_is_worth_nothing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    assert lock.acquire()
    assert lock.intact()
    lock.path.unlink()
    assert not lock.intact()
    assert FileLock(lock.path).acquire()
    lock.release()
