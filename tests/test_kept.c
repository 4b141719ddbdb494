/* SPDX-License-Identifier: Apache-2.0 */
/* What stays from run to run and from case to case: weights on the host, and copies of inputs in a subject's
 * space. Neither may ever stand for other numbers. */
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "cases/parts.h"
#include "harness/run/kept_weights.h"
#include "harness/subjects/buffers.h"
#include "harness/subjects/copies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static mp_case parsed(const char *text) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    return c;
}

static mp_inputs filled(const mp_case *c) {
    mp_inputs in;
    mp_error err = {0};
    if (mp_inputs_create(c, &in, &err) != MP_OK) fail_msg("%s", err.text);
    mp_inputs_seal(&in);
    return in;
}

#define BASE "M=5 topk=2 E=4 K=48 N=32 "

static void weights_that_are_called_the_same_are(void **state) {
    (void)state;
    static const char *const bases[] = {BASE "bias=1", BASE "quant=fp8-block group=16 data=codes",
                                        BASE "lora_adapters=2 lora_rank=8", BASE "data=wide dtype=fp16"};
    static const char *const other[] = {"M=9",           "routing=hot",        "filter=0.5",
                                        "path=runner",   "mode=inplace",       "rsf=2",
                                        "layout=sorted", "tile=16x64x64x1x4x3"};
    int same = 0;
    for (size_t b = 0; b < sizeof bases / sizeof *bases; b++)
        for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
            const mp_case first = parsed(bases[b]);
            mp_case second = first;
            if (mp_case_parse(&second, other[i], NULL) != MP_OK) continue; /* no such variant */
            assert_true(mp_case_same_weights(&first, &second));
            mp_inputs x = filled(&first), y = filled(&second);
            for (int id = 0; id < MP_TENSOR_COUNT; id++) {
                if (mp_tensors[id].rows != MP_ROWS_WHOLE) continue;
                assert_int_equal(x.t[id].data != NULL, y.t[id].data != NULL);
                if (!x.t[id].data) continue;
                assert_int_equal(mp_tensor_bytes(&x.t[id]), mp_tensor_bytes(&y.t[id]));
                assert_memory_equal(x.t[id].data, y.t[id].data, mp_tensor_bytes(&x.t[id]));
                same++;
            }
            mp_inputs_destroy(&x);
            mp_inputs_destroy(&y);
        }
    assert_true(same > 50);
    static const char *const differ[] = {"seed=1", "data=wide", "topk=1", "K=32", "N=16", "E=2", "bias=1"};
    const mp_case c = parsed(BASE), unused = parsed(BASE "data=unused");
    for (size_t i = 0; i < sizeof differ / sizeof *differ; i++) {
        mp_case d = c;
        assert_int_equal(mp_case_parse(&d, differ[i], NULL), MP_OK);
        assert_false(mp_case_same_weights(&c, &d));
    }
    assert_false(mp_case_same_weights(&unused, &unused)); /* which experts are spoiled the ids say */
}

static void weights_are_kept_while_they_are_what_they_were(void **state) {
    (void)state;
    const mp_case first = parsed(BASE), more = parsed("M=7 topk=2 E=4 K=48 N=32"),
                  another = parsed(BASE "seed=1");
    mp_kept_weights kept = {0};
    mp_error err = {0};
    mp_inputs in, next;
    assert_int_equal(mp_kept_inputs(&kept, &first, false, &in, &err), MP_OK);
    const void *w1 = in.t[MP_W1].data;
    mp_kept_take(&kept, &first, true, &in);
    mp_inputs_destroy(&in);
    assert_int_equal(mp_kept_inputs(&kept, &more, false, &next, &err), MP_OK);
    assert_ptr_equal(next.t[MP_W1].data, w1);
    mp_inputs alone = filled(&more);
    mp_inputs_seal(&next);
    assert_true(mp_inputs_digest(&next) == mp_inputs_digest(&alone));
    mp_inputs_destroy(&alone);
    mp_kept_take(&kept, &more, false, &next); /* a run has changed them */
    assert_null(next.t[MP_W1].data);
    assert_int_equal(mp_kept_for(&kept, &more), 0);
    assert_int_equal(mp_kept_inputs(&kept, &more, false, &next, &err), MP_OK);
    mp_kept_take(&kept, &more, true, &next);
    mp_inputs_destroy(&next);
    assert_true(mp_kept_for(&kept, &first) > 0);
    assert_int_equal(mp_kept_for(&kept, &another), 0); /* and given up */
    assert_int_equal(mp_kept_for(&kept, &first), 0);
    mp_kept_free(&kept);
}

