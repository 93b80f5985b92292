"""Signals of a person, a closed terminal or a cluster end a run with a checkpoint of that moment."""

import os
import pty
import select
import signal
import sys
import time

import pytest
import torch
from lightning import Callback

from helpers import PROGRAM, TINY, small_training, trainer
from vae_lab.errors import Interrupted
from vae_lab.training.progress import Clock, EpochLines
from vae_lab.training.signals import Interruption

EVERY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture
def usual():
    """Handlers as a program starts with them, put back after the test."""
    before = {number: signal.getsignal(number) for number in EVERY}
    for number in EVERY[2:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Sent(Callback):
    """Sends a signal twice, as a terminal and its shell do, before the second epoch."""

    def __init__(self, number):
        self.number = number

    def on_train_epoch_start(self, trainer, _):
        if trainer.current_epoch == 1:
            for _ in range(1 if self.number in EVERY[:2] else 2):
                os.kill(os.getpid(), self.number)


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("number", EVERY)
def test_each_signal_leaves_a_checkpoint_of_its_moment(tmp_path, small_data, number):
    training = small_training()
    interruption = Interruption(training)
    fit = trainer(tmp_path, max_epochs=5, callbacks=[interruption, Sent(number), Clock(), EpochLines()])
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(Interrupted) as stop, interruption.listening():
        fit.fit(training, small_data)
    assert stop.value.number == number
    assert interruption.moment == "in epoch 2"
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert (len(saved["history"]), saved["moment"]["terms"]["steps"]) == (1, 1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize(("number", "handler"), [(signal.SIGHUP, signal.SIG_IGN), (signal.SIGUSR2, lambda *_: None)])
def test_what_nohup_ignores_and_submitit_answers_is_left_to_them(number, handler):
    signal.signal(number, handler)
    with Interruption(small_training()).listening():
        assert signal.getsignal(number) == handler
        assert signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL


def test_a_closed_terminal_ends_a_run_with_a_checkpoint(tmp_path, mnist_root):
    environment = os.environ | {"VAE_LAB_DATA": mnist_root, "OMP_NUM_THREADS": "1"}
    arguments = (*TINY, "trainer.max_epochs=100000", "callbacks.last.every_n_minutes=null", "hydra.run.dir=run")
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else it stays ignored where the tests run under nohup
        os.execvpe(sys.executable, [*PROGRAM, *arguments], environment)
    started = time.monotonic()
    while not (tmp_path / "run" / "metrics.csv").exists():
        assert time.monotonic() - started < 60
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 10_000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 128 + signal.SIGHUP
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert "to go on: python -m vae_lab resume=run" in (tmp_path / "run" / "run.log").read_text()
