"""A LightningModule around a model: what it has of the model, and what it does not have and says so."""

from typing import Any

from lightning import LightningModule

from vae_lab.models import Model


class ModelModule(LightningModule):
    """The weights of a model under their own names; one sentence of what serves where the model has no such output."""

    model: Model

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """The weights of the model, under the model's own names: a checkpoint belongs to the model."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights into the model."""
        return self.model.load_state_dict(*args, **kwargs)

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
