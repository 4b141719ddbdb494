/* SPDX-License-Identifier: Apache-2.0 */
/* The probe, on the CPU: the measurement must find the parameters of arithmetics that are known, and what the
 * probe says must depend on every one of its questions. The device code must compile for every architecture
 * that has the instruction. Longer than most: every question has its wrong answer. */
#include "harness/probe/probe.h"
#include "harness/probe/probe_vectors.h"
#include "kernels/driver.h"
#include "kernels/report.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int architectures[] = {70, 75, 80, 86, 89, 90, 100};
#define ARCHITECTURES (sizeof architectures / sizeof *architectures)

static mp_tc_instruction instruction_of(const mp_probe_kind *kind) {
    return kind->instruction.wgmma ? MP_TC_WGMMA : MP_TC_MMA;
}

static const mp_probe_kind *find_kind(bool wgmma, const char *type, const char *result) {
    for (int i = 0; i < mp_probe_kind_count; i++) {
        const mp_mma_instruction *m = &mp_probe_kinds[i].instruction;
        if (m->wgmma == wgmma && strcmp(m->type, type) == 0 && strcmp(m->result, result) == 0)
            return &mp_probe_kinds[i];
    }
    fail_msg("no kind %s %s", type, result);
    return NULL;
}

static mp_dot dot_of(const mp_probe_kind *kind, mp_dot_function *evaluate, void *context) {
    return (mp_dot){evaluate, context, kind->operand, kind->result, kind->precision, kind->instruction.depth};
}

static mp_measurement measure(const mp_probe_kind *kind, mp_dot_function *evaluate, void *context) {
    mp_measurement m;
    mp_error err = {0};
    const mp_dot dot = dot_of(kind, evaluate, context);
    if (mp_measure_dot(&dot, &m, &err) != MP_OK) fail_msg("%s", err.text);
    return m;
}

/* What the measurement must say of a model. */
static void check_model(const mp_probe_kind *kind, mp_tc_model model) {
    const mp_measurement m = measure(kind, mp_probe_evaluate_model, &model);
    const bool direct = model.method == MP_TC_DIRECT,
               wide = kind->operand == MP_BF16 || kind->operand == MP_FP32, half = kind->result == MP_FP16;
    const int group = direct ? model.group : model.group / 2, depth = kind->instruction.depth;
    int carry = 0; /* bits above 2^high that the ones of a group reach */
    while ((2 << carry) < group) carry++;
    const int kept = half ? 10 : model.result_fraction_bits;
    const bool seen = kept < model.fraction_bits + carry;
    char text[512];
    mp_measurement_text(&m, text, sizeof text);
    print_message("%-4s %s\n", kind->instruction.type, text);
    assert_int_equal(m.group, group);
    assert_int_equal(m.ascending, direct);
    for (int k = 0; k < depth; k++)
        assert_int_equal(m.rank[k], direct ? k / group * group : k % 4 < 2 ? 0 : group);
    assert_int_equal(m.c_fused, direct ? MP_YES : MP_NO);
    assert_int_equal(m.fraction_bits, model.fraction_bits);
    assert_int_equal(m.alignment, MP_TO_ZERO);
    assert_int_equal(m.result_bits, seen ? kept : 23);
    assert_int_equal(m.rounding, !seen ? MP_ROUND_UNSEEN : half ? MP_TO_NEAREST_EVEN : MP_TO_ZERO);
    assert_int_equal(m.hidden_bits, seen ? MP_NO : MP_UNSEEN);
    if (!direct)
        assert_int_equal(m.e_zero, INT_MAX);
    else if (half)
        assert_true(!m.e_zero_exact && m.e_zero >= model.zero_exponent &&
                    m.e_zero <= -14 + m.fraction_bits - m.result_bits);
    else if (m.e_zero_exact || (wide && seen))
        assert_int_equal(m.e_zero, model.zero_exponent);
    else
        assert_true(m.e_zero >= model.zero_exponent &&
                    m.e_zero <=
                        -126 + (m.fraction_bits > m.result_bits ? m.fraction_bits - m.result_bits : 0));
    assert_int_equal(m.subnormal_operands, MP_YES);
    for (int i = 0; i < 3; i++) assert_int_equal(m.zero[i], 0);
    for (int i = 0; i < 4; i++) assert_int_equal(m.nan[i], half ? 0x7FFF : 0x7FFFFFFF);
}

