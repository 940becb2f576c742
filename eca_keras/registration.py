"""Makes the layers known to Keras, without importing Keras.

`keras.models.load_model` finds the layers of this library once their modules
are imported. That happens when both `keras` and `eca_keras` are, in either
order, so that a script needs no more than `import eca_keras`.
"""

import importlib
import sys
import warnings


def register():
    """Import the layers: now if Keras is imported, else right after it is."""
    if sys.modules.get("keras") is not None:
        _import_layers()
    else:
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder:
    """Finds nothing but `keras`, as the other finders do."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (each.find_spec(name, path, target) for each in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader):
        """Import the layers once `loader` has executed Keras."""
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _import_layers()

        # On the object: it stays one of its class, which others look at.
        loader.exec_module = exec_module


def _import_layers():
    try:
        importlib.import_module("eca_keras.layers")
    except Exception as error:  # `import keras` has to go on
        warnings.warn(
            "Keras does not know the layers of eca_keras, whose import "
            f"failed: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
