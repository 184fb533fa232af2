"""Command line of the container."""

import sys

from trackstack.server.problem import MISUSED, Refusal

_VERBS = ("migrate", "serve", "healthy")


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
        from trackstack.server.health import healthy  # noqa: PLC0415

        return healthy()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return refusal.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
