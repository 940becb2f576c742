"""`eca-keras detect`: train, evaluate, predict, export, benchmark."""

import dataclasses
import json
import pathlib
import typing

import tyro

from eca_keras.commands.detect_benchmark import DetectBenchmark
from eca_keras.commands.detect_train import DetectTrain
from eca_keras.commands.evaluate import check_choice
from eca_keras.commands.evaluate import check_positive
from eca_keras.commands.export import export_function
from eca_keras.commands.export import export_options
from eca_keras.errors import InputError

PARTS = ("train", "validation", "all")


@dataclasses.dataclass(frozen=True)
class DetectEvaluate:
    """Measure a trained detector by COCO's rules.

    Args:
        model: Folder that `eca-keras detect train` wrote, or a .keras file in
            it.
        data: The images, as in `eca-keras detect train`; by default those of
            the training run.
        part: 'validation', 'train', or 'all' images of 'coco:IMAGES,
            ANNOTATIONS.json', of which a tenth is for validation otherwise.
        batch_size: Images per step.
        strategy: As in `eca-keras detect train`.
        output: File for the figures as JSON.
        results: File for the detections, in COCO's results format.
    """

    model: pathlib.Path = pathlib.Path("runs/shapes")
    data: str | None = None
    part: str = "validation"
    batch_size: int = 8
    strategy: str = "auto"
    output: pathlib.Path | None = None
    results: pathlib.Path | None = None

    def _check(self):
        check_positive("batch_size", self.batch_size)
        check_choice("part", self.part, PARTS)

    def run(self):
        self._check()
        from eca_keras.training.detection import TrainedDetector
        from eca_keras.utils.files import write_text

        trained = TrainedDetector.load(self.model)
        metrics, found = trained.evaluate(
            self.data, self.part, self.batch_size, self.strategy
        )
        text = json.dumps(metrics, indent=2)
        print(text)
        if self.results:  # first: it cannot be read from the screen
            write_text(self.results, json.dumps(found) + "\n")
        if self.output:
            write_text(self.output, text + "\n")


@dataclasses.dataclass(frozen=True)
class DetectPredict:
    """Find objects in image files.

    Prints a line for each object: its class, score and box, x1, y1, x2 and
    y2 in pixels of the file.

    Args:
        images: Image files: JPEG, PNG, BMP, GIF, WebP or TIFF.
        model: Folder that `eca-keras detect train` wrote, or a .keras file in
            it.
        threshold: Objects must have a higher score. Those up to 0.05 are
            never found.
        pictures: Folder for the images with the objects drawn: of cat.jpg
            it gets cat.objects.png.
    """

    images: typing.Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/shapes")
    threshold: float = 0.5
    pictures: pathlib.Path | None = None

    def _check(self):
        if not self.images:
            raise InputError("`detect predict` needs at least one image file")
        if not 0 <= self.threshold < 1:
            raise InputError(
                "`threshold` must be at least 0 and below 1. "
                f"Received: threshold={self.threshold}"
            )
        if self.pictures:
            self._check_pictures()

    def _check_pictures(self):
        if self.pictures.exists() and not self.pictures.is_dir():
            raise InputError(
                "`pictures` must be a folder, but there is a file at "
                f"{self.pictures}"
            )
        names = [path.stem for path in self.images]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                "`images` must differ in their names where `pictures` are "
                f"written. Received twice: {', '.join(twice)}"
            )
        given = {path.resolve() for path in self.images}
        for path in self.images:
            if self._picture(path).resolve() in given:
                raise InputError(
                    "`pictures` must be a folder without the images: "
                    f"{self._picture(path)} would be lost"
                )

    def _picture(self, path):
        return self.pictures / f"{path.stem}.objects.png"

    def run(self):
        self._check()
        from eca_keras.training.detection import TrainedDetector
        from eca_keras.training.detection.pictures import write_picture

        trained = TrainedDetector.load(self.model)
        names = trained.settings.class_names
        problems = []
        for path in self.images:
            try:
                image, found = trained.predict(path, self.threshold)
            except InputError as error:  # the other images get their answer
                problems.append(str(error))
                continue
            print(describe(path, found, names), flush=True)
            if self.pictures:
                write_picture(self._picture(path), image, found, names)
        if problems:
            raise InputError("; ".join(problems))


