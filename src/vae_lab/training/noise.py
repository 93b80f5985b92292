"""Messages of Lightning that say nothing to whoever trains with this package."""

import logging
import warnings

MESSAGES = (
    r".*LeafSpec.*",  # about its own use of torch
    r".*`dataloader_iter`.*",  # training_step handles what they warn about
    r".*sync_dist=True.*",  # the figures are sums over all processes
    r".*`srun` command is available.*",
    r".*lr_scheduler.step\(\)` before `optimizer.step.*",  # 16-mixed leaves out steps while it finds its scale
)


class NoTips(logging.Filter):
    """Leaves out lines that recommend other products."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        return "Tip:" not in str(record.msg)


def ignore_noise() -> None:
    """Leave these warnings and lines out, in this process from now on."""
    for message in MESSAGES:
        warnings.filterwarnings("ignore", message=message)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    if not any(isinstance(found, NoTips) for found in logger.filters):
        logger.addFilter(NoTips())
