/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of 4 and 8 bits, whole: every code, and every float that matters. The oracle is the list of a
 * format's values, in order, and a search of it for the nearest. */
#include "moeparity/dtype.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct entry {
    double value;
    int code;
} entry;

typedef struct format {
    mp_dtype dtype;
    int count;
    entry list[256];  /* finite values, ascending; of the zeros +0 alone */
    bool signed_zero; /* -0 has a code of its own */
    bool saturates;   /* else `beyond` is what values get that round past the last one, and below 0 too where
                         there is no sign */
    int beyond, nan;
} format;

static double e2m1_value(int magnitude) {
    static const double values[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    return values[magnitude];
}

/* OCP's table of E4M3: S.1111.111 alone is NaN. */
static double e4m3_value(int magnitude) {
    const int exponent = magnitude / 8, fraction = magnitude % 8;
    return exponent == 0 ? fraction / 512.0 : ldexp(1 + fraction / 8.0, exponent - 7);
}

static double e5m2_value(int magnitude) {
    const int exponent = magnitude / 4, fraction = magnitude % 4;
    return exponent == 0 ? fraction / 65536.0 : ldexp(1 + fraction / 4.0, exponent - 15);
}

static void add(format *f, double value, int code) {
    f->list[f->count++] = (entry){value, code};
}

static void add_floats(format *f, double (*value)(int), int last, int sign) {
    for (int m = last; m > 0; m--) add(f, -value(m), sign | m);
    for (int m = 0; m <= last; m++) add(f, value(m), m);
}

static void add_integers(format *f, int least, int most, int mask) {
    for (int v = least; v <= most; v++) add(f, v, v & mask);
}

static format format_of(mp_dtype dtype) {
    format f = {.dtype = dtype};
    switch (dtype) {
    case MP_E4M3:
        f = (format){.dtype = dtype, .signed_zero = true, .beyond = 0x7F, .nan = 0x7F};
        add_floats(&f, e4m3_value, 0x7E, 0x80);
        break;
    case MP_E5M2:
        f = (format){.dtype = dtype, .signed_zero = true, .beyond = 0x7C, .nan = 0x7F};
        add_floats(&f, e5m2_value, 0x7B, 0x80);
        break;
    case MP_E2M1:
        f = (format){.dtype = dtype, .signed_zero = true, .saturates = true, .nan = 7};
        add_floats(&f, e2m1_value, 7, 8);
        break;
    case MP_UE8M0:
        f = (format){.dtype = dtype, .beyond = 255, .nan = 255};
        for (int b = 0; b < 255; b++) add(&f, ldexp(1, b - 127), b);
        break;
    case MP_I8: f.saturates = true, add_integers(&f, -128, 127, 0xFF); break;
    case MP_U8: f.saturates = true, add_integers(&f, 0, 255, 0xFF); break;
    case MP_I4: f.saturates = true, add_integers(&f, -8, 7, 0xF); break;
    default: f.saturates = true, add_integers(&f, 0, 15, 0xF); break;
    }
    return f;
}

static const mp_dtype formats[] = {MP_E4M3, MP_E5M2, MP_E2M1, MP_UE8M0, MP_I8, MP_U8, MP_I4, MP_U4};
enum { FORMATS = sizeof formats / sizeof *formats };

/* Of the entries around the value the nearer; of a tie that with the even code. All differences are exact:
 * values of the list have few bits, and far away of them the sign of the difference is all that counts. */
static int nearest(const format *f, double value) {
    const entry *last = &f->list[f->count - 1];
    if (isnan(value)) return f->nan;
    int low = 0, high = f->count - 1;
    if (value < f->list[0].value && f->dtype == MP_UE8M0) return value < 0 ? 255 : 0;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (f->list[middle].value <= value)
            low = middle;
        else
            high = middle;
    }
    const entry *a = &f->list[low], *b = &f->list[high];
    if (value >= last->value || value <= f->list[0].value) {
        const bool above = value >= last->value;
        const double end = above ? last->value : f->list[0].value,
                     next = f->list[above ? f->count - 2 : 1].value;
        const bool power = f->dtype == MP_UE8M0;
        const double half = power ? end / 2 : fabs(end - next) / 2, past = fabs(value - end);
        const int code = above ? last->code : f->list[0].code;
        const bool over = past > half || (past == half && code % 2 != 0);
        if (f->saturates || !over) return code;
        return f->signed_zero && !above ? 0x80 | f->beyond : f->beyond;
    }
    const double down = value - a->value, up = b->value - value;
    const entry *e = down < up || (down == up && a->code % 2 == 0) ? a : b;
    if (e->value == 0 && f->signed_zero && signbit(value)) return f->dtype == MP_E2M1 ? 8 : 0x80;
    return e->code;
}

