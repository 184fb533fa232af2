"""Command line of the container."""

import sys

from trackstack.core.log_lines import MIGRATION_STOPPED
from trackstack.server.problem import MISUSED, Refusal

_VERBS = ("migrate", "serve", "collect", "healthy")


def main(arguments: list[str]) -> int:
    """Run one verb and return its exit code."""
    if len(arguments) != 1 or arguments[0] not in _VERBS:
        given = " ".join(arguments) or "nothing"
        print(
            f"trackstack.server takes one of {', '.join(_VERBS)}; it was given {given}.",
            file=sys.stderr,
        )
        return MISUSED
    try:
        # Each verb imports only what it needs: the health check runs every few seconds.
        if arguments[0] == "migrate":
            from trackstack.server.migrate import migrate  # noqa: PLC0415

            return migrate()
        if arguments[0] == "serve":
            from trackstack.server.serve import serve  # noqa: PLC0415

            return serve()
        if arguments[0] == "collect":
            from trackstack.server.collect import collect  # noqa: PLC0415

            return collect()
        from trackstack.server.health import healthy  # noqa: PLC0415

        return healthy()
    except Refusal as refusal:
        print(f"{_stopped(arguments[0])}{refusal}", file=sys.stderr)
        return refusal.exit_code
    except Exception as error:
        # The traceback that follows is many lines, and an alarm listens for one.
        if arguments[0] == "migrate":
            print(f"{_stopped(arguments[0])}{type(error).__name__}.", file=sys.stderr)
        raise


def _stopped(verb: str) -> str:
    return f"{MIGRATION_STOPPED} " if verb == "migrate" else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
