"""ImageNet weights that timm hosts on the Hugging Face hub."""

from __future__ import annotations

import dataclasses

from eca_keras import errors
from eca_keras.applications.image_settings import Interpolation
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.applications.preprocessing import IMAGENET_MEAN
from eca_keras.applications.preprocessing import IMAGENET_STD
from eca_keras.utils.checks import refusal

FILE = "model.safetensors"
CLASSES = 1000

# What timm calls the networks. It has trained those in `HOSTED`.
TIMM_NAMES = {
    "ECAResNet26T": "ecaresnet26t",
    "ECAResNet50T": "ecaresnet50t",
    "ECAResNet50D": "ecaresnet50d",
    "ECAResNet101D": "ecaresnet101d",
    "ECAResNet200D": "ecaresnet200d",
    "ECAResNet269D": "ecaresnet269d",
    "ECAResNetLight": "ecaresnetlight",
    "ECAResNet50DPruned": "ecaresnet50d_pruned",
    "ECAResNet101DPruned": "ecaresnet101d_pruned",
    "ECAResNeXt26T": "ecaresnext26t_32x4d",
    "ECAResNeXt50T": "ecaresnext50t_32x4d",
}


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that weights expect, in timm's words and rounding.

    Attributes:
        size: Height and width in training, in pixels.
        crop: Fraction of the short side to keep.
        test_size: A larger size, at which timm measured a higher accuracy.
        test_crop: `crop` at `test_size`.
        interpolation: `"bicubic"` or `"bilinear"`.
    """

    size: int = 224
    crop: float = 0.875
    test_size: int = 224
    test_crop: float = 0.875
    interpolation: Interpolation = "bicubic"

    def preprocessing(self, test: bool = False) -> Preprocessing:
        """Return the `Preprocessing`, which names no classes."""
        size, crop = self.size, self.crop
        if test:
            size, crop = self.test_size, self.test_crop
        return Preprocessing(
            labels=(),
            image_size=size,
            channels=3,
            # timm drops the fraction of a pixel, `Preprocessing` rounds.
            crop_fraction=size / int(size / crop),
            interpolation=self.interpolation,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )


# By builder and tag, from the `default_cfgs` of timm 1.0.31; the first tag is
# timm's default. The repository is "timm/NAME.TAG".
_MIIL = Images(224, 0.875, 288, 0.95)
_RA2 = Images(256, 0.875, 320, 0.95)
_A1 = Images(224, 0.95, 288, 1.0)
HOSTED = {
    "ECAResNet26T": {"ra2_in1k": _RA2},
    "ECAResNet50T": {
        "ra2_in1k": _RA2,
        "a1_in1k": _A1,
        "a2_in1k": _A1,
        "a3_in1k": Images(160, 0.95, 224, 0.95),
    },
    "ECAResNet50D": {"miil_in1k": _MIIL},
    "ECAResNet101D": {"miil_in1k": _MIIL},
    "ECAResNet269D": {"ra2_in1k": Images(320, 0.95, 352, 1.0)},
    "ECAResNetLight": {"miil_in1k": _MIIL},
    "ECAResNet50DPruned": {"miil_in1k": _MIIL},
    "ECAResNet101DPruned": {"miil_in1k": _MIIL},
}


def find_tag(builder: str, weights: str) -> str | None:
    """Return the tag that `weights` stands for, `None` if it is none.

    Args:
        builder: Name of the builder.
        weights: `"imagenet"`, timm's default, or a tag.
    """
    tags = HOSTED.get(builder, {})
    if weights == "imagenet":
        return next(iter(tags), None)
    return weights if weights in list(tags) else None


def repository(builder, tag):
    """Return the name of a repository on the hub."""
    return f"timm/{TIMM_NAMES[builder]}.{tag}"


def preprocessing(
    builder: str, weights: str = "imagenet", *, test: bool = False
) -> Preprocessing:
    """Return how images are made for the public weights of a network.

    Args:
        builder: Name of the builder, such as `"ECAResNet50T"`.
        weights: `"imagenet"`, or a tag such as `"a1_in1k"`. A network whose
            weights are not hosted has what `"imagenet"` commonly means: the
            short side resized to 256, the middle 224 x 224.
        test: Whether to take the larger size at which timm measured a
            higher accuracy.

    Returns:
        A `Preprocessing`, which `preprocess_input` takes.

    Raises:
        InputError: if there are no such weights.

    Example:

    >>> preprocessing("ECAResNet50T").image_size
    256
    >>> preprocessing("ECAResNet50T", "a1_in1k", test=True).image_size
    288
    """
    if builder not in HOSTED and weights == "imagenet":
        timm = builder in TIMM_NAMES
        return Images(
            interpolation="bicubic" if timm else "bilinear"
        ).preprocessing()
    tag = _known_tag(builder, weights)
    return HOSTED[builder][tag].preprocessing(test)


def _known_tag(builder, weights):
    if builder not in HOSTED:
        raise errors.InputError(
            f"No ImageNet weights of {builder} are hosted publicly, only of "
            f"{', '.join(HOSTED)}. Received: weights={weights!r}"
        )
    tag = find_tag(builder, weights)
    if tag is None:
        tags = ", ".join(map(repr, HOSTED[builder]))
        rule = (
            f"must be 'imagenet' or a tag of {builder} on the Hugging Face "
            f"hub: {tags}"
        )
        raise refusal("weights", weights, rule)
    return tag


def download(builder: str, weights: str = "imagenet") -> str:
    """Return the path of public weights, downloaded or in the hub's cache.

    Args:
        builder: Name of the builder.
        weights: `"imagenet"` or a tag.

    Raises:
        InputError: if there are no such weights.
        ImportError: if the hub's client is not installed.
        OSError: if they can neither be downloaded nor found in the cache.
    """
    repo = repository(builder, _known_tag(builder, weights))
    errors.require(
        "convert", f"weights={weights!r}", "huggingface_hub", "safetensors"
    )
    import huggingface_hub
    from huggingface_hub import constants

    # Published weights stay as they are: what is in the cache needs no network.
    cached = huggingface_hub.try_to_load_from_cache(repo, FILE)
    if isinstance(cached, str):
        return cached
    try:
        return huggingface_hub.hf_hub_download(repo, FILE)
    # The client's errors share no base class, and those of its HTTP library
    # differ from release to release.
    except Exception as error:
        raise OSError(
            f"{FILE} of {repo} is not in the cache {constants.HF_HUB_CACHE} "
            f"and could not be downloaded ({_reason(error)}): connect to the "
            "network once, set HF_ENDPOINT to a mirror or HF_HUB_CACHE to a "
            "cache that has it, or download the file elsewhere and pass its "
            "path"
        ) from error


def _reason(error):
    """Say in a few words why the hub's client failed."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    while error is not None:  # the client wraps the server's response
        response = getattr(error, "response", None)
        if response is not None:
            return f"the hub answered {response.status_code}"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__
    return f"no answer from {constants.ENDPOINT}"
