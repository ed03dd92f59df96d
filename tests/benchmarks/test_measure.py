"""Interleaved rounds, ratios and spreads, with workers whose speed is known."""

from __future__ import annotations

import pytest
from interleaved.candidates import Candidate
from interleaved.measure import Result, measure, spread
from interleaved.worker import Case

from paddleclas_eca.errors import UserError

CASE = Case("train", batch_size=4)


def test_spread_is_median_and_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_speed_is_compared_within_each_round():
    # A machine that gets three times as slow in the second round, for both.
    baseline, other = Result("a", [1.0, 3.0, 1.0]), Result("b", [2.0, 6.0, 2.0])
    assert other.speed_against(baseline) == (0.5, 0.5, 0.5)
    assert baseline.images_per_second(6).median == 6.0


def test_candidates_are_interleaved_forward_and_backward(fake_command, log):
    candidates = [
        Candidate("a", fake_command("a", seconds=0.5, peak=100)),
        Candidate("b", fake_command("b", seconds=0.1, peak=300)),
    ]
    a, b = measure(candidates, CASE, rounds=2).results
    # The last six runs are the two rounds: 0.4 s at least, after a step that is not counted
    # where the measurement has several.
    runs = log.read_text().splitlines()[-6:]
    assert runs == ["a 1", "b 1", "b 4", "b 1", "b 4", "a 1"]
    assert a.seconds == [0.5, 0.5] and b.seconds == pytest.approx([0.1, 0.1])
    assert b.speed_against(a).median == pytest.approx(5.0)
    assert a.images_per_second(CASE.batch_size).median == 8.0
    assert (a.peak_bytes, b.peak_bytes) == (100, 300)
    assert b.software == {"fake": "1.0"} and b.threads == 3


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"extra": "raise UserError('not this case')"}, "not this case"),
        # Its fifth run is after the warm-up.
        (
            {"at_run": 5, "fail": "sys.exit('out of memory')"},
            "its process ended with code 1: out of memory",
        ),
    ],
    ids=["at the start", "in a round"],
)
def test_a_candidate_that_fails_is_left_out_unless_it_is_the_baseline(fake_command, how, error):
    good, bad = (Candidate("a", fake_command("a")), Candidate("bad", fake_command("bad", **how)))
    messages = []
    compared = measure([good, bad], CASE, 2, log=messages.append)
    assert compared.results[1].error == error and compared.results[1].seconds == []
    assert len(compared.results[0].seconds) == 2
    assert messages == [f"  bad is left out: {error}"]
    with pytest.raises(UserError, match="bad: "):
        measure([bad, good], CASE, 2)


def test_no_more_workers_start_than_fit_into_memory(fake_command, monkeypatch):
    candidates = [Candidate(label, fake_command(label, peak=2**30)) for label in ("a", "b")]
    monkeypatch.setattr("interleaved.measure.proc_bytes", lambda file, key: 3 * 2**29)
    error = measure(candidates, CASE, 1).results[1].error
    assert "not enough memory: 1.5 GiB" in error
