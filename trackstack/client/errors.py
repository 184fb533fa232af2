"""Errors of the client side: one sentence, and the exit code that tells its kind."""


class ClientError(Exception):
    """Something the user can mend; ``str()`` is the whole message."""

    exit_code = 5