/* ---- copies ---- */

static mp_space device;
static size_t written;

static mp_status count_writes(void *self, void *to, const void *from, size_t bytes, mp_error *err) {
    written += bytes;
    return mp_host_space.write(self, to, from, bytes, err);
}

static mp_subject open_subject(void) {
    mp_subject host;
    mp_error err = {0};
    if (mp_subject_open("host", &host, &err) != MP_OK) fail_msg("%s", err.text);
    device = mp_host_space;
    device.name = "device buffer ";
    device.write = count_writes;
    host.space = &device;
    host.copies = mp_copies_open(&device);
    assert_non_null(host.copies);
    return host;
}

typedef struct loaded {
    mp_buffers *buffers;
    mp_execution e;
    mp_offer offer;
} loaded;

static void load(mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_buffers_use use, loaded *l) {
    mp_buffer_sizes sizes = {0};
    mp_error err = {0};
    assert_int_equal(mp_subject_describe(subject, c, &l->offer, &err), MP_OK);
    mp_buffer_sizes_add(c, &l->offer, &sizes);
    if (mp_buffers_open(subject, &sizes, use, MP_POISON_A, &l->buffers, &err) != MP_OK ||
        mp_buffers_load(l->buffers, c, &l->offer, in, &err) != MP_OK)
        fail_msg("%s", err.text);
    l->e = mp_buffers_execution(l->buffers);
}

static void expect_input(const loaded *l, const mp_inputs *in, mp_tensor_id id) {
    const mp_tensor *given = mp_inputs_as_given(in, id);
    assert_memory_equal(l->e.t[id].data, given->data, mp_tensor_bytes(given));
}

static void inputs_are_brought_once_and_again_when_a_run_has_changed_them(void **state) {
    (void)state;
    static loaded l;
    mp_subject subject = open_subject();
    const mp_case c = parsed(BASE);
    mp_inputs in = filled(&c);
    mp_error err = {0};
    mp_surroundings_report report;
    for (int run = 0; run < 5; run++) {
        const bool changes = run == 1, behind = run == 3;
        written = 0;
        load(&subject, &c, &in, MP_BUFFERS_ONCE, &l);
        expect_input(&l, &in, MP_W2);
        expect_input(&l, &in, MP_X);
        /* all of it at first, and what the run before has spoiled */
        assert_int_equal(written > 0, run == 0 || run == 2 || run == 4);
        if (run > 0) assert_true(written <= mp_tensor_bytes(&in.t[MP_W2]));
        unsigned char *w2 = l.e.t[MP_W2].data;
        if (changes) w2[7] ^= 1;
        if (behind) w2[mp_tensor_bytes(&in.t[MP_W2]) + 3] ^= 1;
        assert_int_equal(mp_buffers_look(l.buffers, &report, &err), MP_OK);
        assert_int_equal(report.input[0] != 0, changes);
        assert_int_equal(report.guard[0] != 0, behind);
        mp_buffers_close(l.buffers);
    }
    /* a run that nobody has looked at */
    load(&subject, &c, &in, MP_BUFFERS_ONCE, &l);
    ((unsigned char *)l.e.t[MP_X].data)[0] ^= 1;
    mp_buffers_close(l.buffers);
    load(&subject, &c, &in, MP_BUFFERS_ONCE, &l);
    expect_input(&l, &in, MP_X);
    mp_buffers_close(l.buffers);
    mp_copies_close(subject.copies);
    mp_inputs_destroy(&in);
}