/* The integer formats again, towards zero: the largest of the values between 0 and it. */
static int towards_zero(const format *f, double value) {
    int code = 0;
    double best = 0;
    for (int i = 0; i < f->count; i++) {
        const double v = f->list[i].value;
        const bool between = value > 0 ? v > best && v <= value : v < best && v >= value;
        if (between) best = v, code = f->list[i].code;
    }
    return code;
}

static void check(const format *f, double value) {
    assert_int_equal(mp_encode_code(f->dtype, value), nearest(f, value));
    if (mp_dtype_is_integer(f->dtype))
        assert_int_equal(mp_encode_truncated(f->dtype, value), towards_zero(f, value));
}

static void check_around(const format *f, double value) {
    const float narrow = (float)value;
    check(f, value);
    check(f, nextafter(value, -INFINITY));
    check(f, nextafter(value, INFINITY));
    check(f, (double)nextafterf(narrow, -INFINITY));
    check(f, (double)narrow);
    check(f, (double)nextafterf(narrow, INFINITY));
}

static void every_code_has_its_value(void **state) {
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format f = format_of(formats[i]);
        bool listed[256] = {false};
        for (int k = 0; k < f.count; k++) {
            const double value = mp_decode_code(f.dtype, (uint64_t)f.list[k].code);
            listed[f.list[k].code] = true;
            assert_true(value == f.list[k].value && !signbit(value) == !(f.list[k].value < 0));
            assert_true(mp_dtype_format(f.dtype)->max_finite >= value);
        }
        assert_true(mp_dtype_format(f.dtype)->max_finite == f.list[f.count - 1].value);
        for (int code = 0; code < 1 << mp_dtype_bits(f.dtype); code++) {
            const double value = mp_decode_code(f.dtype, (uint64_t)code);
            if (listed[code]) continue;
            if (value == 0)
                assert_true(f.signed_zero && signbit(value));
            else if (isinf(value))
                assert_true(f.dtype == MP_E5M2 && (code & 0x7F) == 0x7C && !signbit(value) == (code < 0x80));
            else
                assert_true(isnan(value));
        }
    }
}

static void every_tie_and_its_neighbours(void **state) {
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format f = format_of(formats[i]);
        for (int k = 0; k < f.count; k++) {
            check_around(&f, f.list[k].value);
            if (k > 0) check_around(&f, (f.list[k].value + f.list[k - 1].value) / 2);
        }
        const double last = f.list[f.count - 1].value, step = last - f.list[f.count - 2].value;
        for (int halves = 1; halves <= 4; halves++) {
            check_around(&f, last + halves * step / 2);
            check_around(&f, f.list[0].value - halves * step / 2);
        }
        const double far[] = {0.0,    -0.0,         1e-300,   -1e-300,   1e300,
                              -1e300, DBL_TRUE_MIN, INFINITY, -INFINITY, NAN};
        for (size_t k = 0; k < sizeof far / sizeof *far; k++) check(&f, far[k]);
    }
}

static void every_16_bit_float(void **state) {
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        const format f = format_of(formats[i]);
        for (uint32_t code = 0; code < 65536; code++) {
            const uint32_t bits = code << 16;
            float bf16;
            memcpy(&bf16, &bits, sizeof bf16);
            check(&f, (double)bf16);
            check(&f, mp_decode_code(MP_FP16, code));
        }
    }
}

/* The scale of a block: the power of two that covers, and that which is covered. */
static void powers_below_and_above(void **state) {
    (void)state;
    for (int b = 0; b < 255; b++) {
        const double power = ldexp(1, b - 127), before = nextafter(power, 0),
                     after = nextafter(power, INFINITY);
        assert_int_equal(mp_encode_ue8m0_floor(power), b);
        assert_int_equal(mp_encode_ue8m0_ceil(power), b);
        assert_int_equal(mp_encode_ue8m0_floor(after), b);
        assert_int_equal(mp_encode_ue8m0_ceil(after), b < 254 ? b + 1 : 254);
        assert_int_equal(mp_encode_ue8m0_floor(before), b > 0 ? b - 1 : 0);
        assert_int_equal(mp_encode_ue8m0_ceil(before), b);
        assert_int_equal(mp_encode_ue8m0_ceil(1.5 * power), b < 254 ? b + 1 : 254);
        assert_int_equal(mp_encode_ue8m0_floor(1.5 * power), b);
    }
    const double tiny[] = {0.0, -0.0, 0x1p-149, 0x1p-128, 0x1.8p-128};
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) {
        assert_int_equal(mp_encode_ue8m0_floor(tiny[i]), 0);
        assert_int_equal(mp_encode_ue8m0_ceil(tiny[i]), 0);
    }
    assert_int_equal(mp_encode_ue8m0_floor(INFINITY), 254);
    assert_int_equal(mp_encode_ue8m0_ceil(1e300), 254);
    const double none[] = {NAN, -1, -1e-300, -INFINITY};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(mp_encode_ue8m0_floor(none[i]), 255);
        assert_int_equal(mp_encode_ue8m0_ceil(none[i]), 255);
    }
}

