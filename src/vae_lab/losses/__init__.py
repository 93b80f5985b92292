"""Losses: from draws of z to what training minimises, in one stage or in several."""

from vae_lab.losses.adversarial import Adversarial
from vae_lab.losses.base import Loss, Outcome, Stage, Weight
from vae_lab.losses.importance import IWAE, DReG
from vae_lab.losses.kl import KL, SGVB, KLLoss, NoClosedFormError

__all__ = [
    "IWAE",
    "KL",
    "SGVB",
    "Adversarial",
    "DReG",
    "KLLoss",
    "Loss",
    "NoClosedFormError",
    "Outcome",
    "Stage",
    "Weight",
]
