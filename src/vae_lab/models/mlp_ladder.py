"""A ladder of multi-layer perceptrons."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from vae_lab.annotations import ImageShape, Sizes
from vae_lab.likelihoods import Likelihood
from vae_lab.models.ladder import Ladder, Rung, bounded
from vae_lab.networks import ACTIVATIONS, Activation, mlp


class MLPLadder(Ladder):
    """A ladder of multi-layer perceptrons, two linear layers from each level to the next.

    Source: Sønderby et al., Ladder Variational Autoencoders (2016), https://arxiv.org/abs/1602.02282

    Args:
        latent_dims: lengths of z_1 … z_L, from the image to the top.
        hidden_dims: widths of the levels, likewise; that of z_l on the way up and of the state below z_l.
        likelihood: turns the last output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        activation: function between the linear layers.
        merge: how q(z_l | z_>l, x) is made of the image's features and p(z_l | z_>l). ``precision`` weighs the means
            by the precisions, as in the paper; ``residual`` adds to the numbers of p what features and state say.

    Raises:
        ValueError: if there are not as many widths as latent variables.

    >>> from vae_lab.likelihoods import Bernoulli
    >>> model = MLPLadder([8, 4, 2], [64, 32, 16], Bernoulli(), image_shape=(1, 28, 28))
    >>> model.encode(torch.rand(5, 1, 28, 28)).shape, model.sample(3).shape
    (torch.Size([5, 14]), torch.Size([3, 1, 28, 28]))
    """

    def __init__(
        self,
        latent_dims: Sizes,
        hidden_dims: Sizes,
        likelihood: Likelihood,
        image_shape: ImageShape,
        activation: Activation = "silu",
        merge: Literal["precision", "residual"] = "residual",
    ) -> None:
        if len(hidden_dims) != len(latent_dims):
            raise ValueError(
                f"{len(hidden_dims)} hidden_dims for {len(latent_dims)} latent_dims; each latent variable has one width"
            )
        pixels, top_dim = math.prod(image_shape), latent_dims[-1]
        kind = PrecisionRung if merge == "precision" else ResidualRung
        levels = list(zip(latent_dims, hidden_dims, strict=True))[::-1]  # topmost first
        rungs = [kind(latent, above, width, activation) for (_, above), (latent, width) in itertools.pairwise(levels)]
        bottom_up = BottomUp([pixels, *hidden_dims], [2 * top_dim, *(rung.features for rung in rungs)], activation)
        image = nn.Sequential(
            nn.Linear(hidden_dims[0], likelihood.outputs * pixels, bias=False),
            nn.Unflatten(1, (likelihood.outputs * image_shape[0], *image_shape[1:])),
        )
        top = _level(top_dim, hidden_dims[-1], activation)
        super().__init__(bottom_up, top, rungs, image, likelihood, image_shape, top_dim)


class BottomUp(nn.Module):
    """Features of each layer, topmost first, from the image up.

    Args:
        sizes: number of pixel values, and the widths of the levels from the image to the top.
        features: number of features of each layer, topmost first.
        activation: function after the linear layers.
    """

    def __init__(self, sizes: Sequence[int], features: Sequence[int], activation: Activation) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_level(below, width, activation) for below, width in itertools.pairwise(sizes))
        self.heads = nn.ModuleList(nn.Linear(w, n) for w, n in zip(sizes[1:], reversed(features), strict=True))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each layer, (n, features) each, for images (n, channels, height, width)."""
        state, found = x.flatten(1), list[Tensor]()
        for level, head in zip(self.levels, self.heads, strict=True):
            state = level(state)
            found.append(head(state))
        return found[::-1]


class MLPRung(Rung):
    """One latent variable of the ladder.

    Args:
        latent: length of z_l.
        above: width of the state above.
        below: width of the state below.
        activation: function after the linear layers.
        features: number of values that the bottom-up pass gives it for each image.
    """

    def __init__(self, latent: int, above: int, below: int, activation: Activation, features: int) -> None:
        super().__init__(latent, features)
        self.to_prior = nn.Linear(above, 2 * latent)
        self.down = _level(above + latent, below, activation)

    def prior(self, state: Tensor) -> Tensor:
        """p(z_l | z_>l), linear in the state."""
        return bounded(self.to_prior(state))

    def descend(self, state: Tensor, z: Tensor) -> Tensor:
        """The state below, of the state and z_l side by side."""
        return self.down(torch.cat((state, z), -1))


class PrecisionRung(MLPRung):
    """The features are a mean μ̂ and a variance σ̂², weighed with those of p(z_l | z_>l) by their precisions.

    σ_q² = 1 / (σ̂⁻² + σ_p⁻²),   μ_q = σ_q² (μ̂ σ̂⁻² + μ_p σ_p⁻²)

    Source: Sønderby et al. (2016), section 2.2, https://arxiv.org/abs/1602.02282
    """

    def __init__(self, latent: int, above: int, below: int, activation: Activation) -> None:
        super().__init__(latent, above, below, activation, features=2 * latent)

    def posterior(self, prior: Tensor, state: Tensor, features: Tensor) -> Tensor:  # noqa: ARG002
        """The means weighed by the precisions, and the sum of these."""
        (mean, log_variance), (of_image, log_variance_of_image) = (
            numbers.chunk(2, -1) for numbers in (prior, bounded(features))
        )
        # σ_p² / (σ̂² + σ_p²), the share of the image's mean, as a sigmoid: no exponential can overflow
        difference = log_variance - log_variance_of_image
        merged = torch.lerp(mean, of_image, difference.sigmoid())
        return torch.cat((merged, log_variance_of_image + logsigmoid(difference)), -1)


class ResidualRung(MLPRung):
    """The numbers of q(z_l | z_>l, x) are those of p(z_l | z_>l) plus A a(features + B h), with a the activation.

    Source: Vahdat and Kautz, NVAE (2020), section 3.2, https://arxiv.org/abs/2007.03898
    """

    def __init__(self, latent: int, above: int, below: int, activation: Activation) -> None:
        super().__init__(latent, above, below, activation, features=below)
        self.of_state = nn.Linear(above, below)
        self.to_posterior = nn.Sequential(ACTIVATIONS[activation](), nn.Linear(below, 2 * latent))

    def posterior(self, prior: Tensor, state: Tensor, features: Tensor) -> Tensor:
        """The numbers of the prior, plus those of the state and the features together."""
        return bounded(prior + self.to_posterior(features + self.of_state(state)))


def _level(before: int, width: int, activation: Activation) -> nn.Sequential:
    """Two linear layers of one width, each with its activation."""
    return nn.Sequential(*mlp([before, width, width], activation), ACTIVATIONS[activation]())
