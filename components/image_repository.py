"""The registry of the server's image, and the image in it, built from this repository.

Why a component: a tag that can be moved is another program tomorrow, and a registry without limits
keeps every image for ever. Here a tag names what went into the image and never moves, what runs is
named by digest, each push is scanned, and only the newest images stay. Whoever builds images in a
pipeline hands the server a digest instead, and needs none of this.
"""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_docker_build as docker_build
from pulumi import Input, Output, ResourceOptions
from pulumi_aws import ecr

from trackstack.core import image_content

KEPT_IMAGES = 30
"""A rollback goes to an image of a former deployment, which must still be there."""
UNTAGGED_DAYS = 1
"""What an interrupted push leaves behind."""


class RegistryLoginArgs(TypedDict):
    """How the builder logs in to the registry."""

    user_name: Input[str]
    """User."""
    password: Input[str]
    """Password, valid for 12 hours; a secret."""


class ImageRepositoryArgs(TypedDict):
    """What a caller decides about the image."""

    context: str
    """Folder that the image is built from: the repository's root."""
    content: str
    """What `image_content.fingerprint` makes of everything that goes into the image."""
    login: RegistryLoginArgs
    """How the builder logs in to the registry."""
    architecture: NotRequired[str]
    """Processor to build for: `arm64` or `x86_64`. Default: `arm64`."""
    kms_key_arn: NotRequired[Input[str]]
    """Key that a new repository is encrypted with. Default, or empty: ECR's own."""
    expendable: NotRequired[bool]
    """Let a destroy take the images along. Default: it is refused while there are any."""


class ImageRepository(pulumi.ComponentResource):
    """A registry with tags that never move, and the server's image in it."""

    image: Output[str]
    """The image by digest, as a task definition takes it."""
    repository_arn: Output[str]
    """Grant pulling with this."""

    def __init__(
        self, name: str, args: ImageRepositoryArgs, opts: ResourceOptions | None = None
    ) -> None:
        super().__init__("trackstack:index:ImageRepository", name, {**args}, opts)
        child = ResourceOptions(parent=self)
        key = args.get("kms_key_arn") or None
        repository = ecr.Repository(
            f"{name}-images",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[
                {"encryption_type": "KMS", **({"kms_key": key} if key is not None else {})}
            ],
            force_delete=args.get("expendable", False),
            # It would be replaced, and with it every image that runs.
            opts=ResourceOptions(parent=self, ignore_changes=["encryptionConfigurations"]),
        )
        ecr.LifecyclePolicy(
            f"{name}-tidy",
            repository=repository.name,
            policy=image_content.retention(KEPT_IMAGES, UNTAGGED_DAYS),
            opts=child,
        )
        login = args["login"]
        # A password that changed is no change of the image to the provider.
        built = docker_build.Image(
            f"{name}-image",
            tags=[Output.concat(repository.repository_url, ":", args["content"])],
            context={"location": args["context"]},
            dockerfile={"location": f"{args['context']}/{image_content.DOCKERFILE}"},
            platforms=[image_content.PLATFORMS[args.get("architecture", "arm64")]],
            push=True,
            # A preview builds nothing: it may run where there is no builder.
            build_on_preview=False,
            registries=[
                {
                    "address": repository.repository_url,
                    "username": login["user_name"],
                    "password": Output.secret(login["password"]),
                }
            ],
            opts=child,
        )

        self.image = Output.concat(repository.repository_url, "@", built.digest)
        self.repository_arn = repository.arn
        self.register_outputs({"image": self.image, "repository_arn": self.repository_arn})
