"""What `trackstack preview` makes of policy packs, and of packs that don't behave."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trackstack.embedded.errors import ProgramError, UsageError
from trackstack.embedded.policy_packs import Packs, read_settings
from trackstack.embedded.project import Configuration, Project
from trackstack.embedded.record import Recording, Registered

pytestmark = pytest.mark.live  # every test starts a command, a pack or both

ROOT = Path(__file__).parents[2]
OPEN_BUCKET = """
    import pulumi
    from pulumi_aws import Provider, s3
    tags = {"owner": "ml", "project": "shop", "stack": "dev"}
    aws = Provider("aws", region="us-east-1", default_tags={"tags": tags})
    opts = pulumi.ResourceOptions(provider=aws)
    s3.Bucket("photos", acl="public-read", force_destroy=True, opts=opts)
"""
URN = "urn:pulumi:dev::shop::aws:s3/bucket:Bucket::photos"
NAMES = """
    from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

    def check(args, report):
        if args.resource_type == "aws:s3/bucket:Bucket":
            {body}

    PolicyPack("house", [ResourceValidationPolicy("naming", "Names begin with the team.", check,
                                                  EnforcementLevel.{level})])
"""


def preview(
    folder: Path, *options: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trackstack.cli", "preview", *map(str, options)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that stands on standard error beside the title."""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("Preview")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def make_pack(tmp_path: Path) -> Callable[..., Path]:
    """``make_pack(program)``: a folder with a policy pack."""

    def make(program: str, runtime: str = "python") -> Path:
        folder = tmp_path / "house rules"
        folder.mkdir(exist_ok=True)
        (folder / "PulumiPolicy.yaml").write_text(f"name: house\nruntime: {runtime}\n")
        (folder / "__main__.py").write_text(textwrap.dedent(program))
        return folder

    return make


def naming(body: str = "report('call it team-photos.')", level: str = "MANDATORY") -> str:
    return NAMES.format(body=body, level=level)


@pytest.fixture
def shop(make_project: Callable[..., Path]) -> Path:
    """A program with one bucket, and this repository's pack beside it."""
    folder = make_project(OPEN_BUCKET)
    (folder / "policy").symlink_to(ROOT / "policy")
    return folder


def test_a_mandatory_violation_is_shown_with_its_resource_and_ends_with_code_6(shop: Path) -> None:
    done = preview(shop)
    assert done.returncode == 6
    assert sentence(done) == (
        "trackstack: 4 mandatory policies are violated; `pulumi up --policy-pack` would be refused."
    )
    shown = done.stdout.splitlines()
    (row,) = [n for n, line in enumerate(shown) if line.startswith("bucket-public ")]
    assert "mandatory" in shown[row]
    assert "its ACL 'public-read' opens it to everybody: leave acl out." in shown[row]
    assert shown[row + 1].strip() == URN


def test_scripts_read_the_findings_as_json(shop: Path) -> None:
    done = preview(shop, "--json")
    assert done.returncode == 6
    found = json.loads(done.stdout)["findings"]
    assert {one["rule"] for one in found} == {
        "bucket-public",
        "bucket-without-access-block",
        "bucket-without-encryption",
        "bucket-without-tls",
    }
    assert found[0] == {
        "pack": "trackstack",
        "rule": "bucket-public",
        "level": "mandatory",
        "severity": "critical",
        "urn": URN,
        "sentence": "its ACL 'public-read' opens it to everybody: leave acl out.",
    }


def test_policies_can_be_left_out(shop: Path) -> None:
    done = preview(shop, "--no-policy", "--json")
    assert done.returncode == 0
    assert "findings" not in json.loads(done.stdout)


def test_a_program_without_a_pack_is_previewed_without_one(
    make_project: Callable[..., Path],
) -> None:
    done = preview(make_project(OPEN_BUCKET))
    assert done.returncode == 0
    assert "policy" not in done.stdout.lower()


def test_a_further_pack_is_asked_beside_the_projects_own(
    shop: Path, make_pack: Callable[..., Path]
) -> None:
    done = preview(shop, "--json", "--policy-pack", make_pack(naming()))
    found = {(one["pack"], one["rule"]) for one in json.loads(done.stdout)["findings"]}
    assert ("house", "naming") in found
    assert ("trackstack", "bucket-public") in found


def test_advice_is_shown_and_refuses_nothing(
    make_project: Callable[..., Path], make_pack: Callable[..., Path]
) -> None:
    done = preview(make_project(OPEN_BUCKET), "--policy-pack", make_pack(naming(level="ADVISORY")))
    assert done.returncode == 0, done.stderr
    assert "advisory  call it team-photos." in done.stdout


def test_levels_and_settings_of_rules_are_taken_as_pulumi_takes_them(shop: Path) -> None:
    settings = {
        "all": "disabled",
        "bucket-public": "advisory",
        "bucket-without-tls": "mandatory",
        "tags-missing": {"enforcementLevel": "mandatory", "tags": ["owner", "cost-centre"]},
    }
    file = shop / "rules.json"
    file.write_text(json.dumps(settings))
    done = preview(shop, "--json", "--policy-pack-config", file)
    assert done.returncode == 6
    assert {(one["rule"], one["level"]) for one in json.loads(done.stdout)["findings"]} == {
        ("bucket-public", "advisory"),
        ("bucket-without-tls", "mandatory"),
        ("tags-missing", "mandatory"),
    }
    assert "it lacks the tags cost-centre:" in done.stdout


