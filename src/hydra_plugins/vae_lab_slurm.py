"""Hydra looks for launchers in this namespace only. What `hydra/launcher=slurm` does is in vae_lab.sweeps.slurm."""

from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.utils import JobReturn

if find_spec("hydra_plugins.hydra_submitit_launcher"):  # Hydra imports this file whether it is there or not
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher

    class SlurmLauncher(submitit_launcher.SlurmLauncher):
        """Submitit's launcher for SLURM, which here continues when a job is killed."""

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            """Run all runs as one job array."""
            from vae_lab.sweeps import slurm  # late: it imports submitit

            return slurm.launch(self, job_overrides, initial_job_idx)
