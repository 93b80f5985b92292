"""The words of figures and reports for what runs are chosen by."""

from typing import NamedTuple


class Quantity(NamedTuple):
    """What the values on a scale are.

    Args:
        name: name of the quantity.
        unit: its unit; empty where it has none.
    """

    name: str
    unit: str = ""

    @property
    def label(self) -> str:
        """The label of an axis.

        >>> Quantity("NELBO", "nats per image").label, Quantity("frechet_distance").label
        ('NELBO / nats per image', 'frechet_distance')
        """
        return f"{self.name} / {self.unit}" if self.unit else self.name

    @property
    def at_start(self) -> str:
        """The name at the start of a sentence."""
        return f"{self.name[:1].upper()}{self.name[1:]}"


LONGEST = 60  # characters of a name that a stranger's run may have
CRITERIA = {"nelbo": Quantity("NELBO", "nats per image"), "frechet_distance": Quantity("Fréchet distance")}
# figures by epoch that are shown beside a criterion
BESIDE = {
    "nelbo": {"kl": Quantity("KL", "nats per image"), "reconstruction": Quantity("reconstruction", "nats per image")},
    "frechet_distance": {"class_balance": Quantity("label balance"), "confidence": Quantity("confidence")},
}


def quantity_of(criterion: str) -> Quantity:
    """The words for a criterion; one without words of its own is shown as it is, without a unit."""
    return CRITERIA.get(criterion, Quantity(criterion[:LONGEST]))
