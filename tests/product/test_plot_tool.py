from __future__ import annotations

from training_log import evaluated_top1, logged_steps

from paddleclas_eca import cli
from paddleclas_eca.hosts.paddleclas.training_log import read_training_log


def test_curves_of_a_run(trained, tmp_path, capsys):
    assert cli.main(["plot", str(trained.folder), "--output", str(tmp_path)]) == 0
    assert ": epochs 1 to 3 in" in capsys.readouterr().out
    assert (tmp_path / "curves.png").stat().st_size and (tmp_path / "curves.svg").stat().st_size
    log = read_training_log((trained.folder / "train.log").read_text().splitlines())
    assert log == read_training_log(trained.log.splitlines())
    assert list(log.train) == list(log.evaluation) == [1, 2, 3]
    assert [values["top1"] for values in log.evaluation.values()] == evaluated_top1(trained.log)
    rates = [(step.learning_rate,) for step in logged_steps(trained.log)]
    assert list(log.learning_rates.values()) == rates
