"""Finds the state dict in what was saved, and the network in its names.

Training scripts put the weights under keys of their own, beside their EMA, an
optimizer and settings, and wrappers put prefixes before the names. No list of
all of them is needed: the first block of a network has the same names
everywhere, and what comes before them, keys and prefix, tells whether it is
an EMA.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import itertools
import re
import typing

from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown
from eca_keras.weights import averages
from eca_keras.weights.heads import is_of_network
from eca_keras.weights.tensors import CheckpointError
from eca_keras.weights.tensors import Opaque
from eca_keras.weights.tensors import Tensor

# A name that every ResNet and every MobileNetV2 has.
ANCHORS = ("layer1.0.conv1.weight", "features.1.conv.0.0.weight")

# Which of several state dicts of a file is meant: timm's order.
_PREFERRED = (
    *("state_dict_ema", "model_ema"),
    *("state_dict", "model_state_dict", "model"),
)
# What DistributedDataParallel, AveragedModel, torch.compile, FSDP and
# activation checkpointing put into names, wherever they wrap a module.
_WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|"
    r"_checkpoint_wrapped_module)\."
)
# Counters of BatchNorm, of the authors' profiler and of averages: no weights.
_COUNTERS = (
    *("num_batches_tracked", "total_ops", "total_params"),
    *("num_updates", "_extra_state", "ema.decay"),
)
# Those of the averages of PyTorch and of mmengine: they mark an EMA.
_AVERAGE_COUNTER = re.compile(r"(?:(?<=\.)|^)(n_averaged|steps)$")
_DEPTH = 4  # of keys above a state dict
_MOST_KEYS = 100  # that a refusal looks at


@dataclasses.dataclass(frozen=True)
class StateDict:
    """A state dict and the network in it.

    Attributes:
        tensors: Dictionary from names, without wrappers, to tensors.
        prefix: What comes before the names of the network, such as
            `"backbone.body."`.
        prefixes: Those of all networks in the same state dict.
        source: Keys above the state dict and the prefix, such as
            `"state_dict_ema"`; `""` where there are none.
        ema: Whether the file says that it is an EMA of the weights.
        beside: `source` of the weights of the other kind, EMA or not.
    """

    tensors: dict[str, typing.Any]
    prefix: str = ""
    prefixes: tuple[str, ...] = ()
    source: str = ""
    ema: bool = False
    beside: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple]:
        """Shapes of the tensors, without those of the other networks.

        Those of tensors that cannot be read are `()`.
        """
        return {
            name: tuple(getattr(tensor, "shape", ()))
            for name, tensor in self.tensors.items()
            if self._is_own(name)
        }

    def _is_own(self, name):
        inside = name.startswith(self.prefix)
        others = (each for each in self.prefixes if each != self.prefix)
        if inside:  # a network may stand below another's prefix
            others = (each for each in others if each.startswith(self.prefix))
        return not name.startswith(tuple(others))


def find_state_dict(
    loaded: typing.Any, ema: bool | None = None, tensor_type: type = Tensor
) -> StateDict:
    """Return the state dict of a network, wherever it is in what was saved.

    Args:
        loaded: The object that was saved.
        ema: `None` (the EMA of the weights where there is one), or whether
            to take the EMA.
        tensor_type: Class of the tensors in it.

    Returns:
        A `StateDict`. If no network is recognised, the first one found.

    Raises:
        CheckpointError: if there is none, several that nothing tells apart,
            or none of the kind that `ema` asks for.
    """
    found, unknown = [], []
    for path, mapping in _mappings(loaded):
        tensors, roots = _clean(mapping, tensor_type)
        if tensors and not averages.is_of_training(path):
            found += _networks(path, tensors, roots)
            unknown.append(StateDict(tensors, source=path))
    if not found:
        return _first(unknown, loaded)
    kinds = {
        kind: [each for each in found if each.ema == kind]
        for kind in (True, False)
    }
    if not kinds[True] and ema is not False:
        _check_no_unreadable_ema(loaded)
    wanted = bool(kinds[True]) if ema is None else ema
    if not kinds[wanted]:
        raise CheckpointError(_no_such_kind(wanted, found))
    chosen = _only(kinds[wanted])
    if not kinds[True]:
        chosen = _without_renamed(chosen)
    _check_tensors(chosen)
    beside = tuple(each.source for each in kinds[not wanted])
    return dataclasses.replace(chosen, beside=beside)


def _mappings(loaded):
    """Yield the dictionaries in an object, each with the keys above it."""
    queue = collections.deque([((), loaded)])
    seen = set()
    while queue:
        keys, value = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, collections.abc.Mapping):
            yield ".".join(keys), value
            below = value.items()
        elif isinstance(value, (list, tuple)):
            below = ((str(i), each) for i, each in enumerate(value[:9]))
        else:
            continue
        if len(keys) < _DEPTH:
            queue.extend(
                ((*keys, key), each)
                for key, each in below
                if isinstance(key, str)
                and isinstance(each, (collections.abc.Mapping, list, tuple))
            )


def _clean(mapping, tensor_type):
    """Return the tensors under names without wrappers, and averages' roots."""
    entries = {
        name: value
        for name, value in mapping.items()
        if isinstance(name, str)
        and isinstance(value, (tensor_type, Opaque))
        # Without a dot it is an entry of the script beside its tensors.
        and (isinstance(value, tensor_type) or "." in name)
        and not name.endswith(_COUNTERS)
    }
    averaged = [n for n in entries if _AVERAGE_COUNTER.search(n)]
    for name in averaged:
        del entries[name]
    roots = [
        _WRAPPERS.sub("", _AVERAGE_COUNTER.sub("", name)) for name in averaged
    ]
    cleaned = {_WRAPPERS.sub("", name): v for name, v in entries.items()}
    # Where names would meet, what looks like a wrapper is none.
    if len(cleaned) < len(entries):
        return entries, roots
    return cleaned, roots


