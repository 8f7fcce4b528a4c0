"""The engine that runs a model file in PyTorch, as it was trained."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from depthwise.artifact import Card
from depthwise.deploy.unknown import Features
from depthwise.errors import UserError
from depthwise.metrics import Logits
from depthwise.models.blocks import Network
from depthwise.models.create import rebuild
from depthwise.models.foreign import is_code
from depthwise.models.normalise import Normalise


class EagerEngine:
    """Computes logits with the network itself, in float32."""

    def __init__(
        self, card: Card, tensors: dict[str, Tensor], device: str = "cpu", *, factory: str | None = None
    ) -> None:
        """Raises UserError when the tensors are not those of the network that the card names.

        A card that names a function to call is believed only when the caller names the same as `factory`.
        """
        if is_code(card.model) and factory != card.model:
            raise UserError(
                f"this model's network is made by calling {card.model}, which runs that code. If you trust it, say so: "
                f"--factory {card.model} (in Python: factory={card.model!r})"
            )
        self.card = card
        self.device = torch.device(device)
        with torch.device("meta"):  # weights are read, not drawn
            model = rebuild(card.model, len(card.classes), card.geometry.channels, card.small_input, card.options)
        try:
            model.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            raise UserError(f"the weights do not fit {card.model}: {str(error).expandtabs(2)}") from error
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.normalise = Normalise(card.geometry.mean, card.geometry.std).to(self.device)

    @torch.inference_mode()
    def logits(self, images: NDArray[np.uint8]) -> Logits:
        """Return float32 (B, K) for uint8 (B, S, S, C)."""
        logits: Tensor = self.model(self._batch(images))
        return logits.float().cpu().numpy()

    @property
    def has_features(self) -> bool:
        """Whether the network ends in one linear layer on features of the whole picture."""
        return isinstance(self.model, Network) and isinstance(self.model.classifier, nn.Linear)

    @torch.inference_mode()
    def with_features(self, images: NDArray[np.uint8]) -> tuple[Logits, Features]:
        """Return logits float32 (B, K) and what the last layer takes, float32 (B, D)."""
        assert isinstance(self.model, Network)
        features = self.model.embed(self._batch(images))
        return self.model.classify(features).float().cpu().numpy(), features.float().cpu().numpy()

    def _batch(self, images: NDArray[np.uint8]) -> Tensor:
        batch: Tensor = self.normalise(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))
        return batch
