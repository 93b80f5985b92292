"""Larochelle's three text files: read as they are, damage named."""

import numpy as np
import pytest
import torch

from helpers import TINY, call
from vae_lab.data import FixedBinarizedMNIST
from vae_lab.data import fixed_binarized_mnist as fixed
from vae_lab.errors import DataError

SIZES = {"binarized_mnist_train.amat": 40, "binarized_mnist_valid.amat": 10, "binarized_mnist_test.amat": 12}


@pytest.fixture
def bits(monkeypatch, tmp_path):
    """The pixels of three small files, by the file's name."""
    monkeypatch.setattr(fixed, "SIZES", SIZES)
    fixed.load_once.cache_clear()
    random, found = np.random.default_rng(0), {}
    for name, n in SIZES.items():
        found[name] = random.integers(0, 2, (n, 784))
        np.savetxt(tmp_path / name, found[name], fmt="%d")
    return found


def made(folder):
    data = FixedBinarizedMNIST(root=str(folder), batch_size=10)
    data.prepare_data()
    data.setup()
    return data


def test_pixels_are_those_of_the_files_and_nothing_is_drawn(bits, tmp_path):
    data = made(tmp_path)
    for part, loader in (("valid", data.val_dataloader()), ("test", data.test_dataloader())):
        seen = torch.cat([x for x, _ in loader]).flatten(1).numpy()
        assert np.array_equal(seen, bits[f"binarized_mnist_{part}.amat"])
    for _ in range(2):
        seen = torch.cat([x for x, _ in data.training_in_order()]).flatten(1).numpy()
        assert np.array_equal(seen, bits["binarized_mnist_train.amat"])
    assert data.labels is None


@pytest.mark.parametrize("end", [" \n", "\r\n", "\n\n"])
def test_ends_of_lines_may_differ(bits, tmp_path, end):
    file = tmp_path / "binarized_mnist_test.amat"
    file.write_text(file.read_text().replace("\n", end).rstrip())
    seen = torch.cat([x for x, _ in made(tmp_path).test_dataloader()])
    assert np.array_equal(seen.flatten(1).numpy(), bits[file.name])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[: len(text) // 2 + 100], "line 7 holds [0-9]+ pixels, not 784"),
        (lambda text: text[: 1568 * 5], "it holds 5 images, not 12"),
        (lambda text: text + text, "it holds 24 images, not 12"),
        (lambda text: text[: 1568 * 3] + "2" + text[1568 * 3 + 1 :], "line 4 holds something else than 0 and 1"),
        (lambda text: text.replace(" ", "", 1), "line 1 holds something else than 0 and 1"),
        (lambda _: "", "it holds 0 images, not 12"),
        (lambda _: "<html>", "line 1 holds something else"),
    ],
)
@pytest.mark.usefixtures("bits")
def test_a_damaged_file_is_named_with_the_line(tmp_path, damage, says):
    file = tmp_path / "binarized_mnist_test.amat"
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=f"{file}: is damaged, {says}"):
        made(tmp_path)


@pytest.mark.usefixtures("bits")
def test_missing_files_are_named_with_their_folder(tmp_path):
    (tmp_path / "binarized_mnist_valid.amat").unlink()
    with pytest.raises(DataError, match=f"{tmp_path} lacks binarized_mnist_valid.amat; put Larochelle's three text"):
        made(tmp_path)


@pytest.mark.usefixtures("bits")
def test_the_program_trains_on_it_and_has_its_own_validation(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tiny = [argument for argument in TINY if not argument.startswith("data.")]
    choice = ("data=fixed_binarized_mnist", f"data.root={tmp_path}")
    answer = call(*choice, *tiny, "data.batch_size=10", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "static binarization" in answer.out
    assert "validation NELBO" in answer.out
    evaluate = ("task=evaluate", "run_dir=run", f"data.root={tmp_path}", "trainer.accelerator=cpu")
    refused = call(*evaluate, "evaluation.bit_draws=2")
    assert refused.code == 2
    assert "evaluation.bit_draws=2: no bits are drawn for these test images; leave it out" in refused.err
    for key in ("data.validation=5", "data.binarization=dynamic"):
        refused = call(*choice, *tiny, key)
        assert refused.code == 2
        assert key.partition("=")[0] in refused.err
