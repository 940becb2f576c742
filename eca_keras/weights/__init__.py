"""PyTorch checkpoints as Keras models, and files of Keras from anybody."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.weights.hub import HOSTED as HOSTED
    from eca_keras.weights.hub import preprocessing as preprocessing
    from eca_keras.weights.keras_models import load_model as load_model
    from eca_keras.weights.loading import (
        inspect_checkpoint as inspect_checkpoint,
    )
    from eca_keras.weights.loading import load_checkpoint as load_checkpoint
    from eca_keras.weights.loading import load_into as load_into
    from eca_keras.weights.recognition import Network as Network
    from eca_keras.weights.tensors import CheckpointError as CheckpointError
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        hub=("HOSTED", "preprocessing"),
        keras_models=("load_model",),
        loading=("inspect_checkpoint", "load_checkpoint", "load_into"),
        recognition=("Network",),
        tensors=("CheckpointError",),
    )