static void measurement_finds_the_table(void **state) {
    (void)state;
    int found = 0;
    for (size_t s = 0; s < ARCHITECTURES; s++)
        for (int i = 0; i < mp_probe_kind_count; i++) {
            const mp_probe_kind *kind = &mp_probe_kinds[i];
            mp_tc_model model;
            if (kind->input == MP_TC_S8 ||
                !mp_tc_find(architectures[s], instruction_of(kind), kind->input, kind->input, &model))
                continue;
            model.result = kind->accumulator;
            check_model(kind, model);
            found++;
        }
    assert_true(found >= 27);
}

static void measurement_finds_made_up_models(void **state) {
    (void)state;
    static const char *const types[] = {"bf16", "f16", "tf32", "e4m3", "e5m2"};
    static const int e_zeros[] = {-100, -120, -126, -133, -140, -148};
    int made = 0;
    for (int t = 0; t < 5; t++) {
        const mp_probe_kind *kind = find_kind(false, types[t], "f32");
        for (int group = 2; group <= kind->instruction.depth; group *= 2)
            for (int fraction_bits = 11; fraction_bits <= 29; fraction_bits += 6) {
                const int result_bits[] = {fraction_bits < 14 ? 10 : 13, 18, 23};
                check_model(kind, (mp_tc_model){.a = kind->input,
                                                .b = kind->input,
                                                .group = group,
                                                .fraction_bits = fraction_bits,
                                                .result_fraction_bits = result_bits[made % 3],
                                                .zero_exponent = e_zeros[made % 6]});
                made++;
            }
    }
}

/* An arithmetic of our own in float64, which the model cannot express: other roundings, float16 results,
 * hidden bits, flushed subnormals. */
typedef struct made_up {
    const mp_probe_kind *kind;
    int group, fraction_bits, result_bits;
    mp_rounding_kind alignment, rounding;
    bool hidden_bits, flush;
} made_up;

static double round_units(double value, mp_rounding_kind kind) {
    switch (kind) {
    case MP_TO_ZERO: return trunc(value);
    case MP_TO_NEAREST_EVEN: return rint(value);
    case MP_TO_NEAREST_AWAY: return round(value);
    case MP_TO_MINUS_INF: return floor(value);
    default: return ceil(value);
    }
}

static double made_up_operand(const made_up *u, uint32_t code) {
    const double value = mp_decode_code(u->kind->operand, code);
    return u->flush && fabs(value) < ldexp(1, mp_dtype_format(u->kind->operand)->emin) ? 0 : value;
}

static mp_status evaluate_made_up(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                  const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    const made_up *u = context;
    const int depth = u->kind->instruction.depth, emin = mp_dtype_format(u->kind->result)->emin;
    (void)err;
    for (int64_t v = 0; v < count; v++) {
        double sum = mp_decode_code(u->kind->result, c[v]);
        for (int64_t first = v * steps * depth; first < (v + 1) * steps * depth; first += u->group) {
            double products[MP_PROBE_DEPTH_MAX], e_max = -1000, plain = sum;
            for (int k = 0; k < u->group; k++) {
                products[k] = made_up_operand(u, a[first + k]) * made_up_operand(u, b[first + k]);
                e_max = fmax(e_max, logb(products[k]));
                plain += products[k];
            }
            if (!isfinite(plain)) {
                sum = plain;
                break;
            }
            const int unit = (int)fmax(e_max, logb(sum)) - u->fraction_bits;
            double units = round_units(ldexp(sum, -unit), u->alignment);
            for (int k = 0; k < u->group; k++) units += round_units(ldexp(products[k], -unit), u->alignment);
            sum = ldexp(units, unit);
            const bool last = first + u->group == (v + 1) * steps * depth;
            if (!last && u->hidden_bits) continue;
            const int result_unit = (sum == 0 || logb(sum) < emin ? emin : ilogb(sum)) - u->result_bits;
            sum = ldexp(round_units(ldexp(sum, -result_unit), u->rounding), result_unit);
        }
        d[v] = (uint32_t)mp_encode_code(u->kind->result, sum);
    }
    return MP_OK;
}

