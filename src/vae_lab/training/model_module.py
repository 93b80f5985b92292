"""A LightningModule around a model: what it has of the model, and what it does not have and says so."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning import Callback, LightningModule

from vae_lab.errors import UserError
from vae_lab.models import Model
from vae_lab.training.average import Average
from vae_lab.training.demands import refuse


class ModelModule(LightningModule):
    """The weights of a model under their own names; one sentence of what serves where the model has no such output."""

    model: Model
    average: Average | None = None
    """Moving average of the weights, during a fit that keeps one."""

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the model has its averaged weights, where a fit keeps them."""
        return self.average.in_place() if self.average else nullcontext()

    def begin_average(self, decay: float, moment: Mapping[str, Any] | None) -> None:
        """Begin an average of the weights, or continue that of a checkpoint.

        Args:
            decay: weight of the past; 0 for no average.
            moment: moment of the checkpoint that training continues from; None for a new training.

        Raises:
            UserError: if the checkpoint has an average and this training none.
        """
        state = (moment or {}).get("average")
        if state and not decay:
            raise UserError("the checkpoint has averaged weights; give this training an average too, ema=0.999 say")
        self.average = Average(self.model, decay) if decay else None
        if self.average and state:
            self.average.restore(state)

    def on_validation_start(self) -> None:
        """Validate the averaged weights."""
        if self.average:
            self.average.swap()

    on_validation_end = on_validation_start  # and go on with the raw ones

    def on_train_end(self) -> None:
        """Leave the averaged weights in the model."""
        if self.average and not self.average.is_in_place:
            self.average.swap()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """The weights of the model, under the model's own names: a checkpoint belongs to the model."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights into the model."""
        return self.model.load_state_dict(*args, **kwargs)

    def configure_callbacks(self) -> list[Callback]:
        """No callbacks: the first moment at which a module sees its trainer, before Lightning's own refusals."""
        refuse(self.trainer)
        return []

    def forward(self, *inputs: Any) -> Any:
        """Never an output, in ``trainer.predict`` neither.

        Raises:
            NotOffered: names the methods of the model.
        """
        return self.model(*inputs)

    def to_onnx(self, *_: Any, **__: Any) -> Any:
        """Refuse: the networks can be exported, and not the draws between them."""
        return self.model.to_onnx()

    to_torchscript = to_tensorrt = to_onnx

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """A module of this class with the weights of a checkpoint, which say nothing of the parts.

        Training it is a new training. ``trainer.fit(…, ckpt_path=file)`` continues the one of the checkpoint.

        Args:
            checkpoint_path: path of the checkpoint.
            args: further arguments of Lightning's method.
            kwargs: further arguments of Lightning's method, and those of this class, model and loss among them.

        Raises:
            NotOffered: where the model or the loss is missing.
        """
        if not {"model", "loss"} <= kwargs.keys():
            Model.load_from_checkpoint()
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
