"""Where q(z|x) comes from: the encoder, gradient steps for each image, or both.

ELBO(λ) = E_q_λ[log p(x|z)] − KL(q_λ(z) ‖ p(z)),   λ the numbers that name q within its family

Refinement climbs it in λ with the decoder and the prior fixed. Each step draws new noise: λ would fit noise that stays
the same, with a spread that no other draw supports. The noise comes from the usual generator, so that it is the same
each time in validation, test and figures. Step sizes fall linearly towards 0, so that the noise averages out.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Adam

from vae_lab.annotations import Fraction, Positive, Size
from vae_lab.recorded import Recorded

ELBO = Callable[[Tensor, Tensor], Tensor]
"""Estimate of each image's ELBO in nats, (batch,), from numbers (batch, numbers) and images (batch, …)."""

START_SPREAD = 0.1  # standard deviation of numbers that start at random
BETAS = 0.5, 0.9  # of Adam: with its usual averages twenty steps end before the first direction is forgotten


class Inference(Recorded, ABC):
    """Way in which the numbers that name q(z|x) are found."""

    takes_encoder: bool = True
    """Whether it starts from what an encoder's network says of the images."""

    @abstractmethod
    def refine(self, start: Tensor, x: Tensor, elbo: ELBO) -> Tensor:
        """Numbers that name q(z|x), (batch, numbers).

        Args:
            start: output of the encoder, (batch, numbers); zeros where it has no network.
            x: images, (batch, channels, height, width).
            elbo: the model's estimate of the ELBO at one draw of z.
        """


class Amortized(Inference):
    """q(z|x) as the encoder says, in one pass for all images.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), https://arxiv.org/abs/1312.6114
    """

    def refine(self, start: Tensor, x: Tensor, elbo: ELBO) -> Tensor:  # noqa: ARG002
        """The start itself."""
        return start


class SVI(Inference):
    """q(z|x) by ``steps`` steps of Adam on the ELBO of each image, without an encoder: ``encoder=none``.

    The decoder and the prior then learn at the numbers where the steps ended, which are constants to them.

    Source: Hoffman et al., Stochastic Variational Inference (2013), https://arxiv.org/abs/1206.7055, in the form that
    Kim et al., Semi-Amortized Variational Autoencoders (2018), compare with, https://arxiv.org/abs/1802.02550

    Args:
        steps: number of steps for each batch.
        lr: learning rate of the first step, in units of the numbers.
        start: prior starts at zeros, which name N(0, I) in a family of normals; random at draws of N(0, 0.1²).
    """

    takes_encoder = False

    def __init__(self, steps: Size = 20, lr: Positive = 1.0, start: Literal["prior", "random"] = "prior") -> None:
        self.steps, self.lr, self.start = steps, lr, start

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def refine(self, start: Tensor, x: Tensor, elbo: ELBO) -> Tensor:
        """The numbers after the last step, which carry no gradient."""
        with torch.inference_mode(False), torch.enable_grad():  # also within Lightning's validation and test
            x, numbers = x.detach().clone(), _leaf(start)
            if self.start == "random":
                numbers = _leaf(START_SPREAD * torch.randn_like(numbers))
            # on a GPU its count of steps lies on the device too, so that a captured step can repeat it
            optimizer = Adam([numbers], self.lr, betas=BETAS, maximize=True, capturable=numbers.is_cuda)
            for step in range(self.steps):
                optimizer.param_groups[0]["lr"] = _falling(self.lr, step, self.steps)
                numbers.grad = _slope(elbo, numbers, x)
                optimizer.step()
        return numbers.detach()


class SemiAmortized(Inference):
    """q(z|x) by ``steps`` steps of gradient ascent with momentum from where the encoder starts.

    v ← momentum · v + ∇_λ ELBO(λ),   λ ← λ + lr_t · v

    Source: Kim et al., Semi-Amortized Variational Autoencoders (2018), algorithm 1, https://arxiv.org/abs/1802.02550,
    where the learning rate is constant and gradients are clipped

    Args:
        steps: number of steps for each batch.
        lr: learning rate of the first step, in squared units of the numbers for each nat.
        momentum: share of a step that the next one repeats.
        backprop_through: true differentiates the loss through all steps, for the encoder and the decoder, which takes
            second derivatives and keeps the activations of every step; false hands the gradient at the end to the
            start as it is, as if a step were a constant.
    """

    def __init__(
        self, steps: Size = 20, lr: Positive = 0.004, momentum: Fraction = 0.5, backprop_through: bool = True
    ) -> None:
        self.steps, self.lr, self.momentum, self.backprop_through = steps, lr, momentum, backprop_through

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def refine(self, start: Tensor, x: Tensor, elbo: ELBO) -> Tensor:
        """The numbers after the last step."""
        start, learns = _precise(start), torch.is_grad_enabled() and start.requires_grad
        if learns and self.backprop_through:
            return self._climb(start, x, elbo, keep=True)
        with torch.inference_mode(False), torch.enable_grad():  # also within Lightning's validation and test
            end = self._climb(_leaf(start), x.detach().clone(), elbo, keep=False).detach()
        return start + (end - start).detach() if learns else end

    def _climb(self, numbers: Tensor, x: Tensor, elbo: ELBO, keep: bool) -> Tensor:
        """All steps; ``keep`` whether the end can be differentiated in what the steps depend on."""
        velocity = torch.zeros_like(numbers)
        for step in range(self.steps):
            velocity = self.momentum * velocity + _slope(elbo, numbers, x, keep)
            numbers = numbers + _falling(self.lr, step, self.steps) * velocity
            if not keep:
                numbers = _leaf(numbers)
        return numbers


def _slope(elbo: ELBO, numbers: Tensor, x: Tensor, keep: bool = False) -> Tensor:
    """∇_λ of each image's ELBO, (batch, numbers); no parameter gets a gradient."""
    return torch.autograd.grad(elbo(numbers, x).sum(), numbers, create_graph=keep)[0]


def _falling(lr: float, step: int, steps: int) -> float:
    """The learning rate of a step: ``lr`` at the first one, falling linearly towards 0 after the last."""
    return lr * (1 - step / steps)


def _leaf(numbers: Tensor) -> Tensor:
    """A copy with a gradient of its own."""
    return _precise(numbers).detach().clone().requires_grad_()


def _precise(numbers: Tensor) -> Tensor:
    """Numbers in single precision at least: steps are too small for the half of ``trainer.precision=bf16-mixed``."""
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))
