"""Differences between settings: corrected for their number, and the words of a baseline."""

from itertools import chain, combinations

import pytest

from vae_lab.sweeps.comparisons import holm


def closed(p):
    """Holm's values by the closed testing principle: the largest Bonferroni p-value of all groups with a test in it."""
    indices = range(len(p))
    groups = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p) + 1)))
    bonferroni = {group: min(1.0, len(group) * min(p[i] for i in group)) for group in groups}
    return [max(value for group, value in bonferroni.items() if i in group) for i in indices]


@pytest.mark.parametrize(
    "p",
    [[], [0.2], [0.01, 0.04, 0.03], [0.5, 0.5, 0.5], [0.001, 1.0, 0.02, 0.02, 0.3, 0.0], [0.012, 0.013, 0.3, 0.011]],
)
def test_holms_correction_is_the_closed_test(p):
    assert holm(p) == pytest.approx(closed(p))


def test_it_finds_nothing_in_noise_nineteen_times_in_twenty():
    """Of 4,000 families of ten tests without any difference, one in twenty has a corrected p-value below 0.05.

    The count is binomial with mean 195 or less (1 − 0.995¹⁰ = 4.9 %) and a standard deviation below 14: more than 250
    would come less than once in 20,000 times.
    """
    import numpy as np

    families = np.random.default_rng(0).uniform(size=(4000, 10))
    found = sum(min(holm(family.tolist())) < 0.05 for family in families)
    assert 140 < found < 250
