/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers that take one case after the other: addresses stay, contents stay, inputs are replaced. */
#include "harness/subjects/buffers.h"

#include "cases/graph_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A case with all that a run needs. */
typedef struct job {
    mp_case c;
    mp_offer offer;
    mp_inputs in;
} job;

static mp_subject host;

static void prepare(job *j, const char *text) {
    mp_error err = {0};
    j->c = mp_case_default();
    if (mp_case_parse(&j->c, text, &err) != MP_OK || mp_inputs_create(&j->c, &j->in, &err) != MP_OK ||
        mp_subject_describe(&host, &j->c, &j->offer, &err) != MP_OK)
        fail_msg("%s: %s", text, err.text);
}

static mp_buffers *open_for(const job *const *jobs, size_t count) {
    mp_buffer_sizes sizes = {0};
    mp_buffers *buffers;
    mp_error err = {0};
    for (size_t i = 0; i < count; i++) mp_buffer_sizes_add(&jobs[i]->c, &jobs[i]->offer, &sizes);
    if (mp_buffers_open(&host, &sizes, MP_BUFFERS_KEPT, MP_POISON_B, &buffers, &err) != MP_OK)
        fail_msg("%s", err.text);
    return buffers;
}

static mp_execution load(mp_buffers *buffers, const job *j) {
    mp_error err = {0};
    if (mp_buffers_load(buffers, &j->c, &j->offer, &j->in, &err) != MP_OK) fail_msg("%s", err.text);
    return mp_buffers_execution(buffers);
}

/* Runs what is loaded, and finds nothing wrong around it. */
static void run(const mp_execution *execution, mp_buffers *buffers, mp_trace *trace) {
    mp_error err = {0};
    mp_surroundings_report report;
    if (host.run(&host, execution, &err) != MP_OK || mp_buffers_look(buffers, &report, &err) != MP_OK ||
        (trace && mp_buffers_collect(buffers, trace, &err) != MP_OK))
        fail_msg("%s", err.text);
    assert_string_equal(report.guard, "");
    assert_string_equal(report.input, "");
}

static void expect_same(const mp_trace *a, const mp_trace *b) {
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        assert_int_equal(a->t[id].data != NULL, b->t[id].data != NULL);
        if (!a->t[id].data) continue;
        assert_int_equal(mp_tensor_bytes(&a->t[id]), mp_tensor_bytes(&b->t[id]));
        assert_memory_equal(a->t[id].data, b->t[id].data, mp_tensor_bytes(&a->t[id]));
    }
}

#define SMALL "M=5 topk=2 E=4 K=48 N=32"

static void one_case_after_the_other_has_the_results_of_each_alone(void **state) {
    (void)state;
    static job jobs[3];
    const char *const texts[] = {SMALL, "M=40 topk=2 E=4 K=48 N=32 seed=3", SMALL " seed=1 mode=inplace"};
    const job *all[3];
    for (int i = 0; i < 3; i++) prepare(&jobs[i], texts[i]), all[i] = &jobs[i];
    mp_buffers *buffers = open_for(all, 3);
    void *seen[MP_TENSOR_COUNT] = {0};
    for (int round = 0; round < 6; round++) {
        const job *j = all[(round * 2) % 3];
        mp_trace kept, alone;
        mp_surroundings_report report;
        mp_error err = {0};
        const mp_execution execution = load(buffers, j);
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            if (!execution.t[id].data || mp_tensors[id].rows == MP_ROWS_WHOLE) continue;
            if (id == MP_X && j->c.mode == MP_MODE_INPLACE) {
                assert_ptr_equal(execution.t[id].data, execution.t[MP_OUT].data);
                continue;
            }
            if (seen[id]) assert_ptr_equal(execution.t[id].data, seen[id]);
            seen[id] = execution.t[id].data;
            if (mp_case_inputs(&j->c) & MP_IN_SET(id)) {
                assert_ptr_not_equal(execution.t[id].data, j->in.t[id].data);
                assert_memory_equal(execution.t[id].data, j->in.t[id].data, mp_tensor_bytes(&j->in.t[id]));
            }
        }
        run(&execution, buffers, &kept);
        assert_int_equal(
            mp_run_surrounded(&host, &j->c, &j->offer, &j->in, MP_POISON_A, &alone, &report, &err), MP_OK);
        expect_same(&kept, &alone);
        mp_trace_destroy(&kept);
        mp_trace_destroy(&alone);
    }
    mp_buffers_close(buffers);
    for (int i = 0; i < 3; i++) mp_inputs_destroy(&jobs[i].in);
}

