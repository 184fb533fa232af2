"""The supervisor with real processes: order, faults, secrets, and nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from trackstack.embedded import supervisor
from trackstack.embedded.specs import (
    CommandReady,
    ExitReady,
    HttpReady,
    ProcessSpec,
    Ready,
    TcpReady,
)
from trackstack.embedded.state import StackState, StateError, nobody, reachable_path
from trackstack.embedded.supervisor import Observed, observe, start, stop, submit, wait_ready
from trackstack.embedded.supervisor.daemon import rotate

pytestmark = [pytest.mark.live, pytest.mark.timeout(90)]

# Answers HTTP with 200, and in the same group there is a grandchild that ignores SIGTERM.
FAMILY = """
import http.server, subprocess, sys
subprocess.Popen(["sh", "-c", "trap '' TERM INT; while :; do sleep 600.$0; done", sys.argv[1]])
class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Quiet).serve_forever()
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackState]:
    monkeypatch.setenv("TRACKSTACK_HOME", str(tmp_path))
    state = StackState.open("shop", "dev")
    yield state
    if state.path.exists():
        stop(state, timeout=20)
        state.delete_data()
    # The guardian of a killed supervisor ends a moment after its last process.
    until(lambda: not [p for p in psutil.process_iter() if str(state.path) in argv_of(p)])


def argv_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def alive(port: int) -> list[int]:
    """Everything that carries this port in its argv: servers and their grandchildren."""
    return [p.pid for p in psutil.process_iter() if str(port) in " ".join(argv_of(p))]


def family(state: StackState, name: str, *after: str) -> ProcessSpec:
    port = state.port(name)
    return ProcessSpec(
        name,
        name,
        (sys.executable, "-c", FAMILY, str(port)),
        HttpReady(f"http://127.0.0.1:{port}/health"),
        after=after,
    )


def shell(name: str, script: str, *after: str, ready: Ready | None = None) -> ProcessSpec:
    ready = ready or CommandReady(("/bin/true",))
    return ProcessSpec(name, name, ("/bin/sh", "-c", script), ready, after=after)


def bring_up(state: StackState, *specs: ProcessSpec, timeout: float = 20) -> Observed:
    observed = wait_ready(state, submit(state, specs), timeout)
    assert observed.ready, observed
    return observed


def pids(observed: Observed) -> dict[str, int | None]:
    return {name: process.pid for name, process in observed.processes.items()}


def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


def guardian_of(pid: int) -> int:
    """The only child of the supervisor with the supervisor's own argv."""
    mine = psutil.Process(pid).cmdline()
    (guardian,) = [c.pid for c in psutil.Process(pid).children() if c.cmdline() == mine]
    return guardian


def supervisor_log(state: StackState) -> str:
    return (state.logs_path / "supervisor.log").read_text()


# --- order, readiness, changes ---------------------------------------------------------


def test_processes_start_in_order_and_only_when_what_precedes_them_is_ready(
    state: StackState,
) -> None:
    steps: list[dict[str, str]] = []
    specs = [
        family(state, "proxy", "server"),
        family(state, "server", "migrate"),
        shell("migrate", "sleep 0.5; echo migrated", "db", ready=ExitReady()),
        family(state, "db"),
        shell("bucket", "sleep 600"),
    ]
    observed = wait_ready(
        state,
        submit(state, specs),
        20,
        lambda o: steps.append({n: p.state for n, p in o.processes.items()}),
    )
    assert observed.ready
    assert observed.processes["migrate"].state == "exited"
    done = ("ready", "exited")
    steps = [step for step in steps if step]  # on a busy machine it is seen before it says anything
    for step in steps:
        for spec in specs:
            if step[spec.name] != "waiting":
                assert all(step[name] in done for name in spec.after), steps
    assert any(s["bucket"] == "ready" and s["migrate"] not in done for s in steps)  # in parallel


