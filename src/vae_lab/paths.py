"""Where the configs and the runs are."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# a wheel carries conf/ inside the package, a checkout beside src/
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent.parent / "conf"

RUNS = Path("outputs/runs")  # where conf/config.yaml puts the folders of single runs
