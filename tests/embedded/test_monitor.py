"""Evaluating a program: what is recorded, what is answered, and what is refused by name."""

from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest
from pulumi import ResourceOptions
from pulumi_aws import ec2, iam, s3

from trackstack.embedded import monitor, wire
from trackstack.embedded.errors import ProgramError
from trackstack.embedded.host import PreviewHost, StackAnswers
from trackstack.embedded.project import Project
from trackstack.embedded.record import UNKNOWN, Recording, Secret

Record = Callable[..., Recording]


def run(folder: Path, **options: float) -> Recording:
    project = Project.find(folder)
    return monitor.evaluate(
        project, "dev", project.configuration("dev"), StackAnswers(PreviewHost()), **options
    )


def test_a_registration_keeps_parent_dependencies_options_and_source(record: Record) -> None:
    def program() -> None:
        bucket = s3.Bucket("runs", force_destroy=True)
        s3.BucketVersioning(
            "versions",
            bucket=bucket.id,
            versioning_configuration={"status": "Enabled"},
            opts=ResourceOptions(parent=bucket, protect=True, ignore_changes=["bucket"]),
        )

    bucket, versions = record(program).resources[1:]
    assert bucket.inputs == {"forceDestroy": True}
    assert versions.parent == bucket.urn
    assert versions.urn.endswith(
        "::aws:s3/bucket:Bucket$aws:s3/bucketVersioning:BucketVersioning::versions"
    )
    assert versions.dependencies == (bucket.urn,)
    assert versions.property_dependencies["bucket"] == (bucket.urn,)
    assert versions.options.protect
    assert versions.options.ignore_changes == ("bucket",)
    assert Path(versions.source.rpartition(":")[0]).name == "test_monitor.py"


def test_an_auto_name_and_an_id_are_the_same_on_every_evaluation(record: Record) -> None:
    def program() -> None:
        pulumi.export("bucket", s3.Bucket("runs").bucket)
        pulumi.export("vpc", ec2.Vpc("net", cidr_block="10.0.0.0/16").id)

    first, second = record(program).outputs, record(program).outputs
    assert first == second
    assert first["bucket"].startswith("runs-")
    assert len(first["bucket"]) == len("runs-") + 7
    assert first["vpc"].startswith("vpc-")


def test_an_identity_provider_has_the_arn_that_trust_policies_name(record: Record) -> None:
    def program() -> None:
        provider = iam.OpenIdConnectProvider("ci", url="https://ci.test/a", client_id_lists=["aws"])
        pulumi.export("arn", provider.arn)

    account = "arn:aws:iam::000000000000"
    assert record(program).outputs["arn"] == f"{account}:oidc-provider/ci.test/a"


def test_what_only_aws_could_tell_is_unknown_and_not_none(record: Record) -> None:
    def program() -> None:
        net = ec2.Vpc("net", cidr_block="10.0.0.0/16")
        pulumi.export("table", net.main_route_table_id)
        pulumi.export("text", net.main_route_table_id.apply(lambda table: table.upper()))

    outputs = record(program).outputs
    assert outputs == {"table": UNKNOWN, "text": UNKNOWN}


def test_a_secret_stays_marked_through_inputs_and_outputs(record: Record) -> None:
    def program() -> None:
        word = pulumi.Output.secret("hush")
        s3.BucketObject("note", bucket="b", content=word)
        pulumi.export("word", word)

    recording = record(program)
    assert recording.resources[1].inputs["content"] == Secret("hush")
    assert recording.outputs["word"] == Secret("hush")
    assert "hush" not in repr(recording)
    assert wire.show(recording.outputs) == {"word": "[secret]"}


def test_an_alias_tells_the_former_urn_of_a_renamed_child(record: Record) -> None:
    class Shelf(pulumi.ComponentResource):
        def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
            super().__init__("test:index:Shelf", name, {}, opts)
            s3.Bucket(f"{name}-bucket", opts=ResourceOptions(parent=self))

    recording = record(lambda: Shelf("new", ResourceOptions(aliases=[pulumi.Alias(name="old")])))
    bucket = recording.of_type("aws:s3/bucket:Bucket")[0]
    former = "urn:pulumi:test::mlflow-platform::test:index:Shelf$aws:s3/bucket:Bucket::old-bucket"
    assert former in bucket.options.aliases


def test_children_inherit_protection(record: Record) -> None:
    class Shelf(pulumi.ComponentResource):
        def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
            super().__init__("test:index:Shelf", name, {}, opts)
            s3.Bucket(f"{name}-bucket", opts=ResourceOptions(parent=self))

    recording = record(lambda: Shelf("kept", ResourceOptions(protect=True)))
    assert recording.of_type("aws:s3/bucket:Bucket")[0].options.protect