static void copies_are_of_what_the_subject_gets(void **state) {
    (void)state;
    static const char *const texts[] = {BASE "filter=0.5 seed=3", BASE "filter=0.5 seed=3 sentinel=E",
                                        BASE "filter=0.5 seed=3 weight_row_gap=8",
                                        BASE "filter=0.5 seed=3 buffer_offset=1"};
    static loaded l;
    mp_subject subject = open_subject();
    mp_error err = {0};
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            const mp_case c = parsed(texts[i]);
            mp_inputs in = filled(&c);
            mp_surroundings_report report;
            load(&subject, &c, &in, MP_BUFFERS_ONCE, &l);
            expect_input(&l, &in, MP_TOPK_IDS);
            assert_memory_equal(l.e.t[MP_W1].data, in.t[MP_W1].data, mp_tensor_row_bytes(&in.t[MP_W1]));
            assert_int_equal(mp_buffers_look(l.buffers, &report, &err), MP_OK);
            assert_string_equal(report.guard, "");
            assert_string_equal(report.input, "");
            mp_buffers_close(l.buffers);
            mp_inputs_destroy(&in);
        }
    mp_copies_close(subject.copies);
}

/* Inputs that are made of the case's by putting others in place of some: nobody has sealed those. */
static void what_takes_the_place_of_an_input_is_brought_too(void **state) {
    (void)state;
    static loaded l;
    mp_subject subject = open_subject();
    const mp_case c = parsed("M=9 topk=2 E=4 K=48 N=32"), rank = parsed("M=9 topk=2 E=2 ep_size=2 K=48 N=32"),
                  gates = parsed("M=9 topk=2 E=4 K=48 N=32 interleaved=1");
    const int64_t tokens[] = {8, 3, 5, 1, 0, 2, 4, 6, 7};
    mp_inputs in = filled(&c), other[3];
    mp_case part = rank;
    mp_error err = {0};
    mp_surroundings_report report;
    assert_int_equal(mp_inputs_part(&c, &in, &rank, 1, &other[0], &err), MP_OK);
    part.ep_rank = 1;
    assert_int_equal(mp_inputs_select(&c, &in, tokens, 9, &other[1], &err), MP_OK);
    assert_int_equal(mp_inputs_reorder_gate(&c, &in, &gates, &other[2], &err), MP_OK);
    const mp_case *const cases[] = {&part, &c, &gates};
    for (int i = -1; i < 3; i++) {
        const mp_inputs *now = i < 0 ? &in : &other[i];
        load(&subject, i < 0 ? &c : cases[i], now, MP_BUFFERS_ONCE, &l);
        for (int id = 0; id < MP_TENSOR_COUNT; id++)
            if (l.e.t[id].data && now->t[id].data) expect_input(&l, now, (mp_tensor_id)id);
        assert_int_equal(mp_buffers_look(l.buffers, &report, &err), MP_OK);
        mp_buffers_close(l.buffers);
    }
    for (int i = 0; i < 3; i++) mp_inputs_destroy(&other[i]);
    mp_copies_close(subject.copies);
    mp_inputs_destroy(&in);
}

/* Addresses stay from load to load, and so does what is read there: the copy itself is not written to. */
static void buffers_that_stay_are_filled_from_copies(void **state) {
    (void)state;
    static loaded once, kept;
    mp_subject subject = open_subject();
    const mp_case c = parsed(BASE);
    mp_inputs in = filled(&c), other;
    mp_error err = {0};
    mp_surroundings_report report;
    assert_int_equal(mp_inputs_other(&c, &in, SIZE_MAX, &other, &err), MP_OK);
    load(&subject, &c, &in, MP_BUFFERS_ONCE, &once);
    assert_int_equal(mp_buffers_look(once.buffers, &report, &err), MP_OK);
    mp_buffers_close(once.buffers);
    load(&subject, &c, &other, MP_BUFFERS_KEPT, &kept);
    const void *x = kept.e.t[MP_X].data, *w1 = kept.e.t[MP_W1].data;
    expect_input(&kept, &other, MP_X);
    expect_input(&kept, &in, MP_W1);
    assert_int_equal(mp_buffers_look(kept.buffers, &report, &err), MP_OK);
    written = 0;
    assert_int_equal(mp_buffers_load(kept.buffers, &c, &kept.offer, &in, &err), MP_OK);
    kept.e = mp_buffers_execution(kept.buffers);
    assert_int_equal(written, 0);
    assert_ptr_equal(kept.e.t[MP_X].data, x);
    assert_ptr_equal(kept.e.t[MP_W1].data, w1);
    expect_input(&kept, &in, MP_X);
    mp_buffers_close(kept.buffers);
    mp_copies_close(subject.copies);
    mp_inputs_destroy(&other);
    mp_inputs_destroy(&in);
}

