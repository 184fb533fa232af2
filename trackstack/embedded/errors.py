"""Errors that a user can cause: one sentence each, and the exit code that tells its kind."""


class TrackstackError(Exception):
    """Something the user can mend; ``str()`` is the whole message, without a traceback."""

    exit_code = 1


class UsageError(TrackstackError):
    """The command, its option or the stack's name is wrong."""

    exit_code = 2


class ProgramError(TrackstackError):
    """The Pulumi program refused its configuration, raised, or asked for what no host here can."""

    exit_code = 3


class ConvergeError(TrackstackError):
    """The program is right, but this machine could not be brought to what it declares."""

    exit_code = 4


class NotRunningError(TrackstackError):
    """The stack is not running or does not answer."""

    exit_code = 5


class PolicyError(TrackstackError):
    """What the program declares violates a mandatory policy."""

    exit_code = 6