def test_a_setting_alone_leaves_a_rule_its_level(shop: Path) -> None:
    file = shop / "rules.json"
    file.write_text(json.dumps({"tags-missing": {"tags": ["cost-centre"]}}))
    found = json.loads(preview(shop, "--json", "--policy-pack-config", file).stdout)["findings"]
    assert ("tags-missing", "mandatory") in {(one["rule"], one["level"]) for one in found}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "can't be read: No such file or directory."),
        ("{", "is not valid JSON."),
        ("[]", "must be a map of rules to their settings."),
    ],
)
def test_settings_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "rules.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_settings(file)
    assert str(error.value) == f"{file} {told}"


def test_a_level_that_does_not_exist_is_named_beside_those_there_are(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text('{"bucket-public": "fatal"}')
    with pytest.raises(UsageError) as error:
        read_settings(file)
    assert str(error.value) == (
        f"{file}: bucket-public can't be 'fatal'; write advisory, mandatory, disabled, or a map of"
        " settings."
    )


def test_a_clean_stack_says_so() -> None:
    done = preview(ROOT, "--stack", "prod")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "Policy  no finding"


def test_a_rule_knows_the_stack_as_in_an_engine(
    make_project: Callable[..., Path], make_pack: Callable[..., Path]
) -> None:
    body = "import pulumi; report(f'{pulumi.get_project()}/{pulumi.get_stack()}' + str("
    body += "pulumi.Config('shop').get('size')) + str(pulumi.Config('shop').get('key')))"
    project = make_project(OPEN_BUCKET, {"shop:size": "7", "shop:key": {"secure": "v1:x"}})
    done = preview(
        project,
        *("--json", "--policy-pack", make_pack(naming(body))),
        TRACKSTACK_SECRET_KEY="hunter2",
    )
    (found,) = json.loads(done.stdout)["findings"]
    assert found["sentence"] == "shop/dev7None"  # a pack is told no secret setting


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import nowhere", "can't start: ModuleNotFoundError: No module named 'nowhere'"),
        ("print('hello')", "can't start: it says 'hello' in place of its port."),
        ("", "can't start: it said nothing."),
        (naming("raise KeyError('size')"), f"fails on {URN}: 'size'"),
        (naming("import os; os._exit(3)"), "ended early: it said nothing."),
    ],
    ids=["import", "no-port", "empty", "rule", "crash"],
)
def test_a_pack_that_breaks_is_one_sentence(
    make_project: Callable[..., Path], make_pack: Callable[..., Path], program: str, told: str
) -> None:
    pack = make_pack(program)
    done = preview(make_project(OPEN_BUCKET), "--policy-pack", pack)
    assert sentence(done) == f"trackstack: The policy pack {pack} {told}"
    assert done.returncode == 3


def test_a_pack_for_another_runtime_and_a_folder_without_one_are_wrong_usage(
    make_project: Callable[..., Path], make_pack: Callable[..., Path], tmp_path: Path
) -> None:
    project = make_project(OPEN_BUCKET)
    pack = make_pack("", runtime="nodejs")
    done = preview(project, "--policy-pack", pack)
    assert done.returncode == 2
    assert sentence(done) == (
        f"trackstack: The policy pack {pack} is written for nodejs, and trackstack runs Python"
        " only: let `pulumi preview --policy-pack` check it."
    )
    done = preview(project, "--policy-pack", tmp_path)
    assert done.returncode == 2
    assert sentence(done) == (
        f"trackstack: There is no policy pack in {tmp_path}: it needs a PulumiPolicy.yaml."
    )


BUCKET = Registered(URN, "aws:s3/bucket:Bucket", "photos", True, "", {}, {})
DECLARED = Recording("shop", "dev", (BUCKET,), {})
NOTHING = Configuration({}, (), ())


@pytest.mark.parametrize(
    ("program", "told", "seconds"),
    [
        ("import time\ntime.sleep(3600)", "did not start within 1 s.", 1),
        (naming("import time; time.sleep(3600)"), "did not answer within 15 s.", 15),
    ],
    ids=["start", "answer"],
)
def test_a_pack_that_hangs_ends_the_preview(
    make_project: Callable[..., Path],
    make_pack: Callable[..., Path],
    program: str,
    told: str,
    seconds: float,
) -> None:
    pack, project = make_pack(program), Project.find(make_project(""))
    with (
        Packs([pack], project, "dev", NOTHING, timeout=seconds) as packs,
        pytest.raises(ProgramError) as error,
    ):
        packs.check(DECLARED)
    assert str(error.value) == f"The policy pack {pack} {told}"
    assert packs_running(pack) == []


def test_a_pack_that_talks_without_end_is_listened_to(
    make_project: Callable[..., Path], make_pack: Callable[..., Path]
) -> None:
    pack = make_pack(naming("print('x' * 1_000_000); report('call it team-photos.')"))
    with Packs([pack], Project.find(make_project("")), "dev", NOTHING) as packs:
        (found,) = packs.check(DECLARED)
    assert found.sentence == "call it team-photos."


def test_no_pack_outlives_a_preview_that_was_killed(
    make_project: Callable[..., Path], make_pack: Callable[..., Path]
) -> None:
    pack = make_pack(naming("import time; time.sleep(3600)"))
    with subprocess.Popen(
        [sys.executable, "-m", "trackstack.cli", "preview", "--policy-pack", str(pack)],
        cwd=make_project(OPEN_BUCKET),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        until(lambda: packs_running(pack))
        command.send_signal(signal.SIGKILL)
    until(lambda: not packs_running(pack))


def packs_running(pack: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        if argv[-1:] == [str(pack)] and "-c" in argv:
            found.append(process.pid)
    return found


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
