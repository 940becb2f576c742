"""The commands of `eca-keras`, one dataclass each: fields are options."""

from eca_keras.commands.benchmark import Benchmark
from eca_keras.commands.card import Card
from eca_keras.commands.convert import Convert
from eca_keras.commands.detect import Detect
from eca_keras.commands.evaluate import Evaluate
from eca_keras.commands.export import Export
from eca_keras.commands.info import Info
from eca_keras.commands.predict import Predict
from eca_keras.commands.study import Study
from eca_keras.commands.train import Train
from eca_keras.commands.visualize import Visualize

COMMANDS = (
    *(Train, Evaluate, Predict, Visualize, Card, Export, Convert),
    *(Detect, Info, Benchmark, Study),
)

__all__ = ["COMMANDS", *(command.__name__ for command in COMMANDS)]
