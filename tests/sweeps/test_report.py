"""The report over run folders: sweep.csv, report.html, the terminal, and the columns of TensorBoard."""

import base64
import csv
import hashlib
import json
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from helpers import IMPORTS_TOLD, finish, start
from sweep_reports import Page
from vae_lab.paths import CONF
from vae_lab.sweeps import html_report, report
from vae_lab.sweeps.plots import drawn
from vae_lab.sweeps.sweep import Sweep
from vae_lab.sweeps.table_files import latex, markdown
from vae_lab.sweeps.tables import Cell, Column, Table
from vae_lab.tasks.summary import hparams_of
from vae_lab.training.loggers import TensorBoard

SCRIPT = (Path(html_report.__file__).parent / "report_script.js").read_text()


def test_the_program_reports_without_torch(sweep, tmp_path):
    done = finish(start("task=report", "sweep_dir=sweep", folder=tmp_path, program=IMPORTS_TOLD))
    assert done.returncode == 0, done.stderr
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "matplotlib" in imported
    assert not imported & {"torch", "lightning", "torchvision"}
    table = [line.split() for line in done.stdout.splitlines() if line.strip().startswith("0.0")]
    assert [row[0] for row in table] == ["0.001", "0.01"]
    assert "101.00 ± 1.00" in done.stdout
    assert "102.00 ± 1.00" in done.stdout
    assert "12.2 standard errors" in done.stdout
    assert "more than chance" in done.stdout
    assert "python -m vae_lab optimizer.lr=0.001" in done.stdout
    assert "the loss was not finite" in done.stdout
    written = {path.name for path in sweep.iterdir() if path.is_file()}
    assert written == {
        *("sweep.csv", "report.html", "table.md", "table.tex"),
        *("settings.pdf", "learning_curves.pdf"),
    }


