"""Turns, ratios and spreads, with workers whose speed is known."""

from __future__ import annotations

import pytest

from paddleclas_eca.benchmark import measure as room
from paddleclas_eca.benchmark.measure import Result, measure, spread
from paddleclas_eca.benchmark.subjects import Subject
from paddleclas_eca.benchmark.workers import Case
from paddleclas_eca.errors import UserError

CASE = Case("train", batch_size=4)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(room, "_PAUSE_SECONDS", 0.0)


def turns(log):
    return [line.split()[0] for line in log.read_text().splitlines()]


def test_spread_is_median_and_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_speed_is_compared_within_each_round():
    # A machine that gets three times as slow in the second round, for both.
    baseline, other = Result("a", [1.0, 3.0, 1.0]), Result("b", [2.0, 6.0, 2.0])
    assert other.speed_against(baseline) == (0.5, 0.5, 0.5)
    assert baseline.speed_against(baseline) == (1.0, 1.0, 1.0)
    assert baseline.images_per_second(6).median == 6.0


def test_subjects_take_turns_there_and_back(fake_command, log):
    subjects = [Subject(label, fake_command(label)) for label in ("a", "b", "c")]
    compared = measure(subjects, CASE, rounds=3)
    # A step is longer than a turn has to be, so that each is a step; before them, each warms up.
    assert turns(log)[-9:] == list("abccbaabc")
    assert [len(result.seconds) for result in compared.results] == [3, 3, 3]


def test_figures_are_those_of_the_workers(fake_command):
    subjects = [
        Subject("fast", fake_command("fast", seconds=0.5, peak=100)),
        Subject("slow", fake_command("slow", seconds=2.0, peak=300)),
    ]
    fast, slow = measure(subjects, CASE, rounds=2).results
    assert fast.seconds == [0.5, 0.5] and slow.seconds == [2.0, 2.0]
    assert slow.speed_against(fast).median == 0.25
    assert fast.images_per_second(CASE.batch_size).median == 8.0
    assert (fast.peak_bytes, slow.peak_bytes) == (100, 300)
    assert slow.software == {"fake": "1.0"} and slow.threads == 3


def test_short_steps_are_repeated_until_a_turn_is_long_enough(fake_command, log):
    subjects = [
        Subject("fast", fake_command("fast", seconds=0.01)),
        Subject("slow", fake_command("slow", seconds=0.1)),
    ]
    fast, slow = measure(subjects, CASE, rounds=1).results
    # 0.4 s each; and one step before each turn that is not counted.
    assert log.read_text().splitlines()[-4:] == ["fast 1", "fast 40", "slow 1", "slow 4"]
    assert fast.seconds == pytest.approx([0.01]) and slow.seconds == pytest.approx([0.1])


def test_each_is_warmed_up_before_the_first_turn(fake_command, log):
    measure([Subject(label, fake_command(label)) for label in ("a", "b")], CASE, rounds=1)
    steps = [line.split() for line in log.read_text().splitlines()]
    assert sum(int(count) for label, count in steps[:-2] if label == "b") >= 3


def test_one_that_fails_in_its_turns_does_not_lose_the_others(fake_command):
    # Its third request comes after the warm-up and before the last turn.
    fails = fake_command("fails", at_run=5, fail="sys.exit('out of memory')")
    compared = measure([Subject("a", fake_command("a")), Subject("fails", fails)], CASE, 4)
    assert compared.results[1].error == "its process ended with code 1: out of memory"
    assert compared.results[1].seconds == []
    assert compared.results[0].seconds == [0.5] * 4


def test_one_that_refuses_a_step(fake_command):
    fails = fake_command("fails", at_run=1, fail="raise UserError('not this one')")
    compared = measure([Subject("a", fake_command("a")), Subject("fails", fails)], CASE, 1)
    assert compared.results[1].error == "not this one"


def test_no_more_are_started_than_fit_into_memory(fake_command, monkeypatch):
    subjects = [Subject(label, fake_command(label, peak=2**30)) for label in ("a", "b")]
    monkeypatch.setattr(room, "proc_bytes", lambda file, key: 5 * 2**29)
    assert measure(subjects, CASE, 1).results[1].error is None
    monkeypatch.setattr(room, "proc_bytes", lambda file, key: 3 * 2**29)
    assert "there is not enough memory: 1.5 GiB" in measure(subjects, CASE, 1).results[1].error


def test_one_that_cannot_is_left_out(fake_command):
    refuses = fake_command("refuses", extra="raise UserError('not on a Sunday')")
    said = []
    compared = measure(
        [Subject("a", fake_command("a")), Subject("refuses", refuses)], CASE, 2, tell=said.append
    )
    assert compared.results[1].error == "not on a Sunday" and compared.results[1].seconds == []
    assert len(compared.results[0].seconds) == 2
    assert said == ["  refuses is left out: not on a Sunday"]


def test_without_the_first_there_is_nothing_to_compare_with(fake_command):
    refuses = fake_command("refuses", extra="raise UserError('not on a Sunday')")
    with pytest.raises(UserError, match="refuses: not on a Sunday"):
        measure([Subject("refuses", refuses), Subject("a", fake_command("a"))], CASE, 2)
