"""Random colours: brightness, contrast, saturation, hue and PCA noise, all as one affine map of (R, G, B)."""

import numpy as np
from numpy.typing import NDArray

from depthwise.data.order import Ids, uniform
from depthwise.data.warp import Images

BRIGHTNESS, CONTRAST, SATURATION, HUE, PCA = 121, 122, 123, 124, 125  # salts; PCA takes six from its number on
LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R 601, as decode makes grey."""
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Of the colours of ImageNet's pixels in [0, 1]; figures of github.com/facebookarchive/fb.resnet.torch."""
MEASURED = 56
"""Rows and columns on which a picture's mean is measured: more would cost time and change it by a level at most."""


def colour_matrices(
    images: Images, ids: Ids, seed: int, epoch: int, *, jitter: float, hue: float, pca_noise: float
) -> NDArray[np.float64]:
    """Return a map (C, C + 1) per picture of `images`, uint8 (B, H, W, C), for `recolour`.

    jitter: brightness, contrast and saturation are each multiplied by 1 - jitter to 1 + jitter, in this order (Howard
    2013, arXiv:1312.5402, section 2.2). hue: largest turn of the colour circle, 0.5 is half of it. pca_noise: standard
    deviation of AlexNet's noise. Of grey pictures only brightness and contrast change.
    """
    channels = images.shape[3]
    luma = LUMA if channels == 3 else np.ones(1)
    step = max(1, images.shape[1] // MEASURED)
    mean = images[:, ::step, ::step].mean(axis=(1, 2)) @ luma
    brightness, contrast, saturation = (
        1 + jitter * (2 * uniform(ids, seed, epoch, salt) - 1) for salt in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    matrices = np.zeros((len(ids), channels, channels + 1))
    linear, offset = matrices[:, :, :-1], matrices[:, :, -1]
    linear[:] = (brightness * contrast)[:, None, None] * np.eye(channels)
    offset[:] = ((1 - contrast) * brightness * mean)[:, None]
    if channels == 3:
        turned = _hue_turns(hue * (2 * uniform(ids, seed, epoch, HUE) - 1)) @ _saturations(saturation)
        linear[:] = turned @ linear
        offset[:] = (turned @ offset[:, :, None])[:, :, 0]
    offset += 255 * _pca_noise(ids, seed, epoch, pca_noise, channels)
    return matrices


def _saturations(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return matrices (B, 3, 3) that move each colour away from the grey of its luma (factor 0: onto it)."""
    moved: NDArray[np.float64] = factors[:, None, None] * np.eye(3) + (1 - factors)[:, None, None] * LUMA
    return moved


def _hue_turns(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return turns about the grey axis, (B, 3, 3), 1 is once round: grey stays, and the mean of the three channels.

    Linear, as in Haeberli 1993, Matrix Operations for Image Processing; the formula of Rodrigues for (1, 1, 1).
    """
    cos, sin = (f(2 * np.pi * turns)[:, None, None] for f in (np.cos, np.sin))
    cross = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turned: NDArray[np.float64] = cos * np.eye(3) + (1 - cos) / 3 + sin * cross
    return turned


def _pca_noise(ids: Ids, seed: int, epoch: int, deviation: float, channels: int) -> NDArray[np.float64]:
    """Return what is added to each channel, (B, C), of values in [0, 1]: sum of p_i alpha_i lambda_i over i.

    Krizhevsky et al. 2012, section 4.1; alpha_i is normal with this deviation (0.1 there). Grey gets the mean.
    """
    draws = [uniform(ids, seed, epoch, PCA + number) for number in range(6)]
    radius = np.sqrt(-2 * np.log(1 - np.stack(draws[:3], axis=1)))  # Box & Muller 1958
    alphas = deviation * radius * np.cos(2 * np.pi * np.stack(draws[3:], axis=1))
    noise: NDArray[np.float64] = (alphas * EIGENVALUES) @ EIGENVECTORS.T
    return noise if channels == 3 else noise.mean(axis=1, keepdims=True)