def test_a_server_that_answers_errors_is_not_ready(state: StackState) -> None:
    spec = family(state, "server")
    wrong = replace(spec, ready=HttpReady(f"http://127.0.0.1:{state.port('server')}/other"))
    observed = wait_ready(state, submit(state, [wrong]), 2)
    assert observed.processes["server"].state == "starting"


def test_a_process_that_never_gets_ready_is_restarted_and_says_so(state: StackState) -> None:
    spec = shell("mute", "echo still loading; sleep 600", ready=TcpReady(state.port("mute")))
    generation = submit(state, [replace(spec, ready_seconds=0.5)])
    until(lambda: observe(state).generation == generation)
    until(lambda: observe(state).processes["mute"].restarts >= 1)
    assert "not ready after 0.5 s: still loading" in observe(state).processes["mute"].problem


def test_a_second_identical_set_leaves_every_pid_alone(state: StackState) -> None:
    specs = [family(state, "db"), shell("migrate", "echo $$", "db", ready=ExitReady())]
    specs.append(family(state, "server", "migrate"))
    first = bring_up(state, *specs)
    second = bring_up(state, *specs)
    assert second.generation == first.generation + 1
    assert pids(first) == pids(second)
    assert second.pid == first.pid
    log = (state.logs_path / "migrate.log").read_text()
    assert len(log.splitlines()) == 1  # the one-shot wasn't run again


def test_a_changed_spec_restarts_itself_and_its_dependents_only(state: StackState) -> None:
    db, bucket = family(state, "db"), family(state, "bucket")
    server, proxy = family(state, "server", "db"), family(state, "proxy", "server")
    before = bring_up(state, db, bucket, server, proxy)
    changed = replace(server, environment={"WORKERS": "2"})
    after = bring_up(state, db, bucket, changed, proxy)
    same = {n for n in pids(before) if pids(before)[n] == pids(after)[n]}
    assert same == {"db", "bucket"}
    assert after.processes["server"].digest == changed.digest()
    assert after.processes["server"].restarts == 0


def test_a_removed_spec_stops_with_its_grandchildren_and_the_rest_stays(state: StackState) -> None:
    db, server = family(state, "db"), family(state, "server", "db")
    before = bring_up(state, db, server)
    after = bring_up(state, db)
    assert pids(after) == {"db": pids(before)["db"]}
    assert not alive(state.port("server"))


# --- crashes ---------------------------------------------------------------------------


def test_a_killed_child_comes_back_and_its_dependents_never_notice(state: StackState) -> None:
    before = bring_up(state, family(state, "db"), family(state, "server", "db"))
    family_before = set(alive(state.port("db")))
    assert len(family_before) >= 2
    os.kill(before.processes["db"].pid or 0, signal.SIGKILL)
    until(lambda: pids(observe(state))["db"] not in (None, pids(before)["db"]))
    until(lambda: observe(state).ready)
    after = observe(state)
    assert not family_before & set(alive(state.port("db")))  # grandchildren went with the leader
    assert pids(after)["server"] == pids(before)["server"]
    assert after.processes["db"].restarts == 1
    assert after.processes["db"].exit_code == -signal.SIGKILL


def test_a_crash_loop_backs_off_and_shows_its_last_line(state: StackState) -> None:
    spec = shell("loop", "date >> starts; echo cannot open the door; exit 1")
    spec = replace(spec, cwd=str(state.run_path / "loop"), ready=TcpReady(1))
    generation = submit(state, [spec])
    observed = wait_ready(state, generation, 20)
    assert not observed.ready
    process = observed.processes["loop"]
    assert (process.state, process.exit_code) == ("backing-off", 1)
    assert process.problem == "exited with 1: cannot open the door"
    time.sleep(4)
    # 0.2 + 0.4 + 0.8 + 1.6 + 3.2 …: never more than six within the first five seconds.
    starts = len((state.run_path / "loop" / "starts").read_text().splitlines())
    assert 4 <= starts <= 6
    # A person who has repaired something runs ``up`` again and needn't wait for the backoff.
    bring_up(state, replace(spec, argv=("/bin/sleep", "600"), ready=CommandReady(("/bin/true",))))


