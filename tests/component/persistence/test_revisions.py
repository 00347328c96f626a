"""Each write's revision is its own, and nobody else's."""

from __future__ import annotations

import os
import random
import re

from csi_cinderlib.model import ids
from csi_cinderlib.model.ids import random_hex
from csi_cinderlib.persistence.revisions import following


def in_child() -> str:
    """What a process that is forked now makes next."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writer, following("").encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


def test_a_revision_counts_up_and_no_two_are_the_same() -> None:
    revisions = [following("") for _ in range(1000)] + [following("1-000000000000") for _ in range(1000)]
    assert len(set(revisions)) == 2000
    assert {re.sub("[0-9a-f]{12}$", "", revision) for revision in revisions} == {"1-", "2-"}


def test_forked_processes_and_their_parent_make_different_ones() -> None:
    assert len({in_child(), in_child(), following("")}) == 3


def test_whoever_seeds_the_random_numbers_of_the_process_does_not_repeat_revisions() -> None:
    made = []
    for _ in range(2):
        random.seed(1)
        made.append(following(""))
    assert made[0] != made[1]


def test_short_numbers_keep_their_digits() -> None:
    assert {len(random_hex(2)) for _ in range(2000)} == {2}


def test_a_machine_that_is_restored_from_a_snapshot_of_its_memory_does_not_repeat_revisions() -> None:
    state = ids._random.getstate()
    made = following("")
    ids._random.setstate(state)
    assert following("") != made
