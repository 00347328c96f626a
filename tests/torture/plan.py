"""What a run does, computed from its seed alone: calls of the clients, hostile calls, and disturbances.

The same seed gives the same plan. What comes of it varies, since the processes' timing does.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KINDS = ("ext4", "xfs", "block")
"""How volumes are used: with a file system, or as a raw device."""

DRIVER = "driver"
"""A process below the controller, which starts it again."""
PROCESSES = ("controller", DRIVER, "node")

KILLS = "kills"
SYSCALL_KILLS = "syscall-kills"
SYSCALL_ERRORS = "syscall-errors"
SIGSTOP = "sigstop"
DRIVER_FAULTS = "driver-faults"
FULL_STATE = "full-state"
FULL_POOL = "full-pool"
MISSING_POOL = "missing-pool"
EXT4_GROWTH = "ext4-growth"

DISTURBANCES: Mapping[str, str] = {
    KILLS: "SIGKILL at a random time",
    SYSCALL_KILLS: "SIGKILL at a random system call, of the process or of a program that it runs",
    SYSCALL_ERRORS: "a random system call fails",
    SIGSTOP: "stopped for a moment",
    DRIVER_FAULTS: "calls of the driver fail before or after their effect; only on the bed `array`",
    FULL_STATE: "the disk of the state directories is full for a while",
    FULL_POOL: "the disk of the volumes is full for a while; only on the bed `loopfile`",
    MISSING_POOL: "the disk of the volumes is not mounted for a while; only on the bed `loopfile`",
    EXT4_GROWTH: "volumes with ext4 grow, too, before they are mounted",
}
_NOT_EVENTS = frozenset({DRIVER_FAULTS, EXT4_GROWTH})

DEATHS = tuple(
    "openat write pwrite64 fsync fdatasync rename link unlink ioctl mount umount2 ftruncate mkdir flock execve sendmsg "
    "fcntl close".split()
)
"""System calls to die at, before their effect."""
FREQUENT = frozenset({"openat", "write", "close", "sendmsg", "fcntl"})

FAILURES: Mapping[str, Sequence[str]] = {
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "rename": ("ENOSPC", "EIO"),
    "link": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
    "mkdir": ("ENOSPC",),
    "ftruncate": ("EIO", "ENOSPC"),
    "mount": ("EIO", "ENOMEM"),
    "umount2": ("EBUSY",),
}

DRIVER_METHODS = (
    "create_volume",
    "create_volume_from_snapshot",
    "create_cloned_volume",
    "delete_volume",
    "extend_volume",
    "create_snapshot",
    "delete_snapshot",
    "create_export",
    "initialize_connection",
    "terminate_connection",
    "remove_export",
)
DRIVER_ACTIONS = ("timed-out", "slow", "kill", "already-mapped", "maximum-size")

HOSTILE = (
    "delete an attached volume",
    "unstage a published volume",
    "stage at a second path",
    "create the same name with another size",
    "delete an unknown volume",
    "unpublish an unknown volume",
    "create without capabilities",
    "list volumes",
    "ask for the capacity",
)

_WEIGHTS: Mapping[str, int] = {
    "create": 3,
    "up": 6,
    "down": 4,
    "write": 6,
    "verify": 3,
    "snapshot": 2,
    "restore": 2,
    "clone": 1,
    "grow": 2,
    "modify": 2,
    "delete": 2,
    "delete snapshot": 1,
}
ACTIONS = tuple(_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Action:
    """What a client does next, with one of its volumes or snapshots.

    Attributes:
        pick: which one, as a fraction of their number.
        kind: of a new volume.
        level: how far a volume is brought up or down; whether it becomes thick, if odd.
    """

    name: str
    pick: float
    kind: str
    level: int


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What befalls a process or a disk.

    Attributes:
        after: seconds since the one before.
        process: whom it befalls.
        seconds: how long it lasts.
        syscall, nth, error: of the disturbances at system calls.
    """

    name: str
    after: float
    process: str
    seconds: float
    syscall: str
    nth: int
    error: str

    def __str__(self) -> str:
        call = f" at {self.syscall} number {self.nth} {self.error}".rstrip() if self.syscall else ""
        return f"{self.name}: {self.process}{call}"


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        actions: of each client.
        grows_ext4: whether volumes with ext4 grow; those with xfs and raw ones always do.
        hostile: names in HOSTILE, each with the fraction that picks the volume.
        faults: of the driver, for each start of a controller in turn (see `fault_plan`).
    """

    actions: tuple[tuple[Action, ...], ...]
    hostile: tuple[tuple[str, float], ...]
    disturbances: tuple[Disturbance, ...]
    faults: tuple[tuple[str, ...], ...]
    grows_ext4: bool


def make_round(seed: int, number: int, disturbances: Sequence[str], *, clients: int = 3) -> Round:
    """Long enough lists for a round; it ends when its time is over."""

    def chance(name: str) -> random.Random:
        return random.Random(f"{seed}/{number}/{name}")

    return Round(
        actions=tuple(_actions(chance(f"client {client}")) for client in range(clients)),
        hostile=tuple(_hostile(chance("hostile"))),
        disturbances=tuple(
            _disturb(chance("disturbances"), [name for name in disturbances if name not in _NOT_EVENTS])
        ),
        faults=tuple(_faults(chance("faults"))) if DRIVER_FAULTS in disturbances else (),
        grows_ext4=EXT4_GROWTH in disturbances,
    )


def _actions(chance: random.Random) -> tuple[Action, ...]:
    names = chance.choices(ACTIONS, list(_WEIGHTS.values()), k=400)
    return tuple(Action(name, chance.random(), chance.choice(KINDS), chance.randint(0, 4)) for name in names)


def _hostile(chance: random.Random) -> list[tuple[str, float]]:
    return [(chance.choice(HOSTILE), chance.random()) for _ in range(400)]


def _disturb(chance: random.Random, names: Sequence[str]) -> list[Disturbance]:
    return [_disturbance(chance, chance.choice(names)) for _ in range(100)] if names else []


def _disturbance(chance: random.Random, name: str) -> Disturbance:
    syscall = error = ""
    if name == SYSCALL_KILLS:
        syscall = chance.choice(DEATHS)
    elif name == SYSCALL_ERRORS:
        syscall = chance.choice(list(FAILURES))
        error = chance.choice(FAILURES[syscall])
    return Disturbance(
        name=name,
        after=chance.uniform(0.05, 1.0),
        process=chance.choice(PROCESSES),
        seconds=chance.uniform(0.3, 2.0),
        syscall=syscall,
        nth=chance.randint(1, 30 if syscall in FREQUENT else 4),
        error=error,
    )


def _faults(chance: random.Random) -> list[tuple[str, ...]]:
    return [tuple(_fault(chance) for _ in range(chance.randint(0, 3))) for _ in range(50)]


def _fault(chance: random.Random) -> str:
    when = chance.choice(("", "@after"))
    return f"{chance.choice(DRIVER_METHODS)}:{chance.randint(1, 6)}{when}={chance.choice(DRIVER_ACTIONS)}"
