"""The two networks of a model as files that other programs run."""

import copy
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vae_lab.distributions.summaries import has_mean
from vae_lab.errors import NotOffered, UserError, reason_of, to_install
from vae_lab.files.new_folder import new_folder
from vae_lab.inference import Amortized
from vae_lab.paths import expanded

log = logging.getLogger(__name__)

TOLERANCE = 1e-5  # of an output in [−1, 1]; of larger ones relative to the largest


class _Function(nn.Module):
    """A function of a model as a module, which is what torch exports."""

    def __init__(self, model: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(self.model, values)


def _codes(model: Any, images: Tensor) -> Tensor:
    if not isinstance(getattr(model, "inference", Amortized()), Amortized):
        raise NotOffered("its codes are found by gradient steps for each image")
    return model.codes_of(model.infer(images))


def _means(model: Any, codes: Tensor) -> Tensor:
    images = model.images_given(codes)
    if not has_mean(images):
        raise NotOffered(f"the images of {type(model).__name__} have no mean, and draws are not exported")
    return images.mean


def export(model: Any, folder: Path | str) -> Path:
    """Write ``encoder`` and ``decoder`` as ``.pt2`` (torch.export) and ``.onnx``, and ``weights.safetensors``.

    Each ONNX file is run by onnxruntime and compared with the model before the folder appears.

    Args:
        model: a model.
        folder: new folder, or an empty one.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
        from safetensors.torch import save_file
    except ImportError as error:
        raise UserError(f"export needs more packages: {to_install(error)}, or pip install 'vae_lab[export]'") from error
    model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    with new_folder(folder) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own use of itself
        written = [name for name, net, x in _networks(model) if _write(place / name, net, x, onnxruntime)]
        if not written:
            raise NotOffered(f"{type(model).__name__} has no network that can be exported")
        weights = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
        save_file(weights, place / "weights.safetensors")
    return Path(expanded(folder))


def _networks(model: Any) -> list[tuple[str, nn.Module, Tensor]]:
    """Name, network and some inputs of what a model has to export."""
    found: list[tuple[str, nn.Module, Tensor]] = []
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, *model.image_shape, generator=generator).round()  # which every likelihood takes
    try:
        codes = model.draw_codes(5)
    except NotOffered:
        codes = torch.zeros(5, 0)
    for name, function, values in (("encoder", _codes, images), ("decoder", _means, codes)):
        try:
            function(model, values)
        except NotOffered as reason:
            log.info("%s: not exported, %s", name, reason)
        else:
            found.append((name, _Function(model, function), values))
    return found


def _write(file: Path, net: nn.Module, values: Tensor, onnxruntime: Any) -> bool:
    """Write a network in both forms, and compare them with it; batches may have any size."""
    given, wanted = ("images", "codes") if file.name == "encoder" else ("codes", "images")
    try:
        program = torch.export.export(net, (values[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        exported = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[given], output_names=[wanted], dynamic_shapes=None
        )
    except Exception as error:  # whatever the exporter meets in a network that it cannot follow
        raise NotOffered(f"the {file.name} cannot be exported: {reason_of(error)}") from error
    assert exported is not None
    torch.export.save(program, file.with_suffix(".pt2"))
    exported.save(str(file.with_suffix(".onnx")))
    session = onnxruntime.InferenceSession(str(file.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
    expected = net(values)
    (found,) = session.run(None, {given: values.numpy()})
    difference = (torch.from_numpy(found) - expected).abs().max().item() / max(1.0, expected.abs().max().item())
    if not difference <= TOLERANCE:
        raise UserError(f"the exported {file.name} differs from the model by {difference:.1e}, more than {TOLERANCE:g}")
    return True
