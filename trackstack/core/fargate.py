"""The task sizes that Fargate sells; what a task needs is decided elsewhere.

Units: CPU in 1/1024 vCPU, memory in MiB, disk in GiB, as a task definition takes them. Source:
Amazon ECS Developer Guide, "Task CPU and memory" and "Fargate task ephemeral storage".
"""

MEMORY_MIB: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
"""CPU to the memory sizes that may go with it."""

EPHEMERAL_GIB_MIN = 21
EPHEMERAL_GIB_MAX = 200
EPHEMERAL_GIB_FREE = 20
"""What every task has without asking, and is not billed for."""

PROCESS_MIB = 250
"""Resident memory of one MLflow process with jobs off: 245 MB measured, 3.17.2."""
SUPERVISOR_MIB = 100
"""Process 1 of the container and its AWS client."""


def is_valid(cpu: int, memory_mib: int) -> bool:
    """Whether Fargate accepts the pair."""
    return memory_mib in MEMORY_MIB.get(cpu, ())


def smallest_memory_mib(cpu: int, at_least_mib: int) -> int | None:
    """The least memory that goes with the CPU and holds so much; None when none does."""
    return next((m for m in MEMORY_MIB.get(cpu, ()) if m >= at_least_mib), None)


def workers_for(cpu: int) -> int:
    """Uvicorn workers for a task of this CPU: one a whole vCPU, since Python's CPU is the limit."""
    return max(1, cpu // 1024)


def memory_needed_mib(workers: int) -> int:
    """What the workers, MLflow's parent process and process 1 hold together."""
    return (workers + 1) * PROCESS_MIB + SUPERVISOR_MIB


def ephemeral_gib(largest_artifact_gib: int) -> int:
    """Disk of a task: two transfers of the largest artifact are spooled beside each other."""
    return EPHEMERAL_GIB_FREE + 2 * largest_artifact_gib
