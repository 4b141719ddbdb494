# SPDX-License-Identifier: Apache-2.0
"""The number formats of the library against those of ml_dtypes: every code, and every 16-bit float, tie and
neighbour of one, encoded."""

import ctypes
import os

import ml_dtypes
import numpy as np
import pytest

from moeparity import _program

ml_dtypes_of = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "ue8m0": ml_dtypes.float8_e8m0fnu,
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
}


@pytest.fixture(scope="module")
def library():
    path = os.path.join(os.path.dirname(_program.find()), "..", "libmoeparity.so")
    if not os.path.exists(path):
        pytest.skip(f"no library beside the program: {path}")
    return ctypes.CDLL(path)


def dtype_of(library, name):
    number = ctypes.c_int()
    assert library.mp_dtype_parse(name.encode(), ctypes.byref(number))
    return number


def encoded(library, name, values):
    """One code a value."""
    dtype, out = dtype_of(library, name), np.zeros(8 * len(values), np.uint8)
    values = np.ascontiguousarray(values, np.float64)
    library.mp_encode_row(
        dtype, ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(0), ctypes.c_int64(len(values)),
        ctypes.c_void_p(values.ctypes.data),
    )
    if library.mp_dtype_is_packed(dtype) & 1:
        return np.stack([out & 0xF, out >> 4], axis=1).ravel()[: len(values)]
    bits = library.mp_dtype_bits(dtype)
    return out.view(f"u{bits // 8}")[: len(values)]


def decoded(library, name, codes):
    dtype = dtype_of(library, name)
    library.mp_decode_code.restype = ctypes.c_double
    return np.array([library.mp_decode_code(dtype, ctypes.c_uint64(int(code))) for code in codes])


def theirs(name, values):
    cast = np.asarray(values).astype(ml_dtypes_of[name])
    return cast.view(np.uint8 if cast.itemsize == 1 else np.uint16)


def all_codes(name):
    bits = {"e2m1": 4, "bf16": 16, "fp16": 16}.get(name, 8)
    return np.arange(1 << bits, dtype=np.uint16 if bits == 16 else np.uint8)


pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered in cast")


@pytest.mark.parametrize("name", ml_dtypes_of)
def test_every_code_has_the_same_value(library, name):
    codes = all_codes(name)
    expected = codes.view(ml_dtypes_of[name]).astype(np.float64)
    np.testing.assert_array_equal(decoded(library, name, codes), expected)


@pytest.mark.parametrize("name", ml_dtypes_of)
def test_every_value_gets_the_same_code(library, name):
    halves = np.arange(65536, dtype=np.uint16)
    of_format = decoded(library, name, all_codes(name))
    finite = np.unique(of_format[np.isfinite(of_format)])
    ties = np.float32((finite[1:] + finite[:-1]) / 2)
    values = np.concatenate(
        [halves.view(ml_dtypes.bfloat16).astype(np.float32), halves.view(np.float16).astype(np.float32)]
        + [np.nextafter(ties, np.float32(direction)) for direction in (-np.inf, np.inf)]
        + [ties]
    )
    if name == "ue8m0":  # ml_dtypes makes NaN of zero, and the halves of ties go up
        fraction = np.frexp(values)[0]
        values = values[(values >= 2.0**-126) & (fraction != 0.75)]
    if name == "e2m1":  # which has no NaN: ml_dtypes makes -0 of it
        values = values[~np.isnan(values)]
    ours, expected = encoded(library, name, values), theirs(name, values)
    nan = np.isnan(values)
    np.testing.assert_array_equal(ours[~nan], expected[~nan])
    assert np.isnan(decoded(library, name, np.unique(ours[nan]))).all()


@pytest.mark.parametrize(
    "name, least, most",
    [("int8", -128, 127), ("uint8", 0, 255), ("int4", -8, 7), ("uint4", 0, 15)],
)
def test_integers_round_to_even_and_saturate(library, name, least, most):
    values = np.arange(-300, 300.25, 0.25)
    expected = np.clip(np.rint(values), least, most).astype(np.int64) & (0xF if most < 16 else 0xFF)
    np.testing.assert_array_equal(encoded(library, name, values), expected)
