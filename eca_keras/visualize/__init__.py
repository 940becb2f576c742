"""What a network with channel attention does, as numbers and figures."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.visualize.gates import ChannelWeights as ChannelWeights
    from eca_keras.visualize.gates import by_stage as by_stage
    from eca_keras.visualize.gates import channel_kernels as channel_kernels
    from eca_keras.visualize.gates import channel_weights as channel_weights
    from eca_keras.visualize.gates import class_means as class_means
    from eca_keras.visualize.gates import class_spread as class_spread
    from eca_keras.visualize.heat_maps import grad_cam as grad_cam
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        gates=(
            *("ChannelWeights", "by_stage", "channel_kernels"),
            *("channel_weights", "class_means", "class_spread"),
        ),
        heat_maps=("grad_cam",),
    )