/* A large copy that was in a subject's hands is looked at before it is brought again: a recording runs
 * nothing. */
static void what_nobody_has_looked_at_is_looked_at(void **state) {
    (void)state;
    static loaded l;
    mp_subject subject = open_subject();
    const mp_case c = parsed("M=5 topk=2 E=4 K=512 N=256");
    mp_inputs in = filled(&c);
    mp_error err = {0};
    load(&subject, &c, &in, MP_BUFFERS_KEPT, &l);
    for (int changed = 0; changed < 3; changed++) {
        unsigned char *w2 = l.e.t[MP_W2].data;
        if (changed == 1) w2[7] ^= 1;
        if (changed == 2) w2[mp_tensor_bytes(&in.t[MP_W2]) + 3] ^= 1;
        written = 0;
        assert_int_equal(mp_buffers_load(l.buffers, &c, &l.offer, &in, &err), MP_OK);
        l.e = mp_buffers_execution(l.buffers);
        assert_int_equal(written >= mp_tensor_bytes(&in.t[MP_W2]), changed > 0);
        assert_true(written < mp_tensor_bytes(&in.t[MP_W1])); /* small ones, always, and w2 */
        expect_input(&l, &in, MP_W1);
        expect_input(&l, &in, MP_W2);
    }
    mp_buffers_close(l.buffers);
    mp_copies_close(subject.copies);
    mp_inputs_destroy(&in);
}

static void room_is_made_of_what_nobody_uses(void **state) {
    (void)state;
    mp_copies *copies = mp_copies_open(&mp_host_space);
    mp_copy_key key[2] = {{.id = MP_W1, .content = 1, .place.bytes = 100},
                          {.id = MP_W1, .content = 2, .place.bytes = 100}};
    mp_copy *copy[2], *again;
    mp_error err = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mp_copies_take(copies, &key[i], &copy[i], &err), MP_OK);
        assert_null(mp_copies_find(copies, &key[i])); /* nothing is in it yet */
        copy[i]->sure = true;
        assert_ptr_equal(mp_copies_find(copies, &key[i]), copy[i]);
    }
    assert_ptr_not_equal(copy[0], copy[1]);
    const size_t both = mp_copies_bytes(copies);
    mp_copies_leave(copies, copy[0]);
    assert_int_equal(mp_copies_bytes(copies), both);
    assert_int_equal(mp_copies_take(copies, &key[0], &again, &err), MP_OK);
    assert_true(again->sure);
    mp_copies_leave(copies, again);
    assert_true(mp_copies_make_room(copies));
    assert_int_equal(2 * mp_copies_bytes(copies), both);
    assert_false(mp_copies_make_room(copies)); /* the other one is in use */
    mp_copies_leave(copies, copy[1]);
    assert_int_equal(2 * mp_copies_bytes(copies), both);
    /* no more than was agreed on: the one that was left first is given up for the other */
    mp_copies_keep(copies, both / 2);
    assert_int_equal(mp_copies_take(copies, &key[0], &again, &err), MP_OK);
    again->sure = true;
    mp_copies_leave(copies, again);
    assert_int_equal(2 * mp_copies_bytes(copies), both);
    assert_ptr_equal(mp_copies_find(copies, &key[0]), again);
    assert_int_equal(mp_copies_take(copies, &key[0], &again, &err), MP_OK);
    again->sure = false;
    mp_copies_leave(copies, again);
    assert_int_equal(mp_copies_bytes(copies), 0);
    mp_copies_close(copies);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_that_are_called_the_same_are),
        cmocka_unit_test(weights_are_kept_while_they_are_what_they_were),
        cmocka_unit_test(inputs_are_brought_once_and_again_when_a_run_has_changed_them),
        cmocka_unit_test(copies_are_of_what_the_subject_gets),
        cmocka_unit_test(what_takes_the_place_of_an_input_is_brought_too),
        cmocka_unit_test(buffers_that_stay_are_filled_from_copies),
        cmocka_unit_test(what_nobody_has_looked_at_is_looked_at),
        cmocka_unit_test(room_is_made_of_what_nobody_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
