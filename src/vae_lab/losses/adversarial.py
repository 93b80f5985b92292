"""The losses of a GAN: one for its discriminator, one for its generator."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.utils.parametrize import cached

from vae_lab.annotations import NotNegative, Positive
from vae_lab.errors import NotOffered
from vae_lab.losses.base import Loss, Outcome, Stage, Weight
from vae_lab.models import GAN, Model
from vae_lab.models.parts import evaluating

Kind = Literal["non_saturating", "hinge", "wasserstein"]
USUAL_PENALTY = 10.0  # with wasserstein

# of the discriminator's outputs of real images and of samples, and of the latter alone
OF_DISCRIMINATOR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "non_saturating": lambda real, fake: softplus(-real) + softplus(fake),
    "hinge": lambda real, fake: relu(1 - real) + relu(1 + fake),
    "wasserstein": lambda real, fake: fake - real,
}
OF_GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "non_saturating": lambda fake: softplus(-fake),
    "hinge": lambda fake: -fake,
    "wasserstein": lambda fake: -fake,
}


class Adversarial(Loss):
    """The two losses of a GAN with discriminator D and generator G, as means over a batch of x and as many z ~ p(z).

    - non_saturating: D minimises softplus(−D(x)) + softplus(D(G(z))), and G softplus(−D(G(z))).
      Goodfellow et al., Generative Adversarial Networks (2014), https://arxiv.org/abs/1406.2661
    - hinge: D minimises max(0, 1 − D(x)) + max(0, 1 + D(G(z))), and G −D(G(z)).
      Lim and Ye, Geometric GAN (2017), https://arxiv.org/abs/1705.02894
    - wasserstein: D minimises D(G(z)) − D(x), and G −D(G(z)).
      Arjovsky et al., Wasserstein GAN (2017), https://arxiv.org/abs/1701.07875

    With a gradient penalty λ, D also minimises λ (|∇D(y)| − 1)² at y = ε x + (1 − ε) G(z), ε ~ U(0, 1).
    Gulrajani et al., Improved Training of Wasserstein GANs (2017), https://arxiv.org/abs/1704.00028

    Args:
        kind: which pair of losses.
        gradient_penalty: λ; None is 10 with wasserstein and 0 with the others.
        discriminator_steps: number of steps of the discriminator for each step of the generator, with the same images
            of the data and other samples.
        discriminator_lr: learning rate of the discriminator divided by that of the generator.
    """

    def __init__(
        self,
        kind: Kind = "non_saturating",
        gradient_penalty: NotNegative | None = None,
        discriminator_steps: Annotated[int, Field(ge=1, le=100)] = 1,
        discriminator_lr: Positive = 1.0,
    ) -> None:
        super().__init__()
        if kind not in OF_GENERATOR:
            raise ValueError(f"kind={kind} must be one of {', '.join(OF_GENERATOR)}")
        usual = USUAL_PENALTY if kind == "wasserstein" else 0.0
        self.kind, self.gradient_penalty = kind, usual if gradient_penalty is None else gradient_penalty
        self.can_be_compiled = not self.gradient_penalty  # compiled graphs have no second derivatives
        self.discriminator_steps, self.discriminator_lr = discriminator_steps, discriminator_lr

    def check(self, model: Model) -> None:
        """Raise NotOffered where the model is no GAN."""
        if not isinstance(model, GAN):
            raise NotOffered(f"{type(model).__name__} has no discriminator; loss=adversarial is that of model=gan")

    def stages(self, model: Model) -> list[Stage]:
        """First the discriminator, then the generator, with the parameters of each."""
        assert isinstance(model, GAN)
        of_discriminator = [weight for weight in model.discriminator.parameters() if weight.requires_grad]
        return [
            Stage("discriminator", of_discriminator, self.discriminator_steps, self.discriminator_lr),
            Stage("generator", model.generator_weights()),
        ]

    def forward(self, model: Model, x: Tensor, weight: Weight = None, stage: str = "generator") -> Outcome:  # noqa: ARG002
        """The loss of the discriminator or of the generator; no gradient leads to the parameters of the other one."""
        assert isinstance(model, GAN)
        if stage == "generator":
            with _fixed(model.discriminator):
                found = OF_GENERATOR[self.kind](model.discriminator(model.generate(len(x))))
            return Outcome(found.mean(), {"g_loss": found})
        with torch.no_grad():
            samples = model.generate(len(x))
        with cached():  # of the normalised weights, which are the same for all outputs
            real, fake = model.discriminator(x), model.discriminator(samples)
            found, figures = OF_DISCRIMINATOR[self.kind](real, fake), {"d_real": real, "d_fake": fake}
            if self.gradient_penalty:
                at = torch.lerp(samples, x, torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype))
                figures["gradient_penalty"] = gradient_penalty(model.discriminator, at)
                found = found + self.gradient_penalty * figures["gradient_penalty"]
        return Outcome(found.mean(), {"d_loss": found, **figures})


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """(|∇D(y)| − 1)² of each image y, (batch,), which can be differentiated by D's parameters.

    Args:
        discriminator: D, which gives a number for each image.
        at: images y, (batch, channels, height, width).
    """
    at = at.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(at).sum(), at, create_graph=True)
    return (torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square()


@contextmanager
def _fixed(part: nn.Module) -> Iterator[None]:
    """Inside the block neither a step nor a use in training changes the part."""
    weights = [weight for weight in part.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        with evaluating(part):
            yield
    finally:
        for weight in weights:
            weight.requires_grad_()