def test_a_one_shot_that_asks_for_a_decision_ends_the_waiting_at_once(state: StackState) -> None:
    refuses = shell("migrate", "echo the schema is newer; exit 3", ready=ExitReady())
    began = time.monotonic()
    observed = wait_ready(
        state, submit(state, [refuses, shell("server", "sleep 600", "migrate")]), 20
    )
    assert time.monotonic() - began < 3
    assert observed.processes["migrate"].problem == "exited with 3: the schema is newer"
    assert observed.processes["server"].state == "waiting"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"argv": ("/no/such/program",)}, "No such file or directory: '/no/such/program'"),
        ({"secrets": {"PASSWORD": "lost"}}, "the stack has no secret named 'lost'"),
    ],
)
def test_a_process_that_cannot_be_started_says_why(
    state: StackState, change: dict[str, object], sentence: str
) -> None:
    spec = replace(shell("broken", "sleep 600"), **change)  # type: ignore[arg-type]
    observed = wait_ready(state, submit(state, [spec]), 20)
    assert observed.processes["broken"].state == "failed"
    assert sentence in observed.processes["broken"].problem
    assert observed.alive


# --- the supervisor's own end ----------------------------------------------------------


def test_a_killed_supervisor_leaves_no_orphan(state: StackState) -> None:
    observed = bring_up(state, family(state, "db"), family(state, "server", "db"))
    os.kill(observed.pid or 0, signal.SIGKILL)
    until(lambda: not alive(state.port("db")) + alive(state.port("server")), 8)
    assert not observe(state).alive
    assert {p.state for p in observe(state).processes.values()} == {"stopped"}
    assert bring_up(state, family(state, "db")).pid != observed.pid


def test_a_killed_guardian_is_replaced_and_its_successor_knows_everything(
    state: StackState,
) -> None:
    observed = bring_up(state, family(state, "db"))
    supervisor_pid = observed.pid or 0
    first = guardian_of(supervisor_pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: first not in [c.pid for c in psutil.Process(supervisor_pid).children()])
    until(lambda: guardian_of(supervisor_pid) != first)
    assert pids(observe(state)) == pids(observed)
    os.kill(supervisor_pid, signal.SIGKILL)
    until(lambda: not alive(state.port("db")), 8)


def test_what_survives_supervisor_and_guardian_is_ended_by_the_next_start(
    state: StackState,
) -> None:
    # It ignores the signal that Linux sends at the supervisor's death.
    stubborn = shell("stubborn", f"trap '' TERM; while :; do sleep 600.{state.port('s')}; done")
    observed = bring_up(state, stubborn, family(state, "db"))
    survivors = {*alive(state.port("s")), *alive(state.port("db"))}
    for pid in (guardian_of(observed.pid or 0), observed.pid or 0):
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert survivors & {*alive(state.port("s")), *alive(state.port("db"))}
    bring_up(state, family(state, "db"))
    assert not survivors & {*alive(state.port("s")), *alive(state.port("db"))}


def test_stop_ends_what_a_dead_supervisor_has_left(state: StackState) -> None:
    port = state.port("s")
    observed = bring_up(
        state, shell("stubborn", f"trap '' TERM; while :; do sleep 600.{port}; done")
    )
    for pid in (guardian_of(observed.pid or 0), observed.pid or 0):
        os.kill(pid, signal.SIGKILL)
    assert alive(port)
    stop(state)
    assert not alive(port)


