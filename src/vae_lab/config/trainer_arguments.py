"""Which arguments of Lightning's Trainer a config may give: those that work, and why the others are refused.

``docs/trainer.md`` is the same table for users; ``tests/test_trainer.py`` compares both with the Trainer's signature.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from vae_lab.annotations import Positive
from vae_lab.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
AtLeast = Annotated[int, Field(ge=0)]
Share = Count | Annotated[float, Field(gt=0, le=1)] | None

# The arguments that work, and their values.
WORKS: dict[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps"],
    "devices": Count | Literal[-1] | Annotated[list[AtLeast], Field(min_length=1)] | str,
    "strategy": Literal[
        "auto", "ddp", "single_device", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"
    ],
    "precision": Literal[
        "32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "32", "64", "bf16", "16", 32, 64, 16
    ]
    | None,
    "max_epochs": Count | None,
    "min_epochs": AtLeast | None,
    "max_steps": Count | Literal[-1],
    "min_steps": AtLeast | None,
    "max_time": str | dict[Literal["weeks", "days", "hours", "minutes", "seconds"], Positive] | None,
    "limit_train_batches": Share,
    "limit_val_batches": Share | Literal[0],
    "limit_test_batches": Share,
    "gradient_clip_val": Positive | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "deterministic": bool | Literal["warn"] | None,
    "benchmark": bool | None,
    "inference_mode": bool,
    "enable_progress_bar": bool | None,
    "enable_model_summary": bool | None,
    "profiler": Literal["simple", "advanced"] | None,
    "detect_anomaly": bool,
}

# Keys beside them that are not Lightning's: they are arguments of our ``Training``, and never reach its Trainer.
OURS: dict[str, Any] = {"graphs": bool | Literal["auto"]}

# The arguments that cannot take effect: the values that change nothing, and why others are refused.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "num_nodes": ((1,), "a run works on one machine; use trainer.devices, or a sweep with hydra/launcher=slurm"),
    "fast_dev_run": ((False,), "it would leave no checkpoint to test; use debug=fast"),
    "overfit_batches": (
        (0,),
        "batches are drawn again in each epoch; to train on the same 100 images, hold out the others: "
        "data.validation=59900 data.batch_size=100",
    ),
    "val_check_interval": ((None,), "each epoch ends with its validation, so that the figures of all epochs compare"),
    "check_val_every_n_epoch": ((1,), "each epoch ends with its validation, so that the figures of all epochs compare"),
    "accumulate_grad_batches": ((1,), "a step is made of one batch; use data.batch_size"),
    "limit_predict_batches": ((1.0, None), "nothing is predicted in a run"),
    "num_sanity_val_steps": ((0, None), "there is no validation before training"),
    "log_every_n_steps": ((None,), "figures are logged once for each epoch"),
    "use_distributed_sampler": ((True,), "the data divide each batch among the devices themselves"),
    "reload_dataloaders_every_n_epochs": ((0,), "each epoch has its own order already; use data.seed"),
    "sync_batchnorm": ((False,), "no part has batch norm"),
    "barebones": ((False,), "a run keeps checkpoints and figures"),
    "enable_checkpointing": (
        (True, None),
        "a run is tested with its best checkpoint; callbacks.last=null keeps that alone",
    ),
    "enable_autolog_hparams": ((True,), "config.yaml and TensorBoard have every setting of a run"),
    "model_registry": ((None,), "checkpoints lie in the run folder"),
    "default_root_dir": ((None,), "use hydra.run.dir"),
    "logger": ((None,), "use the group: logger=csv, or logger.NAME"),
    "callbacks": ((None,), "use the group: callbacks=early_stopping, or callbacks.NAME"),
    "plugins": ((None,), "use trainer.precision and trainer.strategy"),
}


def check_names(trainer: Mapping[str, Any]) -> None:
    """Refuse arguments that could not take effect.

    Args:
        trainer: config of the Trainer as plain values.

    Raises:
        ConfigError: names the key.
    """
    for name, (harmless, reason) in REFUSED.items():
        if name in trainer and trainer[name] not in harmless:
            raise ConfigError(f"trainer.{name}", trainer[name], f"must be {json.dumps(harmless[0])}: {reason}")


def check_values(trainer: Mapping[str, Any]) -> None:
    """Refuse values that are allowed alone, but not with each other.

    Args:
        trainer: config of the Trainer as plain values, each of the type in ``WORKS``.

    Raises:
        ConfigError: names the key.
    """
    _check_length(trainer)
    algorithm = trainer.get("gradient_clip_algorithm")
    if algorithm and not trainer.get("gradient_clip_val"):
        raise ConfigError("trainer.gradient_clip_algorithm", algorithm, "needs trainer.gradient_clip_val")


def _check_length(trainer: Mapping[str, Any]) -> None:
    """Refuse a training without an end, or with a minimum above its maximum."""
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps", -1)
    if epochs is None and steps == -1:
        raise ConfigError("trainer.max_epochs", None, "must be a number where trainer.max_steps is none")
    for name, most in (("epochs", epochs), ("steps", None if steps == -1 else steps)):
        least = trainer.get(f"min_{name}")
        if least and most and least > most:
            raise ConfigError(f"trainer.min_{name}", least, f"must be at most trainer.max_{name}={most}")
    longest = trainer.get("max_time")
    is_time = bool(longest)
    if isinstance(longest, str):
        is_time = bool(re.fullmatch(r"\d+(:\d\d){3}", longest) and re.search("[1-9]", longest))
    if longest is not None and not is_time:
        reason = "must be days:hours:minutes:seconds, more than nothing; '00:01:30:00' is an hour and a half"
        raise ConfigError("trainer.max_time", longest, reason)