static void measurement_finds_other_roundings(void **state) {
    (void)state;
    for (int i = 0; i < mp_probe_kind_count; i++) {
        const mp_probe_kind *kind = &mp_probe_kinds[i];
        if (kind->operand == MP_I32 || kind->instruction.wgmma) continue;
        for (mp_rounding_kind rounding = MP_TO_ZERO; rounding <= MP_TO_PLUS_INF; rounding++) {
            made_up u = {.kind = kind,
                         .group = 8,
                         .fraction_bits = 22,
                         .result_bits = kind->result == MP_FP16 ? 10 : 17,
                         .alignment = rounding,
                         .rounding = MP_TO_ZERO,
                         .hidden_bits = rounding % 2,
                         .flush = rounding % 2 && kind->operand != MP_E4M3};
            mp_measurement m = measure(kind, evaluate_made_up, &u);
            assert_int_equal(m.group, 8);
            assert_int_equal(m.fraction_bits, 22);
            assert_int_equal(m.alignment, rounding);
            assert_int_equal(m.hidden_bits, u.hidden_bits ? MP_YES : MP_NO);
            assert_int_equal(m.subnormal_operands, u.flush ? MP_NO : MP_YES);
            u.alignment = MP_TO_ZERO;
            u.rounding = rounding;
            m = measure(kind, evaluate_made_up, &u);
            assert_int_equal(m.result_bits, u.result_bits);
            assert_int_equal(m.rounding, rounding);
        }
    }
}

/* One rounded product and one rounded addition a term, in ascending k. */
static mp_status evaluate_sequential(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                     const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    const int length = steps * 16;
    (void)context, (void)err;
    for (int64_t v = 0; v < count; v++) {
        float sum = (float)mp_decode_code(MP_FP32, c[v]);
        for (int64_t k = v * length; k < (v + 1) * length; k++)
            sum += (float)(mp_decode_code(MP_BF16, a[k]) * mp_decode_code(MP_BF16, b[k]));
        d[v] = (uint32_t)mp_encode_code(MP_FP32, (double)sum);
    }
    return MP_OK;
}

static void measurement_sees_a_sequential_sum(void **state) {
    (void)state;
    const mp_probe_kind *kind = find_kind(false, "bf16", "f32");
    const mp_measurement m = measure(kind, evaluate_sequential, NULL);
    mp_tc_model model;
    assert_int_equal(m.group, 1);
    assert_true(m.ascending);
    assert_false(mp_probe_propose(kind, &m, &model));
}

