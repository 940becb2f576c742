"""What a network costs: counted, and timed."""

from eca_keras.profiling.counts import Profile
from eca_keras.profiling.counts import profile
from eca_keras.profiling.timing import benchmark

__all__ = ["Profile", "benchmark", "profile"]