def test_the_csv_has_a_row_for_each_run(sweep):
    report.write(sweep)
    rows = list(csv.DictReader((sweep / "sweep.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["finished"] * 6 + ["failed", "cut off"]
    assert rows[0]["run"] == "optimizer.lr=0.001,seed=0"
    assert (rows[1]["optimizer.lr"], rows[1]["seed"], rows[1]["test/nelbo"]) == ("0.001", "1", "102.0")
    assert rows[6]["failure"] == "epoch 0: the loss was not finite"
    assert rows[7]["test/nelbo"] == ""


def test_the_page_holds_everything_itself(sweep):
    report.write(sweep)
    text = (sweep / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1  # ours, the only one that the page allows
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"<script>{SCRIPT}</script>" in text
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in text
    files = [source for source in page.sources if not source.startswith("data:")]
    assert files == ["sweep.csv", "table.md", "table.tex"]
    assert all((sweep / file).exists() for file in files)
    assert not re.search(r"https?://|@import|url\(|fetch|XMLHttp|innerHTML|eval", text)
    assert page.tags.count("img") == 2 + 2  # two figures, the samples of both settings
    for shown in ("102.00 ± 1.00", "optimizer.lr=0.001", "12.2 standard errors", "dynamic", "cpu (1 threads)"):
        assert shown in page.text
    assert page.text.index("0.001") < page.text.index("Not finished") < page.text.index("the loss was not finite")


def test_what_strangers_wrote_is_shown_and_not_obeyed(make_run, tmp_path):
    bad = "</p><script>alert(1)</script><img src=http://x.example/y.png> $\\frac$"
    run = make_run("optimizer.lr=0.001", device=bad)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("activation: silu", f"activation: {json.dumps(bad)}"))
    make_run("optimizer.lr=0.01")
    (run / "overrides.yaml").write_text(json.dumps([f"activation='{bad}'"]))
    failed = make_run("optimizer.lr=1.0", nelbo=None)
    (failed / "failure.txt").write_text(bad)
    report.write(tmp_path / "sweep")
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 2
    assert all(source.startswith("data:") or "/" not in source for source in page.sources)
    assert page.text.count("<script>alert(1)</script>") >= 3


def test_the_name_of_a_stranger_s_criterion_is_shown_and_not_obeyed(make_run, tmp_path):
    for dim in (2, 3):
        make_run(f"latent_dim={dim}", criterion="x" * 500)
    make_run("latent_dim=4", criterion="<script>alert(1)</script>{{ 7 * 7 }}")
    report.write(tmp_path / "sweep")
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == 2
    assert f"test {'x' * 60}" in page.text
    assert "criterion is not a name" in page.text


def test_another_criterion_has_its_own_words_and_no_columns_of_a_nelbo(make_run, tmp_path, capsys):
    for lr, value in (("0.001", 3.0), ("0.01", 5.0)):
        for seed in (0, 1):
            make_run(f"optimizer.lr={lr}", f"seed={seed}", nelbo=value + seed, criterion="frechet_distance")
    report.write(tmp_path / "sweep")
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    for text in (capsys.readouterr().out, page.text):
        assert "validation Fréchet distance" in text
        assert "4.50 ± 0.71" in text
        assert "Test Fréchet distance of its best seed 4.00" in text
        for word in ("NELBO", "KL", "reconstruction", "nats", "Nats"):
            assert word not in text.replace("vae_lab", "")


def test_runs_of_two_criteria_are_not_compared(make_run, tmp_path, capsys):
    make_run("latent_dim=2")
    make_run("latent_dim=3", nelbo=5.0, criterion="frechet_distance")
    report.write(tmp_path / "sweep")
    said = capsys.readouterr().out
    assert "Next best" not in said
    for text in (said, (tmp_path / "sweep" / "report.html").read_text()):
        assert "chosen by different figures (Fréchet distance, NELBO): these are not on one scale" in text


@pytest.mark.parametrize(
    ("overrides", "heading"),
    [
        ([["seed=0"], ["seed=1"]], "NELBO by seed"),
        ([["loss.coeff=1"], ["loss.coeff=2"]], "Validation NELBO over loss.coeff"),
        ([["loss.coeff=1"], ["loss.coeff=2", "latent_dim=3"], ["latent_dim=3"]], "loss.coeff, latent_dim"),
        (
            [["loss.coeff=1"], ["loss.coeff=2"], ["latent_dim=3"], ["seed=1", "hidden_dims=[5]"]],
            "loss.coeff, latent_dim, hidden_dims",
        ),
    ],
)
def test_each_number_of_swept_keys_has_its_figure(make_run, tmp_path, overrides, heading):
    for index, items in enumerate(overrides):
        make_run(*items, nelbo=100.0 + index)
    report.write(tmp_path / "sweep")
    found = [each.heading for each in drawn(Sweep(tmp_path / "sweep")).values()]
    assert found[0].endswith(heading)
    assert found[1] == "Learning curves"


def test_a_sweep_of_which_nothing_finished_says_so(make_run, tmp_path, capsys):
    for lr in ("1.0", "2.0"):
        (make_run(f"optimizer.lr={lr}", nelbo=None) / "failure.txt").write_text("not finite")
    report.write(tmp_path / "sweep")
    assert "No run finished" in (tmp_path / "sweep" / "report.html").read_text()
    assert "failed: optimizer.lr=2.0: not finite" in capsys.readouterr().out


def test_figures_of_two_kinds_are_not_ranked_silently(make_run, tmp_path, capsys):
    make_run("data.binarization=dynamic")
    make_run("data.binarization=static")
    report.write(tmp_path / "sweep")
    page = (tmp_path / "sweep" / "report.html").read_text().partition("</style>")[2]
    for text in (capsys.readouterr().out, page):
        assert "not on one scale" in text
        for word in ("best:", "Best setting", "Next best", "the best", "standard error", "python -m vae_lab"):
            assert word not in text
    assert "No run finished" not in page


def test_the_warning_comes_before_the_figures(make_run, tmp_path, capsys):
    make_run("likelihood=gaussian", "data.binarization=none", nelbo=-500.0)
    make_run("data.binarization=none", nelbo=100.0, is_likelihood=False)
    report.write(tmp_path / "sweep")
    said = capsys.readouterr().out
    assert said.index("not on one scale") < said.index("validation NELBO")


def test_probabilities_of_the_same_levels_are_on_one_scale_and_shown_in_bits(make_run, tmp_path, capsys):
    for likelihood, bits in (("categorical", 1.2344), ("logistic_mixture", 1.1)):
        overrides = (f"likelihood={likelihood}", "data.binarization=none")
        make_run(*overrides, nelbo=bits, **{"test/bits_per_dimension": bits, "is_density": False})
    report.write(tmp_path / "sweep")
    page = (tmp_path / "sweep" / "report.html").read_text()
    for text in (capsys.readouterr().out, page):
        assert "not on one scale" not in text
        for word in ("bits/dimension", "1.234", "1.100", "likelihood=logistic_mixture"):
            assert word in text
    assert "log-densities" not in page


def test_a_report_says_that_figures_are_densities(make_run, tmp_path):
    make_run("likelihood=gaussian", "data.binarization=none", is_density=True)
    report.write(tmp_path / "sweep")
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "log-densities of pixels, not probabilities" in page
    assert "bits" not in page.partition("</style>")[2]


@pytest.mark.parametrize(
    "argument",
    [
        ["likelihood.scale=0.1"],
        ["likelihood.learned=true"],
        ["likelihood.learned=per_pixel"],
        ["likelihood.squash=false"],
    ],
)
def test_densities_of_the_same_pixels_are_on_one_scale(make_run, tmp_path, capsys, argument):
    gaussian = ("likelihood=gaussian", "data.binarization=none")
    make_run(*gaussian, nelbo=-400.0)
    make_run(*gaussian, *argument, nelbo=-500.0)
    report.write(tmp_path / "sweep")
    said = capsys.readouterr().out
    assert "not on one scale" not in said
    assert f"best: {argument[0]}" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["likelihood=bernoulli"], ["likelihood=gaussian"]),
        (["data.binarization=dynamic"], ["data.binarization=none"]),
        (["data.checksums=own", "data.sha256=abc"], ["data.checksums=own", "data.sha256=abd"]),
    ],
)
def test_other_pixels_or_another_likelihood_are_on_another_scale(make_run, tmp_path, first, second):
    make_run(*first)
    make_run(*second)
    assert not Sweep(tmp_path / "sweep").is_on_one_scale


