"""Several steps at once as a captured graph of a GPU: one launch where a step of a small net waits for a hundred."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from lightning import Trainer
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from vae_lab.data.batches import Batches
from vae_lab.errors import ConfigError, reason_of
from vae_lab.training.host_reads import HostReads
from vae_lab.training.program import Program, groups_of
from vae_lab.training.schedulers import end_of_step
from vae_lab.training.steps import count, is_quick, listed

log = logging.getLogger(__name__)

Graphs = bool | Literal["auto"]

DEVICE = "cuda"
CLOSE = 1e-3  # largest relative difference of a figure between captured and plain steps
WARM_UP = 3  # calls before a capture: libraries choose their kernels and take their memory then


class Runs(Protocol):
    """Something that makes the steps of a program."""

    def run(self) -> None:
        """Make them."""


class Graph:
    """The steps of a program, captured once and replayed.

    Random numbers go on from call to call: capturing registers the device's own generator, and further ones are
    registered here. Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    Args:
        program: program whose inputs are filled; its steps are made WARM_UP times first.
    """

    def __init__(self, program: Program) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                program.run()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        for generator in _own_generators(program.module):
            self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            program.run()

    def run(self) -> None:
        """Replay them."""
        self.graph.replay()


def _own_generators(module: torch.nn.Module) -> list[torch.Generator]:
    """The generators of a device that parts of a training hold themselves."""
    held = [value for part in module.modules() for value in vars(part).values() if isinstance(value, torch.Generator)]
    return [generator for generator in held if generator.device.type == DEVICE]


class CapturedSteps:
    """Takes training steps in captured programs of ``steps_at_once`` and of one; a last, smaller batch as it is.

    Args:
        module: the training, whose first step comes.
        batches: its training batches, which give numbers of images from then on.
        required: whether a program that cannot be captured is an error; else further steps are made one by one.
    """

    def __init__(self, module: Any, batches: Batches, required: bool) -> None:
        self.module, self.batches, self.required, self.works = module, batches, required, True
        self.optimizers = dict(zip(dict.fromkeys(module.stages), module.trainer.optimizers, strict=True))
        self.captured: dict[int, tuple[Program, Runs]] = {}

    def take(self, batches: Iterable[tuple[Any, int, int]], plain: Callable[[Any, int], object]) -> None:
        """Make a step with each of some batches.

        Args:
            batches: numbers of images, (batch,), the number of the batch, and that of its loader.
            plain: function that makes one plain step with images and the number of their batch.

        Raises:
            ConfigError: if the steps are to be captured and cannot.
        """
        found = [(chosen, batch_idx) for chosen, batch_idx, _ in batches]
        whole = [batch for batch in found if len(batch[0]) == self.batches.batch_size]  # only the last one is smaller
        at_once = self.module.steps_at_once
        size = at_once if len(whole) == at_once else 1
        for start in range(0, len(whole), size):
            if self._is_ready(size, whole[start : start + size]):
                self._replay(*self.captured[size], whole[start : start + size])
            else:
                for chosen, batch_idx in whole[start : start + size]:
                    plain(self.batches.take(chosen), batch_idx)
        for chosen, batch_idx in found[len(whole) :]:
            plain(self.batches.take(chosen), batch_idx)

    def _is_ready(self, size: int, first: Sequence[tuple[Tensor, int]]) -> bool:
        """Whether a program of that many steps is captured; the first time it is, with the batches that come first."""
        if self.works and size not in self.captured:
            program = Program(self.module, self.batches, self.optimizers, size)
            average = self.module.average
            others = [1 - average.decay if average else 0.0, *self._rates()]
            program.fill([chosen for chosen, _ in first], [[self._weight(idx), *others] for _, idx in first])
            try:
                self.captured[size] = program, capture(program)
            except RuntimeError as error:
                self.works = False
                if self.required:
                    raise ConfigError("trainer.graphs", True, f"{reason_of(error)}; use auto or false") from error
                log.warning("trainer.graphs: steps are made one by one, since %s", reason_of(error))
        return self.works

    def _replay(self, program: Program, runs: Runs, batches: Sequence[tuple[Tensor, int]]) -> None:
        """Make the steps of a captured program, and let all who count steps count them."""
        program.fill([chosen for chosen, _ in batches], [self._next_numbers(batch_idx) for _, batch_idx in batches])
        runs.run()
        for optimizer in listed(self.module.optimizers()):
            count(optimizer, len(batches))
        assert program.rows is not None
        images = len(batches) * self.batches.batch_size
        # a copy: the next replay writes over the rows
        self.module.train_sums.add_rows(program.names, program.rows.clone().unbind(), images)

    def _next_numbers(self, batch_idx: int) -> list[float]:
        """The weight of the loss, the share of the average and the learning rates of the next step, counted now."""
        average, rates = self.module.average, self._rates()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.. before .optimizer.step.*")
            for schedule in self.module.schedules("step"):
                end_of_step(schedule)
        return [self._weight(batch_idx), 1 - average.next_decay() if average else 0.0, *rates]

    def _weight(self, batch_idx: int) -> float:
        trainer = self.module.trainer
        return float(self.module.loss.weight(trainer.current_epoch + batch_idx / trainer.num_training_batches))

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in groups_of(self.optimizers)]


def capture(program: Program) -> Runs:
    """Capture a program, after its captured steps were compared with the same steps made one by one.

    Everything that the steps change is as before afterwards: weights, optimisers, averages, random numbers.

    Raises:
        RuntimeError: if it cannot be captured, or the figures differ.
    """
    reads, optimizers = HostReads(program.chosen.device), program.optimizers
    with _unchanged(program):  # the first step makes the optimisers' state
        program.run()
    with _unchanged(program), reads.watching():
        program.run()
    if reads.found:
        raise RuntimeError(f"a step waits for the device: {', '.join(dict.fromkeys(reads.found))}")
    assert program.rows is not None
    plain = program.rows.clone()
    with _unchanged(program):
        runs = Graph(program)
    with _unchanged(program):
        runs.run()
        differs = _difference(program.rows, plain)
    for group in groups_of(optimizers):  # gradients of the capture lie in its own memory
        for parameter in group["params"]:
            parameter.grad = None
    if not differs <= CLOSE:
        raise RuntimeError(f"captured and plain steps differ by {differs:.1e} of a figure")
    steps = "1 step is" if program.steps == 1 else f"{program.steps} steps at once are"
    log.info(
        "trainer.graphs: %s captured; the figures differ by at most %.1e from those of plain steps", steps, differs
    )
    return runs


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference of a figure, relative to the largest value that it has in these steps."""
    largest = expected.abs().amax(0).clamp(min=1e-12)
    return float(((found - expected).abs() / largest).max())


