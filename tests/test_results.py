"""benchmarks/results.py: rows of docs/results.md from what runs left in their folders."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "results.py"
FACTS = {"seed": 0, "device": "cpu", "versions": "python 3", "parameters": 661_404, "epochs": 3, "train/seconds": 60.4}
VAE = FACTS | {"binarization": "dynamic", "is_likelihood": True, "is_density": False}
VAE |= {"test/nelbo": 80.0, "test/kl": 20.0, "test/reconstruction": 60.0}
CODES = {"test/active_units": 10, "test/mutual_information": 9.1, "test/marginal_kl": 10.9}
JUDGED = {
    "judge/samples": 10000,
    "judge/frechet_distance": 21.5,
    "judge/frechet_distance_of_training_images": 3.69,
    "judge/kernel_distance": 9.0,
    "judge/precision": 0.812,
    "judge/recall": 0.7,
    "judge/recall_of_training_images": 0.95,
    "judge/confidence": 0.9,
    "judge/class_balance": 0.99,
    "judge/class_balance_of_test_images": 1.0,
    "judge/nearest_distance": 4.3,
    "judge/nearest_distance_of_test_images": 4.24,
}


@pytest.fixture
def results(tmp_path, monkeypatch, capsys):
    """The page of some runs, each by its overrides, as tables below their headings."""

    def made(runs):
        folders = []
        for number, (overrides, metrics) in enumerate(runs):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "overrides.yaml").write_text(json.dumps(overrides))
            (folder / "metrics.json").write_text(json.dumps(metrics))
            folders.append(str(folder))
        monkeypatch.setattr(sys, "argv", ["results.py", *folders])
        spec = importlib.util.spec_from_file_location("results", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main()
        return tables(capsys.readouterr().out)

    return made


def tables(text):
    found = {}
    for part in text.split("## "):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
        if lines:
            head, _, *rows = lines
            assert {len(row) for row in rows} == {len(head)}
            found[part.splitlines()[0]] = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    return found


def test_the_ladder_has_a_row_for_each_rung(results):
    nll = {"test/nll_iwae_1000": 78.5, "test/nll_iwae_1000_se": 0.2}
    nll |= {"test/nll_iwae_100_over_draws": 78.6, "test/nll_iwae_100_over_draws_sd": 0.05}
    runs = [(["experiment=rung3_masked", f"seed={seed}"], VAE | CODES | nll | {"seed": seed}) for seed in (0, 1)]
    found = results([*runs, (["experiment=rung1_mlp"], VAE), (["experiment=rung1_mlp", "latent_dim=2"], VAE)])
    ladder = found["The likelihood ladder"]
    assert list(ladder) == ["`experiment=rung1_mlp`", "`experiment=rung3_masked`"]
    rung = ladder["`experiment=rung3_masked`"]
    assert rung["share of the KL"] == "0.250 ± 0.000"
    assert rung["−log p(x)"] == "78.50 ± 0.00, k = 1000"
    assert (rung["over draws"], ladder["`experiment=rung1_mlp`"]["over draws"]) == ("78.60 ± 0.05, k = 100", "–")
    assert (rung["active units"], rung["I(x; z)"]) == ("10 ± 0", "9.10 ± 0.00")
    assert (rung["parameters"], rung["seconds"]) == ("661,404", "60 ± 0")
    assert "79.02" in rung["published"]
    assert "https://arxiv.org/abs/1611.05013" in rung["published"]
    assert ladder["`experiment=rung1_mlp`"]["I(x; z)"] == "–"


def test_a_gan_is_judged_beside_vaes_and_real_images_and_has_no_row_of_a_likelihood(results):
    gan = FACTS | {"criterion": "frechet_distance", "test/frechet_distance": 21.5}
    found = results([(["experiment=dcgan"], gan | JUDGED), ([], VAE | CODES | JUDGED)])
    judged = found["Judged by something other than the likelihood"]
    assert list(judged) == ["default", "dcgan", "real images"]
    assert (judged["dcgan"]["precision"], judged["dcgan"]["recall"], judged["dcgan"]["balance"]) == (
        "0.812",
        "0.700",
        "0.99",
    )
    assert judged["real images"]["Fréchet"] == "3.69"
    assert (judged["real images"]["recall"], judged["real images"]["precision"]) == ("0.950", "–")
    assert "dcgan" not in str(found["# Results"])
    assert list(found["What the codes hold"]) == ["default"]
    assert found["What the codes hold"]["default"]["share of the KL"] == "0.250"


def test_a_density_has_no_share_of_the_kl(results):
    found = results([(["likelihood=gaussian"], VAE | CODES | {"is_density": True, "test/nelbo": -500.0})])
    assert found["What the codes hold"]["default likelihood=gaussian"]["share of the KL"] == "–"