@pytest.mark.parametrize("folder", ["two words", "it's (é)", "$HOME", "a;b"])
def test_the_commands_can_be_pasted(make_run, tmp_path, capsys, folder):
    make_run("seed=0", folder=folder)
    report.write(tmp_path / folder)
    *_, last = capsys.readouterr().out.splitlines()
    assert shlex.split(last) == ["tensorboard", "--logdir", str(tmp_path / folder)]


def test_hparams_of_all_runs_are_the_columns_of_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    for number, overrides in enumerate(
        (["optimizer.lr=0.001", "hidden_dims=[64]"], ["loss=sgvb", "prior=mixture", "loss.coeff=0.5"])
    ):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            full = compose("config", overrides, return_hydra_config=True)
            config = compose("config", overrides)
        logger = TensorBoard(str(tmp_path / str(number)))
        logger.log_results(hparams_of(config, full.hydra.runtime.choices), {"test/nelbo": 100.0 + number}, 2)
    found = []
    for number in (0, 1):
        events = EventAccumulator(str(tmp_path / str(number))).Reload()
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        found.append(metadata.parse_session_start_info_plugin_data(content).hparams)
        assert events.Scalars("test/nelbo")[0].value == 100 + number
        # TensorBoard would show the columns of the first run that has a list of them
        assert metadata.EXPERIMENT_TAG not in events.PluginTagToContent("hparams")
    assert (found[0]["optimizer.lr"].number_value, found[1]["optimizer.lr"].number_value) == (0.001, 0.003)
    assert (found[0]["hidden_dims"].string_value, found[1]["hidden_dims"].string_value) == ("[64]", "[300,300]")
    assert (found[0]["loss.coeff"].number_value, found[1]["loss.coeff"].number_value) == (1, 0.5)
    assert (found[0]["prior"].string_value, found[1]["prior"].string_value) == ("standard_normal", "mixture")
    assert found[1]["prior.components"].number_value == 10
    assert "encoder.hidden_dims" not in found[0]


def test_the_report_has_its_tables_as_markdown_and_latex(sweep):
    report.write(sweep, "optimizer.lr=1e-3")
    lines = (sweep / "table.md").read_text().splitlines()
    assert lines[0] == "## All settings"
    head, rule, best, other = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6])
    assert len(head) == len(rule) == len(best)
    row = dict(zip(head, other, strict=True))
    assert (row["optimizer.lr"], row["seeds"], row["test NELBO"]) == ("0.01", "3", "112.00 ± 1.00")
    # three seeds with a variance of 1 in each setting
    assert row["gap to best"] == row["against baseline"] == "+10.00 ± 0.82"
    assert row["p (Holm)"] == "\\< 0.001"
    assert dict(zip(head, best, strict=True))["gap to best"] == "–"
    text = (sweep / "table.tex").read_text()
    assert "0.01 & 3 & 111.00 $\\pm$ 1.00 & 112.00 $\\pm$ 1.00 & +10.00 $\\pm$ 0.82" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert text.count("{") == text.count("}")
    assert (sweep / "learning_curves.pdf").read_bytes().startswith(b"%PDF")
    assert (sweep / "settings.pdf").read_bytes().startswith(b"%PDF")


