"""Weights in the HDF5 format that Keras had before version 3.

A group for each layer of the model, with the variables in it under their
names. Keras itself goes by the order of attributes, which are strings of any
length; here names and shapes decide, in both directions.
"""

from eca_keras.weights.differences import Shapes
from eca_keras.weights.differences import check_shapes

_WHOLE = "model_weights"
_OPTIMIZER = "optimizer_weights/"


def assign(model, file, tree, unused=()):
    """Copy the weights of a legacy file, if they are those of a model.

    Args:
        model: A built model.
        file: The open `h5py.File`.
        tree: Its `Tree`.
        unused: Names of layers in the file that need not be in the model.

    Raises:
        CheckpointError: if layers or shapes differ.
    """
    root = f"{_WHOLE}/" if _WHOLE in file else ""
    inside: Shapes = {}
    for path, shape in tree.shapes.items():
        if path.startswith(root) and not path.startswith(_OPTIMIZER):
            layer, _, rest = path[len(root) :].partition("/")
            if layer not in unused:
                inside.setdefault(layer, {})[_key(rest)] = shape, path
    wanted = {
        layer.name: {_key(weight.path): weight for weight in layer.weights}
        for layer in model.layers
        if getattr(layer, "weights", None)
    }
    pairs = []
    shapes: tuple[dict, dict] = {}, {}
    for layer in {**inside, **wanted}:
        ours, theirs = wanted.get(layer, {}), inside.get(layer, {})
        depth = _telling(ours, theirs)
        ours = {key[-depth:]: weight for key, weight in ours.items()}
        theirs = {key[-depth:]: found for key, found in theirs.items()}
        for key, (shape, path) in theirs.items():
            shapes[0][layer, *key] = shape
            if key in ours:
                pairs.append((ours[key], path))
        for key, weight in ours.items():
            shapes[1][layer, *key] = tuple(weight.shape)
    check_shapes(*({_shown(k): v for k, v in part.items()} for part in shapes))
    for weight, path in pairs:
        weight.assign(file[path][()])


def _key(path):
    return tuple(path.removesuffix(":0").split("/"))


def _telling(ours, theirs):
    """Return how many last parts of names tell the weights of a layer apart.

    The first parts are scopes, which are others in a model that was made
    after another one or by TensorFlow's Keras.
    """
    longest = max((len(key) for key in (*ours, *theirs)), default=1)
    for depth in range(1, longest + 1):
        if all(
            len({key[-depth:] for key in keys}) == len(keys)
            for keys in (ours, theirs)
        ):
            return depth
    return longest


def _shown(key):
    return "/".join(key)
