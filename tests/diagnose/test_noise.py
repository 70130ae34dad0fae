"""The noise of a difference of two shares: by hand, and on how many images a protocol says it was counted."""

import math

import pytest

from resmom.diagnose.noise import images_of, noise, standard_error


def test_the_standard_error_by_hand() -> None:
    """Two accuracies of one half on 100 images each: sqrt(2 x 0.25 / 100) = 7.07 points."""
    assert standard_error((50.0, 50.0), 100) == pytest.approx(7.0711, abs=1e-4)
    assert standard_error((0.0, 100.0), 100) == 0.0
    assert standard_error((90.0, 80.0), 400) == pytest.approx(100 * math.sqrt((0.09 + 0.16) / 400))


def test_the_noise_is_two_standard_errors() -> None:
    assert noise((50.0, 50.0), 10_000) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("protocol", "images"),
    [
        ("knn-v1 k=20 T=0.07 cosine, bank 204, queries 52, a fifth of the images held out", 52),
        ("health-v1 (eval mode, fp32, 2 augmented views of the recipe at epoch 0, 512 training images, h not)", 512),
        ("knn-v1 toy", None),
    ],
)
def test_the_number_of_images_is_in_the_protocol(protocol: str, images: int | None) -> None:
    assert images_of(protocol) == images
