"""What ReLU leaves of a spiral embedded in n dimensions (Sandler et al. 2018, arXiv:1801.04381, Figure 1)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ideas import drawing

Array = npt.NDArray[np.float64]
DIMENSIONS = (2, 3, 5, 15, 30)
NUM_POINTS = 400
NUM_MATRICES = 500
SEED = 264  # of the first 300 the matrix whose shares are nearest to the mean


class Numbers(NamedTuple):
    """One random matrix for the figure, many for the mean."""

    spiral: Array  # (points, 2)
    back: dict[int, Array]  # n -> the spiral after embedding, ReLU and the way back
    is_recovered: dict[int, npt.NDArray[np.bool_]]  # n -> for each point
    mean_shares: dict[int, float]  # n -> share of points recovered, mean over NUM_MATRICES matrices
    expected: dict[int, float]  # n -> the same by the formula
    sizes: dict[int, float]  # n -> factor by which the spiral shrinks on the way back


def spiral(num_points: int = NUM_POINTS, turns: float = 2.5) -> Array:
    """Return points (num_points, 2) on a spiral about the origin with radius up to 1."""
    way = np.linspace(0.05, 1, num_points)
    angle = 2 * np.pi * turns * way
    return np.stack([way * np.cos(angle), way * np.sin(angle)], axis=1)


def embed(points: Array, matrix: Array) -> Array:
    """Return relu(T x) for each point: (points, n) for a matrix T (n, 2)."""
    return np.maximum(points @ matrix.T, 0)


def project_back(embedded: Array, matrix: Array) -> Array:
    """Return the points (points, 2) by the pseudo-inverse of T, as in the paper's figure."""
    return embedded @ np.linalg.pinv(matrix).T


def recover(embedded: Array, matrix: Array) -> Array:
    """Return for each point the shortest least-squares solution of the equations that ReLU has left.

    Where ReLU gave more than 0 it changed nothing, so that row of T still holds; the others are lost (appendix A).
    """
    solutions = []
    for values in embedded:
        kept = values > 0
        solutions.append(np.linalg.pinv(matrix[kept]) @ values[kept])
    return np.array(solutions)


def share_recovered(points: Array, matrix: Array, tolerance: float = 1e-6) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return the share of points that `recover` finds to within `tolerance`, and which they are."""
    error = np.linalg.norm(recover(embed(points, matrix), matrix) - points, axis=1)
    found = error < tolerance
    return float(found.mean()), found


def expected_share(num_dimensions: int) -> float:
    """Return the chance that two or more of n fair coins show heads: a point needs two rows that ReLU left alone."""
    return 1 - (1 + num_dimensions) / float(2**num_dimensions)


def mean_share(num_dimensions: int, num_matrices: int = NUM_MATRICES) -> float:
    """Return the share of directions recovered, mean over random matrices.

    Two rows that are not parallel pin a point of the plane, so counting the rows left alone is enough here.
    """
    rng = np.random.default_rng(SEED)
    matrices = rng.standard_normal((num_matrices, num_dimensions, 2))
    num_kept = (np.einsum("mnk,pk->mpn", matrices, spiral(100)) > 0).sum(axis=2)
    return float((num_kept >= 2).mean())


def numbers() -> Numbers:
    """Return what page and figure show; each n takes the first n rows of one random matrix."""
    points = spiral()
    matrix = np.random.default_rng(SEED).standard_normal((max(DIMENSIONS), 2))
    back = {n: project_back(embed(points, matrix[:n]), matrix[:n]) for n in DIMENSIONS}
    return Numbers(
        points,
        back,
        {n: share_recovered(points, matrix[:n])[1] for n in DIMENSIONS},
        {n: mean_share(n) for n in DIMENSIONS},
        {n: expected_share(n) for n in DIMENSIONS},
        {n: float((back[n] * points).sum() / (points**2).sum()) for n in DIMENSIONS},
    )


def draw(figure: Figure, found: Numbers) -> None:
    """Above the spiral, its lost points in red; below what comes back."""
    figure.set_size_inches(drawing.WIDTH, 3.6)
    for column, n in enumerate(DIMENSIONS):
        is_recovered = found.is_recovered[n]
        for row, (points, limit) in enumerate(((found.spiral, 1.1), (found.back[n], 1.1))):
            axes = figure.add_axes((0.045 + 0.192 * column, 0.46 - 0.43 * row, 0.178, 0.356))
            for mask, colour in ((is_recovered, drawing.BLUE), (~is_recovered, drawing.RED)):
                x, y = np.where(mask[:, None], points, np.nan).T
                axes.plot(x, y, color=colour, linewidth=1.8, solid_capstyle="round")
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
            for side in axes.spines.values():
                side.set(visible=True, color=drawing.PALE)
            if row == 0:
                axes.set_title(f"n = {n}\n{is_recovered.mean():.0%} recoverable", size=9)
            if column == 0:
                axes.set_ylabel(("spiral", "projected back")[row])
    figure.text(
        0.045, 0.97, "Blue: ReLU leaves enough to find the point again.  Red: lost.", va="center", weight="bold"
    )


def text(found: Numbers) -> str:
    """Return the share of points recovered for each n."""
    rows = [
        f"| {n} | {found.is_recovered[n].mean():.1%} | {found.mean_shares[n]:.2%} | {found.expected[n]:.2%} "
        f"| {found.sizes[n]:.2f} |"
        for n in DIMENSIONS
    ]
    return "\n".join(
        [
            f"| n | figure's matrix | mean of {NUM_MATRICES} matrices | 1 - (1 + n) / 2^n | size on return |",
            "|---:|---:|---:|---:|---:|",
            *rows,
        ]
    )
