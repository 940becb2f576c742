"""Studies: statistics, results on disk and reports, from made-up runs."""

import dataclasses
import html.parser
import io
import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from eca_keras import cli
from eca_keras.errors import InputError
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.config import deciding
from eca_keras.training.config import upgraded
from eca_keras.training.study import Records
from eca_keras.training.study import Result
from eca_keras.training.study import find_study
from eca_keras.training.study import queue
from eca_keras.training.study import summarize
from eca_keras.training.study import write_report
from eca_keras.training.study.records import name_of
from eca_keras.training.study.runs import config_of
from eca_keras.training.study.settings import settings_for
from eca_keras.training.study.statistics import estimate
from eca_keras.training.study.statistics import holm
from eca_keras.training.study.statistics import paired

BASE = settings_for(find_study("modules"), "digits", epochs=1, image_size=32)
# Of 5 values, one-sided 97.5 %: a printed table of Student's t has 2.776.
T4 = 2.7764451


def make_result(config, top1, **changes):
    """A result that no training made."""
    network = config.attention != "none"
    values = {
        "settings": deciding(config),
        "evaluated_on": "test",
        "images": 10_000,
        "top1": top1,
        "top5": 0.99,
        "loss": 0.3,
        "best_epoch": 1,
        "history": [{"epoch": 1, "seconds": 12.5, "val_top1": top1}],
        "parameters": 1000 + 80 * network,
        "attention_parameters": 80 * network,
        "macs": 1_234_567,
        "kernel_sizes": [3, 3, 5] if config.attention == "eca" else [],
        "seconds": 36.0,
        "diverged": None,
        "versions": {"keras": "3.15.1"},
    }
    return Result(**{**values, **changes})


def fill(records, study, tops, seeds, **changes):
    """Makes up the results of all rows; returns their arrays of top-1."""
    for row in study.rows:
        for seed in seeds:
            config = config_of(row, BASE, seed)
            result = make_result(config, tops[row.name][seed], **changes)
            records.save(config, result)


@pytest.fixture
def modules(tmp_path):
    """The study of the modules with 5 seeds, and what it was made from."""
    study = find_study("modules")
    rng = np.random.default_rng(7)
    common = rng.normal(0, 0.004, 5)  # what the seeds share
    gains = {"SE": 0.003, "ECA": 0.02, "GC": -0.02}
    tops = {
        row.name: np.round(
            0.9 + common + gains.get(row.name, 0) + rng.normal(0, 0.001, 5), 4
        )
        for row in study.rows
    }
    records = Records(tmp_path / "results")
    fill(records, study, tops, range(5))
    return study, tops, records


def test_estimate_is_student_s_interval():
    values = [90.1, 90.4, 89.9, 90.6, 90.0]
    found = estimate(values)
    error = np.std(values, ddof=1) / np.sqrt(5)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.half == pytest.approx(T4 * error, rel=1e-6)
    assert found.count == 5
    below = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(below.pvalue)
    low, high = below.confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx(
        (low, high)
    )


def test_one_value_has_no_interval_and_no_p():
    found = estimate([3.0])
    assert (found.mean, found.half, found.p) == (3.0, None, None)
    assert not found.decided


def test_values_without_spread():
    assert estimate([0.0, 0.0]).p == 1
    assert not estimate([0.0, 0.0]).decided
    assert estimate([0.5, 0.5]).p == 0
    assert estimate([0.5, 0.5]).half == 0