/* Group and order are read off the ranks; all else counts by itself. */
static void measurements_differ_in_any_field(void **state) {
    (void)state;
    static const struct {
        const char *field;
        size_t at;
    } fields[] = {
        {"depth", offsetof(mp_measurement, depth)},
        {"groups", offsetof(mp_measurement, rank)},
        {"groups", offsetof(mp_measurement, rank[MP_PROBE_DEPTH_MAX - 1])},
        {"c fused", offsetof(mp_measurement, c_fused)},
        {"F", offsetof(mp_measurement, fraction_bits)},
        {"alignment", offsetof(mp_measurement, alignment)},
        {"result bits", offsetof(mp_measurement, result_bits)},
        {"rounding", offsetof(mp_measurement, rounding)},
        {"e_zero", offsetof(mp_measurement, e_zero)},
        {"e_zero", offsetof(mp_measurement, e_zero_exact)},
        {"hidden bits", offsetof(mp_measurement, hidden_bits)},
        {"subnormal operands", offsetof(mp_measurement, subnormal_operands)},
        {"subnormal results", offsetof(mp_measurement, subnormal_results)},
        {"zero results", offsetof(mp_measurement, zero[0])},
        {"zero results", offsetof(mp_measurement, zero[1])},
        {"zero results", offsetof(mp_measurement, zero[2])},
        {"NaN results", offsetof(mp_measurement, nan[0])},
        {"NaN results", offsetof(mp_measurement, nan[1])},
        {"NaN results", offsetof(mp_measurement, nan[2])},
        {"NaN results", offsetof(mp_measurement, nan[3])},
    };
    const mp_probe_kind *kind = find_kind(true, "bf16", "f32");
    mp_tc_model model;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &model));
    const mp_measurement m = measure(kind, mp_probe_evaluate_model, &model);
    mp_measurement other = m;
    const char *differs = "";
    assert_true(mp_measurement_equal(&m, &other, &differs));
    assert_null(differs);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        ((unsigned char *)&other)[fields[i].at] ^=
            1; /* little endian: the lowest bit of every type in there */
        assert_false(mp_measurement_equal(&m, &other, &differs));
        assert_string_equal(differs, fields[i].field);
        assert_false(mp_measurement_equal(&other, &m, &differs));
        ((unsigned char *)&other)[fields[i].at] ^= 1;
    }
}

/* The model cuts terms, and cuts sums of float32, but rounds those of float16 to nearest even. What was not
 * seen may be called that. */
static void only_the_models_own_roundings_are_proposed(void **state) {
    (void)state;
    static const struct {
        const char *result;
        mp_rounding_kind rounding;
    } kinds[] = {{"f32", MP_TO_ZERO}, {"f16", MP_TO_NEAREST_EVEN}};
    for (int i = 0; i < 2; i++) {
        const mp_probe_kind *kind = find_kind(true, "f16", kinds[i].result);
        mp_tc_model model;
        assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_FP16, MP_TC_FP16, &model));
        model.result = kind->accumulator;
        mp_measurement m = measure(kind, mp_probe_evaluate_model, &model);
        for (m.alignment = MP_ROUND_UNSEEN; m.alignment <= MP_ROUND_OTHER; m.alignment++)
            for (m.rounding = MP_ROUND_UNSEEN; m.rounding <= MP_ROUND_OTHER; m.rounding++) {
                const bool cut = m.alignment == MP_TO_ZERO || m.alignment == MP_ROUND_UNSEEN;
                const bool own = m.rounding == kinds[i].rounding || m.rounding == MP_ROUND_UNSEEN;
                assert_int_equal(mp_probe_propose(kind, &m, &model), cut && own);
            }
    }
}

static const mp_probe_options few = {.vectors = 3000, .seed = 7};

static mp_probe_result probe_model(const mp_probe_kind *kind, int sm, mp_tc_model *model) {
    mp_probe_result r;
    mp_error err = {0};
    if (mp_probe_run(kind, sm, mp_probe_evaluate_model, model, &few, &r, &err) != MP_OK)
        fail_msg("%s", err.text);
    return r;
}