def test_a_second_registration_of_a_urn_is_refused_by_name(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project("""
        from pulumi_aws import s3
        s3.Bucket("runs")
        s3.Bucket("runs")
    """)
    with pytest.raises(ProgramError) as caught:
        run(folder)
    assert str(caught.value) == (
        "The program registers aws:s3/bucket:Bucket 'runs' twice; Pulumi refuses a duplicate URN"
        " (urn:pulumi:dev::shop::aws:s3/bucket:Bucket::runs): give one of them another name."
    )


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (
            """
            import pulumi
            pulumi.runtime.register_resource_transform(lambda args: None)
            """,
            "a stack transform (register_resource_transform)",
        ),
        (
            """
            import pulumi
            from pulumi_aws import s3
            s3.Bucket("runs", opts=pulumi.ResourceOptions(transforms=[lambda args: None]))
            """,
            "a transform on 'runs'",
        ),
        (
            """
            import pulumi
            from pulumi_aws import s3
            hook = pulumi.ResourceHook("shout", lambda args: None)
            binding = pulumi.ResourceHookBinding(after_create=[hook])
            s3.Bucket("runs", opts=pulumi.ResourceOptions(hooks=binding))
            """,
            "the resource hook 'shout'",
        ),
        (
            """
            from pulumi_aws import s3
            s3.Bucket.get("runs", "an-id")
            """,
            "aws:s3/bucket:Bucket.get('an-id')",
        ),
        (
            """
            import pulumi
            class Far(pulumi.ComponentResource):
                def __init__(self, name):
                    super().__init__("far:index:Away", name, {}, None, remote=True)
            Far("x")
            """,
            "the remote component far:index:Away",
        ),
    ],
)
def test_what_needs_a_real_engine_is_refused_by_name(
    make_project: Callable[..., Path], program: str, what: str
) -> None:
    with pytest.raises(ProgramError) as caught:
        run(make_project(program))
    assert str(caught.value) == (
        f"The program uses {what}, which needs a real Pulumi engine; trackstack can't run it on"
        " this machine: leave it out, or deploy with `pulumi up`."
    )


def test_a_look_up_that_only_aws_can_answer_is_refused_by_name(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project("""
        import pulumi_aws
        pulumi_aws.ec2.get_ami(most_recent=True)
    """)
    with pytest.raises(
        ProgramError,
        match=r"looks up aws:ec2/getAmi:getAmi, which only AWS can answer; known here are",
    ):
        run(folder)


def test_an_exception_shows_the_users_frames_and_none_of_ours(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project("""
        def boom():
            raise KeyError("no such thing")

        boom()
    """)
    with pytest.raises(ProgramError) as caught:
        run(folder)
    assert str(caught.value) == (
        "The program raised KeyError: 'no such thing'\n"
        "  __main__.py:5, in <module>: boom()\n"
        '  __main__.py:3, in boom: raise KeyError("no such thing")'
    )


def test_an_exception_inside_apply_is_the_programs_too(make_project: Callable[..., Path]) -> None:
    folder = make_project("""
        from pulumi_aws import s3
        import pulumi
        pulumi.export("x", s3.Bucket("b").arn.apply(lambda arn: 1 / 0))
    """)
    with pytest.raises(ProgramError, match="ZeroDivisionError"):
        run(folder)


def test_a_run_error_is_its_own_words(make_project: Callable[..., Path]) -> None:
    folder = make_project("""
        import pulumi
        raise pulumi.RunError("tracking_cpu: 3 is no Fargate size.")
    """)
    with pytest.raises(ProgramError) as caught:
        run(folder)
    assert str(caught.value) == "tracking_cpu: 3 is no Fargate size."


def test_a_program_that_waits_for_ever_is_ended(make_project: Callable[..., Path]) -> None:
    folder = make_project("import time; time.sleep(60)")
    with pytest.raises(ProgramError, match=r"did not end within 1 s"):
        run(folder, timeout=1)


def test_a_program_that_dies_is_told_apart(make_project: Callable[..., Path]) -> None:
    folder = make_project("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ProgramError, match="ended with status -9"):
        run(folder)


def test_what_a_program_prints_and_reads_does_not_disturb_the_evaluation(
    make_project: Callable[..., Path],
) -> None:
    folder = make_project(
        """
        import pulumi, sys
        print("noise"); sys.stderr.write("more"); sys.stdin.read()
        config = pulumi.Config()
        pulumi.export("size", config.require_int("size"))
        pulumi.export("word", config.require_secret("word"))
        """,
        {"shop:size": 3, "shop:word": {"secure": "v1:abc"}},
    )
    recording = run(folder)
    assert recording.outputs == {"size": 3, "word": Secret(UNKNOWN)}


def test_a_warning_of_the_program_is_kept(record: Record) -> None:
    assert record(lambda: pulumi.log.warn("mind the gap")).warnings == ("mind the gap",)
