"""``trackstack relay``."""

import os
import signal
import sys
import threading
from typing import Annotated

import typer

from trackstack.cli.app import app


@app.command()
def relay(
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Of this machine's loopback.")
    ] = 5551,
) -> None:
    """Be the tracking server of this machine's trainings, until it is stopped.

    What they log goes to the server of `MLFLOW_TRACKING_URI` as soon as that answers. They need
    the relay's address and its token: `trackstack env --relay` prints both. Under systemd
    (`trackstack service`) the socket outlives the relay.
    """
    from trackstack.client.relay import place
    from trackstack.client.relay.supervisor import Supervisor, handed_over, listening

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    supervisor = Supervisor(os.environ, handed_over(os.environ) or listening(port))
    supervisor.admit("service", place.service_token(place.root(os.environ)))
    supervisor.start()
    sys.stderr.write(
        f"trackstack: the relay of {supervisor.address.uri} is {supervisor.uri};"
        f" its journal is {supervisor.folder}.\n"
    )
    sys.stderr.flush()
    ended.wait()
    supervisor.end()