/* From every place in a byte, and over the ends of the pieces that rows are converted in. */
static void rows_equal_single_values(void **state) {
    (void)state;
    enum { COUNT = 1200 };
    uint8_t codes[COUNT];
    double row[COUNT];
    float row_f32[COUNT];
    for (int i = 0; i < COUNT; i++) codes[i] = (uint8_t)(i % 256 ^ i / 256);
    for (int i = 0; i < FORMATS; i++) {
        for (int first = 0; first < 3; first++) {
            for (int n = 0; n <= COUNT - first; n += n < 5 ? 1 : 199) {
                mp_decode_row(formats[i], codes, first, n, row);
                mp_decode_row_f32(formats[i], codes, first, n, row_f32);
                for (int k = 0; k < n; k++) {
                    const uint64_t code = mp_code_at(formats[i], codes, first + k);
                    const double value = mp_decode_code(formats[i], code),
                                 single = mp_decode(formats[i], codes, first + k);
                    assert_true(isnan(value) ? isnan(row[k]) && isnan(row_f32[k]) && isnan(single)
                                             : row[k] == value && row_f32[k] == value && single == value);
                    assert_true(isnan(value) || (!signbit(row[k]) == !signbit(value) &&
                                                 !signbit(row_f32[k]) == !signbit(value)));
                }
            }
        }
    }
}

static void encoded_rows_equal_single_values(void **state) {
    (void)state;
    enum { COUNT = 37 };
    double values[COUNT];
    float narrow[COUNT];
    for (int k = 0; k < COUNT; k++) values[k] = narrow[k] = (float)(k - 11) * 1.37f;
    for (int i = 0; i < FORMATS; i++) {
        for (int first = 0; first < 3; first++) {
            uint8_t by_row[64], by_row_f32[64], by_one[64];
            memset(by_row, 0x5A, sizeof by_row);
            memset(by_row_f32, 0x5A, sizeof by_row_f32);
            memset(by_one, 0x5A, sizeof by_one);
            mp_encode_row(formats[i], by_row, first, COUNT, values);
            mp_encode_row_f32(formats[i], by_row_f32, first, COUNT, narrow);
            for (int k = COUNT - 1; k >= 0; k--)
                mp_put_code(formats[i], by_one, first + k, mp_encode_code(formats[i], values[k]));
            assert_memory_equal(by_row, by_one, sizeof by_row);
            assert_memory_equal(by_row_f32, by_one, sizeof by_row_f32);
        }
    }
}

static void pairs_keep_their_neighbour(void **state) {
    (void)state;
    static const mp_dtype packed[] = {MP_I4, MP_U4, MP_E2M1};
    for (size_t d = 0; d < sizeof packed / sizeof *packed; d++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t data[3] = {0x33, (uint8_t)byte, 0xCC};
            assert_int_equal(mp_code_at(packed[d], data, 2), byte & 0xF); /* low nibble first */
            assert_int_equal(mp_code_at(packed[d], data, 3), byte >> 4);
            for (unsigned code = 0; code < 16; code++) {
                mp_put_code(packed[d], data, 3, code);
                assert_int_equal(data[1], code << 4 | (byte & 0xF));
                mp_put_code(packed[d], data, 2, 15 - code);
                assert_int_equal(data[1], code << 4 | (15 - code));
                data[1] = (uint8_t)byte;
                assert_int_equal(data[0] << 8 | data[2], 0x33CC);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_value),   cmocka_unit_test(every_tie_and_its_neighbours),
        cmocka_unit_test(every_16_bit_float),         cmocka_unit_test(powers_below_and_above),
        cmocka_unit_test(rows_equal_single_values),   cmocka_unit_test(encoded_rows_equal_single_values),
        cmocka_unit_test(pairs_keep_their_neighbour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