static void outputs_and_workspaces_are_left_as_they_were(void **state) {
    (void)state;
    static job first, second;
    prepare(&first, SMALL);
    prepare(&second, SMALL " seed=1");
    first.offer.workspace_bytes[1] = second.offer.workspace_bytes[1] = 100;
    mp_buffers *buffers = open_for((const job *const[]){&first, &second}, 2);
    mp_execution execution = load(buffers, &first);
    const size_t bytes = mp_tensor_bytes(&execution.t[MP_OUT]);
    uint32_t poison;
    memcpy(&poison, execution.t[MP_OUT].data, sizeof poison);
    assert_int_equal(poison, MP_POISON_B);
    memset(execution.workspace[1], 0x3A, 100);
    assert_null(execution.workspace[0]);
    run(&execution, buffers, NULL);
    char *before = test_malloc(bytes);
    memcpy(before, execution.t[MP_OUT].data, bytes);
    execution = load(buffers, &second);
    assert_memory_equal(execution.t[MP_OUT].data, before, bytes);
    for (int i = 0; i < 100; i++) assert_int_equal(((char *)execution.workspace[1])[i], 0x3A);
    run(&execution, buffers, NULL);
    assert_memory_not_equal(execution.t[MP_OUT].data, before, bytes);
    test_free(before);
    mp_buffers_close(buffers);
    mp_inputs_destroy(&first.in);
    mp_inputs_destroy(&second.in);
}

static void two_sets_are_open_at_once(void **state) {
    (void)state;
    static job first, second;
    mp_trace traces[2], alone[2];
    mp_surroundings_report report;
    mp_error err = {0};
    prepare(&first, SMALL);
    prepare(&second, SMALL " seed=7");
    const job *const jobs[] = {&first, &second};
    mp_buffers *sets[] = {open_for(&jobs[0], 1), open_for(&jobs[1], 1)};
    const mp_execution executions[] = {load(sets[0], jobs[0]), load(sets[1], jobs[1])};
    assert_ptr_not_equal(executions[0].t[MP_OUT].data, executions[1].t[MP_OUT].data);
    for (int i = 0; i < 2; i++) assert_int_equal(host.run(&host, &executions[i], &err), MP_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mp_buffers_look(sets[i], &report, &err), MP_OK);
        assert_int_equal(mp_buffers_collect(sets[i], &traces[i], &err), MP_OK);
        assert_int_equal(mp_run_surrounded(&host, &jobs[i]->c, &jobs[i]->offer, &jobs[i]->in, MP_POISON_A,
                                           &alone[i], &report, &err),
                         MP_OK);
        expect_same(&traces[i], &alone[i]);
        mp_trace_destroy(&traces[i]);
        mp_trace_destroy(&alone[i]);
        mp_buffers_close(sets[i]);
    }
    mp_inputs_destroy(&first.in);
    mp_inputs_destroy(&second.in);
}

static void what_is_written_around_is_seen(void **state) {
    (void)state;
    static job j;
    mp_surroundings_report report;
    mp_error err = {0};
    prepare(&j, SMALL);
    mp_buffers *buffers = open_for((const job *const[]){&j}, 1);
    const mp_execution execution = load(buffers, &j);
    ((char *)execution.t[MP_X].data)[3] ^= 1;
    assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
    assert_non_null(strstr(report.input, "x changed"));
    load(buffers, &j); /* the input is as it was again */
    assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
    assert_string_equal(report.input, "");
    ((char *)execution.t[MP_OUT].data)[mp_tensor_bytes(&execution.t[MP_OUT])] ^= 1;
    assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
    assert_non_null(strstr(report.guard, "out: byte 480 of a buffer of 480"));
    mp_buffers_close(buffers);
    mp_inputs_destroy(&j.in);
}