static void a_device_that_is_the_model_holds(void **state) {
    (void)state;
    int known[MP_UNIT_COUNT] = {0}, proposed = 0;
    for (size_t s = 0; s < ARCHITECTURES; s++)
        for (int i = 0; i < mp_probe_kind_count; i++) {
            const mp_probe_kind *kind = &mp_probe_kinds[i];
            mp_tc_model model;
            if (!mp_tc_find(architectures[s], instruction_of(kind), kind->input, kind->input, &model))
                continue;
            model.result = kind->accumulator;
            mp_probe_result r = probe_model(kind, architectures[s], &model);
            if (!r.holds)
                fail_msg("sm_%d %s: %s, %s", architectures[s], kind->instruction.type,
                         r.differs ? r.differs : "", r.known_first);
            assert_int_equal(r.source, MP_MODEL_TABLE);
            const mp_probe_unit unit = mp_probe_unit_of(architectures[s], instruction_of(kind), kind->input);
            if (unit != MP_UNIT_UNKNOWN && architectures[s] != 86 && architectures[s] != 89)
                known[unit] += r.known;

            json_t *json = mp_probe_result_to_json(&r);
            assert_non_null(json);
            assert_true(json_is_true(json_object_get(json, "holds")));
            json_decref(json);

            /* On a device nobody knows the same arithmetic is proposed, and the proposal holds. */
            r = probe_model(kind, 999, &model);
            assert_int_equal(r.source, kind->input == MP_TC_S8 ? MP_MODEL_NONE : MP_MODEL_PROPOSED);
            assert_int_equal(r.holds, kind->input != MP_TC_S8);
            proposed += r.source == MP_MODEL_PROPOSED;
        }
    assert_int_equal(known[MP_UNIT_AMPERE], 3);
    assert_int_equal(known[MP_UNIT_HOPPER],
                     2 * (21 + 4 + 3) + 6 + 3); /* both instructions, and wgmma alone */
    assert_int_equal(known[MP_UNIT_HOPPER_FP8], 6);
    assert_true(proposed >= 20);
}

/* Each wrong parameter is seen by the measurement and by random vectors, and a wrong group or F by the known
 * vectors. */
static void a_device_that_differs_does_not_hold(void **state) {
    (void)state;
    const mp_probe_kind *kind = find_kind(true, "bf16", "f32");
    mp_tc_model right;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &right));
    struct {
        const char *field;
        mp_tc_model model;
        int modes; /* of random vectors that must notice */
    } wrong[] = {{"groups", right, 3}, {"F", right, 3}, {"result bits", right, 3}, {"e_zero", right, 0}};
    wrong[0].model.group = 8;
    wrong[1].model.fraction_bits = 24;
    wrong[2].model.result_fraction_bits = 22;
    wrong[3].model.zero_exponent = -120;
    for (size_t i = 0; i < 4; i++) {
        const mp_probe_result r = probe_model(kind, 90, &wrong[i].model);
        int modes = 0;
        assert_false(r.holds);
        assert_string_equal(r.differs, wrong[i].field);
        assert_true(r.known_right < r.known);
        assert_true(strlen(r.known_first) > 0);
        for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++) {
            modes += r.random[mode].mismatches > 0;
            assert_int_equal(r.random[mode].first[0] != 0, r.random[mode].mismatches > 0);
        }
        assert_true(modes >= wrong[i].modes);
    }
}

/* The model, but for one vector: the last known one of bf16, or the last of a batch of random ones. */
typedef struct almost {
    mp_tc_model model;
    bool in_known;
} almost;

static mp_status evaluate_almost(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                 const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    almost *device = context;
    const mp_status status = mp_probe_evaluate_model(&device->model, steps, a, b, c, count, d, err);
    if (device->in_known ? a[0] == 0x3F71 && count == 1 : count == few.vectors) d[count - 1] ^= 1;
    return status;
}

static void one_wrong_vector_is_enough(void **state) {
    (void)state;
    const mp_probe_kind *kind = find_kind(true, "bf16", "f32");
    for (int in_known = 0; in_known <= 1; in_known++) {
        almost device = {.in_known = in_known};
        mp_probe_result r;
        assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &device.model));
        assert_int_equal(mp_probe_run(kind, 90, evaluate_almost, &device, &few, &r, NULL), MP_OK);
        assert_null(r.differs);
        assert_int_equal(r.known - r.known_right, in_known);
        for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
            assert_int_equal(r.random[mode].mismatches, !in_known);
        assert_false(r.holds);
    }
}

