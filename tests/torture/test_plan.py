"""The plan of a run follows from its seed."""

from __future__ import annotations

from tests.support.fakes.fault_plan import FaultPlan
from tests.torture import plan
from tests.torture.plan import make_round


def test_the_same_seed_gives_the_same_plan() -> None:
    assert make_round(7, 3, tuple(plan.DISTURBANCES)) == make_round(7, 3, tuple(plan.DISTURBANCES))


def test_another_seed_or_round_gives_another_plan() -> None:
    rounds = [make_round(seed, number, tuple(plan.DISTURBANCES)) for seed in (7, 8) for number in (1, 2)]
    assert len(set(rounds)) == 4


def test_a_plan_has_every_action_and_every_disturbance_asked_for() -> None:
    rounds = [make_round(7, number, tuple(plan.DISTURBANCES)) for number in range(5)]
    actions = {action.name for round in rounds for client in round.actions for action in client}
    disturbances = {disturbance.name for round in rounds for disturbance in round.disturbances}
    assert actions == set(plan.ACTIONS)
    assert disturbances == set(plan.DISTURBANCES) - {plan.DRIVER_FAULTS, plan.EXT4_GROWTH}
    assert {name for round in rounds for name, _ in round.hostile} == set(plan.HOSTILE)


def test_disturbances_not_asked_for_are_left_out() -> None:
    only_kills = make_round(7, 1, (plan.KILLS,))
    assert {disturbance.name for disturbance in only_kills.disturbances} == {plan.KILLS}
    assert only_kills.faults == ()
    assert make_round(7, 1, ()).disturbances == ()


def test_planned_faults_are_understood_by_the_driver() -> None:
    faults = {
        fault for number in range(5) for start in make_round(7, number, (plan.DRIVER_FAULTS,)).faults for fault in start
    }
    assert len(faults) > 100
    FaultPlan(faults)
