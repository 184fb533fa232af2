"""Uvicorn, but none of its processes outlives its parent, and its workers can be measured.

Run as ``python -m trackstack.server.web <uvicorn's arguments>``. Uvicorn spawns its workers; a
spawned process imports the main module of its parent, so this module runs in each of them, and a
worker of a killed server doesn't go on accepting requests on the inherited socket.
"""

import os

from trackstack.core import server_environment as names
from trackstack.server.parent_death import end_with_parent

if __name__ in {"__main__", "__mp_main__"}:
    end_with_parent(os.getppid())
    if os.environ.get(names.METRICS_STACK):
        from trackstack.server.metrics import measure_workers

        measure_workers(os.environ[names.METRICS_STACK])

if __name__ == "__main__":
    from uvicorn.main import main

    main()
