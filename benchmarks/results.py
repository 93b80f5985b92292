"""Writes docs/results.md from run folders: python benchmarks/results.py RUN_FOLDER ... > docs/results.md

A run is recognised by its overrides: its recipe names the row, and the other overrides are in the row's command.
Runs that differ only in their seed are one row, mean ± standard deviation.
"""

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from vae_lab.config.settings import command, overrides_to_repeat
from vae_lab.runs.folder import RunFolder

PUBLISHED = {
    "bernoulli_z10": "100.16, mean of ten (best 99.37; KL 19.27, reconstruction 80.89)",
    "iwae_row1": "NLL 86.76 at k = 5000 after 3280 epochs",
}

# recipes of the likelihood ladder, and what was published for such a decoder
GENERATIVE = "[pytorch-generative](https://github.com/EugenHotaj/pytorch-generative)"
LADDER = {
    "rung1_mlp": "NLL 86.76, one layer of z, [IWAE](https://arxiv.org/abs/1509.00519)",
    "rung2_conv": "NELBO 86.55, NLL 82.14, gated, static bits, [Sylvester](https://arxiv.org/abs/1803.05649)",
    "rung3_masked": "NLL 79.02, static bits, [PixelVAE](https://arxiv.org/abs/1611.05013)",
    "rung4_pixelcnn": f"81.45, PixelCNN without z, {GENERATIVE}",
    "rung5_transformer": f"79.17, ImageGPT without z, {GENERATIVE}",
    "best_cpu": "–",
}

HEAD = """# Results

The recipes of `conf/experiment/`, run to their ends. Nats per image on the test images, whose bits are drawn once from
a fixed seed; NELBO, KL and reconstruction from `loss.samples` draws of z for each image (four in `bernoulli_z10_tuned`,
else one), the KL in closed form where `loss=kl`; the bound of −log p(x) from k draws. Mean ± standard deviation where
there are several seeds. The seconds are those of training, on a machine that did other work too. Made by

```sh
python benchmarks/results.py RUN_FOLDER ... > docs/results.md
```

from the folders' `config.yaml` and `metrics.json`; the bounds, and what is said of samples and codes, were added by
`python -m vae_lab task=evaluate run_dir=RUN_FOLDER evaluation.k=…`. [How fast it is](speed.md):

![training images per second of vae_lab and other loops](images/speed.png)
"""

JUDGED = """
## Judged by something other than the likelihood

{samples:,} decoded means of draws from the prior. Fréchet and kernel distance are taken between features of a digit
classifier that the project trains itself: they compare these models with each other and are **not comparable with
Inception FID**. The same number of training images score {training:.2f} on the Fréchet distance. Confidence is the mean
probability of the likeliest label, balance the entropy of the labels drawn over its largest value. Precision is the
share of samples that lie among test images, recall the share of test images that lie among samples. The nearest
training image is {test:.2f} away from a test image on average (Euclidean, over pixels): a model that copies would be at
0. The last row has what real images score themselves.

| recipe | Fréchet | kernel | precision | recall | confidence | balance | nearest training image |
|---|---|---|---|---|---|---|---|"""

CODES = """
## What the codes hold

The share of the KL is KL / NELBO: what of an image's nats goes through the code. Active units are latent dimensions
whose posterior mean has a variance above 0.01. KL = I(x; z) + KL(q(z) ‖ p(z)), where I(x; z) is at most the logarithm
of the number of images, 9.21. The last two columns are the test accuracies of 5 nearest neighbours and of logistic
regression that see the posterior means only.

| recipe | KL | share of the KL | active units | I(x; z) | KL(q(z) ‖ p(z)) | kNN | linear |
|---|---|---|---|---|---|---|---|"""

OF_LADDER = """
## The likelihood ladder

From independent pixels to decoders that see the pixels before: the recipes by rung. NELBO and −log p(x) in nats over
all test images, the latter also as mean ± standard deviation over draws of the bits of all of them
(`evaluation.bit_draws=5`); seconds of training. The published figures are of other networks and budgets.

| rung | NELBO | −log p(x) | over draws | share of the KL | active units | I(x; z) | parameters | seconds | published |
|---|---|---|---|---|---|---|---|---|---|"""

GAPS = """
## What each way of inference is worth

log p(x) − ELBO of {images:,} test images and its two parts (`task=evaluate run_dir=RUN_FOLDER evaluation.gaps=true`):
the approximation gap is what the best q of the family still lacks, the amortisation gap what the model's own q lacks of
that one. A better prior could gain the marginal KL(q(z) ‖ p(z)) at most; the rest of the KL is I(x; z).

| command | NELBO | −log p(x) | log p(x) − ELBO | approximation | amortisation | I(x; z) | KL(q(z) ‖ p(z)) | seconds |
|---|---|---|---|---|---|---|---|---|"""

