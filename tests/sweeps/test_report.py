"""The report over run folders: sweep.csv, report.html, the terminal, and the columns of TensorBoard."""

import csv
import json
import re
import shlex
from html.parser import HTMLParser

import pytest
from hydra import compose, initialize_config_dir

from helpers import IMPORTS_TOLD, finish, start
from vae_lab.paths import CONF
from vae_lab.sweeps import report
from vae_lab.sweeps.plots import drawn
from vae_lab.sweeps.sweep import Sweep
from vae_lab.tasks.summary import hparams_of
from vae_lab.training.loggers import TensorBoard

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def sweep(make_run, tmp_path):
    """Two learning rates over three seeds, one run that failed and one that was cut off."""
    for lr, nelbo in (("0.001", 100.0), ("0.01", 110.0)):
        for seed in (0, 1, 2):
            run = make_run(f"optimizer.lr={lr}", f"seed={seed}", nelbo=nelbo + seed)
            (run / "figures").mkdir()
            (run / "figures" / "samples.png").write_bytes(PNG)
    failed = make_run("optimizer.lr=1.0", "seed=0", nelbo=None)
    (failed / "failure.txt").write_text("epoch 0: the loss was not finite\n")
    make_run("optimizer.lr=1.0", "seed=1", nelbo=None)
    return tmp_path / "sweep"


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
    assert written == {"sweep.csv", "report.html"}


def test_the_csv_has_a_row_for_each_run(sweep):
    report.write(sweep)
    rows = list(csv.DictReader((sweep / "sweep.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["finished"] * 6 + ["failed", "cut off"]
    assert rows[0]["run"] == "optimizer.lr=0.001,seed=0"
    assert (rows[1]["optimizer.lr"], rows[1]["seed"], rows[1]["test/nelbo"]) == ("0.001", "1", "102.0")
    assert rows[6]["failure"] == "epoch 0: the loss was not finite"
    assert rows[7]["test/nelbo"] == ""


class Page(HTMLParser):
    """What a page shows and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_everything_itself(sweep):
    report.write(sweep)
    text = (sweep / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"https?://|@import|url\(", text)
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
    assert "script" not in page.tags
    assert page.tags.count("img") == 2
    assert all(source.startswith("data:") for source in page.sources)
    assert page.text.count("<script>alert(1)</script>") >= 3


def test_the_name_of_a_stranger_s_criterion_is_shown_and_not_obeyed(make_run, tmp_path):
    for dim in (2, 3):
        make_run(f"latent_dim={dim}", criterion="x" * 500)
    make_run("latent_dim=4", criterion="<script>alert(1)</script>{{ 7 * 7 }}")
    report.write(tmp_path / "sweep")
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    assert "script" not in page.tags
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
    found = list(drawn(Sweep(tmp_path / "sweep")))
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
        for word in ("best:", "Best setting", "Next best", "of the best", "standard error", "python -m vae_lab"):
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
