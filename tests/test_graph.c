/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of tensors and stages: what nothing else would tell whoever adds a row. */
#include "cases/fill.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mp_tensor_set all_reads(void) {
    mp_tensor_set set = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) set |= mp_stages[s].reads;
    return set;
}

static mp_tensor_set all_writes(void) {
    mp_tensor_set set = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) set |= mp_stages[s].writes;
    return set;
}

static void every_tensor_has_a_row(void **state) {
    (void)state;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor_info *t = &mp_tensors[id];
        if (!t->name || !t->shape) fail_msg("tensor %d has no row in mp_tensors", id);
        for (int other = 0; other < id; other++)
            if (strcmp(mp_tensors[other].name, t->name) == 0) fail_msg("two tensors are named %s", t->name);
    }
}

/* Streams are numbers of their own: tensors that share one would hold the same numbers, or those that routing
 * draws; and mp_inputs_digest counts them up to MP_STREAMS. */
static void every_stream_is_one_tensors(void **state) {
    (void)state;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const int stream = mp_tensors[id].stream;
        if (stream >= MP_STREAM_FILTER && stream <= MP_STREAM_SENTINEL)
            fail_msg("%s: stream %d is routing's", mp_tensors[id].name, stream);
        if (stream >= MP_STREAMS)
            fail_msg("%s: stream %d is no part of the digest", mp_tensors[id].name, stream);
        for (int other = 0; other < id && stream >= 0; other++)
            if (mp_tensors[other].stream == stream)
                fail_msg("%s and %s share stream %d", mp_tensors[other].name, mp_tensors[id].name, stream);
    }
}

/* A tensor that no stage reads is no input of any case: it would not be made, and all that asks whether it is
 * there would do without it. numbered_ids are made beside topk_ids, in whose place a subject gets them. */
static void every_tensor_is_read_or_written(void **state) {
    (void)state;
    const mp_tensor_set reads = all_reads(), writes = all_writes();
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        bool read = reads & MP_IN_SET(id) || id == MP_NUMBERED_IDS, written = writes & MP_IN_SET(id);
        for (int other = 0; other < MP_TENSOR_COUNT; other++) /* what hooks leave */
            written = written || (int)mp_tensors[other].as_read == id;
        if (mp_tensors[id].stream >= 0 && !read) fail_msg("%s: no stage reads it", mp_tensors[id].name);
        if (mp_tensors[id].stream < 0 && !written) fail_msg("%s: no stage writes it", mp_tensors[id].name);
    }
}

static void every_stage_has_a_row(void **state) {
    (void)state;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_info *info = &mp_stages[s];
        const char *name = mp_stage_name((mp_stage)s);
        if (!info->present || !info->fields) fail_msg("%s has no row in mp_stages", name);
        if (!(info->writes & MP_IN_SET(info->output))) fail_msg("%s does not write its output", name);
        for (int other = 0; other < s; other++)
            if (mp_stages[other].writes & info->writes) fail_msg("%s writes what another stage writes", name);
    }
}

/* A stage alone on the default case, or on one that is quantised, has inputs, an output, and rows of them. */
static void every_stage_runs_alone(void **state) {
    (void)state;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        mp_case c = mp_case_default();
        while (!mp_stages[s].present(&c) && c.quant + 1 < MP_SCHEME_COUNT) c.quant++;
        c.scope = (mp_scope)(1 + s);
        if (mp_stage_is_lora((mp_stage)s)) c.lora_adapters = 2;
        assert_true(mp_case_has_stage(&c, (mp_stage)s));
        assert_true(mp_case_inputs(&c) != 0);
        const mp_tensor_id id = mp_stage_output(&c, (mp_stage)s);
        const mp_tensor out = mp_case_shape(&c, id, 16);
        if (!(mp_case_outputs(&c) & MP_IN_SET(id)))
            fail_msg("scope=%s: %s has no shape", mp_stage_name((mp_stage)s), mp_tensor_name(id));
        if (s == MP_ALIGN) continue;
        assert_int_equal(mp_tensor_rows(&out),
                         mp_stage_rows_are_slots((mp_stage)s) ? mp_case_slots(&c) : c.M);
    }
}

/* What hooks leave is a tensor only of cases with a stage behind that reads it. */
static void hooks_leave_what_a_stage_reads(void **state) {
    (void)state;
    const mp_tensor_set one = MP_IN_SET(MP_CACHE1_HOOKED), three = MP_IN_SET(MP_CACHE3_HOOKED);
    const struct {
        const char *text;
        mp_tensor_set hooked, written; /* possible outputs, and those that a stage writes */
    } rows[] = {
        {"topk=2", one | three, 0},
        {"topk=2 mode=no_combine", one, 0},
        {"topk=4 fused_sum=1", one, 0},
        {"topk=2 scope=gate_up", 0, 0},
        {"topk=2 scope=down", 0, 0},
        {"topk=2 lora_adapters=2", one | three, one | three},
        {"topk=2 lora_adapters=2 mode=no_combine", one, one}, /* expand_down writes out */
        {"topk=2 lora_adapters=2 scope=expand_down", three, three},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mp_case c = mp_case_default();
        mp_error err = {0};
        if (mp_case_parse(&c, rows[i].text, &err) != MP_OK) fail_msg("%s: %s", rows[i].text, err.text);
        if ((mp_case_possible_outputs(&c) & (one | three)) != rows[i].hooked ||
            (mp_case_outputs(&c) & (one | three)) != rows[i].written)
            fail_msg("%s: hooks leave other tensors", rows[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_has_a_row),          cmocka_unit_test(every_stream_is_one_tensors),
        cmocka_unit_test(every_tensor_is_read_or_written), cmocka_unit_test(every_stage_has_a_row),
        cmocka_unit_test(every_stage_runs_alone),          cmocka_unit_test(hooks_leave_what_a_stage_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