ESTIMATED = """
## The Monte Carlo estimate of the KL

The untrained notebook model, one batch of 256 images, {n:,} samples of z for each image.

| command | Monte Carlo | standard error | value | by | difference / standard errors |
|---|---|---|---|---|---|"""


def recognise(run: Path) -> tuple[str, tuple[str, ...]]:
    """The recipe of a run and its other overrides, without the seed: seeds are one row."""
    overrides = overrides_to_repeat(RunFolder(run).read_overrides() or [])
    overrides = [item for item in overrides if not item.startswith("seed=")]
    recipe = next((item for item in overrides if item.startswith("experiment=")), "")
    return recipe.removeprefix("experiment="), tuple(item for item in overrides if item != recipe)


def shell(name: str, overrides: tuple[str, ...], runs: list[dict[str, Any]]) -> str:
    """The command for these runs."""
    seeds = sorted(run["seed"] for run in runs)
    return f"`{command([*([f'experiment={name}'] if name else []), *overrides], seeds)}`"


def spread(values: list[float], digits: int = 2) -> str:
    """Mean, with the standard deviation where there are several values."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def column(runs: list[dict[str, Any]], name: str, digits: int = 2) -> str:
    """One figure of a row; a dash where a run lacks it."""
    return spread([run[name] for run in runs], digits) if all(name in run for run in runs) else "–"


def bound(runs: list[dict[str, Any]]) -> str:
    """The importance-weighted bound at the largest k that any run has, and which runs those are."""
    names = [name for run in runs for name in run if re.fullmatch(r"test/nll_iwae_\d+", name)]
    if not names:
        return "–"
    name = max(names, key=lambda found: int(found.rpartition("_")[2]))
    having = [run for run in runs if name in run]
    error = f" ± {having[0][f'{name}_se']:.2f} over images" if len(having) == 1 else ""
    seeds = f" (seed {', '.join(str(run['seed']) for run in having)})" if len(having) < len(runs) else ""
    return f"{column(having, name)}{error}, k = {name.rpartition('_')[2]}{seeds}"


def over_draws(runs: list[dict[str, Any]]) -> str:
    """The bound over draws of the test images' bits, of the first run that has it; a dash where none has."""
    for run in runs:
        for name in run:
            if found := re.fullmatch(r"(test/nll_iwae_(\d+)_over_draws)_sd", name):
                return f"{run[found[1]]:.2f} ± {run[name]:.2f}, k = {found[2]}"
    return "–"


SHARE = "share_of_the_kl"
# digits of each judgement, and which real images it is compared with
JUDGES = {
    "frechet_distance": (2, "training"),
    "kernel_distance": (3, "training"),
    "precision": (3, "training"),
    "recall": (3, "training"),
    "confidence": (2, "test"),
    "class_balance": (2, "test"),
    "nearest_distance": (2, "test"),
}


def measured(file: Path) -> dict[str, Any]:
    """The figures of a run, with the share of its KL; a density may be above 1, and then there is no share."""
    found: dict[str, Any] = json.loads(file.read_text())
    has_share = "test/kl" in found and found.get("test/nelbo", 0) > 0 and not found.get("is_density")
    return found | ({SHARE: found["test/kl"] / found["test/nelbo"]} if has_share else {})


Rows = dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]]


