"""`eca-keras evaluate`."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Literal

from eca_keras.commands import runs
from eca_keras.utils.checks import check_count


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure the accuracy of a trained network on a dataset.

    Prints top-1, top-5 and loss of a classifier, or the average precision of
    a detector by COCO's rules, as JSON.

    Args:
        model: Folder of a run, or a .keras file in it.
        data: Dataset, as in `eca-keras train` or `eca-keras detect train`; by
            default that of the run.
        split: Images to evaluate on: 'train', 'validation', 'test', or 'all'
            of a COCO file. By default the test images, or else the validation
            images.
        batch_size: Images per step; by default 64, and 8 for a detector.
        strategy: Distribution strategy, as in `eca-keras train`.
        output: JSON file for the metrics.
        results: JSON file for the detections, in COCO's results format; for
            detectors.
        trust: Open a model file with whatever is in it. Code in the file
            runs; without, a file is checked and refused.
    """

    model: pathlib.Path = runs.DEFAULT
    data: str | None = None
    split: Literal["train", "validation", "test", "all"] | None = None
    batch_size: int | None = None
    strategy: str = "auto"
    output: pathlib.Path | None = None
    results: pathlib.Path | None = None
    trust: bool = False

    EXAMPLES = (
        "eca-keras evaluate --model runs/digits",
        "eca-keras evaluate --model runs/shapes --results found.json",
    )

    def check(self) -> None:
        check_count("batch_size", self.batch_size, none=True)

    def run(self) -> None:
        from eca_keras.utils.files import write_text

        trained = runs.load(self, detector=("results",))
        results = {"results": self.results} if self.results else {}
        metrics = trained.evaluate(
            self.data, self.split, self.batch_size, self.strategy, **results
        )
        text = json.dumps(metrics, indent=2)
        print(text)
        if self.output:
            write_text(self.output, text + "\n")
