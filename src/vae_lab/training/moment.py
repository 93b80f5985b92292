"""The moment of training at which a checkpoint was written, and how training returns to it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vae_lab.errors import RunFolderError
from vae_lab.training.sums import RunningSums


def moment_of(sums: RunningSums, should_stop: bool, device: torch.device) -> dict[str, Any]:
    """What the next step depends on besides the weights and the optimiser.

    Args:
        sums: sums of this epoch's training, with nothing pending; they say how many batches were taken.
        should_stop: whether training stops after this epoch.
        device: device that random numbers are drawn on.
    """
    return {
        "terms": sums.state_dict(),
        "should_stop": should_stop,
        "random": torch.get_rng_state(),
        "random_of_device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def taken(moment: Mapping[str, Any]) -> int:
    """Number of batches of the epoch that were taken before that moment."""
    return int(moment["terms"]["steps"])


def skip(moment: Mapping[str, Any], batches: Iterator[Any]) -> None:
    """Skip the batches of the epoch that were already taken.

    Args:
        moment: result of ``moment_of``.
        batches: batches of the epoch from its start.
    """
    for _ in range(taken(moment)):
        next(batches)


def restore_random(moment: Mapping[str, Any], device: torch.device) -> None:
    """Restore the random state of that moment."""
    torch.set_rng_state(moment["random"].cpu())
    if device.type == "cuda" and moment["random_of_device"] is not None:
        torch.cuda.set_rng_state(moment["random_of_device"].cpu(), device)


def check_optimizers(optimizers: Iterable[Optimizer]) -> None:
    """Refuse an optimiser's state that belongs to other parameters: a fused step would write past their memory.

    Raises:
        RunFolderError: if a tensor of the state of a fused optimiser has another shape than its parameter; the state
            of others, such as Adafactor, may have its own shapes.
    """
    for optimizer in optimizers:
        fused = [p for group in optimizer.param_groups if group.get("fused") for p in group["params"]]
        for parameter in fused:
            tensors = [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor)]
            if any(tensor.dim() and tensor.shape != parameter.shape for tensor in tensors):
                raise RunFolderError("the optimiser's state in the checkpoint belongs to another model")


def to_start_of_epoch(loop: dict[str, Any]) -> None:
    """Change Lightning's state of its loops so that the next epoch, or the current one, has not started.

    Lightning can leave an epoch at many places, and counts calls of training_step where we count batches. The
    moment says how many batches were taken.

    Args:
        loop: state of the trainer's ``fit_loop``, in a checkpoint.
    """
    done = loop["epoch_progress"]["current"]["processed"]
    for span in ("current", "total"):
        for name in loop["epoch_progress"][span]:
            loop["epoch_progress"][span][name] = done
    for name in ("epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        for span in ("current", "total"):
            loop[name][span] = dict.fromkeys(loop[name][span], 0)
        loop[name]["is_last_batch"] = False