def test_after_a_power_cut_the_next_start_brings_everything_back(state: StackState) -> None:
    specs = [family(state, "db"), family(state, "server", "db")]
    observed = bring_up(state, *specs)
    everything = [observed.pid or 0, guardian_of(observed.pid or 0)]
    everything += alive(state.port("db")) + alive(state.port("server"))
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not observe(state).alive)
    start(state)  # from wanted.json alone, as after a reboot
    until(lambda: observe(state).ready, 20)
    assert not set(everything) & set(pids(observe(state)).values())


def test_what_a_dead_supervisor_saw_is_not_taken_for_the_present(state: StackState) -> None:
    bring_up(state, shell("s", "sleep 600"))
    stale = state.read_json("observed.json")
    stop(state)
    supervisor_pid = start(state)
    os.kill(supervisor_pid, signal.SIGSTOP)  # it lives, and hasn't written anything new
    try:
        state.write_json("observed.json", stale)
        observed = observe(state)
        assert observed.alive
        assert observed.pid == supervisor_pid
        assert not observed.ready
        assert observed.processes["s"].state == "stopped"
    finally:
        os.kill(supervisor_pid, signal.SIGCONT)


def test_stale_pids_of_other_processes_are_left_alone(state: StackState) -> None:
    bring_up(state, shell("s", "sleep 600"))
    stop(state)
    bystander = psutil.Popen(["sleep", "600"])
    data = state.read_json("observed.json")
    data["processes"][0] |= {"pid": bystander.pid, "birth": "00000000/1"}
    data |= {"pid": bystander.pid, "birth": "00000000/1"}
    state.write_json("observed.json", data)
    assert not observe(state).alive
    bring_up(state, shell("s", "sleep 600"))
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_stopping_goes_in_reverse_order_with_the_wanted_signal(state: StackState) -> None:
    trace = state.run_path / "trace"

    def obedient(name: str, stop_signal: str, *after: str) -> ProcessSpec:
        confess = f"sleep 0.2; echo {name} {stop_signal} >> {trace}; exit 0"
        spec = shell(name, f"trap '{confess}' {stop_signal}; while :; do sleep 0.05; done", *after)
        return replace(spec, stop_signal=f"SIG{stop_signal}")

    db, server = obedient("db", "INT"), obedient("server", "TERM", "db")
    proxy = obedient("proxy", "TERM", "server")
    bring_up(state, db, server, proxy)
    time.sleep(0.3)  # the shells set their traps
    stop(state)
    assert trace.read_text().splitlines() == ["proxy TERM", "server TERM", "db INT"]
    assert not observe(state).alive
    assert {p.state for p in observe(state).processes.values()} == {"stopped"}


def test_a_process_that_ignores_its_stop_signal_is_killed_in_time(state: StackState) -> None:
    port = state.port("s")
    spec = shell("stubborn", f"trap '' TERM; while :; do sleep 600.{port}; done")
    bring_up(state, replace(spec, stop_seconds=0.5))
    began = time.monotonic()
    stop(state)
    assert 0.4 < time.monotonic() - began < 5
    assert not alive(port)


def test_starting_twice_at_once_gives_one_supervisor(state: StackState) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(start(state))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    time.sleep(0.3)
    running = [p for p in psutil.process_iter() if str(state.path) in argv_of(p)]
    assert len(running) == 2  # it and its guardian
    assert start(state) == found[0]


def test_the_supervisor_is_nobodys_child_and_small(state: StackState) -> None:
    observed = bring_up(state, shell("s", "sleep 600"))
    process = psutil.Process(observed.pid)
    assert process.ppid() != os.getpid()
    assert process.environ().keys() <= {"PYTHONPATH", "PATH", "LC_ALL"}
    assert process.memory_info().rss < 35 * 2**20


def test_deleting_the_folder_under_a_running_stack_ends_it(state: StackState) -> None:
    observed = bring_up(state, family(state, "db"))
    port = state.port("db")
    state.path.rename(state.path.with_name("elsewhere"))
    until(lambda: not psutil.pid_exists(observed.pid or 0))
    assert not alive(port)
    assert not state.path.exists()
    # Put it back for the fixture to clean.
    state.path.with_name("elsewhere").rename(state.path)


