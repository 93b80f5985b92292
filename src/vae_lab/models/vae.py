"""The LightningModule that wires encoder, decoder, prior and loss into a VAE."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.decoders import Decoder
from vae_lab.errors import NonFiniteError
from vae_lab.evaluation.bounds import bounds
from vae_lab.losses import Loss, Terms
from vae_lab.priors import Prior
from vae_lab.randomness import fixed_noise
from vae_lab.training.checkpoints import to_start_of_epoch

Batch = Tensor | Sequence[Tensor]


class TermSums:
    """Running sums of the two terms of the NELBO, kept on the device between rare reads.

    A read copies the steps since the last one to the host at once: no step waits for the device, and a
    value that is not finite is still traced to its step.
    """

    def __init__(self) -> None:
        self.pending: list[Tensor] = []
        self.steps = 0
        self.images = 0
        self.reconstruction = 0.0
        self.kl = 0.0

    def add(self, terms: Terms) -> None:
        """Add one batch; nothing is read from the device."""
        self.pending.append(torch.stack((terms.reconstruction.detach(), terms.kl.detach())).sum(1))
        self.images += len(terms.kl)

    def read(self) -> list[tuple[float, float]]:
        """Fetch the pending (reconstruction, kl) sums, one pair a step, and add them up."""
        if not self.pending:
            return []
        steps = [(r, k) for r, k in torch.stack(self.pending).cpu().double().tolist()]
        self.pending.clear()
        self.steps += len(steps)
        for reconstruction, kl in steps:  # one by one, so that the sum does not hang on when it was read
            self.reconstruction += reconstruction
            self.kl += kl
        return steps

    def state_dict(self) -> dict[str, float]:
        """The sums, where nothing is pending."""
        names = ("steps", "images", "reconstruction", "kl")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take sums over."""
        self.steps, self.images = int(state["steps"]), int(state["images"])
        self.reconstruction, self.kl = state["reconstruction"], state["kl"]

    @property
    def nelbo(self) -> float:
        """Mean over the images of the steps read, where nothing is pending."""
        return (self.reconstruction + self.kl) / self.images

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Sums over all images of all processes divided by their number, in nats per image."""
        self.read()
        totals = reduce(torch.tensor([self.reconstruction, self.kl, float(self.images)], dtype=torch.float64))
        reconstruction, kl, images = totals.tolist()
        return {
            "nelbo": (reconstruction + kl) / images,
            "kl": kl / images,
            "reconstruction": reconstruction / images,
            "n": images,
        }


class VAE(LightningModule):
    """A variational auto-encoder: log p(x) ≥ E_q(z|x)[log p(x|z)] − KL(q(z|x) ‖ p(z)).

    Args:
        encoder: calling it with images gives q(z|x).
        decoder: calling it with codes gives p(x|z); has the ``image_shape`` that it decodes to.
        prior: calling it gives p(z).
        loss: the KL's estimator and its weight.
        optimizer: makes the optimiser from parameters; Adam at 1e-3 where none is given.
        scheduler: makes a schedule by step from ``(optimizer, total_steps=…)``.
        gradient_clip_val: largest norm of the gradient; None leaves it as it is.

    Raises:
        ValueError, RuntimeError: if a part does not take what another gives.
        NoClosedFormError: if the loss wants a closed-form KL that this posterior and prior do not have.

    >>> from vae_lab.decoders import MLPDecoder
    >>> from vae_lab.encoders import MLPEncoder
    >>> from vae_lab.likelihoods import Bernoulli
    >>> from vae_lab.losses import KL
    >>> from vae_lab.priors import StandardNormal
    >>> model = VAE(MLPEncoder(2, [32]), MLPDecoder(2, [32], Bernoulli()), StandardNormal(2), KL())
    >>> model.sample(4).shape
    torch.Size([4, 1, 28, 28])
    """

    steps_at_once = 16  # steps in one call of training_step: what the trainer does around it is done once for all
    encoded_at_once = 1000  # images
    read_every_n_steps = 50  # after so many, with the next call, training sums are fetched, checked and shown

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Decoder,
        prior: Prior,
        loss: Loss,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        gradient_clip_val: float | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # training_step takes the optimiser's steps
        self.encoder, self.prior, self.loss = encoder, prior, loss
        self.decoder: Decoder = decoder
        self.make_optimizer = optimizer or Adam
        self.make_scheduler = scheduler
        self.gradient_clip_val = gradient_clip_val
        self.history: list[dict[str, float]] = []
        self.image_shape = decoder.image_shape
        self.train_terms, self.eval_terms = TermSums(), TermSums()
        self.validated: dict[str, float] = {}  # figures of this epoch's validation
        self.stop_asked = False  # no further step: the trainer wants to save and end
        self.resumed: dict[str, Any] | None = None  # what a checkpoint says of the moment that it was written at
        prior.bind(encoder, self.image_shape)
        with torch.no_grad():
            q, p = encoder(torch.zeros(1, *self.image_shape)), prior()
            if q.event_shape != p.event_shape:
                raise ValueError(f"the encoder's codes are {tuple(q.event_shape)}, the prior's {tuple(p.event_shape)}")
            decoder(q.mean)
            loss.check(q, p)

    # --- using a model -------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Posterior means of images.

        Args:
            x: (…, channels, height, width), values in [0, 1].

        Returns:
            (…, latent). The distribution itself is ``model.encoder(x)``.
        """
        images = self._own(x).reshape(-1, *self.image_shape)
        # in parts: a convolutional net's activations of 10,000 images take a gigabyte
        means = [self.encoder(part).mean for part in images.split(self.encoded_at_once)]
        return torch.cat(means).reshape(*x.shape[:-3], -1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Mean images of codes.

        Args:
            z: (…, latent).

        Returns:
            (…, channels, height, width), values in [0, 1]. The distribution itself is ``model.decoder(z)``.
        """
        return self.decoder(self._own(z)).mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images decoded from the posterior means of images x (…, channels, height, width)."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Mean images of n codes drawn from the prior, (n, channels, height, width)."""
        return self.decode(self.prior().sample((n,)))

    def interpolate(self, x1: Tensor, x2: Tensor, steps: int = 11) -> Tensor:
        """Mean images along z(α) = (1 − α) z₁ + α z₂ between the posterior means of two images.

        Args:
            x1: images at α = 0, (…, channels, height, width).
            x2: images at α = 1, of the same shape.
            steps: number of α, evenly from 0 to 1.

        Returns:
            (steps, …, channels, height, width).
        """
        return self.walk(self.encode(x1), self.encode(x2), steps)

    def walk(self, z1: Tensor, z2: Tensor, steps: int = 11) -> Tensor:
        """Mean images along z(α) = (1 − α) z₁ + α z₂ between codes (…, latent), as ``interpolate`` has them."""
        alpha = torch.linspace(0, 1, steps, device=z1.device, dtype=z1.dtype)
        return self.decode(torch.lerp(z1, z2, alpha.view(-1, *[1] * z1.dim())))

    def log_prob(self, x: Tensor, k: int = 100) -> Tensor:
        """Importance-weighted lower bound of log p(x) from k samples of z, in nats.

        Args:
            x: (batch, channels, height, width), binarized as the model was trained.
            k: samples for each image; the bound rises to log p(x) with k.

        Returns:
            (batch,).
        """
        return -bounds(self, self._own(x), k).nll

    def _own(self, values: Tensor) -> Tensor:
        assert isinstance(self.dtype, torch.dtype)
        return values.to(self.device, self.dtype)

    # --- training it ---------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Optimiser over every parameter that learns, with the schedule stepped at each of its steps."""
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        if self.make_scheduler is None:
            return optimizer
        schedule = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, dataloader_iter: Iterator[tuple[Batch, int, int]]) -> None:
        """Some optimiser steps on the loss in nats per image, the mean of reconstruction + weight · KL.

        The trainer's own work between two calls costs as much as a fifth of a small model's step.
        """
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, LRScheduler | None)
        if self.resumed:
            self._go_back(dataloader_iter, self.resumed)
        take_step = self._step if _steps_are_heard(self.trainer) else self._quick_step
        epoch, batches = self.trainer.current_epoch, self.trainer.num_training_batches
        for batch, batch_idx, _ in itertools.islice(dataloader_iter, self._steps_to_take()):
            terms = self.loss(self, self._own(_images(batch)))
            weight = self.loss.weight(epoch + batch_idx / batches)
            take_step(optimizer, (terms.reconstruction + weight * terms.kl).mean())
            if schedule is not None:
                schedule.step()
            self.train_terms.add(terms)
            if self.stop_asked and self.trainer.world_size == 1:  # several processes take equal steps
                break
        if len(self.train_terms.pending) >= self.read_every_n_steps:
            self._read_training()
            # a tensor of the CPU, since Lightning reads what it logs after each call: a number would go to the GPU
            nelbo = torch.tensor(self.train_terms.nelbo)
            self.log("nelbo", nelbo, prog_bar=True, logger=False, batch_size=1)
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # else an epoch that ends here would not be validated

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        """One step by way of the strategy, the precision and everybody's hooks."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def _quick_step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        """The same step where nobody stands in between: Lightning's way round costs 140 µs, 3 % of a small model's."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        loss.backward()
        self.on_before_optimizer_step(optimizer.optimizer)
        optimizer._on_before_step()
        optimizer.optimizer.step()
        optimizer._on_after_step()  # counts it: global_step

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient, where the precision has unscaled it already."""
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        with fixed_noise(batch_idx, self.device):
            self.eval_terms.add(self.loss(self, _images(batch)))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Give the validation figures to callbacks; they reach the loggers with the epoch's others."""
        self._read_training()  # a step that broke the model is to be named before what came of it
        self.validated = self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Give the test figures to callbacks."""
        self._log_evaluation("test")

    def on_train_epoch_end(self) -> None:
        """One row of figures for the epoch, to the history, the callbacks and the loggers.

        ``nelbo`` is what runs are chosen by: validation's, or training's where nothing is held out.
        """
        self._read_training()
        train = _prefixed("train", self.train_terms.means(self._reduce))
        self.train_terms = TermSums()
        val, self.validated = self.validated, {}
        chosen = val.get("val/nelbo", train["train/nelbo"])
        self.log_dict({**train, "nelbo": chosen}, logger=False, batch_size=1)
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        row = {**train, **val, "lr": lr}
        self.history.append({"epoch": self.trainer.current_epoch, **row})
        figures = {name: value for name, value in row.items() if not name.endswith("/n")}
        for logger in self.loggers:
            logger.log_metrics(figures, step=self.trainer.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save a model whose loss is not finite; keep with the rest all that the next step hangs on."""
        self._read_training()
        checkpoint["history"] = self.history
        checkpoint["moment"] = {
            "terms": self.train_terms.state_dict(),
            "should_stop": self.trainer.should_stop,
            "random": torch.get_rng_state(),
            "random_of_device": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        to_start_of_epoch(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history back, and go on from the moment of the checkpoint."""
        self.history = checkpoint["history"]
        self.resumed = checkpoint["moment"]

    def on_train_start(self) -> None:
        """Do not train on where the checkpoint's run had been told to stop."""
        if self.resumed:
            self.trainer.should_stop = self.resumed["should_stop"]

    def _go_back(self, batches: Iterator[Any], moment: dict[str, Any]) -> None:
        """Pass by the batches of the epoch that were taken before, and draw the numbers that were to come then."""
        for _ in range(moment["terms"]["steps"]):
            next(batches)
        self.train_terms.load_state_dict(moment["terms"])
        self.resumed = None
        if not self.trainer.is_global_zero:
            return  # the state is that of the first process, and each draws its own noise
        torch.set_rng_state(moment["random"].cpu())
        if self.device.type == "cuda" and moment["random_of_device"] is not None:
            torch.cuda.set_rng_state(moment["random_of_device"].cpu(), self.device)

    def _steps_to_take(self) -> int:
        steps = self.trainer.max_steps
        return self.steps_at_once if steps < 0 else min(self.steps_at_once, steps - self.trainer.global_step)

    def _read_training(self) -> None:
        before = self.train_terms.steps
        for step, terms in enumerate(self.train_terms.read(), start=before):
            broken = [n for n, value in zip(Terms._fields, terms, strict=True) if not math.isfinite(value)]
            if broken:
                raise NonFiniteError(
                    f"training stopped in epoch {self.trainer.current_epoch}, step {step}: "
                    f"{' and '.join(broken)} was not finite. Try a lower optimizer.lr, "
                    "trainer.gradient_clip_val=100 or loss.warmup_epochs=5"
                )

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        means = self.eval_terms.means(self._reduce)
        self.eval_terms = TermSums()
        broken = [name for name in Terms._fields if not math.isfinite(means[name])]
        if broken:
            raise NonFiniteError(f"{prefix}: {' and '.join(broken)} was not finite. Try a lower optimizer.lr")
        figures = _prefixed(prefix, means)
        self.log_dict(figures, logger=False)
        return figures

    def _reduce(self, totals: Tensor) -> Tensor:
        # Apple's devices have no double precision, and never more than one process
        device = "cpu" if self.device.type == "mps" else self.device
        reduced = self.trainer.strategy.reduce(totals.to(device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced


def _steps_are_heard(trainer: Trainer) -> bool:
    """Whether the strategy, the precision or a callback has something to do within an optimiser step."""
    hooks = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")
    return (
        not isinstance(trainer.strategy, SingleDeviceStrategy)
        or getattr(trainer.precision_plugin, "scaler", None) is not None
        or any(is_overridden(hook, callback, Callback) for callback in trainer.callbacks for hook in hooks)  # type: ignore[attr-defined]
    )


def _images(batch: Batch) -> Tensor:
    """The images of a batch that may carry labels beside them."""
    return batch if isinstance(batch, Tensor) else batch[0]


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}
