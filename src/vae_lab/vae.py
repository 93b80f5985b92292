"""The LightningModule that wires encoder, decoder, prior and loss into a VAE."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.decoders import Decoder
from vae_lab.errors import NonFiniteError
from vae_lab.evaluation import bounds
from vae_lab.losses import Loss, Terms
from vae_lab.priors import Prior
from vae_lab.randomness import fixed_noise

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
        self.pending.append(torch.stack((terms.reconstruction.detach().sum(), terms.kl.detach().sum())))
        self.images += len(terms.kl)

    def read(self) -> list[tuple[float, float]]:
        """Fetch the pending (reconstruction, kl) sums, one pair a step, and add them up."""
        if not self.pending:
            return []
        steps = [(r, k) for r, k in torch.stack(self.pending).cpu().double().tolist()]
        self.pending.clear()
        self.steps += len(steps)
        self.reconstruction += sum(r for r, _ in steps)
        self.kl += sum(k for _, k in steps)
        return steps

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

    read_every_n_steps = 50  # how often training sums are fetched, checked and shown

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Decoder,
        prior: Prior,
        loss: Loss,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.prior, self.loss = encoder, prior, loss
        self.decoder: Decoder = decoder
        self.make_optimizer = optimizer or Adam
        self.make_scheduler = scheduler
        self.history: list[dict[str, float]] = []
        self.image_shape = decoder.image_shape
        self.train_terms, self.eval_terms = TermSums(), TermSums()
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
        return self.encoder(images).mean.reshape(*x.shape[:-3], -1)

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
        parameter = next(self.parameters())
        return values.to(parameter.device, parameter.dtype)

    # --- training it ---------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Optimiser over every parameter that learns, with the schedule stepped at each of its steps."""
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        if self.make_scheduler is None:
            return optimizer
        schedule = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch, in nats per image: the mean of reconstruction + weight · KL."""
        terms = self.loss(self, _images(batch))
        self.train_terms.add(terms)
        if (batch_idx + 1) % self.read_every_n_steps == 0:
            self._read_training()
            self.log("nelbo", self.train_terms.nelbo, prog_bar=True, logger=False)
        epochs = self.trainer.current_epoch + batch_idx / self.trainer.num_training_batches
        return (terms.reconstruction + self.loss.weight(epochs) * terms.kl).mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        with fixed_noise(batch_idx, self.device):
            self.eval_terms.add(self.loss(self, _images(batch)))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Give the validation figures to callbacks; they reach the loggers with the epoch's others."""
        self._log_evaluation("val")

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
        val = {k: v.item() for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
        chosen = val.get("val/nelbo", train["train/nelbo"])
        self.log_dict({**train, "nelbo": chosen}, logger=False)
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        row = {**train, **val, "lr": lr}
        self.history.append({"epoch": self.trainer.current_epoch, **row})
        figures = {name: value for name, value in row.items() if not name.endswith("/n")}
        for logger in self.loggers:
            logger.log_metrics(figures, step=self.trainer.current_epoch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save a model whose loss is not finite; keep the history with the rest."""
        self._read_training()
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history back."""
        self.history = checkpoint["history"]

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

    def _log_evaluation(self, prefix: str) -> None:
        means = self.eval_terms.means(self._reduce)
        self.eval_terms = TermSums()
        broken = [name for name in Terms._fields if not math.isfinite(means[name])]
        if broken:
            raise NonFiniteError(f"{prefix}: {' and '.join(broken)} was not finite. Try a lower optimizer.lr")
        self.log_dict(_prefixed(prefix, means), logger=False)

    def _reduce(self, totals: Tensor) -> Tensor:
        # Apple's devices have no double precision, and never more than one process
        device = "cpu" if self.device.type == "mps" else self.device
        reduced = self.trainer.strategy.reduce(totals.to(device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced


def _images(batch: Batch) -> Tensor:
    """The images of a batch that may carry labels beside them."""
    return batch if isinstance(batch, Tensor) else batch[0]


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}
