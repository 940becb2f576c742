"""TorchSGD against NumPy and PyTorch; loss scaling on several replicas."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import replica_checks
import tensorflow as tf

from eca_keras.training.optimizers import DistributedLossScaleOptimizer
from eca_keras.training.optimizers import TorchSGD

HERE = pathlib.Path(__file__).parent
STEPS = 40
SETTINGS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 1e-2},
    {"momentum": 0.9, "weight_decay": 1e-2},
    {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": True},
    {"momentum": 0.9, "weight_decay": 1e-2, "dampening": 0.5},
]


@pytest.fixture
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


def problem():
    """A least-squares problem: `gradient(w)` of a different one per step."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(4, 3)), rng.normal(size=3)]
    x = rng.normal(size=(STEPS, 8, 4))
    y = rng.normal(size=(STEPS, 8, 3))

    def gradients(step, kernel, bias):
        error = (x[step] @ kernel + bias - y[step]) / 8
        return [x[step].T @ error, error.sum(0)]

    return start, gradients


def rate(step):
    return 0.1 if step < STEPS // 2 else 0.01


def by_numpy(
    momentum=0.0, nesterov=False, weight_decay=0.0, dampening=0.0, rate=rate
):
    """The rule in PyTorch's documentation, line by line."""
    weights, gradients = problem()
    buffers = [None, None]
    for step in range(STEPS):
        for i, g in enumerate(gradients(step, *weights)):
            g = g + weight_decay * weights[i]
            if momentum != 0:
                if buffers[i] is None:
                    buffers[i] = g
                else:
                    buffers[i] = momentum * buffers[i] + (1 - dampening) * g
                g = g + momentum * buffers[i] if nesterov else buffers[i]
            weights[i] = weights[i] - rate(step) * g
    return weights


def by_keras(optimizer, scheduled=False):
    start, gradients = problem()
    variables = [keras.Variable(value) for value in start]
    for step in range(STEPS):
        if not scheduled:
            optimizer.learning_rate = rate(step)
        values = gradients(step, *(v.numpy() for v in variables))
        optimizer.apply([tf.constant(g) for g in values], variables)
    return [variable.numpy() for variable in variables]


def largest(a, b):
    return max(np.abs(x - y).max() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_arithmetic_is_pytorchs(float64, settings):
    found = by_keras(TorchSGD(0.1, **settings))
    assert largest(found, by_numpy(**settings)) < 1e-13
    # The problem can tell the settings apart.
    for other in SETTINGS:
        if other != settings:
            assert largest(found, by_numpy(**other)) > 1e-4


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_pytorch_itself(float64, settings):
    torch = pytest.importorskip("torch")
    start, gradients = problem()
    weights = [torch.tensor(value) for value in start]
    optimizer = torch.optim.SGD(weights, lr=0.1, **settings)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        values = gradients(step, *(w.numpy() for w in weights))
        for weight, value in zip(weights, values, strict=True):
            weight.grad = torch.tensor(value)
        optimizer.step()
    weights = [w.numpy() for w in weights]
    assert largest(by_keras(TorchSGD(0.1, **settings)), weights) < 1e-13
    assert largest(by_numpy(**settings), weights) < 1e-13


def test_keras_sgd_is_another_method(float64):
    # The reason why TorchSGD exists.
    settings = {"momentum": 0.9, "weight_decay": 1e-2}
    sgd = keras.optimizers.SGD(0.1, **settings)
    assert largest(by_keras(sgd), by_numpy(**settings)) > 1e-2


def test_a_schedule(float64):
    settings = {"momentum": 0.9, "weight_decay": 1e-2}
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [STEPS // 2 - 1], [0.1, 0.01]
    )
    found = by_keras(TorchSGD(schedule, **settings), scheduled=True)
    # The schedule's own values are float32.
    expected = by_numpy(
        **settings, rate=lambda step: float(np.float32(rate(step)))
    )
    assert largest(found, expected) < 1e-13


def one_step(optimizer, value=2.0, gradient=3.0):
    """Returns a scalar weight after one step."""
    weight = keras.Variable(value, name="weight")
    optimizer.apply([tf.constant(gradient)], [weight])
    return float(weight.numpy())


def test_exclusions_do_not_decay():
    weights = [keras.Variable(1.0, name=name) for name in ("a", "b", "c")]
    optimizer = TorchSGD(1.0, momentum=0.5, weight_decay=0.25)
    optimizer.exclude_from_weight_decay([weights[0]], ["c"])
    optimizer.apply([tf.constant(0.0)] * 3, weights)
    assert [float(w.numpy()) for w in weights] == [1.0, 0.75, 1.0]


def test_clipping_comes_before_the_decay():
    # 2 - (1 + 0.5 * 2): the gradient 3 is cut to 1, the decay is not.
    for clip in ("clipvalue", "clipnorm", "global_clipnorm"):
        optimizer = TorchSGD(1.0, weight_decay=0.5, **{clip: 1.0})
        assert one_step(optimizer) == 0


def test_gradients_are_accumulated():
    optimizer = TorchSGD(
        1.0,
        momentum=0.5,
        weight_decay=0.5,
        dampening=0.5,
        gradient_accumulation_steps=2,
    )
    weight = keras.Variable(2.0)
    seen = []
    for gradient in (1.0, 3.0, 0.0, 1.0):
        optimizer.apply([tf.constant(gradient)], [weight])
        seen.append(float(weight.numpy()))
    # b = 2 + 0.5 * 2 = 3, then 0.5 * 3 + 0.5 * (0.5 - 0.5 * 1) = 1.5
    assert seen == [2.0, -1.0, -1.0, -2.5]


def test_the_moving_average_of_the_weights():
    optimizer = TorchSGD(1.0, use_ema=True, ema_momentum=0.5)
    weight = keras.Variable(2.0)
    for gradient in (1.0, 1.0):
        optimizer.apply([tf.constant(gradient)], [weight])
    assert float(weight.numpy()) == 0
    optimizer.finalize_variable_values([weight])
    assert float(weight.numpy()) == 0.5  # the mean of 1 and 0


def test_a_scaled_loss_changes_nothing():
    scaled = TorchSGD(1.0, weight_decay=0.5, loss_scale_factor=4.0)
    assert one_step(scaled, gradient=12.0) == one_step(
        TorchSGD(1.0, weight_decay=0.5)
    )
    wrapped = DistributedLossScaleOptimizer(TorchSGD(1.0, weight_decay=0.5))
    weight = keras.Variable(2.0)
    wrapped.build([weight])
    wrapped.apply([wrapped.scale_loss(tf.constant(3.0))], [weight])
    assert float(weight.numpy()) == -2
    wrapped.apply([tf.constant(np.inf)], [weight])
    assert float(weight.numpy()) == -2
    assert float(wrapped.dynamic_scale.numpy()) == 2.0**14


def test_sparse_gradients():
    model = keras.Sequential([keras.layers.Embedding(5, 2)])
    model.compile(TorchSGD(1.0, momentum=0.5, weight_decay=0.5), "mse")
    model.build((None, 1))
    before = model.get_weights()[0]
    model.train_on_batch(np.array([[1], [1]]), np.zeros((2, 1, 2)))
    after = model.get_weights()[0]
    np.testing.assert_allclose(after[[0, 2, 3, 4]], before[[0, 2, 3, 4]] / 2)
    # The mean of squares over 4 numbers, of which 2 are the same weight.
    np.testing.assert_allclose(after[1], before[1] * (1 - 0.5 - 1), rtol=1e-5)


def configured():
    """Every argument differs from its default."""
    return TorchSGD(
        learning_rate=0.25,
        momentum=0.75,
        nesterov=False,
        weight_decay=0.125,
        dampening=0.5,
        use_ema=True,
        ema_momentum=0.5,
        clipnorm=3.0,
        name="mine",
    )


def test_serialisation():
    optimizer = configured()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is TorchSGD
    names = ("momentum", "nesterov", "weight_decay", "dampening", "use_ema")
    for name in (*names, "ema_momentum", "clipnorm", "name"):
        assert getattr(again, name) == getattr(optimizer, name), name
    assert float(again.learning_rate.numpy()) == 0.25
    again = TorchSGD.from_config(
        TorchSGD(momentum=0.5, nesterov=True).get_config()
    )
    assert again.nesterov
    wrapper = DistributedLossScaleOptimizer(configured(), 8.0, 7)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(wrapper))
    assert type(again) is DistributedLossScaleOptimizer
    assert (again.initial_scale, again.dynamic_growth_steps) == (8.0, 7)
    assert again.inner_optimizer.dampening == 0.5


