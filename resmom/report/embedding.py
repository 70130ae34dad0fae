"""Representations to places on a map."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

COLUMNS, ROWS = 34, 25
"""The grid of a map: twice as many cells as there are images at most, so that groups stay apart."""

FEWEST = 10
"""Fewer images make no map."""


def places(h: Float[np.ndarray, "n d"], seed: int = 0) -> NDArray[np.float64]:
    """t-SNE (van der Maaten and Hinton 2008) by cosine: n x 2, each coordinate in [0, 1].

    Raises ValueError, with the reason in words, where no map can be made.
    """
    if len(h) < FEWEST:
        raise ValueError(f"{len(h)} images are too few for a map")
    if not np.isfinite(h).all():
        raise ValueError("no map: the representation is not finite")
    unit = h.astype(np.float64) / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)
    spread = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    if len(spread) < 2 or spread[1] < 1e-6 * np.sqrt(len(h)):
        raise ValueError("no map: the representation of all images lies on one line, or is the same")
    from sklearn.manifold import TSNE  # takes a second, which a page without a map need not wait for

    # On unit vectors the Euclidean distance orders as the cosine does.
    found = TSNE(perplexity=min(30.0, (len(h) - 1) / 3), init="pca", random_state=seed).fit_transform(unit)
    placed: NDArray[np.float64] = np.asarray(found, dtype=np.float64)
    low, high = placed.min(0), placed.max(0)
    scaled: NDArray[np.float64] = (placed - low) / np.maximum(high - low, 1e-12)
    return scaled


def apart(points: Float[np.ndarray, "n 2"], columns: int = COLUMNS, rows: int = ROWS) -> NDArray[np.int64]:
    """Cells of a grid, n x (column, row), no two alike, so that all points together are moved as little as may be.

    `points` lie in [0, 1]; the sum of squared ways is the smallest there is. Raises ValueError for more points than
    cells.
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second, which a run that draws no map need not wait

    if len(points) > columns * rows:
        raise ValueError(f"{len(points)} points do not fit into {columns} x {rows} cells")
    cells = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij"), axis=-1).reshape(-1, 2)
    wanted = points * np.array([columns - 1, rows - 1])
    ways = ((wanted[:, None] - cells[None]) ** 2).sum(-1)
    point, cell = linear_sum_assignment(ways)
    taken: NDArray[np.int64] = cells[cell[np.argsort(point)]]
    return taken
