"""Which layer, pooling, learning rate and weight decay make the best linear classifier: chosen without the test set."""

from dataclasses import dataclass, replace

from jaxtyping import Int
from torch import Tensor

from resmom.evaluate.layers import LayerFeatures
from resmom.evaluate.linear import Choice, choose_linear, linear_probe
from resmom.evaluate.score import NotMeasured, Score
from resmom.evaluate.settings import Linear
from resmom.evaluate.standard import all_finite


@dataclass(frozen=True)
class Sweep:
    """The test score of the chosen features alone, and what every kind reached on the held-out training images."""

    score: Score
    kind: str
    choices: dict[str, Choice]


def sweep(
    features: LayerFeatures,
    labels: Int[Tensor, " n"],
    test_features: LayerFeatures,
    test_labels: Int[Tensor, " m"],
    config: Linear,
) -> Sweep:
    """All heads of the grid on all kinds of features, each kind's at once, on the same batches; the best is tested.

    All are judged on the same stratified share of the training images, and equals by the lower cross-entropy, then the
    earlier kind. Test images have no part in that. Features that are not finite, or of which every learning rate
    diverges, are left out and named in the protocol. Errors are those of `linear_probe`.
    """
    ill = {kind: "not finite" for kind in features.kinds if not all_finite(features[kind], labels)}
    kinds = [kind for kind in features.kinds if kind not in ill] or list(features.kinds)  # of none, the error says so
    choices: dict[str, Choice] = {}
    for kind in kinds:
        try:
            choices[kind] = choose_linear(features[kind], labels, config)
        except NotMeasured:
            ill[kind] = "diverged"
            if len(ill) == len(features.kinds):  # nothing is left
                raise
    best = max(choices, key=lambda kind: choices[kind].rank)
    found = linear_probe(features[best], labels, test_features[best], test_labels, config)
    heads = len(config.lrs) * len(config.weight_decays)
    without = "".join(f", without '{kind}' ({ill[kind]})" for kind in features.kinds if kind in ill)
    protocol = f"sweep-v1 ({best}; chosen among {len(choices)} layers and poolings x {heads} settings{without}; then "
    return Sweep(replace(found.score, protocol=protocol + found.score.protocol + ")"), best, choices)
