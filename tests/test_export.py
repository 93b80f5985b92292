"""Encoder and decoder as files that other programs run."""

import pytest
import torch

from helpers import SHAPE, small_vae
from test_by_hand import composed
from vae_lab.config.build import build_model
from vae_lab.errors import NotOffered, UserError

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
safetensors = pytest.importorskip("safetensors.torch")

SMALL = ("hidden_dims=[8,8]", "channels=[2,4]", "latent_dim=2")


def run(file, values):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: values.numpy()})[0])


@pytest.mark.parametrize(
    "overrides",
    [
        SMALL,
        pytest.param((*SMALL, "encoder=conv", "decoder=conv", "prior=vamp", "loss=sgvb"), marks=pytest.mark.slow),
        pytest.param(
            ("model=ladder", "loss.warmup_epochs=2", "model.hidden_dims=[8,8]", "model.latent_dims=[4,2]"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_networks_of_both_forms_are_the_models(tmp_path, overrides):
    model = build_model(composed(*overrides), SHAPE).eval()
    folder = model.export(tmp_path / "out")
    x = torch.rand(7, *SHAPE)
    z = model.encode(x)
    for file, values, expected in (("encoder", x, z), ("decoder", z, model.decode(z))):
        torch.testing.assert_close(run(folder / f"{file}.onnx", values), expected, atol=1e-5, rtol=1e-5)
        program = torch.export.load(folder / f"{file}.pt2").module()
        torch.testing.assert_close(program(values), expected, atol=1e-5, rtol=1e-5)
    weights = safetensors.load_file(folder / "weights.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_the_model_itself_does_not_change(tmp_path):
    model = small_vae().double()
    model.export(tmp_path / "out")
    assert model.training
    assert model.device.type == "cpu"
    assert all(weight.dtype == torch.float64 and weight.requires_grad for weight in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [("model=gan",), ("inference=svi",)])
def test_a_model_without_an_encoder_exports_its_decoder(tmp_path, overrides):
    model = build_model(composed(*overrides, *SMALL), SHAPE)
    names = {file.name for file in model.export(tmp_path / "out").iterdir()}
    assert names == {"decoder.onnx", "decoder.pt2", "weights.safetensors"}


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path):
    model = composed("model=autoregressive", "decoder=pixelcnn", "decoder.layers=2", "decoder.width=4")
    with pytest.raises(NotOffered, match="no network that can be exported"):
        build_model(model, SHAPE).export(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "encoder.onnx").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        small_vae().export(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.onnx"]
