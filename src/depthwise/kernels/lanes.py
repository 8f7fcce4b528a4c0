"""Sixteen float32 numbers as one value, for loops whose sums must stay in registers: two of AVX2, or one of AVX-512.

numba's compiler vectorises plain loops, but not those that read from more than a few places of one buffer that they
write to another: it would have to ask for each pair whether they overlap. Lanes add, multiply and compare like single
numbers, so that the formulas of `numbers` are the same for both.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, overload, register_model

intrinsic: Any = extending.intrinsic  # its type would have callers pass what the compiler passes
WIDTH = 16
VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
INTEGERS = ir.VectorType(ir.IntType(32), WIDTH)
SHORTS = ir.VectorType(ir.IntType(16), WIDTH)
DOUBLES = ir.VectorType(ir.DoubleType(), WIDTH)


class Lanes(types.Type):
    """numba's type of sixteen numbers."""

    def __init__(self) -> None:
        super().__init__(name="float32x16")


class Mask(types.Type):
    """Of sixteen comparisons."""

    def __init__(self) -> None:
        super().__init__(name="boolx16")


LANES, MASK = Lanes(), Mask()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, VECTOR)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, ir.VectorType(ir.IntType(1), WIDTH))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _splat(builder: Any, value: Any, type_: Any) -> Any:
    """Return a single float32 in all lanes; lanes as they are."""
    if isinstance(type_, Lanes):
        return value
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(INTEGERS, [0] * WIDTH))


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return array[index : index + 16] of a one-dimensional array as float32; nothing is checked.

    The array holds float32, or the bits of bfloat16 as uint16.
    """
    is_short = array.dtype == types.uint16

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = SHORTS if is_short else VECTOR
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        found = builder.load(address, align=2 if is_short else 4)
        if not is_short:
            return found
        return builder.bitcast(builder.shl(builder.zext(found, INTEGERS), ir.Constant(INTEGERS, [16] * WIDTH)), VECTOR)

    return LANES(array, types.intp), code


@intrinsic
def store(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Set array[index : index + 16]; nothing is checked. bfloat16 is rounded as `numbers.narrow` does."""
    is_short = array.dtype == types.uint16

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, value = (SHORTS, _rounded(builder, arguments[2])) if is_short else (VECTOR, arguments[2])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        builder.store(value, address, align=2 if is_short else 4)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), code


def _rounded(builder: Any, lanes: Any) -> Any:
    bits = builder.bitcast(lanes, INTEGERS)
    sixteen, one, half = (ir.Constant(INTEGERS, [n] * WIDTH) for n in (16, 1, 0x7FFF))
    is_odd = builder.and_(builder.lshr(bits, sixteen), one)
    return builder.trunc(builder.lshr(builder.add(builder.add(bits, half), is_odd), sixteen), SHORTS)


@intrinsic
def add_to(typing_context: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Add to array[index : index + 16], of float64; nothing is checked."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1], DOUBLES)
        total = builder.fadd(builder.load(address, align=8), builder.fpext(arguments[2], DOUBLES))
        builder.store(total, address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), code


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(VECTOR, (VECTOR,) * 3), f"llvm.fma.v{WIDTH}f32"
        )
        return builder.call(function, arguments)

    return LANES(LANES, LANES, LANES), code


@intrinsic
def zero(typing_context: Any) -> Any:
    """Return zeros."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(VECTOR, [0.0] * WIDTH)

    return LANES(), code


@intrinsic
def _choose(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = (_splat(builder, arguments[n], signature.args[n]) for n in (1, 2))
        return builder.select(arguments[0], *values)

    return LANES(MASK, a, b), code


def power_of_two(exponent: Any) -> Any:
    """Return 2^n of n + 1.5 * 2^23, whose low bits are n, of a single number or of lanes."""


@intrinsic
def powers_of_two(typing_context: Any, exponent: Any) -> Any:
    """Return `power_of_two` of lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.add(builder.bitcast(arguments[0], INTEGERS), ir.Constant(INTEGERS, [127] * WIDTH))
        return builder.bitcast(builder.shl(bits, ir.Constant(INTEGERS, [23] * WIDTH)), VECTOR)

    return LANES(LANES), code


def _of_two(make: Callable[[Any, Any, Any], Any], result: Any) -> Any:
    """Return an intrinsic of two lanes, or of lanes and a number for all."""

    @intrinsic
    def both(typing_context: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = (_splat(builder, v, t) for v, t in zip(arguments, signature.args, strict=True))
            return make(builder, *values)

        return result(a, b), code

    return both


def _define(function: Any, make: Callable[[Any, Any, Any], Any], result: Any) -> None:
    both = _of_two(make, result)

    @overload(function)
    def operation(a: Any, b: Any) -> Any:
        def of_lanes(a: Any, b: Any) -> Any:
            return both(a, b)

        return of_lanes if isinstance(a, Lanes) or isinstance(b, Lanes) else None


_define(operator.add, lambda builder, a, b: builder.fadd(a, b), LANES)
_define(operator.sub, lambda builder, a, b: builder.fsub(a, b), LANES)
_define(operator.mul, lambda builder, a, b: builder.fmul(a, b), LANES)
_define(operator.truediv, lambda builder, a, b: builder.fdiv(a, b), LANES)
_define(operator.lt, lambda builder, a, b: builder.fcmp_ordered("<", a, b), MASK)
_define(operator.gt, lambda builder, a, b: builder.fcmp_ordered(">", a, b), MASK)
_define(operator.le, lambda builder, a, b: builder.fcmp_ordered("<=", a, b), MASK)
_define(operator.ge, lambda builder, a, b: builder.fcmp_ordered(">=", a, b), MASK)


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds and b elsewhere, of single numbers or of lanes."""


@overload(select)
def _select(condition: Any, a: Any, b: Any) -> Any:
    def of_lanes(condition: Any, a: Any, b: Any) -> Any:
        return _choose(condition, a, b)

    def of_numbers(condition: Any, a: Any, b: Any) -> Any:
        return a if condition else b

    return of_lanes if isinstance(condition, Mask) else of_numbers
