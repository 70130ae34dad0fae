"""As `record.py`, for the first codes of BYOL (JAX) and SimCLR (TensorFlow): losses, schedules and BYOL's LARS.

    python -m tests.parity.record_first --byol PATH --simclr PATH

PATHs are checkouts of google-deepmind/deepmind-research and google-research/simclr. jax, optax, dm-tree and tensorflow
must be there, which this project does not need otherwise. What is not given stays as it was recorded.
"""

from pathlib import Path
from typing import Any

from tests.parity.record import Sources, load, record_from
from tests.parity.setting import numbers

STEPS = range(0, 101, 20)
"""Of a run of 100 steps, at which the schedules are asked."""
RATES = (0.003, 0.3, 0.2, 0.1, 0.05)


def byol(root: Path) -> dict[str, Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    if not hasattr(jax, "tree_map"):  # its name in jax of their time
        jax.tree_map = jax.tree_util.tree_map
    import jax.numpy as jnp

    utils = root / "byol" / "utils"
    loss_of = load(utils / "helpers.py", "byol_helpers").regression_loss
    p, z = (jnp.asarray(numbers(name, (6, 10)).numpy()) for name in ("p", "z"))

    def loss(p: Any) -> Any:
        return jnp.mean(loss_of(p, jax.lax.stop_gradient(z)))

    schedules = load(utils / "schedules.py", "byol_schedules")
    steps = [jnp.asarray(step, jnp.float64) for step in STEPS]
    return {
        "loss": float(loss(p)),
        "gradient": jax.grad(loss)(p).flatten().tolist(),
        "momentum": [float(schedules.target_ema(step, base_ema=0.99, max_steps=100)) for step in steps],
        "lr": [float(schedules.learning_schedule(step, 512, 0.2, 100, 10)) for step in steps],
        "lars": _lars(load(utils / "optimizers.py", "byol_optimizers")),
    }


def _lars(optimizers: Any) -> list[list[list[float]]]:
    """The gradients of `record.lars_path`, by their LARS: no decay of biases, and the plain gradient for them."""
    import jax.numpy as jnp
    import optax

    params = {"layer": {n: jnp.asarray(numbers(n, shape).numpy()) for n, shape in (("w", (5, 4)), ("b", (5,)))}}
    state, path = None, []
    for step, lr in enumerate(RATES):
        spared = optimizers.exclude_bias_and_norm
        rule = optimizers.lars(lr, 1e-2, 0.9, 0.02, weight_decay_filter=spared, lars_adaptation_filter=spared)
        state = rule.init(params) if state is None else state
        grads = {n: jnp.asarray(numbers(f"gradient {n} {step}", a.shape).numpy()) for n, a in params["layer"].items()}
        updates, state = rule.update({"layer": grads}, state, params)
        params = optax.apply_updates(params, updates)
        path.append([params["layer"][n].flatten().tolist() for n in ("w", "b")])
    return path


def simclr(root: Path) -> dict[str, Any]:
    import tensorflow as tf

    script = load(root / "tf2" / "objective.py", "simclr_objective")
    script.LARGE_NUM = tf.constant(script.LARGE_NUM, tf.float64)
    one_hot = script.tf.one_hot
    script.tf.one_hot = lambda *arguments: one_hot(*arguments, dtype=tf.float64)  # theirs are float32 alone
    hidden = tf.concat([numbers(name, (6, 10)).numpy() for name in ("p", "z")], 0)
    loss, _, _ = script.add_contrastive_loss(hidden, hidden_norm=True, temperature=0.2)
    return {"loss": float(loss)}


SOURCES: Sources = {
    "byol": ("google-deepmind/deepmind-research", byol),
    "simclr": ("google-research/simclr", simclr),
}


def main() -> None:
    record_from(SOURCES, __doc__)


if __name__ == "__main__":
    main()