/* The model, but for one vector wherever it comes. */
typedef struct one_off {
    mp_tc_model model;
    uint32_t a[MP_PROBE_DEPTH_MAX], b[MP_PROBE_DEPTH_MAX], c;
} one_off;

static mp_status evaluate_one_off(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                  const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    one_off *device = context;
    const mp_status status = mp_probe_evaluate_model(&device->model, steps, a, b, c, count, d, err);
    for (int64_t v = 0; v < count; v++)
        d[v] ^= c[v] == device->c && !memcmp(a + v * 16, device->a, 16 * sizeof *a) &&
                !memcmp(b + v * 16, device->b, 16 * sizeof *b);
    return status;
}

/* Vectors are evaluated in batches: those of the second one are vectors of their own. */
static void a_vector_beyond_the_first_batch_is_compared(void **state) {
    (void)state;
    enum { WRONG = 20000 };
    const mp_probe_kind *kind = find_kind(true, "bf16", "f32");
    one_off device;
    assert_true(mp_tc_find(90, MP_TC_WGMMA, MP_TC_BF16, MP_TC_BF16, &device.model));
    const mp_dot wrong = dot_of(kind, evaluate_one_off, &device),
                 model = dot_of(kind, mp_probe_evaluate_model, &device.model);
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        for (int reached = 0; reached <= 1; reached++) {
            char text[512];
            mp_probe_mismatches found;
            mp_probe_random_vector(&wrong, (mp_probe_mode)mode, few.seed, WRONG, device.a, device.b,
                                   &device.c);
            assert_int_equal(mp_probe_compare(&wrong, &model, (mp_probe_mode)mode, few.seed, WRONG + reached,
                                              &found, NULL),
                             MP_OK);
            assert_int_equal(found.mismatches, reached);
            mp_probe_vector_text(&wrong, device.a, device.b, device.c, text, sizeof text);
            assert_int_equal(strncmp(found.first, text, strlen(text)) == 0, reached);
        }
}

/* Each mode has the mix it promises, and a vector depends on nothing but seed, mode and index. */
static void random_vectors_are_what_they_say(void **state) {
    (void)state;
    for (int i = 0; i < mp_probe_kind_count; i++) {
        const mp_probe_kind *kind = &mp_probe_kinds[i];
        const mp_dot dot = dot_of(kind, NULL, NULL);
        const mp_format *format = mp_dtype_format(kind->operand);
        for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++) {
            int zeros = 0, subnormals = 0, infinite_or_nan = 0, opposite = 0;
            uint32_t a[MP_PROBE_DEPTH_MAX], b[MP_PROBE_DEPTH_MAX], c, again_a[MP_PROBE_DEPTH_MAX],
                again_b[MP_PROBE_DEPTH_MAX], again_c;
            for (int v = 0; v < 200; v++) {
                mp_probe_random_vector(&dot, (mp_probe_mode)mode, 1, v, a, b, &c);
                mp_probe_random_vector(&dot, (mp_probe_mode)mode, 1, v, again_a, again_b, &again_c);
                assert_memory_equal(a, again_a, (size_t)dot.depth * sizeof *a);
                assert_memory_equal(b, again_b, (size_t)dot.depth * sizeof *b);
                assert_int_equal(c, again_c);
                if (kind->operand == MP_I32) continue;
                for (int k = 0; k < dot.depth; k++) {
                    const double x = mp_decode_code(kind->operand, a[k]);
                    assert_true(a[k] >> (format->bits - 1) <= 1);
                    zeros += x == 0;
                    subnormals += x != 0 && fabs(x) < ldexp(1, format->emin);
                    infinite_or_nan += !isfinite(x);
                    for (int j = 0; j < k; j++)
                        opposite += b[j] == b[k] && x != 0 && mp_decode_code(kind->operand, a[j]) == -x;
                }
            }
            if (kind->operand == MP_I32) continue;
            if (mode == MP_PROBE_MODERATE) assert_int_equal(zeros + subnormals + infinite_or_nan, 0);
            if (mode == MP_PROBE_SPECIAL)
                assert_true(zeros > 50 && subnormals > 50 && infinite_or_nan > 2 && infinite_or_nan < 200 &&
                            opposite > 100);
        }
    }
}