def test_a_submit_that_meets_a_dying_supervisor_is_not_lost(state: StackState) -> None:
    first = bring_up(state, family(state, "db"))
    os.kill(first.pid or 0, signal.SIGKILL)
    assert bring_up(state, family(state, "db")).pid != first.pid  # at once, without a pause


# --- state files and secrets -----------------------------------------------------------


def test_secrets_are_in_no_file_but_their_own_and_in_no_argv(state: StackState) -> None:
    secret = "correct-horse-battery"
    state.secret("db!password", lambda: secret)
    state.secret("json", lambda: json.dumps({"user": "mlflow", "password": f"{secret}-2"}))
    spec = replace(
        shell("s", 'test "$A/$B" = "$WANT" || exit 1; echo "the password is $A"; exit 2'),
        environment={"WANT": "x"},
        secrets={"A": "db!password", "B": "json#password", "WANT": "want"},
        ready=TcpReady(1),
    )
    state.secret("want", lambda: f"{secret}/{secret}-2")
    observed = wait_ready(state, submit(state, [spec]), 10)
    assert observed.processes["s"].problem == "exited with 2: the password is ***"
    bring_up(state, replace(spec, argv=("/bin/sleep", "600"), ready=CommandReady(("/bin/true",))))
    holders = {
        f.relative_to(state.path).parts[0]
        for f in state.path.rglob("*")
        if f.is_file() and secret in f.read_text(errors="replace")
    }
    assert holders == {"secrets", "logs"}  # its own log is the program's own doing
    assert secret not in supervisor_log(state)
    assert not [p for p in psutil.process_iter() if secret in " ".join(argv_of(p))]