@contextmanager
def _unchanged(program: Program) -> Iterator[None]:
    """Inside the block steps may be tried; afterwards everything that they change is as before, in the same memory."""
    module, device = program.module, program.chosen.device
    averages = module.average.others if module.average else []
    kept = [(tensor, tensor.detach().clone()) for tensor in (*module.parameters(), *module.buffers(), *averages)]
    kept += [(tensor, tensor.clone()) for tensor in _states(program.optimizers)]
    names = {id(tensor) for tensor, _ in kept}
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
            for tensor in _states(program.optimizers):
                if id(tensor) not in names:
                    tensor.zero_()  # Adam's state before its first step


def _states(optimizers: Mapping[str, Optimizer]) -> list[Tensor]:
    """Every tensor of the optimisers' state."""
    states = [state for optimizer in optimizers.values() for state in optimizer.state.values()]
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


# --- where it is allowed ------------------------------------------------------------------------------------


def why_not_here(trainer: Trainer) -> str | None:
    """Why a Trainer's steps cannot be captured; None where they can."""
    device = trainer.strategy.root_device.type
    if device != DEVICE:
        return f"graphs are captured on an NVIDIA GPU, and this run is on the {device}"
    if trainer.world_size > 1:
        return f"{trainer.world_size} processes work on this run"
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        return "trainer.precision=16-mixed reads on the host whether a gradient is finite; use bf16-mixed"
    if not is_quick(trainer):
        return "a strategy or a callback has something to do within each step"
    if torch.is_anomaly_enabled() or getattr(trainer, "_detect_anomaly", False):
        return "trainer.detect_anomaly looks at each operation"
    return None


def why_not(module: Any, trainer: Trainer) -> str | None:
    """Why the steps of a training cannot be captured, by what is known before the first one; None where they can."""
    if reason := why_not_here(trainer):
        return reason
    if module.one_at_a_time:
        return "a callback or an argument of the Trainer follows each batch"
    if not isinstance(trainer.train_dataloader, Batches):
        return "the batches do not come from a data module of vae_lab"
    if module.loss._compiled_call_impl is not None:
        return "compile=true captures graphs of its own"
    for optimizer in trainer.optimizers:
        if not isinstance(optimizer, Adam | AdamW) or not all(group["fused"] for group in optimizer.param_groups):
            return f"{type(optimizer).__name__} is no fused Adam or AdamW; use optimizer.fused=true"
    return None


def begin(module: Any, asked: Graphs) -> CapturedSteps | None:
    """What takes the steps of a training that begins; None where they are taken one by one.

    Args:
        module: the training.
        asked: true, false, or auto, which captures where it can.

    Raises:
        ConfigError: names the reason where true cannot be.
    """
    if asked is False or (asked == "auto" and module.device.type != DEVICE):
        return None
    if reason := why_not(module, module.trainer):
        if asked is True:
            raise ConfigError("trainer.graphs", True, f"{reason}; use auto or false")
        log.info("trainer.graphs: steps are made one by one, since %s", reason)
        return None
    batches = module.trainer.train_dataloader
    batches.gathers = False
    return CapturedSteps(module, batches, required=asked is True)
