"""Tells averages of the weights from what optimizers keep, by their names."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable

from eca_keras.utils.checks import shown
from eca_keras.weights.tensors import Opaque

_EMA = re.compile(
    r"(?<![a-z])(model|net)?(ema|ewma|swa|avg|averag(e|ed|es|ing)|polyak|"
    r"shadow|mean_?teacher|momentum_(encoder|model|teacher|net(work)?))"
    r"(model|net)?(?![a-z])"
)
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
# What else a script saves may hold tensors under the same names. Callbacks of
# Lightning keep an EMA, or an SWA that is not ready to be used.
_NOT_WEIGHTS = re.compile(
    r"optim|sched|scaler|hyper_param|grad|callback(?!.*(?<![a-z])ema)"
)
# Keys of optimizers, and of what they keep for each parameter: moments, whose
# names have `avg` in them, too (`torch.optim`, and `ax` of ASGD). Repeats are
# bounded, for a file chooses the names.
_MOMENTS = re.compile(
    r"(?:(?<=\.)|^)("
    r"((\w{1,30}_)?opts?|(fused_|cpu_)?([a-z]{0,8}adam[a-z]{0,4}|"
    r"[a-z]{0,8}sgd|[a-z]{0,8}lamb)|"
    r"lars|lion|adafactor|ada(grad|delta)|rms_?prop|rprop|muon|adopt)"
    r"(_?(states?|dict|g|d|\d)){0,4}|"
    r"(\w{1,30}_)?(exp|sq|square|squared|grad|ax|acc|delta|step|update)"
    r"_avgs?\w{0,20}|"
    r"exp_inf|acc_delta|momentum(_buf\w{0,20})?|moments?|velocity|ax|mu|nu"
    r")(?=\.|$)"
)
# Under which whole pickled models are found, too.
_KEYS = ("ema", "ema_model", "model_ema", "ema_state_dict", "state_dict_ema")
# Settings and scores under a key with the word: skipped, as elsewhere.
_SETTING = re.compile(
    r"arg|conf|cfg|decay|loss|acc|metric|meter|score|step|updat|map|log|"
    r"precision|time|param_groups|hyper"
)
_PLAIN = ("numpy", "builtins", "argparse", "datetime", "pathlib", "functools")


def _words(source):
    return _CAMEL_CASE.sub("_", source).lower()


def is_of_training(source: str) -> bool:
    """Tell whether keys are those of an optimizer or the like."""
    words = _words(source)
    return bool(_NOT_WEIGHTS.search(words) or is_of_moments(source))


def is_of_moments(source: str) -> bool:
    """Tell whether keys or a prefix are those of moments."""
    return bool(_MOMENTS.search(_words(source)))


def is_ema(source: str) -> bool:
    """Tell whether keys or a prefix say that it is an EMA of the weights."""
    return bool(_EMA.search(_words(source))) and not is_of_moments(source)


def is_renamed(name: str, anchors: Iterable[str]) -> bool:
    """Tell whether a name is a network's, changed to mark it as an EMA.

    `LitEma` leaves out dots, mmcls writes `_` for them, others add `_ema`.
    """
    letters = re.sub(r"[\W_]", "", name)
    return any(
        re.sub(r"[\W_]", "", anchor) in letters for anchor in anchors
    ) and is_ema(name)


def unreadable(
    entries: Iterable[tuple[str, typing.Any]], anchors: tuple[str, ...]
) -> str | None:
    """Return the sentence about an EMA that is there and cannot be read.

    Args:
        entries: The dictionaries in a file, each after the keys above it.
        anchors: Names that a network has.

    Returns:
        `None` if there is none.
    """
    for path, mapping in entries:
        for key, value in mapping.items():
            name = f"{path}.{key}".lstrip(".")
            if isinstance(value, Opaque):
                if _is_model(path, key, value) and is_ema(str(key)):
                    return (
                        f"its EMA of the weights, {shown(name)}, is no state "
                        f"dict: it asks for {shown(value.name)}, which was "
                        "not run."
                    )
            elif _is_nameless(path, key, value, anchors):
                return (
                    f"its EMA of the weights, {shown(name)}, does not have "
                    "the names of the network."
                )
    return None


def _is_model(path, key, value):
    if key in _KEYS and not path:
        return True
    setting = _SETTING.search(_words(f"{path}.{key}"))
    plain = value.name.partition(".")[0] in _PLAIN
    return not (setting or plain or is_of_training(path))


def _is_nameless(path, key, value, anchors):
    if isinstance(value, (list, tuple)):
        source = str(key) if is_of_training(path) else f"{path}.{key}"
        return any(map(_is_kernel, value)) and is_ema(source)
    if not _is_kernel(value) or is_of_training(path):
        return False
    return is_ema(path) or is_renamed(f"{path}.{key}", anchors)


def _is_kernel(value):
    # Lists of losses and scores have no tensor of this rank.
    return len(getattr(value, "shape", ())) > 1