@pytest.mark.parametrize("scaled", [False, True])
def test_a_saved_model_goes_on_where_it_was(tmp_path, scaled):
    def fit(model):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(32, 4)), rng.normal(size=(32, 1))
        model.fit(x, y, epochs=1, batch_size=8, shuffle=False, verbose=0)
        return np.concatenate([np.ravel(w) for w in model.get_weights()])

    optimizer = configured()
    if scaled:
        optimizer = DistributedLossScaleOptimizer(optimizer, 8.0)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    fit(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.optimizer) is type(optimizer)
    np.testing.assert_array_equal(fit(again), fit(model))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"momentum": 1.5}, r"`momentum` must be in \[0, 1\]. .*momentum=1.5"),
        ({"dampening": -1}, r"`dampening` must be in \[0, 1\]. .*dampening=-1"),
        ({"weight_decay": -0.1}, "`weight_decay` must be at least 0. .*=-0.1"),
        ({"nesterov": True}, "`nesterov` must be False without momentum"),
        (
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "with dampening. .*dampening=0.1",
        ),
    ],
)
def test_bad_arguments(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        TorchSGD(**settings)


def start_check(name, **environment):
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, HERE / "replica_checks.py", name],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(process):
    try:
        output, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def check_overflow(results):
    """All replicas skipped one step, and nothing else happened to them."""
    finals = []
    for result in results:
        replicas = np.array(result["replicas"])
        assert np.isfinite(replicas).all()
        assert (replicas == replicas[0]).all()
        overflowed = result["bad_replica"] is not None
        assert result["iterations"] == replica_checks.STEPS - overflowed
        assert result["scale"] == replica_checks.INITIAL_SCALE / (
            2 if overflowed else 1
        )
        finals.append(replicas[0])
    # Whichever replica it was, the same step was left out.
    np.testing.assert_array_equal(finals[0], finals[1])
    return finals


@pytest.mark.slow
def test_two_replicas_step_as_one_device():
    result = result_of(start_check("equality"))
    (one,), two = result["one"], np.array(result["two"])
    assert len(two) == 2
    assert np.abs(two - one).max() < 1e-12


@pytest.mark.slow
def test_an_overflow_on_one_of_two_replicas():
    finals = check_overflow(result_of(start_check("mirrored")))
    # The step that is left out matters.
    assert np.abs(finals[0] - finals[2]).max() > 3e-3


@pytest.mark.slow
def test_an_overflow_on_one_of_two_workers():
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = [
        start_check(
            "worker",
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]
    try:
        results = [result_of(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert results[0] == results[1]
    check_overflow(results[0])
