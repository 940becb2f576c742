"""How large what a model file holds may be, and the error where it is more."""

from eca_keras.weights.tensors import CheckpointError

# The largest network of this library has 1 MB of config.json with 62,000
# values in it. A value takes up to 72 bytes once it is parsed.
CONFIG_BYTES = 8 * 2**20
CONFIG_VALUES = 500_000
# A model in a model in a model adds 5 levels each; a network has 12.
CONFIG_DEPTH = 100

# What `zipfile` reads in one go: more would be a central directory of many
# thousand members. Everything else is read in pieces of this size.
READ_BYTES = 2**20
MEMBERS = 2_000
# Keras does not compress. Numbers of a network hardly can be.
EXPANSION = 10
EXPANSION_FLOOR = 16 * 2**20

HDF5_OBJECTS = 200_000
HDF5_DEPTH = 64
# Beside the numbers there are headers, so a file is larger than they are.
HDF5_SLACK = 2**16

# Variables are as many numbers as the file has, but for a few that old
# versions of Keras did not save.
EXTRA_NUMBERS = 2**20
# Tensors and operations while a model is made: each takes time and memory.
TENSORS = 30_000
# Shapes are symbolic, so that this is an image of 16,384 by 16,384 pixels; the
# anchors of a detector are not.
INPUT_SIZE = 2**30
ANCHOR_IMAGE_SIZE = 2**26
DIMENSIONS = 32
# Numbers that become lists, arrays or rounds of a loop. What has weights is
# bounded by these.
COUNTS = {
    "chain_depth": 1_000,
    "fft_length": 2**20,
    "frame_length": 2**20,
    "kernel_size": 1_023,
    "ngrams": 1_000,
    "num_bins": 2**24,
    "num_chains": 1_000,
    "num_mel_bins": 2**14,
    "num_ops": 1_000,
    "num_oov_indices": 2**16,
    "power_iterations": 1_000,
    "sequence_length": 2**24,
}


class Refused(CheckpointError):
    """A model file holds what is not on the closed list.

    It need not be damaged: whoever trusts its author may open it.
    """
