/* SPDX-License-Identifier: Apache-2.0 */
/* The probe of the special-function unit on devices made of the model: one that is it, and ones that differ
 * in a bit. */
#include "harness/probe/probe_special.h"
#include "kernels/driver.h"
#include "kernels/report.h"
#include "tests/special_unit_support.h"

#include <stdlib.h>
#include <string.h>

static const mp_probe_options few = {.vectors = 20000, .seed = 3};

/* The model, but for one instruction, whose result at `wrong` is off by one; or at every NaN, if NULL. */
typedef struct device {
    const char *instruction;
    uint32_t wrong;
    int64_t calls;
} device;

static mp_status evaluate(void *context, const mp_special_kind *kind, const uint32_t *a, const uint32_t *b,
                          int64_t count, uint32_t *d, mp_error *err) {
    device *self = context;
    mp_special_unit same = *unit;
    const mp_status status = mp_special_evaluate_model(&same, kind, a, b, count, d, err);
    self->calls++;
    for (int64_t v = 0; v < count; v++) {
        if (self->instruction && !strcmp(self->instruction, kind->name)) d[v] ^= a[v] == self->wrong;
        if (!self->instruction && (d[v] & 0x7FFFFFFF) > 0x7F800000) d[v] = 0xFFC00001;
    }
    return status;
}

static void a_device_that_is_the_model_holds(void **unused) {
    (void)unused;
    assert_int_equal(mp_special_kind_count, 10);
    for (int i = 0; i < mp_special_kind_count; i++) {
        device same = {.instruction = NULL};
        mp_special_result r;
        assert_int_equal(mp_special_run(&mp_special_kinds[i], evaluate, &same, unit, &few, &r, NULL), MP_OK);
        assert_true(r.holds && same.calls >= MP_PROBE_MODE_COUNT);
        json_t *json = mp_special_result_to_json(&r);
        assert_string_equal(json_string_value(json_object_get(json, "instruction")),
                            mp_special_kinds[i].name);
        assert_true(json_is_true(json_object_get(json, "holds")));
        json_decref(json);
    }
}

/* A zero comes among the special operands, and never among the moderate ones. */
static void one_wrong_bit_is_seen(void **unused) {
    (void)unused;
    for (int i = 0; i < mp_special_kind_count; i++) {
        device zero = {.instruction = mp_special_kinds[i].name, .wrong = 0x80000000};
        mp_special_result r;
        assert_int_equal(mp_special_run(&mp_special_kinds[i], evaluate, &zero, unit, &few, &r, NULL), MP_OK);
        assert_false(r.holds);
        assert_int_equal(r.random[MP_PROBE_MODERATE].mismatches, 0);
        assert_true(r.random[MP_PROBE_SPECIAL].mismatches > 100);
        assert_non_null(strstr(r.random[MP_PROBE_SPECIAL].first, "a=80000000"));
    }
}

static void tables_are_recorded_as_they_are_kept(void **unused) {
    (void)unused;
    int8_t *ulps = malloc(2 * (size_t)MP_SPECIAL_UNIT_ENTRIES);
    uint32_t *tables = malloc(2 * (size_t)MP_SPECIAL_UNIT_ENTRIES * sizeof *tables);
    assert_true(ulps && tables);
    for (int of_rcp = 0; of_rcp <= 1; of_rcp++) {
        int8_t *table = ulps + (of_rcp ? MP_SPECIAL_UNIT_ENTRIES : 0);
        device same = {.instruction = NULL},
               other = {.instruction = of_rcp ? "rcp.approx.ftz.f32" : "ex2.approx.ftz.f32",
                        .wrong = of_rcp ? 0x3FABCDEF : 0x3F400000};
        mp_special_table found;
        assert_int_equal(mp_special_record(of_rcp, evaluate, &other, unit, table, &found, NULL), MP_OK);
        assert_int_equal(found.differ, 1);
        assert_int_equal(mp_special_record(of_rcp, evaluate, &same, unit, table, &found, NULL), MP_OK);
        assert_int_equal(found.differ, 0);
        assert_int_equal(found.unkept, 0);

        void *packed = NULL;
        size_t bytes = 0;
        assert_int_equal(mp_special_unit_pack(table, &packed, &bytes, NULL), MP_OK);
        const unsigned char *kept = of_rcp ? mp_sm_90_rcp_z : mp_sm_90_ex2_z;
        assert_int_equal(bytes, of_rcp ? mp_sm_90_rcp_z_bytes : mp_sm_90_ex2_z_bytes);
        assert_memory_equal(packed, kept, bytes);
        free(packed);
    }
    mp_special_unit_expand(ulps, ulps + MP_SPECIAL_UNIT_ENTRIES, tables, tables + MP_SPECIAL_UNIT_ENTRIES);
    assert_memory_equal(tables, unit->ex2, MP_SPECIAL_UNIT_ENTRIES * sizeof *tables);
    assert_memory_equal(tables + MP_SPECIAL_UNIT_ENTRIES, unit->rcp,
                        MP_SPECIAL_UNIT_ENTRIES * sizeof *tables);
    free(ulps);
    free(tables);
}

static mp_status nothing(void *context, const mp_special_kind *kind, const uint32_t *a, const uint32_t *b,
                         int64_t count, uint32_t *d, mp_error *err) {
    (void)kind;
    (void)a;
    (void)b;
    memset(d, 0, (size_t)count * sizeof *d);
    return *(bool *)context ? mp_fail(err, MP_EDEVICE, "gone") : MP_OK;
}

static void a_table_of_something_else_cannot_be_kept(void **unused) {
    (void)unused;
    int8_t *ulps = malloc(MP_SPECIAL_UNIT_ENTRIES);
    mp_special_table found;
    mp_error err;
    bool fails = false;
    assert_non_null(ulps);
    assert_int_equal(mp_special_record(true, nothing, &fails, unit, ulps, &found, &err), MP_OK);
    assert_int_equal(found.differ, MP_SPECIAL_UNIT_ENTRIES);
    assert_int_equal(found.unkept, MP_SPECIAL_UNIT_ENTRIES);
    fails = true;
    assert_int_equal(mp_special_record(false, nothing, &fails, unit, ulps, &found, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "gone"));
    mp_special_result r;
    assert_int_equal(mp_special_run(&mp_special_kinds[0], nothing, &fails, unit, &few, &r, &err), MP_EDEVICE);
    assert_false(r.holds);
    free(ulps);
}

static void instructions_compile(void **unused) {
    (void)unused;
    static const int targets[] = {80, 90, 100};
    const mp_nvrtc *nvrtc;
    if (mp_nvrtc_load(&nvrtc, NULL) != MP_OK) skip();
    for (size_t t = 0; t < sizeof targets / sizeof *targets; t++)
        for (int i = 0; i < mp_special_kind_count; i++) {
            mp_compile_report report;
            mp_error err = {0};
            const mp_kernel kernel =
                mp_kernel_special_unit(mp_special_kinds[i].name, mp_special_kinds[i].one ? 1 : 2);
            if (mp_kernel_compile_report(targets[t], &kernel, &report, &err) != MP_OK)
                fail_msg("%s", err.text);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_the_model_holds),
        cmocka_unit_test(one_wrong_bit_is_seen),
        cmocka_unit_test(tables_are_recorded_as_they_are_kept),
        cmocka_unit_test(a_table_of_something_else_cannot_be_kept),
        cmocka_unit_test(instructions_compile),
    };
    return cmocka_run_group_tests(tests, load_unit, NULL);
}