/* Gaps and offsets are those of the case that is loaded, whatever the one before it left there. */
static void places_change_from_case_to_case(void **state) {
    (void)state;
    static job jobs[2];
    const char *const texts[] = {SMALL " dtype=fp16",
                                 SMALL " dtype=fp16 weight_row_gap=3 weight_expert_gap=10 buffer_offset=5"};
    const job *all[2];
    for (int i = 0; i < 2; i++) prepare(&jobs[i], texts[i]), all[i] = &jobs[i];
    mp_buffers *buffers = open_for(all, 2);
    for (int round = 0; round < 4; round++) {
        const job *j = all[round % 2];
        mp_trace kept, alone;
        mp_surroundings_report report;
        mp_error err = {0};
        const mp_execution execution = load(buffers, j);
        const int64_t row = round % 2 ? 51 : 48, expert = round % 2 ? 64 * 51 + 10 : 64 * 48;
        assert_int_equal((uintptr_t)execution.t[MP_CACHE1].data % 64, round % 2 ? 10 : 0);
        for (int64_t e = 0; e < 4; e++)
            for (int64_t r = 0; r < 64; r++)
                assert_memory_equal((uint16_t *)execution.t[MP_W1].data + e * expert + r * row,
                                    (uint16_t *)j->in.t[MP_W1].data + (e * 64 + r) * 48, 96);
        run(&execution, buffers, &kept);
        assert_int_equal(
            mp_run_surrounded(&host, &j->c, &j->offer, &j->in, MP_POISON_A, &alone, &report, &err), MP_OK);
        assert_string_equal(report.guard, "");
        expect_same(&kept, &alone);
        mp_trace_destroy(&kept);
        mp_trace_destroy(&alone);
    }
    static const struct {
        mp_tensor_id id;
        int64_t element; /* from the first one */
        const char *guard, *input;
    } writes[] = {
        {MP_W1, 48, "input w1: byte 106 of a buffer of 26176, behind row 0 of expert 0, was written", ""},
        {MP_W1, 3274 + 2 * 51 + 50, "behind row 2 of expert 1, was written", ""},
        {MP_W1, 64 * 51, "behind expert 0, was written", ""},
        {MP_W1, -1, "input w1: byte 8 of a buffer of 26176, before its first element, was written", ""},
        {MP_W1, 51, "", "w1 changed"},
        {MP_W2, 32, "input w2: byte 74 of ", ""},
        {MP_X, -5, "input x: byte 0 of a buffer of 490, before its first element, was written", ""},
        {MP_OUT, -1, "out: byte 8 of a buffer of 490, before its first element, was written", ""},
        {MP_OUT, 240, "out: byte 490 of a buffer of 490 was written", ""},
    };
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        mp_surroundings_report report;
        mp_error err = {0};
        const mp_execution execution = load(buffers, all[1]);
        ((uint16_t *)execution.t[writes[i].id].data)[writes[i].element] ^= 1;
        assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
        if (!strstr(report.guard, writes[i].guard) || !strstr(report.input, writes[i].input) ||
            (report.guard[0] != 0) != (writes[i].guard[0] != 0) ||
            (report.input[0] != 0) != (writes[i].input[0] != 0))
            fail_msg("write %zu: guard '%s', input '%s'", i, report.guard, report.input);
    }
    mp_buffers_close(buffers);
    for (int i = 0; i < 2; i++) mp_inputs_destroy(&jobs[i].in);
}

/* Where an element of w2's scales lies, by the words of quantisation.md: experts of 40 x 5. */
static int64_t place_of_w2_scale(const char *layout, int64_t e, int64_t r, int64_t k) {
    if (strcmp(layout, "row-padded") == 0) return (e * 40 + r) * 16 + k;
    if (strcmp(layout, "column") == 0) return (e * 5 + k) * 40 + r;
    if (strcmp(layout, "column-padded") == 0) return (e * 5 + k) * 48 + r;
    /* tiles of 128 x 4: two of them for an expert, side by side */
    return e * 1024 + k / 4 * 512 + r % 32 * 16 + r / 32 * 4 + k % 4;
}

