"""Studies: networks that differ in one thing, trained and compared."""

from eca_keras.training.study.analysis import summarize
from eca_keras.training.study.records import Records
from eca_keras.training.study.records import Result
from eca_keras.training.study.report import write_report
from eca_keras.training.study.runs import Runner
from eca_keras.training.study.runs import queue
from eca_keras.training.study.studies import STUDIES
from eca_keras.training.study.studies import find_study

__all__ = [
    "STUDIES",
    "Records",
    "Result",
    "Runner",
    "find_study",
    "queue",
    "summarize",
    "write_report",
]