def describe(path, found, names):
    """Says what was found in an image, a line each.

    Args:
        path: The image.
        found: List of `Found`.
        names: Names of the classes.
    """
    if not found:
        return f"{path}: nothing found"
    lines = [
        f"{path}: {names[one.label]} {one.score:.2%} at "
        f"{', '.join(f'{value:.1f}' for value in one.box)}"
        for one in found
    ]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class DetectExport:
    """Write a trained detector in another format and check what was written.

    The whole detector is in the file, suppression and masks included.

    Args:
        output: What to write: a folder for saved_model, a file for tflite and
            onnx.
        model: Folder that `eca-keras detect train` wrote, or a .keras file in
            it.
        format: 'saved_model', 'tflite' or 'onnx'.
        data: The images to compare on, as in `eca-keras detect train`; by
            default those of the training run.
        pixels: 'uint8' or 'float32': the file takes pixels from 0 to 255 of
            this type and normalises them; by default it takes images as
            `preprocess_input` makes them.
        sizes: The file takes the heights and widths of the pictures within
            the padding, too, and keeps detections out of the padding.
        quantize: For tflite: 'none' or 'float16'.
        batch_size: For tflite and onnx: images that the file takes at once, 0
            for any number; by default 1 for tflite and any for onnx.
        opset: For onnx: version of its operations, 12 to 18.
        serving_version: For saved_model: write to the folder of this number
            in OUTPUT, as TensorFlow Serving expects it.
    """

    output: typing.Annotated[pathlib.Path, tyro.conf.Positional]
    model: pathlib.Path = pathlib.Path("runs/shapes")
    format: str = "tflite"
    data: str | None = None
    pixels: str | None = None
    sizes: bool = False
    quantize: str | None = None
    batch_size: int | None = None
    opset: int | None = None
    serving_version: int | None = None

    def run(self):
        given = export_options(self)
        from eca_keras.training.detection import TrainedDetector

        trained = TrainedDetector.load(self.model)
        interface = {"pixels": self.pixels, "sizes": self.sizes}
        report = export_detector(
            trained, self.format, self.output, interface, self.data, **given
        )
        print(report)


def export_detector(
    trained, format, path, interface=None, data=None, **options
):
    """Exports a detector, compared on images of its own data.

    Args:
        trained: `TrainedDetector`.
        format: One of `EXPORTS`.
        path: Where to write.
        interface: Arguments of `DetectionEndpoint`: what the file takes.
        data: As in `DetectExport`.
        **options: Further arguments of the format's function.

    Returns:
        The report of the export.
    """
    from eca_keras.export import DetectionEndpoint

    endpoint = DetectionEndpoint(
        trained.model, preprocessing=trained.settings, **(interface or {})
    )
    images, sizes = trained.samples(
        normalized=endpoint.pixels is None, data=data
    )
    samples = {"images": images}
    if endpoint.sizes:
        samples["sizes"] = sizes
    return export_function(format)(
        endpoint,
        path,
        samples=samples,
        labels=list(trained.settings.class_names),
        **options,
    )


def _subcommand(command):
    name = command.__name__.removeprefix("Detect").lower()
    return typing.Annotated[
        command, tyro.conf.subcommand(name, prefix_name=False)
    ]


_ACTIONS = (
    DetectTrain,
    DetectEvaluate,
    DetectPredict,
    DetectExport,
    DetectBenchmark,
)


@dataclasses.dataclass(frozen=True)
class Detect:
    """Train, measure and use object detectors.

    Args:
        action: What to do.
    """

    action: typing.Annotated[
        typing.Union[tuple(map(_subcommand, _ACTIONS))],  # type: ignore[valid-type]  # noqa: UP007
        tyro.conf.arg(name=""),
    ]

    def with_defaults(self):
        """Returns the command with the defaults of its recipe and file."""
        if not isinstance(self.action, DetectTrain):
            return self
        return dataclasses.replace(self, action=self.action.with_defaults())

    def run(self):
        self.action.run()
