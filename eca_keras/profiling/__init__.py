"""What a network costs: counted, and timed."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.profiling.counts import Profile as Profile
    from eca_keras.profiling.counts import profile as profile
    from eca_keras.profiling.timing import benchmark as benchmark
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        counts=("Profile", "profile"),
        timing=("benchmark",),
    )