def test_paired_takes_the_seeds_that_both_have():
    found = paired({0: 3.0, 1: 5.0, 2: 9.0}, {0: 1.0, 1: 2.0, 7: 0.0})
    assert found.mean == pytest.approx(2.5)
    assert found.count == 2
    expected = stats.ttest_rel([3.0, 5.0], [1.0, 2.0]).pvalue
    assert found.p == pytest.approx(expected)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_holm():
    # Smallest first times the number that is left, never below the one before.
    ps = [0.04, 0.001, None, 0.02, 0.9]
    assert holm(ps) == pytest.approx([0.08, 0.004, None, 0.06, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([None]) == [None]


def test_summary_against_numbers_by_hand(modules):
    study, tops, records = modules
    summary = summarize(study, BASE, range(5), records)
    assert summary.missing == 0
    percent = {name: 100 * values for name, values in tops.items()}
    raw = {
        name: stats.ttest_rel(values, percent["none"]).pvalue
        for name, values in percent.items()
        if name != "none"
    }
    order = sorted(raw, key=raw.get)
    corrected = np.maximum.accumulate(
        [min(1, (9 - i) * raw[name]) for i, name in enumerate(order)]
    )
    corrected = dict(zip(order, corrected, strict=True))
    for row in summary.rows:
        values = percent[row.row.name]
        assert row.top1.mean == pytest.approx(values.mean())
        half = T4 * values.std(ddof=1) / np.sqrt(5)
        assert row.top1.half == pytest.approx(half, rel=1e-6)
        if row.row.name == "none":
            assert row.difference is None
            continue
        difference = values - percent["none"]
        assert row.difference.mean == pytest.approx(difference.mean())
        half = T4 * difference.std(ddof=1) / np.sqrt(5)
        assert row.difference.half == pytest.approx(half, rel=1e-6)
        assert row.p == pytest.approx(corrected[row.row.name])


def test_verdicts_follow_from_the_results(modules):
    study, _, records = modules
    summary = summarize(study, BASE, range(5), records)
    verdicts = {
        (x.claim.better, x.claim.worse): x.verdict for x in summary.claims
    }
    assert verdicts["ECA", "none"] == "seen"
    assert verdicts["ECA", "SE-Var2"] == "seen"
    # Both were drawn around the same mean.
    assert verdicts["SE-Var3", "SE-Var2"] == "not decided"
    for found in summary.claims:
        if found.verdict == "seen":
            assert found.p < 0.05
            assert found.difference.mean > found.difference.half


def test_a_claim_can_be_turned_round(tmp_path):
    study = find_study("kernel-size")
    records = Records(tmp_path)
    noise = np.random.default_rng(0).normal(0, 1e-3, (6, 3))
    tops = {
        row.name: 0.9 + noise[i] + 0.05 * (row.name == "k = 7")
        for i, row in enumerate(study.rows)
    }
    fill(records, study, tops, range(3))
    summary = summarize(study, BASE, range(3), records)
    [found] = [x for x in summary.claims if x.claim.worse == "k = 7"]
    assert found.verdict == "the opposite is seen"
    fill(records, study, {name: [0.9] * 3 for name in tops}, range(3))
    summary = summarize(study, BASE, range(3), records)
    assert {x.verdict for x in summary.claims} == {"not decided"}


class Page(html.parser.HTMLParser):
    """Finds the cells, the pictures and what a page asks others for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.images, self.links = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes["src"])
        if tag in ("link", "script", "a", "iframe"):
            self.links.append(attributes)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def table_of(text, first):
    """The cells of the Markdown table whose titles begin with `first`."""
    lines = text.splitlines()
    start = next(i for i, x in enumerate(lines) if x.startswith(f"| {first}"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[:1] + rows[2:]


def test_report(modules, tmp_path):
    study, tops, records = modules
    summary = summarize(study, BASE, range(5), records)
    path = write_report(summary, tmp_path / "modules")
    assert {x.name for x in path.parent.iterdir()} == {
        "report.md",
        "report.html",
        "accuracy.png",
    }
    text = path.read_text()
    rows = {row[0]: row for row in table_of(text, " |")}
    eca, none = 100 * tops["ECA"], 100 * tops["none"]
    half = T4 * eca.std(ddof=1) / np.sqrt(5)
    assert rows["ECA"][1] == f"{eca.mean():.2f} ± {half:.2f}"
    half = T4 * (eca - none).std(ddof=1) / np.sqrt(5)
    assert rows["ECA"][2] == f"{(eca - none).mean():+.2f} ± {half:.2f}"
    assert rows["ECA"][4:] == ["80", "1.23", "12.5", "5", "77.43"]
    assert rows["none"][2:5] == ["-", "-", "0"]
    claims = {row[0]: row for row in table_of(text, "claim")}
    assert len(claims) == 12
    assert claims["ECA above none"][4:] == ["seen", "+2.23"]
    seen = sum(row[4] == "seen" for row in claims.values())
    assert f"Of 11 orders that the paper argues from, {seen} are seen" in text
    means = {name: values.mean() for name, values in tops.items()}
    order = ", ".join(sorted(means, key=means.get, reverse=True))
    assert f"By their means here: {order}." in text
    assert "Kernel sizes of ECA, block by block: 3 (2 times), 5." in text
    assert "not complete" not in text
    page = Page(path.with_suffix(".html").read_text())
    assert not page.open
    assert not page.links
    assert [src[:22] for src in page.images] == ["data:image/png;base64,"]
    for row in (*rows.values(), *claims.values()):
        assert set(row) <= {cell.strip() for cell in page.cells}
    picture = path.with_name("accuracy.png").read_bytes()
    with Image.open(io.BytesIO(picture)) as image:
        assert np.asarray(image.convert("L")).std() > 10  # not blank
    # From the results alone, and nothing else: the same once more.
    write_report(summary, tmp_path / "again")
    for name in ("report.md", "report.html", "accuracy.png"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == path.with_name(name).read_bytes()


def test_a_report_of_an_incomplete_study_names_what_is_missing(
    modules, tmp_path
):
    study, _, records = modules
    for row in study.rows:
        records.path(config_of(row, BASE, 4)).unlink()
    records.path(config_of(study.rows[3], BASE, 2)).unlink()
    diverged = config_of(study.rows[-1], BASE, 0)
    result = make_result(diverged, None, diverged="the loss became nan")
    records.save(diverged, result)
    summary = summarize(study, BASE, range(5), records)
    text = write_report(summary, tmp_path / "report").read_text()
    assert (
        "not complete: 11 of 50 runs are missing "
        "(seed 2: SE-Var2; seed 4: all rows)." in text
    )
    assert "diverged and does not count: GC, seed 0." in text
    rows = {row[0]: row for row in table_of(text, " |")}
    assert [rows[x][7] for x in ("none", "SE-Var2", "GC")] == ["4", "3", "3"]


def test_a_single_seed_decides_nothing(tmp_path):
    study = find_study("backbones", ("ECAResNet20", "ECAResNet32"))
    records = Records(tmp_path / "results")
    tops = {row.name: [0.8 + 0.01 * i] for i, row in enumerate(study.rows)}
    fill(records, study, tops, [0], kernel_sizes=[3] * 9)
    summary = summarize(study, BASE, [0], records)
    assert {x.verdict for x in summary.claims} == {"too few runs"}
    text = write_report(summary, tmp_path / "report").read_text()
    rows = {row[0]: row for row in table_of(text, " |")}
    assert rows["ResNet20 + ECA"][1:4] == ["81.00", "+1.00", "-"]
    assert rows["ResNet32 + ECA"][1:4] == ["83.00", "+1.00", "-"]
    assert "Not tested, for want of runs: ResNet20 + ECA above" in text


def test_rows_that_are_the_same_network_are_named(tmp_path):
    study = find_study("kernel-size", ("ECAResNet20",))
    records = Records(tmp_path / "results")
    for row in study.rows:
        config = config_of(row, BASE, 0)
        k = config.kernel_size
        sizes = [3 if k == "adaptive" else k] * 9
        records.save(config, make_result(config, 0.9, kernel_sizes=sizes))
    summary = summarize(study, BASE, [0], records)
    text = write_report(summary, tmp_path / "report").read_text()
    assert "k = 3 and adaptive are the same network here." in text
    assert "Kernel sizes of adaptive, block by block: 3 (9 times)." in text


def test_runs_are_shared_and_take_turns():
    model = ["ECAResNet20"]
    studies = [find_study("modules", model), find_study("kernel-size", model)]
    pairs = [(study, BASE) for study in studies]
    runs = list(queue(pairs, range(5)).values())
    assert len(runs) == 75  # 10 + 6 rows, one of them in both
    assert [run.seed for run in runs] == [
        seed for seed in range(5) for _ in range(15)
    ]
    assert len({name_of(run) for run in runs}) == 75
    for run in runs:
        assert run.epochs == BASE.epochs
        assert run.export == ()


PUBLISHED = sorted(
    pathlib.Path(__file__).parent.parent.glob("docs/studies/*/results/*.json")
)


def test_the_published_results_belong_to_their_settings():
    assert len(PUBLISHED) == 80
    for path in PUBLISHED:
        settings = upgraded(json.loads(path.read_text("utf-8"))["settings"])
        config = TrainConfig(**settings)
        assert name_of(config) == path.stem
        assert Records(path.parent).load(config).settings


@pytest.mark.parametrize("name", ["modules", "kernel-size"])
def test_the_published_reports_are_what_the_results_say(name, tmp_path):
    folder = PUBLISHED[0].parent.parent
    study = find_study(name)
    base = settings_for(study, "fashion-mnist")
    records = Records(folder / "results")
    write_report(summarize(study, base, range(5), records), tmp_path)
    written = (tmp_path / "report.md").read_text("utf-8")
    assert written == (folder / name / "report.md").read_text("utf-8")


def test_a_run_is_named_by_what_decides_its_weights():
    config = config_of(find_study("kernel-size").rows[2], BASE, 3)
    name = name_of(config)
    assert re.fullmatch(r"ECAResNet18-eca-5-seed3-[0-9a-f]{10}", name)
    elsewhere = dataclasses.replace(config, output="x", strategy="mirrored")
    assert name_of(elsewhere) == name
    for change in ({"epochs": 2}, {"data": "fashion-mnist"}, {"seed": 4}):
        assert name_of(dataclasses.replace(config, **change)) != name


DAMAGE = {
    "no JSON": (lambda values: "{", "it is no JSON file"),
    "a list": (lambda values: [1], "it must map attention_parameters, "),
    "a field is missing": (
        lambda values: {k: x for k, x in values.items() if k != "macs"},
        "it must map attention_parameters, ",
    ),
    "top1": (lambda values: {**values, "top1": 91.2}, "`top1` must be from 0"),
    "NaN": (lambda values: {**values, "loss": float("nan")}, "`loss` must be"),
    "another run": (
        lambda values: {
            **values,
            "settings": {**values["settings"], "epochs": 9},
        },
        "is that of a run with epochs=1, but it has 9",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_result_is_named(case, tmp_path):
    records = Records(tmp_path)
    config = config_of(find_study("modules").rows[0], BASE, 0)
    result = make_result(config, 0.9)
    records.save(config, result)
    assert records.load(config) == result
    change, sentence = DAMAGE[case]
    path = records.path(config)
    values = change(json.loads(path.read_text()))
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    with pytest.raises(InputError, match=sentence) as caught:
        records.load(config)
    assert str(path) in str(caught.value)
    assert "Remove it, and the same command trains this run" in str(
        caught.value
    )


BAD = {
    "study": (["modulse"], "`NAMES` must be one of modules, kernel-size, back"),
    "no study": ([], "`NAMES` must name at least one study"),
    "model": (["modules", "--model", "VGG"], "`--model` must be one of ECA"),
    "models": (
        ["kernel-size", "--model", "ECAResNet18", "ECAResNet20"],
        "`--model` must be one network for the study 'kernel-size'",
    ),
    "seeds": (["modules", "--seeds", "0"], "`--seeds` must be at least 1"),
    "minutes": (
        ["modules", "--minutes", "nan"],
        "`--minutes` must be at",
    ),
    "limit": (
        ["modules", "--limit-runs", "-1"],
        "`--limit-runs` must be at",
    ),
    "epochs": (["modules", "--epochs", "0"], "`--epochs` must be at least 1"),
    "data": (["modules", "--data", "minst"], "`--data` must be 'digits'"),
    "size": (
        ["kernel-size", "--data", "digits", "--image-size", "8"],
        "Input size must be at least 32x32",
    ),
    "config": (["modules", "--config", "/no.json"], "/no.json"),
    "nothing to report": (
        ["modules", "--report-only"],
        "The study 'modules' has no result with these settings yet",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, sentence = BAD[case]
    try:
        code = cli.main(["study", *arguments])
    except SystemExit as error:  # the parser's own way
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_output_that_is_a_file(capsys, tmp_path):
    file = tmp_path / "study"
    file.write_text("precious")
    assert cli.main(["study", "modules", "--output", str(file)]) == 2
    assert "`--output` must be a folder" in capsys.readouterr().err
    assert file.read_text() == "precious"


def test_several_hosts_are_refused(capsys, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"strategy": "multi-worker"}')
    arguments = ["study", "modules", "--config", str(file)]
    assert cli.main([*arguments, "--output", str(tmp_path / "study")]) == 2
    assert "`strategy` must be that of a single" in capsys.readouterr().err


def test_reports_by_the_command_line(tmp_path, capsys):
    study = find_study("kernel-size")
    records = Records(tmp_path / "results")
    tops = {row.name: [0.9, 0.91] for row in study.rows}
    fill(records, study, tops, range(2))
    arguments = ["study", "kernel-size", "--data", "digits", "--epochs", "1"]
    arguments += ["--seeds", "2", "--batch-size", "128", "--report-only"]
    arguments += ["--learning-rate", "0.2"]
    assert cli.main([*arguments, "--output", str(tmp_path)]) == 0
    report = tmp_path / "kernel-size" / "report.md"
    assert f"Wrote {report}" in capsys.readouterr().out
    assert "| k = 9 | 90.50 ± 6.35 | +0.00 ± 0.00 |" in report.read_text()


@pytest.mark.parametrize(
    ("name", "model", "size"),
    [
        ("modules", "ECAResNet20", 16),
        ("modules", "ECAResNet50", 32),
        ("backbones", "ECAMobileNetV2", 32),
    ],
)
def test_images_are_not_smaller_than_a_network_takes(name, model, size):
    study = find_study(name, [model])
    assert settings_for(study, "fashion-mnist").image_size == size
    assert settings_for(study, "digits", image_size=40).image_size == 40


def test_the_recipe_is_for_its_data():
    study = find_study("modules")
    assert settings_for(study, "fashion-mnist").augmentation == "flip"
    assert settings_for(study, "fashion-mnist:/x").augmentation == "flip"
    assert settings_for(study, "digits").augmentation is None
