"""A run: rounds of disturbed calls, each followed by rest and a check; at last everything is taken down."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.torture import checker
from tests.torture.bed import Bed
from tests.torture.clients import Client
from tests.torture.disturbances import Disturber
from tests.torture.hostile import Hostile
from tests.torture.plan import Action, Round, make_round
from tests.torture.truth import Finding

CLIENTS = 3
ROUND_SECONDS = 8.0

CLEAN_UP_SECONDS = 90.0
"""The controller's clean-up comes once a minute."""


@dataclass(frozen=True)
class Result:
    """What a run found; the findings are of the last round."""

    rounds: int
    findings: list[str]


def run(bed: Bed, seed: int, disturbances: Sequence[str], seconds: float, tell: Callable[[str], None]) -> Result:
    """Rounds until the time is over, at least one; ends early after a round with findings."""
    clients = [Client(bed, f"c{number}", random.Random(f"{seed}/{number}")) for number in range(CLIENTS)]
    ends = time.monotonic() + seconds
    bed.start()
    for number in itertools.count(1):
        plan = make_round(seed, number, disturbances, clients=CLIENTS)
        disturb(bed, clients, plan, random.Random(f"{seed}.{number}"))
        rest(bed, clients, restart=number % 2 == 0)
        tell(f"round {number}: {len(bed.truth.existing())} volumes, {len(bed.truth.findings)} findings")
        if bed.truth.findings or time.monotonic() > ends:
            break
    if not bed.truth.findings:
        _end(bed, clients)
    return Result(number, list(bed.truth.findings))


def disturb(bed: Bed, clients: Sequence[Client], plan: Round, chance: random.Random) -> None:
    """The first half of a round."""
    over = threading.Event()
    bed.faults.extend(plan.faults)
    for client in clients:
        client.hurry, client.over = True, over
        client.grows_ext4 = plan.grows_ext4
    threads = [
        *(_thread(bed, _act, client, actions, over) for client, actions in zip(clients, plan.actions, strict=True)),
        _thread(bed, _be_hostile, Hostile(bed, chance), plan.hostile, over),
        _thread(bed, Disturber(bed).run, plan.disturbances, over),
    ]
    over.wait(ROUND_SECONDS)
    over.set()
    _join(threads)
    bed.faults.clear()


def rest(bed: Bed, clients: Sequence[Client], *, restart: bool) -> None:
    """The second half: nothing disturbs any more, so what is under way must come to its end, and everything must be right.

    Args:
        restart: kill both processes first, so that they find what is there by their records alone.
    """
    for keeper in bed.keepers():
        if restart or bed.faults_are_on:
            keeper.kill()
    bed.faults_are_on = False
    for keeper in bed.keepers():
        keeper.wait_until_ready()
    for client in clients:
        client.hurry = False
    _join([_thread(bed, client.settle) for client in clients])
    _wait_for_clean_up(bed)
    for problem in checker.check(bed):
        bed.truth.find(problem)
    if not bed.truth.findings:
        _join([_thread(bed, client.verify_all) for client in clients])


def _end(bed: Bed, clients: Sequence[Client]) -> None:
    """Delete everything, and end the processes in good order."""
    _join([_thread(bed, client.clear) for client in clients])
    _wait_for_clean_up(bed)
    for problem in checker.check(bed):
        bed.truth.find(f"after everything was deleted: {problem}")
    for keeper in bed.keepers():
        if code := keeper.stop():
            bed.truth.find(f"the {keeper.mode} ended with code {code}")


def _wait_for_clean_up(bed: Bed) -> None:
    deadline = time.monotonic() + CLEAN_UP_SECONDS
    while checker.awaits_clean_up(bed) and time.monotonic() < deadline:
        time.sleep(0.2)


def _thread(bed: Bed, work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=_noting, args=(bed, work, *arguments))
    thread.start()
    return thread


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


def _noting(bed: Bed, work: Callable[..., None], *arguments: object) -> None:
    try:
        work(*arguments)
    except Finding as error:
        bed.truth.find(str(error))
    except Exception as error:
        bed.truth.find(f"the test itself failed: {type(error).__name__}: {error}")
        raise


def _act(client: Client, actions: Sequence[Action], over: threading.Event) -> None:
    for action in actions:
        if over.is_set():
            return
        client.act(action)


def _be_hostile(hostile: Hostile, calls: Sequence[tuple[str, float]], over: threading.Event) -> None:
    for name, pick in calls:
        if over.wait(0.1):
            return
        hostile.act(name, pick)
