"""The loops that vae_lab is compared with: python benchmarks/rivals.py LOOP MODEL, run by benchmarks/speed.py.

MODEL is one of MODELS, or a Model as JSON. Each loop trains it as its users would write it and prints images per
second, from its first step to its last, as JSON. The nets are vae_lab's own, so that the arithmetic is the same; the
losses are written by hand.

floor      everything in memory as floats, index_select, fused Adam, no logs
kept       the same, with freed memory kept by the allocator
tuned      the same, with freed memory kept and the quicker of two libraries for products, as vae_lab measures it
notebook   torchvision's transforms, DataLoader, loss.item() at each step
lightning  the same loader under Lightning's default Trainer: bar, TensorBoard, checkpoints, three self.log a step
pythae     its BaseTrainer on an array in memory (pip install pythae)
"""

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from colour_digits import tinted
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from vae_lab.data import mnist_files as files
from vae_lab.decoders import ConvDecoder, MLPDecoder
from vae_lab.encoders import ConvEncoder, MLPEncoder
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.networks import Activation
from vae_lab.training.hardware import keep_freed_memory, multiply_by, quicker_library, set_up


class Model(NamedTuple):
    """A net, what it is trained on and how long; ``hidden`` are channels where it is convolutional."""

    latent: int
    hidden: list[int]
    batch: int
    images: int
    epochs: int
    activation: Activation = "relu"
    likelihood: str = "bernoulli"
    conv: bool = False
    dynamic: bool = False
    colours: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        return (3, 32, 32) if self.colours else (1, 28, 28)


MODELS = {
    "small": Model(2, [128, 32, 16], 256, 60_000, 3, likelihood="gaussian"),
    "big": Model(20, [512, 512], 128, 60_000, 1),
    "conv": Model(32, [32, 64], 128, 156 * 128, 1, conv=True),
    "colour": Model(32, [32, 64], 128, 312 * 128, 1, likelihood="gaussian", conv=True, colours=True),
    "default": Model(10, [300, 300], 100, 60_000, 2, activation="silu", dynamic=True),
}


def images_of(model: Model) -> Tensor:
    """The images that a model is trained on, uint8 (images, channels, height, width)."""
    digits = files.load("mnist", None)[0][0][: model.images]
    return torch.from_numpy(tinted(digits, seed=0)).permute(0, 3, 1, 2).contiguous() if model.colours else digits


class Net(nn.Module):
    """The nets of a model and its loss as a notebook has it: mean over images of reconstruction + KL."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.gaussian = model.likelihood == "gaussian"
        likelihood = Gaussian() if self.gaussian else Bernoulli()
        if model.conv:
            conv = ConvEncoder(model.latent, model.hidden, model.shape, activation=model.activation)
            self.encoder: nn.Module = conv.net
            decoder = ConvDecoder(model.latent, model.hidden, likelihood, model.shape, activation=model.activation)
            self.decoder: nn.Module = decoder.net
        else:
            encoder = MLPEncoder(model.latent, model.hidden, model.shape, activation=model.activation)
            mlp = MLPDecoder(model.latent, model.hidden, likelihood, model.shape, activation=model.activation)
            self.encoder = nn.Sequential(nn.Flatten(), encoder.net)
            self.decoder = nn.Sequential(mlp.net, nn.Unflatten(1, model.shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction term and KL of images x (batch, channels, height, width), each ()."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        output = self.decoder(z)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        if self.gaussian:
            return functional.mse_loss(output.sigmoid(), x, reduction="sum") / len(x), kl
        return functional.binary_cross_entropy_with_logits(output, x, reduction="sum") / len(x), kl


def floor(model: Model) -> float:
    """Images a second of the least that Python and torch can do; the bits are drawn where the model has them."""
    images = images_of(model).float() / 255
    net = Net(model)
    optimizer = Adam(net.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        for chosen in torch.randperm(model.images).split(model.batch):
            x = images.index_select(0, chosen)
            reconstruction, kl = net(torch.bernoulli(x) if model.dynamic else x)
            (reconstruction + kl).backward()
            optimizer.step()
            optimizer.zero_grad()

    return _rate(model, epoch)


def kept(model: Model) -> float:
    """The floor, with freed memory kept."""
    keep_freed_memory()
    return floor(model)


def tuned(model: Model) -> float:
    """The floor, with all that vae_lab sets up on the machine."""
    set_up()
    multiply_by(quicker_library(Net(model), model.batch))
    return floor(model)


def notebook(model: Model) -> float:
    """The loop of the course notebook."""
    loader, net = _torchvision(model), Net(model)
    optimizer = Adam(net.parameters(), lr=1e-3)

    def epoch() -> None:
        total = 0.0
        for x, _ in loader:
            reconstruction, kl = net(x)
            loss = reconstruction + kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()

    return _rate(model, epoch)


def lightning(model: Model) -> float:
    """A LightningModule with the logs that templates have."""
    import lightning as pl

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Lit(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(model)

        def training_step(self, batch: Any, _: int) -> Tensor:
            reconstruction, kl = self.net(batch[0])
            figures = {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}
            self.log_dict(figures, on_step=False, on_epoch=True, prog_bar=True)
            return figures["loss"]

        def configure_optimizers(self) -> Adam:
            return Adam(self.parameters(), lr=1e-3)

    class Watch(pl.Callback):
        started = ended = 0.0

        def on_train_start(self, *_: Any) -> None:
            self.started = time.perf_counter()

        def on_train_end(self, *_: Any) -> None:
            self.ended = time.perf_counter()

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(accelerator="cpu", max_epochs=model.epochs, callbacks=[watch], default_root_dir=folder)
        trainer.fit(Lit(), _torchvision(model))
    return model.epochs * model.images / (watch.ended - watch.started)


def pythae(model: Model) -> float:
    """pythae's VAE with our nets; its loss is of the same arithmetic with other weights."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    net = Net(model)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.net = net.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.net(x).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.net = net.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    class Watch(TrainingCallback):
        started = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.perf_counter()

    x = images_of(model).float() / 255
    reconstruction = "mse" if model.likelihood == "gaussian" else "bce"
    vae = VAE(VAEConfig((1, 28, 28), model.latent, reconstruction_loss=reconstruction), Encoder(), Decoder())
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=model.epochs,
            learning_rate=1e-3,
            per_device_train_batch_size=model.batch,
            no_cuda=True,
        )
        BaseTrainer(vae, BaseDataset(x, torch.ones(len(x))), training_config=settings, callbacks=[watch]).train()
    return model.epochs * model.images / (watch.ended - watch.started)


LOOPS: dict[str, Callable[[Model], float]] = {
    loop.__name__: loop for loop in (floor, kept, tuned, notebook, lightning, pythae)
}


def _torchvision(model: Model) -> Iterable[Any]:
    images = datasets.MNIST(str(files.folder_of("mnist", None).parent), transform=transforms.ToTensor())
    steps: list[Any] = [transforms.ToTensor()] + ([torch.bernoulli] if model.dynamic else [])
    images.transform = transforms.Compose(steps)
    return DataLoader(Subset(images, range(model.images)), batch_size=model.batch, shuffle=True)


def _rate(model: Model, epoch: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(model.epochs):
        epoch()
    return model.epochs * model.images / (time.perf_counter() - started)


if __name__ == "__main__":
    torch.manual_seed(0)
    chosen = MODELS[sys.argv[2]] if sys.argv[2] in MODELS else Model(**json.loads(sys.argv[2]))
    print(json.dumps({"images_per_second": LOOPS[sys.argv[1]](chosen)}))
