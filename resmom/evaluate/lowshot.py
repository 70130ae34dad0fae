"""What a few labelled images per class are worth: logistic regression and kNN, over several draws of the images."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from resmom.evaluate.draw import shots
from resmom.evaluate.knn import knn
from resmom.evaluate.score import NotMeasured, Repeated, repeated, score
from resmom.evaluate.settings import Knn, LowShot
from resmom.evaluate.standard import moments, require_sound, standardised

_MOST_ITERATIONS = 1000


def low_shot(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test_features: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"],
    config: LowShot,
    neighbours: Knn,
    classes: Sequence[str] = (),
) -> list[Repeated]:
    """Logistic regression, then kNN, for each number of images per class; a function of its arguments alone.

    The draws depend on labels and seed, not on the features: every network meets the same images. Raises ValueError for
    no labels, fewer than two classes, or a class with too few images; NotMeasured for features that are not finite, and
    where a regression does not settle.
    """
    known, asked = labels >= 0, test_labels >= 0
    x, y, tx, ty = features[known], labels[known].long(), test_features[asked], test_labels[asked].long()
    require_sound(x, tx)
    if y.min() == y.max():
        raise ValueError("a classifier needs images of at least two classes to learn from, and here is one")
    # Of all training images, whose labels this does not need: the deviation of ten images is no measure.
    mean, deviation = moments(x)
    flat, test = standardised(x, mean, deviation).cpu(), standardised(tx, mean, deviation).cpu()
    total = int(torch.cat([y, ty]).max()) + 1
    found = []
    for n in config.shots:
        of_logistic, of_knn = [], []
        for draw in range(config.draws):
            rows = torch.from_numpy(shots(y.cpu().numpy(), n, config.seed, draw, classes))
            votes = logistic_votes(flat[rows], y.cpu()[rows], test, total, config.c)
            of_logistic.append(score(votes, ty.cpu(), ""))
            rows = rows.to(x.device)
            of_knn.append(knn(x[rows], y[rows], tx, ty, Knn(min(n, neighbours.k), neighbours.temperature)))
        k = f"k={min(n, neighbours.k)} T={neighbours.temperature:g} cosine"
        for learner, scores in ((f"logistic regression C={config.c:g}", of_logistic), (f"kNN {k}", of_knn)):
            found.append(repeated(scores, _protocol(n, learner, config, len(ty))))
    return found


def logistic_votes(
    x: Float[Tensor, "n d"], labels: Int[Tensor, " n"], test: Float[Tensor, "m d"], classes: int, c: float
) -> Float[Tensor, "m {classes}"]:
    """Scores of a multinomial logistic regression on standardised features, which are divided by sqrt(d).

    So an image has length 1 on average, and one C serves every width. A class without an image has the lowest score.
    """
    from sklearn.exceptions import ConvergenceWarning  # a second to import, and few commands need it
    from sklearn.linear_model import LogisticRegression

    scale = math.sqrt(x.shape[1])
    model = LogisticRegression(C=c, max_iter=_MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x / scale).double().numpy(), labels.numpy())
    if model.n_iter_.max() >= _MOST_ITERATIONS:
        raise NotMeasured(f"logistic regression did not settle in {_MOST_ITERATIONS} iterations")
    margins: NDArray[np.float64] = model.decision_function((test / scale).double().numpy())
    if margins.ndim == 1:  # of two classes, scikit-learn gives the second one's margin alone
        margins = np.stack([-margins, margins], axis=1)
    votes = np.full((len(test), classes), margins.min() - 1.0)
    votes[:, model.classes_] = margins
    return torch.from_numpy(votes)


def _protocol(n: int, learner: str, config: LowShot, tested: int) -> str:
    return (
        f"low-shot-v1 {n} per class, {learner}, mean of {config.draws} draw{'s' * (config.draws > 1)} "
        f"(seed {config.seed}), tested on {tested}"
    )