def test_a_table_for_latex_and_markdown_takes_no_word_of_a_stranger_for_its_own():
    bad = "\\input{/etc/passwd} $x$ & a_b #1 %\n\\\\ | [x](http://y) <b> {~^}"
    table = Table(bad, [Column(bad, False), Column("n")], [[Cell(bad), Cell("-1.00", -1.0)]], bad)
    written = latex([table])
    assert "-1.00" not in written
    assert "$-$1.00" in written
    for line in written.splitlines():
        if "etc" in line and "label" not in line:
            assert r"\textbackslash{}input\{/etc/passwd\} \$x\$ \& a\_b \#1 \% \textbackslash{}" in line
    row = next(line for line in written.splitlines() if line.strip().endswith(r"$-$1.00 \\"))
    assert len(re.findall(r"(?<!\\)&", row)) == 1
    row = markdown([table]).splitlines()[-3]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert r"\[x\](http://y) \<b\>" in row


def test_parameters_and_seconds_are_shown_and_that_sizes_differ_is_said(make_run, tmp_path, capsys):
    make_run("prior=vamp", "loss=sgvb", nelbo=99.0, parameters=1_053_404, **{"train/seconds": 61.5})
    make_run("prior=standard_normal", "loss=sgvb", nelbo=100.0, parameters=661_404)
    report.write(tmp_path / "sweep")
    page = (tmp_path / "sweep" / "report.html").read_text()
    for text in (capsys.readouterr().out, page):
        assert "1,053,404" in text
        assert "61.5" in text
        assert "0.66 M parameters (prior=standard_normal) to 1.05 M (prior=vamp)" in text


def test_sizes_that_hardly_differ_are_not_worth_a_sentence(make_run, tmp_path, capsys):
    make_run("prior=mixture", "loss=sgvb", nelbo=99.0, parameters=664_404)
    make_run("prior=standard_normal", "loss=sgvb", nelbo=100.0, parameters=661_404)
    report.write(tmp_path / "sweep")
    assert "differ in size" not in capsys.readouterr().out + (tmp_path / "sweep" / "report.html").read_text()


def test_columns_can_be_sorted_by_their_numbers(sweep):
    report.write(sweep)
    page = Page((sweep / "report.html").read_text())
    orders = [float(value) for tag, name, value in page.attributes if (tag, name) == ("td", "data-order")]
    assert {1.0, 2.0, 0.001, 0.01, 101.0, 102.0, 111.0, 112.0, 10.0} <= set(orders)
    assert page.tags.count("button") == page.tags.count("th") - 3  # what is not finished has no order


EVALUATED = {
    "test/nll_iwae_100": 95.0,
    "test/active_units": 9,
    "test/mutual_information": 8.9,
    "test/marginal_kl": 3.25,
    "gaps/total": 4.5,
    "gaps/approximation": 1.5,
    "gaps/amortisation": 3.0,
    "judge/samples": 10000,
    "judge/frechet_distance": 75.15,
    "judge/frechet_distance_of_training_images": 3.69,
    "judge/precision": 0.8712,
    "judge/recall": 0.5,
    "judge/precision_of_training_images": 0.9444,
    "judge/recall_of_training_images": 0.9555,
}


def test_what_evaluation_measured_joins_the_report(make_run, tmp_path):
    for seed in (0, 1):
        make_run("latent_dim=2", f"seed={seed}", **EVALUATED | {"test/nll_iwae_5000": 94.0, "gaps/total": 4.5 + seed})
    make_run("latent_dim=3", **EVALUATED)
    make_run("latent_dim=4", nelbo=120.0)
    report.write(tmp_path / "sweep")
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    titles = re.findall(r"^## (.*)$", (tmp_path / "sweep" / "table.md").read_text(), re.MULTILINE)
    assert titles == ["All settings", "Bounds, codes and gaps", "Samples, judged by a classifier"]
    for text in ("−log p(x), k = 100", "95.00", "5.00 ± 0.71", "3.25", "amortisation", "0.871", "75.15", "real images"):
        assert text in page.text
    assert "k = 5,000" not in page.text  # fewer settings have it
    of_real = page.text[page.text.index("real images") :]
    for text in ("3.69", "0.944", "0.956"):
        assert text in of_real


def test_a_gan_has_precision_recall_and_balance_beside_its_criterion(make_run, tmp_path, capsys):
    for dim, value in ((2, 30.0), (3, 40.0)):
        measured = {"test/class_balance": 0.9876, "judge/precision": 0.25, "judge/recall": 0.75}
        make_run(f"latent_dim={dim}", nelbo=value, criterion="frechet_distance", **measured)
    report.write(tmp_path / "sweep")
    said = capsys.readouterr().out
    head = next(line for line in said.splitlines() if "gap to best" in line)
    places = [head.index(word) for word in ("test Fréchet distance", "gap to best", "precision", "recall", "balance")]
    assert places == sorted(places)
    for text in ("0.250", "0.750", "0.988"):
        assert text in said
