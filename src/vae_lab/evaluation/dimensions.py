"""Which latent dimensions say something of the image."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from vae_lab.errors import NotOffered
from vae_lab.models import Model


class Activity(NamedTuple):
    """How much each latent dimension says of the image."""

    values: Tensor
    """A number for each dimension of the joint code, (latent,), on the CPU."""
    name: str
    """What the numbers are, in short."""
    measure: str
    """What the numbers are, with their unit."""


def activity_of_dimensions(model: Model, x: Tensor) -> Activity:
    """The KL of each latent dimension in nats; where it has no such part, the standard deviation of the images' codes.

    Args:
        model: a model with an encoder.
        x: images, (batch, channels, height, width), binarized as in training.
    """
    try:
        return Activity(torch.cat(kl_of_dimensions(model, x)), "KL", "KL in nats")
    except NotOffered:
        spread = model.encode(x).std(0, correction=min(1, len(x) - 1)).cpu()
        return Activity(spread, "sd", "sd: standard deviation of the images' codes")


@torch.no_grad()
def kl_of_dimensions(model: Model, x: Tensor) -> list[Tensor]:
    """E_x KL(q(z_i|x) ‖ p(z_i)) of each latent dimension i in nats, in closed form, on the CPU.

    Where the dimensions are independent under q and p, these add up to the KL. Of a latent variable below another one
    it is given one draw of those above.

    Args:
        model: a model with a posterior and a prior.
        x: images, (batch, channels, height, width), binarized as in training.

    Returns:
        A tensor (latent,) for each latent variable, in the order of the joint code: the topmost first.

    Raises:
        NotOffered: if there is no latent variable, or dimensions depend on each other, or there is no closed form.
    """
    x, found = model.admit(x), list[list[Tensor]]()
    for part in x.split(model.at_once):
        latents = model.draw(model.infer(part), part, 1).latents
        found.append([_kl(latent.q, latent.p).reshape(len(part), -1) for latent in latents])
    if not found or not found[0]:
        raise NotOffered(f"{type(model).__name__} does not have latent variables")
    return [torch.cat(of_variable).double().mean(0).cpu() for of_variable in zip(*found, strict=True)]


def _kl(q: Distribution, p: Distribution) -> Tensor:
    """KL of each dimension, (…, latent)."""
    try:
        return kl_divergence(_of_each(q), _of_each(p))
    except NotImplementedError as error:
        raise NotOffered("the KL has no part in closed form for each dimension of this posterior and prior") from error


def _of_each(distribution: Distribution) -> Distribution:
    """The distributions of the dimensions, where these are independent."""
    if isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1:
        return distribution.base_dist
    raise NotImplementedError
