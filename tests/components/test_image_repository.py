import json
from typing import Any

from components.image_repository import ImageRepository
from tests.components.recorder import Declared, declare
from trackstack.core import image_content
from trackstack.embedded.record import Secret

CONTENT = "0123456789abcdef"


def repository(**more: Any) -> Declared:
    base = {
        "context": ".",
        "content": CONTENT,
        "login": {"user_name": "AWS", "password": "for 12 hours"},
    }
    return declare(lambda: ImageRepository("server", {**base, **more}))


def test_what_runs_is_named_by_digest_in_the_own_repository() -> None:
    declared = repository()
    outputs = declared.outputs("ImageRepository")
    registry = declared.one(":Repository")
    name, _, digest = outputs["image"].partition("@sha256:")
    assert name == registry.outputs["repositoryUrl"]
    assert len(digest) == 64
    assert outputs["repository_arn"] == registry.outputs["arn"]


def test_a_tag_says_what_is_in_the_image_and_never_moves() -> None:
    declared = repository()
    assert declared.one(":Repository").inputs["imageTagMutability"] == "IMMUTABLE"
    (tag,) = declared.one(":Image").inputs["tags"]
    assert tag.endswith(f":{CONTENT}")


def test_every_push_is_scanned_and_encrypted() -> None:
    registry = repository().one(":Repository")
    assert registry.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
    assert registry.inputs["encryptionConfigurations"] == [{"encryptionType": "KMS"}]


def test_a_key_is_for_new_repositories_and_replaces_none() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    registry = repository(kms_key_arn=key).one(":Repository")
    assert registry.inputs["encryptionConfigurations"][0]["kmsKey"] == key
    assert "encryptionConfigurations" in registry.options.ignore_changes


def test_a_destroy_takes_images_along_only_when_asked() -> None:
    assert not repository().one(":Repository").inputs["forceDelete"]
    assert repository(expendable=True).one(":Repository").inputs["forceDelete"]


def test_old_images_go_and_enough_stay_to_go_back_to() -> None:
    policy = json.loads(repository().one(":LifecyclePolicy").inputs["policy"])
    untagged, rest = policy["rules"]
    assert (untagged["selection"]["tagStatus"], untagged["selection"]["countNumber"]) == (
        "untagged",
        1,
    )
    assert (rest["selection"]["tagStatus"], rest["selection"]["countNumber"]) == ("any", 30)


def test_the_image_is_built_for_the_processor_it_runs_on() -> None:
    assert repository().one(":Image").inputs["platforms"] == ["linux/arm64"]
    built = repository(architecture="x86_64").one(":Image")
    assert built.inputs["platforms"] == ["linux/amd64"]


def test_the_registry_s_password_stays_a_secret() -> None:
    built = repository().one(":Image")
    (login,) = built.inputs["registries"]
    assert isinstance(login["password"], Secret)
    assert "for 12 hours" not in repr(built)


def test_a_preview_needs_no_builder() -> None:
    built = repository().one(":Image")
    assert built.inputs["buildOnPreview"] is False
    assert built.inputs["push"] is True


def test_no_path_of_a_machine_comes_into_the_state() -> None:
    built = repository().one(":Image")
    assert built.inputs["context"] == {"location": "."}
    assert built.inputs["dockerfile"] == {"location": f"./{image_content.DOCKERFILE}"}