def print_trained(rows: Rows) -> None:
    """The first table: what was trained, and its bounds."""
    machines = {f"{run['device']}, {run['versions']}" for runs in rows.values() for run in runs}
    print(f"Machine: {'; '.join(sorted(machines))}.\n")
    print(
        "| command | binarization | epochs | seconds | NELBO | KL | reconstruction | −log p(x) | published |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for (name, overrides), runs in rows.items():
        what = runs[0]["binarization"] if runs[0]["binarization"] != "none" else "none: grey levels"
        cells = [
            shell(name, overrides, runs),
            what if runs[0]["is_likelihood"] else f"{what}, a cross-entropy",
            column(runs, "epochs", 0),
            column(runs, "train/seconds", 0),
            *(column(runs, f"test/{term}") for term in ("nelbo", "kl", "reconstruction")),
            bound(runs),
            PUBLISHED.get(name, "–") if not overrides else "–",
        ]
        print(f"| {' | '.join(cells)} |")


def print_judged(rows: Rows) -> None:
    """The table of the samples: what a classifier says."""
    yardsticks = ("samples", "frechet_distance_of_training_images", "nearest_distance_of_test_images")
    found = {tuple(round(run[f"judge/{name}"], 2) for name in yardsticks) for runs in rows.values() for run in runs}
    if len(found) > 1:
        sys.exit("results.py: the runs were judged by different numbers of samples, or other classifiers")
    samples, training, test = found.pop()
    print(JUDGED.format(samples=samples, training=training, test=test))
    for (name, overrides), runs in rows.items():
        cells = [" ".join((name or "default", *overrides))]
        cells += [column(runs, f"judge/{figure}", digits) for figure, (digits, _) in JUDGES.items()]
        print(f"| {' | '.join(cells)} |")
    every = [run for runs in rows.values() for run in runs]
    of_real = [of_real_images(every, figure, digits, of) for figure, (digits, of) in JUDGES.items()]
    print(f"| real images | {' | '.join(of_real)} |")


def of_real_images(runs: list[dict[str, Any]], figure: str, digits: int, of: str) -> str:
    """What real images score, by the first run that measured it; a dash where none did."""
    name = f"judge/{figure}_of_{of}_images"
    return next((f"{run[name]:.{digits}f}" for run in runs if name in run), "–")


def print_codes(rows: Rows) -> None:
    """The table of the codes: how much goes through them, and what can be read from them."""
    print(CODES)
    for (name, overrides), runs in rows.items():
        cells = [" ".join((name or "default", *overrides)), column(runs, "test/kl"), column(runs, SHARE, 3)]
        cells += [column(runs, "test/active_units", 0)]
        cells += [column(runs, f"test/{figure}") for figure in ("mutual_information", "marginal_kl")]
        cells += [column(runs, f"judge/{figure}", 3) for figure in ("knn_accuracy", "linear_accuracy")]
        print(f"| {' | '.join(cells)} |")


def print_ladder(rows: Rows) -> None:
    """The likelihood ladder, rung by rung; a recipe without further overrides is a rung."""
    there = [name for name in LADDER if (name, ()) in rows]
    if not there:
        return
    print(OF_LADDER)
    for name in there:
        runs = rows[name, ()]
        cells = [
            f"`experiment={name}`",
            column(runs, "test/nelbo"),
            bound(runs),
            over_draws(runs),
            column(runs, SHARE, 3),
        ]
        cells += [column(runs, "test/active_units", 0), column(runs, "test/mutual_information")]
        cells += [f"{runs[0]['parameters']:,}", column(runs, "train/seconds", 0), LADDER[name]]
        print(f"| {' | '.join(cells)} |")


def print_gaps(rows: Rows) -> None:
    """The table of the gaps: what separates the ELBO from log p(x)."""
    counts = {run["gaps/images"] for runs in rows.values() for run in runs}
    if len(counts) > 1:
        sys.exit("results.py: the gaps were measured on different numbers of images")
    print(GAPS.format(images=counts.pop()))
    for (name, overrides), runs in rows.items():
        cells = [shell(name, overrides, runs), column(runs, "test/nelbo"), bound(runs)]
        cells += [column(runs, f"gaps/{part}") for part in ("total", "approximation", "amortisation")]
        cells += [column(runs, f"test/{part}") for part in ("mutual_information", "marginal_kl")]
        print(f"| {' | '.join([*cells, column(runs, 'train/seconds', 0)])} |")


def print_estimated(rows: Rows) -> None:
    """The last table: the Monte Carlo KL beside its value."""
    print(ESTIMATED.format(n=next(iter(rows.values()))[0]["estimator/n"]))
    for (name, overrides), (run, *_) in rows.items():
        estimate, error, value = (run[f"estimator/{part}"] for part in ("estimate", "error", "value"))
        sigmas = (estimate - value) / error
        print(
            f"| {shell(name, overrides, [])} | {estimate:.5f} | {error:.5f} | {value:.5f} "
            f"| {run['estimator/method']} | {sigmas:.1f} |"
        )


def main() -> None:
    """Print the page."""
    rows: Rows = defaultdict(list)
    for folder in map(Path, sys.argv[1:]):
        if not (folder / "metrics.json").exists():
            sys.exit(f"results.py: {folder}: no metrics.json in it; give folders of finished runs")
        rows[recognise(folder)].append(measured(folder / "metrics.json"))

    def having(figure: str) -> Rows:
        kept = {key: [run for run in runs if figure in run] for key, runs in sorted(rows.items())}
        return {key: runs for key, runs in kept.items() if runs}

    print(HEAD)
    for figure, table in (
        ("test/nelbo", print_trained),
        ("test/nelbo", print_ladder),
        ("judge/samples", print_judged),
        ("test/active_units", print_codes),
        ("gaps/total", print_gaps),
        ("estimator/n", print_estimated),
    ):
        if found := having(figure):
            table(found)


if __name__ == "__main__":
    main()
