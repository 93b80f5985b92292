"""What ``report.baseline`` says: the values of one setting, as the report shows them."""

import re

from vae_lab.errors import ConfigError

KEY = "report.baseline"


def parsed(text: str) -> dict[str, str]:
    """Settings as the report shows them, by their keys.

    >>> parsed("prior=vamp  hidden_dims=[300,300]"), parsed("prior=vamp,seed=0")
    ({'prior': 'vamp', 'hidden_dims': '[300,300]'}, {'prior': 'vamp', 'seed': '0'})

    Raises:
        ConfigError: if the text is something else.
    """
    items = re.split(r"(?:\s*,\s*|\s+)(?=[\w./]+=)", text.strip())
    if not all(re.fullmatch(r"[\w./]+=[^=]+", item) for item in items):
        raise ConfigError(KEY, text, "must be a setting as the report shows it: key=value, or several with commas")
    return {key: value for key, _, value in (item.partition("=") for item in items)}


def is_same(one: str, other: str) -> bool:
    """Whether two values as they are typed are the same.

    >>> is_same("1e-3", "0.001"), is_same("[300, 300]", "[300,300]"), is_same("kl", "sgvb")
    (True, True, False)
    """
    try:
        return float(one) == float(other)
    except ValueError:
        return "".join(one.split()) == "".join(other.split())
