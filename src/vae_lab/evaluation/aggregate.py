"""What the KL is made of: what codes say of their image, and how far all codes together are from the prior."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.distributions.summaries import draw_with_density
from vae_lab.errors import NotOffered
from vae_lab.models import Model

CODES = 2000  # codes that the averages are taken over, at most
OF_FLOWS = 1000  # images of a mixture of flows, whose density of a given code takes a pass for each dimension
AT_ONCE = 4_000_000  # numbers of codes in memory at once, for each code and each posterior
WIDER = 32  # numbers that a flow's networks keep for each of those


@torch.no_grad()
def kl_in_two(model: Model, x: Tensor) -> dict[str, float]:
    """E_x KL(q(z|x) ‖ p(z)) = I_q(x; z) + KL(q(z) ‖ p(z)), with q(z) = 1/N Σ_n q(z|x_n), in nats.

    I = E[log q(z|x) − log q(z)] is at most log N. KL(q(z) ‖ p(z)) = E[log q(z) − log p(z)] is the most that a better
    prior can gain on these images: it is 0 at the prior p(z) = q(z). Averages are over one code of each of up to
    2,000 images, the mixture is over all.

    Source: Hoffman and Johnson, ELBO surgery: yet another way to carve up the variational evidence lower bound (2016),
    https://approximateinference.org/accepted/HoffmanJohnson2016.pdf

    Args:
        model: a model with a likelihood and one latent variable, in evaluation mode.
        x: N images, (N, channels, height, width), binarized as in training; of a flow only 1,000, evenly spread.

    Returns:
        ``mutual_information`` I, ``marginal_kl``, and ``mixture_images`` N.

    Raises:
        NotOffered: if there is no single distribution q(z|x), as for a ladder, whose lower layers depend on draws.
    """
    x = model.admit(x)
    one = model.inferred_from(model.numbers_of(x[:1]))
    if not isinstance(one, Distribution):
        raise NotOffered(f"{type(model).__name__} does not have one posterior over the whole code")
    is_flow = _is_flow(one)
    x = evenly(x, OF_FLOWS if is_flow else len(x))
    numbers = torch.cat([model.numbers_of(part) for part in x.split(model.at_once)])
    chosen = evenly(torch.arange(len(x), device=x.device), CODES)
    q = model.inferred_from(numbers[chosen])
    z, log_q = draw_with_density(q, ())
    log_q = q.log_prob(z) if log_q is None else log_q
    pairs = zip(z.split(model.at_once), x[chosen].split(model.at_once), strict=True)
    log_p = torch.cat([model.densities(*pair)[0] for pair in pairs])
    at_once = max(1, AT_ONCE // (len(x) * z.shape[-1] * (WIDER if is_flow else 1)))
    log_mixture = log_of_mixture(model.inferred_from(numbers), z, at_once)
    return {
        "mutual_information": (log_q - log_mixture).double().mean().item(),
        "marginal_kl": (log_mixture - log_p).double().mean().item(),
        "mixture_images": len(x),
    }


def log_of_mixture(q: Distribution, z: Tensor, at_once: int) -> Tensor:
    """log 1/N Σ_n q_n(z) in nats, (codes,).

    Args:
        q: N distributions over codes, of batch shape (N,).
        z: codes, (codes, latent).
        at_once: number of codes that are compared with all N together.
    """
    parts = [q.log_prob(part.unsqueeze(1)).logsumexp(1) for part in z.split(at_once)]
    return torch.cat(parts) - math.log(q.batch_shape[0])


def evenly(values: Tensor, n: int) -> Tensor:
    """Up to n rows, evenly spread over all: the first ones of a file may be easier than the last.

    >>> evenly(torch.arange(10), 4), evenly(torch.arange(2), 4)
    (tensor([0, 2, 5, 7]), tensor([0, 1]))
    """
    n = min(n, len(values))
    return values[torch.arange(n, device=values.device) * len(values) // n]


def _is_flow(q: Distribution) -> bool:
    """Whether q has no mean, as a flow: the density of a given code is then no closed form either."""
    try:
        return q.mean is None
    except NotImplementedError:
        return True
