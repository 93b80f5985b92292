"""The runs of a sweep as a job array of SLURM, whose jobs may be killed at any time.

Submitit puts a job that is about to reach its time limit back into the queue. But its launcher ends the whole sweep
when a job is killed, and learns of that only from SLURM's accounting, which not every cluster has. Here we ask the
queue, and read the result of a run from its folder.
"""

import logging
import math
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from submitit import AutoExecutor, Job

from vae_lab.sweeps.folders import FAILURE, criterion_of, failure_of, metrics_of

log = logging.getLogger(__name__)

RESTARTS = 3  # of a run whose job was killed; time limits are counted by launcher.max_num_timeout
SECONDS = 2  # between two questions to the queue
USUAL = {
    "None",
    "Resources",
    "Priority",
    "JobArrayTaskLimit",
    "BeginTime",
    "Cleaning",
}  # reasons to wait that need no warning
# submitit's names that are the same for every kind of cluster; the others begin with slurm_
SHARED = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run all runs, and repeat those whose job was killed.

    Args:
        launcher: Hydra's launcher, with its ``config`` and the ``params`` of its YAML.
        job_overrides: overrides of each run.
        first: number of the first run.

    Returns:
        The value of each run's criterion; ∞ where the run failed.
    """
    folders = [_folder(launcher, overrides) for overrides in job_overrides]
    left = [i for i, folder in enumerate(folders) if metrics_of(folder) is None]
    log.info("%d of %d runs go to SLURM; their output is in %s", len(left), len(folders), _logs(launcher))
    for _ in range(1 + RESTARTS):
        if not left:
            break
        _run_array(launcher, [(list(job_overrides[i]), first + i) for i in left])
        left = [i for i in left if metrics_of(folders[i]) is None and failure_of(folders[i]) is None]
        for i in left:
            log.warning("%s: its job was killed", folders[i].name)
    for i in left:
        folders[i].mkdir(exist_ok=True)
        reason = f"its job was killed {1 + RESTARTS} times; see {_logs(launcher)}"
        (folders[i] / FAILURE).write_text(reason + "\n")
    return [_returned(overrides, folder) for overrides, folder in zip(job_overrides, folders, strict=True)]


def _folder(launcher: Any, overrides: Sequence[str]) -> Path:
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    return Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir


def _logs(launcher: Any) -> Path:
    return Path(launcher.params["submitit_folder"]).parent


def _returned(overrides: Sequence[str], folder: Path) -> JobReturn:
    metrics = metrics_of(folder)
    value = math.inf if metrics is None else criterion_of(metrics)
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=value)


def _run_array(launcher: Any, runs: Sequence[tuple[list[str], int]]) -> None:
    """Submit the runs as one array, and wait until none of its jobs is in the queue."""
    jobs = _submit(launcher, runs)
    warned: set[str] = set()
    try:
        while (waiting := _queue(jobs[0].job_id.partition("_")[0])) is not None:
            for reason in waiting - warned - USUAL:
                log.warning("runs wait in the queue: %s", reason)
            warned |= waiting
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel(check=False)
        raise


def _submit(launcher: Any, runs: Sequence[tuple[list[str], int]]) -> list[Job[Any]]:
    params = {name: value for name, value in launcher.params.items() if value is not None}
    executor = AutoExecutor(
        folder=params.pop("submitit_folder"), cluster="slurm", slurm_max_num_timeout=params.pop("max_num_timeout")
    )
    executor.update_parameters(**{name if name in SHARED else f"slurm_{name}": v for name, v in params.items()})
    state = Singleton.get_state()
    arguments = [(overrides, "hydra.sweep.dir", number, str(number), state) for overrides, number in runs]
    return executor.map_array(launcher, *zip(*arguments, strict=True))


def _queue(array: str) -> set[str] | None:
    """Why jobs of an array wait, in SLURM's words; None where none of them is in the queue."""
    command = ["squeue", "--noheader", "--jobs", array, "--format", "%r"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return {asked.stderr.strip()}  # the controller does not answer, but the jobs go on
    return set(asked.stdout.split("\n")[:-1]) or None
