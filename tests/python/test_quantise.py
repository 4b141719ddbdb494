# SPDX-License-Identifier: Apache-2.0
"""The quantisers that are one formula, in exact rational numbers: an operation of float32 is a fraction and
one rounding of it, a code the nearest of all values of its format."""

import ctypes
import os
import random
from bisect import bisect_left
from fractions import Fraction

import pytest

from moeparity import _program

FLOAT32 = (24, -126)  # precision, smallest exponent
E4M3 = sorted(
    Fraction(m % 8 + (8 if m >= 8 else 0), 8) * Fraction(2) ** (max(m // 8, 1) - 7) for m in range(127)
)
E2M1 = [Fraction(n, 2) for n in (0, 1, 2, 3, 4, 6, 8, 12)]


def rounded(value, precision=FLOAT32[0], smallest=FLOAT32[1]):
    """A fraction to nearest even, far from the largest number."""
    if value == 0:
        return value
    exponent = abs(value).numerator.bit_length() - abs(value).denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, smallest) - precision + 1)
    return round(value / unit) * unit  # Python rounds halves of a Fraction to even


def nearest(value, values):
    """The place of the nearest of ascending values >= 0, a tie to the even one, and the sign."""
    above = bisect_left(values, abs(value))
    around = range(max(above - 1, 0), min(above + 1, len(values)))
    place = min(around, key=lambda i: (abs(values[i] - abs(value)), i % 2))
    return place, value < 0


def float_code(value, values, sign):
    place, negative = nearest(value, values)
    return place | (sign if negative else 0)


def fp8(value):
    return float_code(value, E4M3, 0x80)


def fp4(value):
    return float_code(value, E2M1, 8)


def int8(value):
    return max(-128, min(127, round(value))) & 0xFF


def int8_cut(value):
    return max(-128, min(127, int(value))) & 0xFF  # int() of a Fraction cuts


def power_above(value):
    power = Fraction(1, 2**127)
    while power < value:
        power *= 2
    return power


EPSILON = rounded(Fraction(1, 10**10))
FLOOR = Fraction(1, 2**100)


def amax(x):
    return max(abs(v) for v in x)




# name -> the scale, and the code of a value; given is 1/8 where it is read
RULES = {
    "fp8": lambda x: (s := rounded(max(amax(x), FLOOR) / 448), lambda v: fp8(rounded(v / s))),
    "fp8-static": lambda x: (s := Fraction(1, 8), lambda v: fp8(rounded(v / s))),
    "int8": lambda x: (s := rounded(max(amax(x), FLOOR) / 127), lambda v: int8(rounded(v / s))),
    "fp8-ue8m0": lambda x: (s := power_above(rounded(max(amax(x), FLOOR) / 448)), lambda v: fp8(v / s)),
    "mxfp8": lambda x: (s := power_above(rounded(amax(x) / 448)), lambda v: fp8(v / s)),
    "mxfp4": lambda x: (s := power_above(rounded(amax(x) / 6)), lambda v: fp4(v / s)),
    "nvfp4": lambda x: (
        s := E4M3[nearest(rounded(rounded(amax(x) / 6) * 8), E4M3)[0]],
        lambda v: fp4(rounded(v / rounded(s / 8))) if s else 0,
    ),
    "sgl-fp8-tensor": lambda x: (s := rounded(amax(x) / 448), lambda v: fp8(rounded(v * rounded(1 / s)))),
    "vllm-fp8-tensor": lambda x: (s := rounded(amax(x) / 448), lambda v: fp8(rounded(v * rounded(1 / s)))),
    "vllm-fp8-static": lambda x: (Fraction(1, 8), lambda v: fp8(rounded(v * 8))),
    "vllm-fp8-token": lambda x: (
        s := max(rounded(amax(x) / 448), rounded(Fraction(1, 448 * 512))),
        lambda v: fp8(rounded(v / s)),
    ),
    "vllm-fp8-group": lambda x: (s := rounded(max(amax(x), EPSILON) / 448), lambda v: fp8(rounded(v / s))),
    "vllm-int8-static": lambda x: (Fraction(1, 8), lambda v: int8(rounded(v * 8))),
    "vllm-int8-token": lambda x: (
        rounded(amax(x) / 127),
        lambda v: int8(rounded(v * rounded(127 / amax(x)))),
    ),
    "vllm-int8-group": lambda x: (
        s := rounded(max(amax(x), EPSILON) / 127),
        lambda v: int8_cut(rounded(v / s)),
    ),
    "sgl-ue8m0-group": lambda x: (
        s := power_above(rounded(max(amax(x), EPSILON) * rounded(Fraction(1, 448)))),
        lambda v: fp8(v / s),
    ),
}


class Quantisation(ctypes.Structure):
    _fields_ = [
        ("which", ctypes.c_int),
        ("input", ctypes.c_int),
        ("given", ctypes.c_float),
        ("upper", ctypes.c_float),
    ]


class Unit(ctypes.Structure):
    _fields_ = [
        ("amax", ctypes.c_float),
        ("min", ctypes.c_float),
        ("max", ctypes.c_float),
        ("nan", ctypes.c_bool),
    ]


class Range(ctypes.Structure):
    _fields_ = [("low", ctypes.c_double), ("high", ctypes.c_double)]


@pytest.fixture(scope="module")
def library():
    path = os.path.join(os.path.dirname(_program.find()), "..", "libmoeparity.so")
    if not os.path.exists(path):
        pytest.skip(f"no library beside the program: {path}")
    library = ctypes.CDLL(path)
    library.mp_quant_scales.restype = library.mp_quant_factors.restype = Range
    library.mp_quantiser_name.restype = ctypes.c_char_p
    return library


def made(library, which, x):
    q, n = Quantisation(which, 2, 0.125, float("inf")), len(x)  # 2: fp32
    values = (ctypes.c_float * n)(*map(float, x))
    low, high = (ctypes.c_uint8 * n)(), (ctypes.c_uint8 * n)()
    unit = Unit.in_dll(library, "mp_quant_unit_empty")
    unit = Unit(unit.amax, unit.min, unit.max, unit.nan)
    library.mp_quant_unit_add(ctypes.byref(unit), values, ctypes.c_int64(n))
    scales = library.mp_quant_scales(ctypes.byref(q), ctypes.byref(unit))
    assert scales.low == scales.high
    factor = library.mp_quant_factors(ctypes.byref(q), ctypes.byref(unit), ctypes.c_double(scales.low))
    library.mp_quant_codes(
        ctypes.byref(q), ctypes.byref(unit), factor, ctypes.c_int32(0), values, ctypes.c_int64(n), low, high
    )
    assert list(low) == list(high)
    return Fraction(scales.low), list(low)


def units(draw):
    """Values of float32: many binades, and ties of the codes of what the largest is a multiple of."""
    for top in (448, 127, 6, 1):
        for _ in range(4):
            exponent = draw.randint(-20, 20)
            largest = top * Fraction(2) ** exponent
            x = [rounded(largest * Fraction(draw.getrandbits(30) + 1, 2**30)) for _ in range(6)]
            x += [v * Fraction(2) ** -draw.randint(1, 8) for v in x]
            x += [largest, largest * Fraction(draw.randint(0, 2 * top), 2 * top)]
            yield [v if draw.random() < 0.5 else -v for v in x]


@pytest.mark.parametrize("name", RULES)
def test_scale_and_codes_are_those_of_exact_numbers(library, name):
    which = 0
    while library.mp_quantiser_name(which).decode() != name:
        which += 1
    for x in units(random.Random(name)):
        scale, code = RULES[name](x)
        assert made(library, which, x) == (scale, [code(v) for v in x])
