"""Two machines train together; one of them disappears."""

from __future__ import annotations

import socket

import pytest
from commands import kill_tree
from launching import (
    launch,
    launch_on,
    namespaces_permitted,
    two_loopback_addresses,
    two_namespaces,
)
from training_log import logged_losses

pytestmark = pytest.mark.slow
NETWORKS = {
    "network namespaces": two_namespaces,
    "two loopback addresses": two_loopback_addresses,
}
NETWORK = "network namespaces" if namespaces_permitted() else "two loopback addresses"


@pytest.fixture(params=[NETWORK])
def machines(request):
    """Two machines; the name of the test says how they are separated."""
    with NETWORKS[request.param]() as made:
        yield made


@pytest.fixture
def port(machines):
    """A port that is free on this machine, as far as that can be known."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def overrides(short_digits):
    return [*short_digits, "Global.save_interval=1000"]


def test_two_machines_learn_as_one_with_two_processes_does(tmp_path, overrides, machines, port):
    overrides = [*overrides, "Global.epochs=2"]
    with launch_on(machines, tmp_path, overrides, port) as launchers:
        assert [launcher.wait() for launcher in launchers] == [0, 0]
        apart = logged_losses(launchers[0].log(0))
    with launch(tmp_path / "one", overrides, "--nproc_per_node", "2") as launcher:
        assert launcher.wait() == 0
        together = logged_losses(launcher.log(0))
    # 96 images by 2 processes of 32: two steps in each of two epochs, three if they were alone.
    assert len(together) == 4
    assert apart == pytest.approx(together, rel=1e-4)
    assert not logged_losses(launchers[1].log(0)), "the second machine has rank 1, which is silent"


@pytest.mark.parametrize("lost", [0, 1])
def test_a_machine_that_loses_power_ends_the_job(tmp_path, overrides, machines, port, lost):
    with launch_on(machines, tmp_path, [*overrides, "Global.epochs=100"], port) as launchers:
        launchers[0].wait_for("[Train][Epoch 1/100][Iter: 1/2]")
        kill_tree(launchers[lost].process)
        survivor = launchers[1 - lost]
        assert survivor.wait() == 75
        assert f"error: rank {1 - lost} ends, because rank {lost} ended" in survivor.log(0)
        assert "C++ Traceback" not in survivor.log(0)


def test_a_network_that_fails_ends_the_job(tmp_path, overrides, machines, port):
    if machines[1].cut_off is None:
        pytest.skip("a cable can be cut between network namespaces only")
    overrides = [*overrides, "Global.epochs=100", "Global.peer_timeout=10"]
    with launch_on(machines, tmp_path, overrides, port) as launchers:
        launchers[0].wait_for("[Train][Epoch 1/100][Iter: 1/2]")
        machines[1].cut_off()
        assert [launcher.wait() for launcher in launchers] == [75, 75]
        for rank, launcher in enumerate(launchers):
            reason = f"rank {rank} ends, because nothing was heard of rank {1 - rank} for 10 s"
            assert f"error: {reason}" in launcher.log(0)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_on_one_machine_ends_both(tmp_path, overrides, digits, machines, port, failing):
    for rank in (0, 1):
        folder = tmp_path / f"machine{rank}"
        folder.mkdir()
        (folder / ("elsewhere" if rank == failing else "data")).symlink_to(digits)
    overrides = [*overrides, "DataLoader.Train.dataset.image_root=data"]
    with launch_on(machines, tmp_path, overrides, port) as launchers:
        # Paddle would wait for 900 s for the process that never came.
        assert [launcher.wait() for launcher in launchers] == [1, 1]
        failed, other = launchers[failing].log(0), launchers[1 - failing].log(0)
    reason = "DataLoader.Train.dataset.image_root: data does not exist"
    assert f"error: {reason}" in failed
    assert f"error: rank {1 - failing} ends, because rank {failing} ended ({reason}" in other
    assert "\nTraceback" not in "\n" + failed + other  # C++ has others


DIFFERENT = {
    "batch": ["DataLoader.Train.sampler.batch_size=16", "Global.epochs=9"],
    "network": ["Arch.name=ECA_ResNet34"],
    "list": ["DataLoader.Train.dataset.cls_label_path={digits}/train_40.txt"],
    "watchdog": ["Global.peer_timeout=0"],
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_different_settings_are_named_on_both_machines(
    tmp_path, overrides, digits, machines, port, case
):
    changes = [change.format(digits=digits) for change in DIFFERENT[case]]
    with launch_on(machines, tmp_path, overrides, port, changes) as launchers:
        # Not 75, at which the loop of docs/distributed.md would try again.
        assert [launcher.wait() for launcher in launchers] == [1, 1]
        for launcher in launchers:
            (line,) = [line for line in launcher.log(0).splitlines() if "error: " in line]
            assert all(f"{change.split('=')[0]} is " in line for change in changes)
            assert "on rank 0" in line and "on rank 1" in line
    assert not list(tmp_path.rglob("*.pdparams"))


def test_machines_may_have_their_own_paths(tmp_path, overrides, digits, machines, port):
    (tmp_path / "data").symlink_to(digits)
    own = [
        f"DataLoader.Train.dataset.image_root={tmp_path / 'data'}",
        f"DataLoader.Train.dataset.cls_label_path={tmp_path / 'data' / 'train_96.txt'}",
        "DataLoader.Train.loader.num_workers=0",
        "Global.output_dir=elsewhere",
    ]
    with launch_on(machines, tmp_path, [*overrides, "Global.epochs=1"], port, own) as launchers:
        assert [launcher.wait() for launcher in launchers] == [0, 0]
