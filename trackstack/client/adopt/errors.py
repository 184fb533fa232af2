"""What stops a whole adoption; what concerns one run alone is told in the report instead."""

from trackstack.client.errors import ClientError


class UsageError(ClientError):
    """What was asked for can't be done, here or anywhere."""

    exit_code = 2


class AwayError(ClientError):
    """The server stopped answering; what was moved stays moved."""
