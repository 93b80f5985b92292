"""Everything around Lightning's loop, and why it is there.

`module.py` has the one LightningModule, `evaluated_module.py` its validation and test. It wraps a model, a loss, an
optimiser and a schedule, and any Lightning ``Trainer`` trains it. What differs from a plain LightningModule, with its
reason:

Several steps in one call. Lightning's own work around one call of ``training_step`` costs a fifth of a small model's
step. So ``training_step`` takes the iterator of batches and makes 16 optimiser steps in one call (manual optimisation,
``module.py``). Where no strategy, precision or callback takes part in a step, it is made without Lightning's wrapper
(``steps.py``), which costs another 3 %. Where a callback or an argument of the Trainer follows the training batch by
batch, each call is one step with its batch, and what cannot have its effect is refused (``demands.py``).

Images at the border. Every image from a loader enters through ``inputs.py``: the first batch of each stage is looked
at, later ones are only compared in shape, and their pixels are blamed before the learning rate is.

Sums on the device. Figures of a batch are added up on the device and fetched every fifty steps (``sums.py``), so
that no step waits for the device. A value that is not finite is found then, and its step is named.

Graphs of a GPU. ``program.py`` makes some steps over memory that stays where it is, ``graphs.py`` captures them after a
comparison with the same steps uncaptured, and falls back to plain steps where that fails. ``host_reads.py`` finds, on a
CPU too, what would make a step wait for the device. Checkpoints are written between replays, as between calls.

Resuming within an epoch. Lightning counts calls where we count batches. A checkpoint therefore says that the epoch
has not started, and the module says how many of its batches were taken, with the sums and the random state of
that moment (``moment.py``). A resumed run skips these batches and restores the state: it ends with the same figures,
bit for bit.

Checkpoints (``checkpoints.py``) are written beside the old file and renamed when the disk has all of them.
``best.ckpt`` is chosen by the model's criterion, a run continues from ``last.ckpt``.

Signals (``signals.py``). SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 end a run after the step in which they came, with
a checkpoint.

Figures, the progress bar and the clock are callbacks (``figures.py``, ``progress.py``; ``callbacks.py`` lists the names
that a config may use). The loggers write one row for each epoch (``loggers.py``). ``schedulers.py`` has learning rates
by step. ``hardware.py`` sets up the process once: which library multiplies matrices, what happens to freed memory.

Private attributes of Lightning are used in three places, each with its reason: ``steps.py`` counts steps
that were made without Lightning's wrapper, ``moment.py`` edits the loops' part of a checkpoint, and ``demands.py`` asks
a checkpoint whether it is one by time.
"""
