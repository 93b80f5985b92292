"""The explorer inside a notebook."""

from typing import Any

from vae_lab.errors import UserError, to_install
from vae_lab.exploring.server import SCRIPTS, STYLES, text_of
from vae_lab.exploring.space import LatentSpace, QuestionError


def widget_of(space: LatentSpace) -> Any:
    """A widget that a notebook shows; it asks the kernel, and needs no port.

    Args:
        space: latent space that is explored.

    Raises:
        UserError: if anywidget is not installed.
    """
    try:
        import anywidget
    except ImportError as error:
        raise UserError(f"explore needs a widget: {to_install(error)}, or '.[notebook]'") from error

    class Explorer(anywidget.AnyWidget):
        """Asks by messages that have a number, and answers them by the same number."""

        _esm = text_of(*SCRIPTS)
        _css = text_of(*STYLES)

        def __init__(self) -> None:
            super().__init__()
            self.on_msg(self._answer)

        def _answer(self, _: Any, message: Any, __: Any) -> None:
            try:
                answer = space.answer(message["question"])
            except QuestionError as error:
                answer = {"error": str(error)}
            self.send({"number": message["number"], "answer": answer})

    return Explorer()
