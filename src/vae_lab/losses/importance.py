"""Losses on importance weights: the bound of k draws, with the usual gradient and with one of less noise."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vae_lab.annotations import Draws as DrawCount
from vae_lab.distributions.summaries import log_mean
from vae_lab.losses.base import Loss, Outcome, Weight, check_samples, trial_images
from vae_lab.models import Draws, Model


class ImportanceLoss(Loss):
    """Mean over images of −log 1/k Σ_j w_j, w_j = p(x|z_j) p(z_j) / q(z_j|x), in nats.

    The bound is at least the ELBO and rises to log p(x) with k. It needs no closed form of the KL.

    Args:
        samples: number k of draws of z for each image; 1 is the negative ELBO.
    """

    def __init__(self, samples: DrawCount = 8) -> None:
        super().__init__()
        check_samples(samples)
        self.samples = samples

    def check(self, model: Model) -> None:
        """Raise NotOffered where the model has no likelihood."""
        with trial_images(model) as x:
            self(model, x)

    def outcome(self, draws: Draws, log_ratios: list[Tensor]) -> Outcome:
        """The loss and its figures.

        Args:
            draws: draws of z for each image.
            log_ratios: log q(z|x) − log p(z) of each latent variable in nats, (k, batch) each, the topmost first.
        """
        log_weights = draws.log_likelihood - sum(log_ratios)
        bound = -log_mean(log_weights)
        figures = draws.terms([log_ratio.mean(0) for log_ratio in log_ratios])
        return Outcome(bound.mean(), figures | {"iwae": bound})


class IWAE(ImportanceLoss):
    """The importance-weighted bound, with gradients through every z_j and every density.

    As k grows the gradient of the encoder sinks in its own noise, at the rate 1/√k (Rainforth et al., Tighter
    Variational Bounds are Not Necessarily Better (2018), https://arxiv.org/abs/1802.04537): see DReG.

    Source: Burda et al., Importance Weighted Autoencoders (2016), https://arxiv.org/abs/1509.00519
    """

    def forward(self, model: Model, x: Tensor, weight: Weight = None, stage: str = "model") -> Outcome:  # noqa: ARG002
        """The bound, and the terms of the ELBO estimated at the same draws."""
        draws = model.draw(model.infer(x), x, self.samples)
        return self.outcome(draws, [latent.log_ratio for latent in draws.latents])


class DReG(ImportanceLoss):
    """The importance-weighted bound, whose encoder gets the doubly reparameterised gradient.

    With z_j = z(ε_j, φ) and the normalised weights v_j = w_j / Σ_i w_i the gradients of the bound are

        ∇_φ = E[ Σ_j v_j² ∂log w_j/∂z_j · ∂z_j/∂φ ],    ∇_θ = E[ Σ_j v_j ∂log w_j/∂θ ]

    for the parameters φ of q(z|x) and all others θ. Both are unbiased, and the noise of ∇_φ falls with k as its size
    does. A prior that is made of the encoder, as prior=vamp, also gets its own part of ∇_θ.

    log q(z|x) is computed a second time, with every parameter of the model held fixed: for a posterior whose density
    at a given z is slow (an inverse autoregressive flow needs one pass for each latent dimension) IWAE is quicker.

    Source: Tucker et al., Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (2019),
    https://arxiv.org/abs/1810.04152
    """

    can_be_compiled = False

    def check(self, model: Model) -> None:
        """Raise ValueError where the model has several latent variables, or none, or no gradient reaches its q(z|x)."""
        with trial_images(model) as x, torch.enable_grad():
            latents = model.draw(model.infer(x), x, 1).latents
        if len(latents) != 1:
            reason = f"its gradient is that of one latent variable, and the model has {len(latents)}"
            raise ValueError(f"{reason}; use loss=iwae")
        if not latents[0].z.requires_grad:
            raise ValueError("no gradient of the loss reaches q(z|x) of this model; use loss=iwae")
        super().check(model)

    # a compiled graph leaves the hook on z out, and the gradient would be another one
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, model: Model, x: Tensor, weight: Weight = None, stage: str = "model") -> Outcome:  # noqa: ARG002
        """The bound, and the terms of the ELBO estimated at the same draws."""
        numbers = model.numbers_of(x)
        draws = model.draw(model.inferred_from(numbers), x, self.samples)
        (latent,) = draws.latents
        fixed = {name: parameter.detach() for name, parameter in model.named_parameters(prefix="model")}
        log_q = functional_call(_Density(model), fixed, (numbers.detach(), latent.z))
        log_ratio = log_q - latent.log_p
        if latent.z.requires_grad:
            share = (draws.log_likelihood - log_ratio).detach().softmax(0)[..., None]
            # the bound's gradient by log w_j is v_j, and on its way through z_j it is multiplied by v_j once more
            latent.z.register_hook(lambda gradient: share * gradient)
        return self.outcome(draws, [log_ratio])


class _Density(nn.Module):
    """log q(z|x) of given codes: a module, so that it can be called with other values of its parameters.

    Args:
        model: model with one latent variable.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, numbers: Tensor, z: Tensor) -> Tensor:
        """log q(z|x) in nats, (k, batch).

        Args:
            numbers: numbers that name q(z|x), (batch, numbers).
            z: codes, (k, batch, latent).
        """
        found: torch.distributions.Distribution = self.model.inferred_from(numbers)
        return found.log_prob(z)
