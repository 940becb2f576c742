"""`eca-keras samples`."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator
from typing import Annotated
from typing import Any

from tyro.conf import Positional

from eca_keras.utils.checks import check_count


@dataclasses.dataclass(frozen=True)
class Samples:
    """Write test images of `digits` and `shapes`, to try a network on.

    Digits go to digits/CLASS/NUMBER.png, a folder that `--data folder:` reads,
    too, and shapes to shapes/NUMBER.png. No network is trained on them.

    Args:
        output: A new folder.
        images: Images of each digit, and of shapes.
    """

    output: Annotated[pathlib.Path, Positional]
    images: int = 4

    EXAMPLES = (
        "eca-keras samples runs/samples",
        "eca-keras predict runs/samples/digits/7/0.png --model runs/digits",
    )

    def check(self) -> None:
        check_count("images", self.images)

    def run(self) -> None:
        from eca_keras.errors import require
        from eca_keras.utils.files import staged_folder

        require("train", "`samples`", "PIL", "sklearn")
        with staged_folder(self.output, is_ours=lambda _: False) as folder:
            written = 0
            for name, image in itertools.chain(self._digits(), self._shapes()):
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, image)
                written += 1
        print(f"{self.output}: {written} images")

    def _digits(self) -> Iterator[tuple[str, Any]]:
        from eca_keras.training import load_source

        source = load_source("digits")
        numbers = dict.fromkeys(source.class_names, 0)
        for image, label in source.test.dataset.as_numpy_iterator():
            digit = source.class_names[label]
            if numbers[digit] < self.images:
                yield f"digits/{digit}/{numbers[digit]}.png", image
                numbers[digit] += 1

    def _shapes(self) -> Iterator[tuple[str, Any]]:
        from eca_keras.training.detection import shapes

        splits, _ = shapes.load("", masks=False)
        images = splits["test"].images.dataset.as_numpy_iterator()
        for number, (image, _) in enumerate(
            itertools.islice(images, self.images)
        ):
            yield f"shapes/{number}.png", image


def _write(path, image):
    from PIL import Image

    Image.fromarray(image.squeeze()).save(path)