def test_everything_is_the_owners_alone(state: StackState) -> None:
    config = state.run_path / "proxy" / "proxy.conf"
    spec = replace(shell("s", "cat $PWD/proxy.conf; sleep 600"), cwd=str(config.parent))
    bring_up(state, replace(spec, files={str(config): "listen 1\n"}))
    until(lambda: (state.logs_path / "s.log").read_text() == "listen 1\n")
    assert config.read_text() == "listen 1\n"
    for path in (state.path, *state.path.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("name", ["wanted.json", "observed.json", "supervisor.lock", "ports.json"])
def test_a_state_file_cut_in_half_costs_a_sentence_and_no_process(
    state: StackState, name: str
) -> None:
    specs = [family(state, "db"), family(state, "server", "db")]
    before = bring_up(state, *specs)
    path = state.path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fresh = StackState.open("shop", "dev")
    assert fresh.port("db") == state.port("db")
    after = bring_up(fresh, *specs)
    assert pids(before) == pids(after)
    assert before.pid == after.pid
    if name.endswith(".json"):
        told = supervisor_log(state) + " ".join(map(str, fresh.damaged + state.damaged))
        assert f"{path} isn't whole; it was kept as {name}.damaged-1" in told


def test_without_any_readable_record_the_next_start_still_finds_what_runs(
    state: StackState,
) -> None:
    if sys.platform != "linux":
        pytest.skip("leftovers without a record are found through /proc")
    port = state.port("s")
    observed = bring_up(
        state, shell("stubborn", f"trap '' TERM; while :; do sleep 600.{port}; done")
    )
    for pid in (guardian_of(observed.pid or 0), observed.pid or 0):
        os.kill(pid, signal.SIGKILL)
    for name in ("observed.json", "observed.json.bak"):
        (state.path / name).write_text('{"pid": 1, "proc')
    survivors = set(alive(port))
    assert survivors
    bring_up(state, shell("other", "sleep 600"))
    assert not survivors & set(alive(port))


def test_a_wanted_set_that_makes_no_sense_is_refused_and_what_runs_goes_on(
    state: StackState,
) -> None:
    before = bring_up(state, family(state, "db"))
    state.write_json("wanted.json", {"generation": 99, "processes": [{"name": "x"}]})
    until(lambda: observe(state).problem != "")
    assert observe(state).problem.startswith("wanted.json holds something else than processes")
    assert pids(observe(state)) == pids(before)
    bring_up(state, family(state, "db"))


def test_a_running_stack_refuses_to_lose_its_data(state: StackState) -> None:
    bring_up(state, shell("s", "sleep 600"))
    with pytest.raises(StateError, match=r"is running \(supervisor pid \d+\): stop it before"):
        state.delete_data()


def test_a_full_disk_does_not_end_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "small"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    monkeypatch.setenv("TRACKSTACK_HOME", str(home))
    state = StackState.open("shop", "dev")
    try:
        before = bring_up(state, shell("s", "sleep 600"))
        filler = home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        os.kill(before.processes["s"].pid or 0, signal.SIGKILL)
        time.sleep(1.5)
        assert observe(state).pid == before.pid
        assert pids(observe(state)) == pids(before)  # the last that could be written
        running = psutil.Process(before.pid).children()
        assert [c for c in running if c.name() == "sh" or c.name() == "sleep"]
        filler.unlink()
        until(lambda: pids(observe(state))["s"] not in (None, pids(before)["s"]))
        assert observe(state).ready
    finally:
        stop(state, timeout=20)
        subprocess.run(["umount", str(home)], check=True)


# --- logs, users -----------------------------------------------------------------------


def test_a_long_log_is_rotated_while_its_writer_goes_on(state: StackState) -> None:
    spec = shell("s", "head -c 11000000 /dev/zero; while :; do echo tick; sleep 0.1; done")
    bring_up(state, spec)
    log = state.logs_path / "s.log"
    until(lambda: log.with_name("s.log.1").exists())
    until(lambda: log.read_bytes().startswith(b"tick"))
    assert log.stat().st_size < 10_000
    assert log.with_name("s.log.1").stat().st_size >= 11_000_000
    for _ in range(3):
        rotate(log)
    assert sorted(f.name for f in state.logs_path.glob("s.log*")) == [
        "s.log",
        "s.log.1",
        "s.log.2",
    ]


def test_a_process_of_nobody_reaches_its_log_its_folder_and_its_files(state: StackState) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root steps down to nobody; this user runs everything itself")
    folder = reachable_path(state) / "data"
    config = folder / "conf"
    spec = shell("s", "id -un; id -G; cat conf; umask; echo made > made; sleep 600")
    spec = replace(
        spec,
        environment={"PATH": os.defpath},
        run_as_nobody=True,
        cwd=str(folder),
        files={str(config): "hello\n"},
        ready=CommandReady(
            ("/bin/sh", "-c", f'test "$(id -un)" = nobody && test -e {folder}/made')
        ),
    )
    bring_up(state, spec)
    user, group = nobody() or (0, 0)
    log = (state.logs_path / "s.log").read_text().splitlines()
    assert log == ["nobody", str(group), "hello", "0077"]
    assert (folder / "made").stat().st_uid == config.stat().st_uid == user
    assert config.stat().st_mode & 0o777 == 0o600
    before = observe(state)
    os.kill(before.pid or 0, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(before.processes["s"].pid or 0), 8)


def test_a_program_that_dies_with_the_supervisor_is_told_by_the_kernel(state: StackState) -> None:
    if sys.platform != "linux":
        pytest.skip("PR_SET_PDEATHSIG is Linux's")
    port = state.port("s")
    observed = bring_up(state, shell("s", f"exec sleep 600.{port}"))
    for pid in (guardian_of(observed.pid or 0), observed.pid or 0):
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: not alive(port), 2) < 1


def test_the_public_names_are_what_the_command_line_uses() -> None:
    assert {"observe", "start", "stop", "submit", "wait_ready"} <= set(supervisor.__all__)
