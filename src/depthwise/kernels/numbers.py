"""Numbers inside kernels: bfloat16 and float32 in memory, activations and their slopes in float32.

Formulas take single numbers and `lanes`.

Caches of compiled kernels see changes of their own file only: after a change here, touch the files that import it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit
from numba.core import types
from numba.extending import overload

from depthwise.kernels.lanes import power_of_two, powers_of_two, select

intrinsic: Any = extending.intrinsic  # its type would have callers pass what the compiler passes
CLAMP, HARD_SWISH, SILU = 0, 1, 2
INFINITY = float("inf")
ACTIVATIONS: dict[str, tuple[int, np.float32, np.float32]] = {
    "none": (CLAMP, np.float32(-INFINITY), np.float32(INFINITY)),
    "relu": (CLAMP, np.float32(0), np.float32(INFINITY)),
    "relu6": (CLAMP, np.float32(0), np.float32(6)),
    "hard_swish": (HARD_SWISH, np.float32(0), np.float32(0)),
    "silu": (SILU, np.float32(0), np.float32(0)),
}
"""Name -> what kernels take: the formula, and for CLAMP its bounds."""

F = np.float32
U = np.uint32
inline = njit(fastmath={"contract"}, error_model="numpy")
"""Products and sums may become one instruction; nothing else may change, so that NaN stays NaN."""


@intrinsic
def bits_of(typing_context: Any, value: Any) -> Any:
    """float32 -> its bits as uint32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), code


@intrinsic
def from_bits(typing_context: Any, value: Any) -> Any:
    """Bits as uint32 -> float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), code


def widen(value: Any) -> Any:
    """Return a number of memory, float32 or the bits of a bfloat16, as float32."""


@overload(widen)
def _widen(value: Any) -> Any:
    def of_bits(value: Any) -> Any:
        return from_bits(U(value) << U(16))

    def same(value: Any) -> Any:
        return value

    return of_bits if value == types.uint16 else same


def narrow(value: Any, dtype: Any) -> Any:
    """Return float32 as a number of memory; bfloat16 is rounded to nearest, ties to even.

    Of NaN only those with a full low half would become something else, which no arithmetic makes.
    """


@overload(narrow)
def _narrow(value: Any, dtype: Any) -> Any:
    def rounded(value: Any, dtype: Any) -> Any:
        bits = bits_of(value)
        return np.uint16((bits + U(0x7FFF) + ((bits >> U(16)) & U(1))) >> U(16))

    def same(value: Any, dtype: Any) -> Any:
        return value

    return rounded if dtype.dtype == types.uint16 else same


@overload(power_of_two)
def _power_of_two(exponent: Any) -> Any:
    def of_number(exponent: Any) -> Any:
        return from_bits((bits_of(exponent) + U(127)) << U(23))

    def of_lanes(exponent: Any) -> Any:
        return powers_of_two(exponent)

    return of_number if isinstance(exponent, types.Float) else of_lanes


@inline
def clamp(v: Any, low: Any, high: Any) -> Any:
    """NaN stays."""
    v = select(v < low, low, v)
    return select(v > high, high, v)


@inline
def sigmoid(v: Any) -> Any:
    """1 / (1 + exp(-v)), to 2e-7: exp by a polynomial (Cephes, expf) times a power of two put together from bits."""
    x = clamp(F(0) - v, F(-87), F(88))
    shifted = x * F(1.44269504) + F(12582912)  # 1.5 * 2^23: the sum's low bits are x / ln 2, rounded
    whole = shifted - F(12582912)
    r = x - whole * F(0.693359375)
    r = r + whole * F(2.12194440e-4)
    p = r * F(1.9875691500e-4) + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return F(1) / ((p * r * r + r + F(1)) * power_of_two(shifted) + F(1))


@inline
def activate(kind: Any, low: Any, high: Any, v: Any) -> Any:
    """Return the activation of v."""
    if kind == CLAMP:
        return clamp(v, low, high)
    if kind == HARD_SWISH:
        return v * clamp(v + F(3), F(0), F(6)) * F(1 / 6)
    return v * sigmoid(v)


@inline
def slope(kind: Any, low: Any, high: Any, v: Any) -> Any:
    """Return the derivative of the activation at v, at kinks PyTorch's."""
    if kind == CLAMP:
        return select(v <= low, F(0), select(v >= high, F(0), F(1)))
    if kind == HARD_SWISH:
        inner = select(v < F(-3), F(0), v * F(1 / 3) + F(0.5))
        return select(v > F(3), F(1), inner)
    s = sigmoid(v)
    return s * (v * (F(1) - s) + F(1))