def _networks(path, tensors, roots):
    """Return a `StateDict` for each network among tensors."""
    prefixes = tuple(
        name.removesuffix(anchor)
        for name in tensors
        for anchor in ANCHORS
        if name == anchor or name.endswith(f".{anchor}")
    )
    networks = []
    for prefix in prefixes:
        source = ".".join(filter(None, (path, prefix.rstrip("."))))
        if len(prefixes) > 1 and averages.is_of_moments(source):
            continue
        average = any(prefix.startswith(root) for root in roots)
        networks.append(
            StateDict(
                tensors,
                prefix,
                prefixes,
                source,
                ema=average or averages.is_ema(source),
            )
        )
    return networks


def _only(candidates):
    """Return the candidate that is meant."""

    def rank(candidate):
        key = candidate.source.partition(".")[0]
        return _PREFERRED.index(key) if key in _PREFERRED else len(_PREFERRED)

    best = min(map(rank, candidates))
    chosen = [each for each in candidates if rank(each) == best]
    if len(chosen) > 1:
        names = listed([each.source or "the top" for each in chosen])
        raise CheckpointError(
            f"it holds several networks, in {names}. Save the weights of one, "
            "torch.save(model.state_dict(), path), and load that file."
        )
    return chosen[0]


def _check_no_unreadable_ema(loaded):
    """Refuse to pass over an EMA only because it cannot be read."""
    if reason := averages.unreadable(_mappings(loaded), ANCHORS):
        raise CheckpointError(
            f"{reason} Pass ema=False to load the weights themselves."
        )


def _without_renamed(state):
    """Leave out an EMA that stands among the weights under changed names."""
    own = {
        name: tensor
        for name, tensor in state.tensors.items()
        if not averages.is_ema(name)
    }
    if any(averages.is_renamed(n, ANCHORS) for n in state.tensors.keys() - own):
        return dataclasses.replace(state, tensors=own)
    return state


def _no_such_kind(ema, found):
    kind, other = "the EMA of the weights", "the weights themselves"
    if not ema:
        kind, other = other, "the EMA of the weights"
    where = listed([each.source for each in found if each.source])
    where = f", in {where}" if where else ""
    return (
        f"ema={ema} asks for {kind}, and it only holds {other}{where}. Pass "
        f"ema={not ema} to load those."
    )


def _check_tensors(state):
    """Refuse a network of which a tensor is none that could be read."""
    for name, value in state.tensors.items():
        if isinstance(value, Opaque) and is_of_network(name, state.prefix):
            raise CheckpointError(
                f"its {shown(name)} is no plain tensor: it asks for "
                f"{shown(value.name)}, which was not run. Save the weights "
                "alone, as plain tensors."
            )


def _first(unknown, loaded):
    """Return the first state dict, of whatever; refuse where there is none."""
    for state in unknown:
        if not all(isinstance(each, Opaque) for each in state.tensors.values()):
            return state
    raise CheckpointError(
        f"it holds no state dict{_contents(loaded)}. Save the weights alone, "
        "torch.save(model.state_dict(), path), and load that file."
    )


def _contents(loaded):
    """Say what was saved instead of a state dict."""
    if isinstance(loaded, Opaque):
        return f": it asks for {shown(loaded.name)}, which was not run"
    keys = []
    for path, mapping in _mappings(loaded):
        if averages.is_of_training(path):
            continue
        for key, value in itertools.islice(mapping.items(), _MOST_KEYS):
            name = ".".join(filter(None, (path, str(key))))
            if isinstance(value, Opaque):
                name += f" (asks for {shown(value.name)}, which was not run)"
            keys.append(name)
        if len(keys) > _MOST_KEYS:
            break
    return f", only the keys {listed(keys)}" if keys else ""