static void lists_of_codes(void **state) {
    (void)state;
    uint32_t codes[16];
    char text[128];
    mp_error err = {0};
    const mp_dot dot = dot_of(find_kind(false, "bf16", "f32"), NULL, NULL);
    assert_int_equal(mp_probe_parse_codes("3FC0,3F80x8,0,7F", 16, codes, &err), MP_OK);
    assert_int_equal(codes[0], 0x3FC0);
    assert_int_equal(codes[8], 0x3F80);
    assert_int_equal(codes[10], 0x7F);
    assert_int_equal(codes[11], 0);
    mp_probe_vector_text(&dot, codes, codes, 1, text, sizeof text);
    assert_string_equal(text, "a=3FC0,3F80x8,0000,007F b=3FC0,3F80x8,0000,007F c=00000001");
    static const char *const bad[] = {"3F80x17", "3F80x16,1", "3F80x0", "3F80x-1", "3F80;1", "3F80,,1", "zz"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mp_probe_parse_codes(bad[i], 16, codes, &err), MP_EINTERNAL);
    for (int i = 0; i < mp_probe_vector_count; i++)
        for (int k = 0; k < mp_probe_kind_count; k++) {
            if (mp_probe_kinds[k].input != mp_probe_vectors[i].input) continue;
            const int depth = mp_probe_kinds[k].instruction.depth;
            uint32_t list[MP_PROBE_DEPTH_MAX];
            assert_int_equal(mp_probe_parse_codes(mp_probe_vectors[i].a, depth, list, NULL), MP_OK);
            assert_int_equal(mp_probe_parse_codes(mp_probe_vectors[i].b, depth, list, NULL), MP_OK);
        }
}

static void instructions_compile_where_they_exist(void **state) {
    (void)state;
    static const int targets[] = {80, 89, 90, 100};
    const mp_nvrtc *nvrtc;
    int compiled = 0;
    if (mp_nvrtc_load(&nvrtc, NULL) != MP_OK) skip();
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
        for (int i = 0; i < mp_probe_kind_count; i++)
            for (int steps = 1; steps <= 2; steps++) {
                const mp_mma_instruction *m = &mp_probe_kinds[i].instruction;
                mp_compile_report report;
                mp_error err = {0};
                if (!mp_mma_supported(targets[t], m)) continue;
                const mp_kernel kernel = mp_kernel_probe(m, steps);
                if (mp_kernel_compile_report(targets[t], &kernel, &report, &err) != MP_OK)
                    fail_msg("%s", err.text);
                assert_int_equal(report.spill_store_bytes + report.spill_load_bytes, 0);
                compiled++;
            }
    assert_int_equal(compiled, 2 * (6 + 8 + 16 + 8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measurement_finds_the_table),
        cmocka_unit_test(measurement_finds_made_up_models),
        cmocka_unit_test(measurement_finds_other_roundings),
        cmocka_unit_test(measurement_sees_a_sequential_sum),
        cmocka_unit_test(measurements_differ_in_any_field),
        cmocka_unit_test(only_the_models_own_roundings_are_proposed),
        cmocka_unit_test(a_device_that_is_the_model_holds),
        cmocka_unit_test(a_device_that_differs_does_not_hold),
        cmocka_unit_test(one_wrong_vector_is_enough),
        cmocka_unit_test(a_vector_beyond_the_first_batch_is_compared),
        cmocka_unit_test(random_vectors_are_what_they_say),
        cmocka_unit_test(lists_of_codes),
        cmocka_unit_test(instructions_compile_where_they_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
