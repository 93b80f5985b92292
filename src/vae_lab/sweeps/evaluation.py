"""``task=evaluate sweep_dir=…``: the runs of a sweep that are evaluated, and where their jobs keep their logs.

Nothing heavy is imported here.
"""

from pathlib import Path

from vae_lab.errors import RunFolderError
from vae_lab.files.checks import check_folder
from vae_lab.sweeps.folders import EVALUATION
from vae_lab.sweeps.runs import find, read


def finished_runs(sweep_dir: str) -> list[Path]:
    """The finished trainings of a folder, in the order of their names.

    Args:
        sweep_dir: folder that holds the runs, at any depth.

    Raises:
        RunFolderError: if there are none, or the logs could be written elsewhere than into the folder.
    """
    folder = Path(sweep_dir)
    find(folder, task="evaluate")
    runs = [run.path for run in read(folder) if run.status == "finished"]
    if not runs:
        raise RunFolderError(f"sweep_dir={sweep_dir}: none of the runs in it has finished; continue the sweep first")
    logs = folder / EVALUATION
    if logs.is_symlink() or (logs.exists() and not logs.is_dir()):
        raise RunFolderError(f"{logs}: is not a folder; what is written must stay in the sweep's folder, remove it")
    if logs.exists():
        check_folder(logs)
    return runs
