"""Losses: from draws of z to what training minimises, in one stage or in several."""

from vae_lab.losses.base import Loss, Outcome, Stage, Weight
from vae_lab.losses.kl import KL, SGVB, KLLoss, NoClosedFormError

__all__ = ["KL", "SGVB", "KLLoss", "Loss", "NoClosedFormError", "Outcome", "Stage", "Weight"]