/* Each scale lies in its place, NaN in between, and what is written there comes back packed. */
static void scales_lie_as_the_layout_says(void **state) {
    (void)state;
    static const char *const layouts[] = {"row-padded", "column", "column-padded", "swizzled"};
    static job plain, j;
    prepare(&plain, "M=5 topk=2 E=4 K=40 N=160 quant=mxfp8");
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        char text[128];
        mp_trace kept, alone;
        mp_error err = {0};
        mp_surroundings_report report;
        snprintf(text, sizeof text, "M=5 topk=2 E=4 K=40 N=160 quant=mxfp8 scale_layout=%s buffer_offset=3",
                 layouts[i]);
        prepare(&j, text);
        mp_buffers *buffers = open_for((const job *const[]){&j}, 1);
        const mp_execution execution = load(buffers, &j);
        const mp_tensor *scale = &execution.t[MP_W2_SCALE];
        const mp_placement place = mp_case_placement(&j.c, MP_W2_SCALE, scale);
        const uint8_t *lies = scale->data, *packed = plain.in.t[MP_W2_SCALE].data;
        uint8_t *seen = test_calloc(place.bytes, 1);
        assert_true(scale->dim[0] == 4 && scale->dim[1] == 40 && scale->dim[2] == 5);
        for (int64_t at = 0; at < mp_tensor_count(scale); at++) {
            const int64_t here = place_of_w2_scale(layouts[i], at / 200, at / 5 % 40, at % 5);
            assert_true((size_t)here + place.first < place.bytes && !seen[here]);
            assert_int_equal(lies[here], packed[at]);
            seen[here] = 1;
        }
        for (size_t b = 0; b < place.bytes - place.first; b++) assert_true(seen[b] || lies[b] == 0xFF);
        run(&execution, buffers, &kept);
        assert_int_equal(
            mp_run_surrounded(&host, &plain.c, &plain.offer, &plain.in, MP_POISON_B, &alone, &report, &err),
            MP_OK);
        expect_same(&kept, &alone);
        mp_trace_destroy(&kept);

        /* A gap that is written is seen: of inputs, and of outputs, whose tiles alone may be filled. */
        static const struct {
            mp_tensor_id id;
            int64_t element; /* of row-padded and of tiles: behind the first row, or its four columns */
            const char *guard[2];
        } writes[] = {{MP_W2_SCALE, 5, {"input w2_scale: byte 8 of a buffer", "input w2_scale: byte "}},
                      {MP_X_SCALE, 2, {"x_scale: byte 5 of a buffer of 69, in a gap between scales", ""}}};
        for (size_t w = 0; w < 2 && (i == 0 || i == 3); w++) {
            const int64_t element = i == 3 && w == 0 ? 513 : writes[w].element;
            load(buffers, &j);
            ((uint8_t *)execution.t[writes[w].id].data)[element] ^= 1;
            assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
            const char *expected = writes[w].guard[i == 3];
            if (strncmp(report.guard, expected, strlen(expected)) != 0 ||
                (report.guard[0] != 0) != (expected[0] != 0))
                fail_msg("%s: guard '%s'", text, report.guard);
        }
        mp_trace_destroy(&alone);
        test_free(seen);
        mp_buffers_close(buffers);
        mp_inputs_destroy(&j.in);
    }
    mp_inputs_destroy(&plain.in);
}

static void a_case_that_does_not_fit_is_refused(void **state) {
    (void)state;
    static job small, large;
    mp_error err = {0};
    prepare(&small, SMALL);
    prepare(&large, "M=6 topk=2 E=4 K=48 N=32");
    mp_buffers *buffers = open_for((const job *const[]){&small}, 1);
    assert_int_equal(mp_buffers_load(buffers, &large.c, &large.offer, &large.in, &err), MP_EINTERNAL);
    assert_non_null(strstr(err.text, "of a buffer of"));
    mp_buffers_close(buffers);
    mp_buffers_close(NULL);
    mp_inputs_destroy(&small.in);
    mp_inputs_destroy(&large.in);
}

static int open_host(void **state) {
    (void)state;
    return mp_subject_open("host", &host, NULL) == MP_OK ? 0 : 1;
}

static int close_host(void **state) {
    (void)state;
    mp_subject_close(&host);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_case_after_the_other_has_the_results_of_each_alone),
        cmocka_unit_test(outputs_and_workspaces_are_left_as_they_were),
        cmocka_unit_test(two_sets_are_open_at_once),
        cmocka_unit_test(what_is_written_around_is_seen),
        cmocka_unit_test(places_change_from_case_to_case),
        cmocka_unit_test(scales_lie_as_the_layout_says),
        cmocka_unit_test(a_case_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, open_host, close_host);
}
