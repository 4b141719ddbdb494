/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that a device makes for itself, on that of tests/fake_cuda.h, and that the host does not have. */
#include "cases/deferred.h"
#include "cases/fill.h"
#include "harness/judge/gemm_operands.h"
#include "harness/subjects/buffers.h"
#include "harness/subjects/confirm_fill.h"
#include "harness/subjects/copies.h"
#include "kernels/cuda.h"
#include "kernels/device/fill_params.h"
#include "kernels/device/fill_words.h"
#include "moeparity/run_case.h"
#include "tests/fake_cuda.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- kernels, right and wrong ---- */

static int fills;

/* As the kernel: by words, and what is left byte by byte. */
static void fill(const mp_fill_params *p, mp_u64 count, mp_u64 shift) {
    const mp_numbers *n = &p->numbers;
    const int style = mp_rows_are_alike(n) ? n->rule.style : MP_ANY_STYLE;
    const mp_fill_rows_of of = {*n, p->source ? fake_memory(p->source) : NULL, style};
    const mp_u64 bytes = count * (mp_u64)n->format.bits / 8, each = 32 / (mp_u64)n->format.bits,
                 rows = (p->count + shift) / n->row_length + 1;
    unsigned char *data = fake_memory(p->data);
    mp_fill_place at = {.row = 0};
    fills++;
    for (mp_u64 i = 0; i < bytes; i += 4) {
        if (i % 16 == 0 || bytes - i < 4) at = mp_fill_place_of(&of, i / 4 * each + shift);
        const unsigned word = mp_fill_word(&of, rows, &at);
        memcpy(data + i, &word, bytes - i < 4 ? bytes - i : 4);
    }
}

/* What is found of the largest numbers is off by so much. */
static int off;

static void find_largest(const mp_largest_params *p, int bits) {
    const unsigned char *data = fake_memory(p->data);
    unsigned *found = fake_memory(p->largest);
    const int64_t each = (int64_t)p->bytes * 8 / bits;
    const mp_dtype dtype = bits == 32   ? MP_FP32
                           : bits == 16 ? MP_BF16
                           : bits == 8  ? MP_U8
                                        : MP_U4; /* any of so many bits */
    for (int64_t i = 0; i < p->matrices * each; i++) {
        const unsigned here = (unsigned)mp_code_magnitude(&p->format, mp_code_at(dtype, data, i));
        if (here > found[i / each]) found[i / each] = here;
    }
    if (p->matrices > 1) found[p->matrices - 1] += (unsigned)off; /* of weights */
}

static void right(const char *entry, const void *params) {
    const mp_fill_params *p = params;
    if (strcmp(entry, "fill_numbers") == 0) fill(p, p->count, 0);
    if (strcmp(entry, "largest_codes") == 0)
        find_largest(params, ((const mp_largest_params *)params)->format.bits);
}

static void short_by_one(const char *entry, const void *params) {
    const mp_fill_params *p = params;
    if (strcmp(entry, "fill_numbers") == 0) fill(p, p->count - 1, 0);
}

static void of_the_next(const char *entry, const void *params) {
    const mp_fill_params *p = params;
    if (strcmp(entry, "fill_numbers") == 0) fill(p, p->count, 1);
}

static mp_case parsed(const char *text) {
    mp_case c = mp_case_default();
    mp_error err = {0};
    if (mp_case_parse(&c, text, &err) != MP_OK) fail_msg("%s: %s", text, err.text);
    return c;
}

static void fills_otherwise(const char *text) {
    static void (*const wrong[])(const char *, const void *) = {NULL, short_by_one, of_the_next};
    const mp_case c = parsed(text);
    mp_cuda *cuda;
    mp_error err = {0};
    mp_tensor t = mp_case_shape(&c, MP_W1, 16);
    assert_true(mp_can_be_deferred(&c, MP_W1));
    const mp_numbers numbers = mp_numbers_of(&c, MP_W1);
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_true(mp_cuda_fills(space));
    assert_false(mp_cuda_fills(&mp_host_space));
    assert_int_equal(space->alloc(space->self, mp_tensor_bytes(&t), MP_POISON_A, &t.data, &err), MP_OK);
    fake.execute = right;
    assert_int_equal(mp_cuda_fill(space, &t, &numbers, NULL, &err), MP_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memset(fake_memory((uintptr_t)t.data), 0, mp_tensor_bytes(&t));
        fake.execute = wrong[i];
        assert_int_equal(mp_cuda_fill(space, &t, &numbers, NULL, &err), MP_EDEVICE);
        assert_non_null(strstr(err.text, "fills element"));
    }
    /* fewer elements than are made again */
    mp_tensor few = t;
    few.dim[0] = few.dim[1] = 1;
    few.dim[2] = 6;
    fake.execute = right;
    assert_int_equal(mp_cuda_fill(space, &few, &numbers, NULL, &err), MP_OK);
    fake.execute = NULL;
    space->free(space->self, t.data);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* Codes of 16 bits, of 8, and two in a byte, with a sign and without. */
static void a_device_that_fills_otherwise_is_found(void **state) {
    (void)state;
    fills_otherwise("M=2 E=3 K=72 N=40");
    fills_otherwise("M=2 E=3 K=256 N=128 quant=fp8-block");
    fills_otherwise("M=2 E=3 K=200 N=40 quant=int8-channel");
    fills_otherwise("M=2 E=3 K=192 N=64 quant=nvfp4");
    fills_otherwise("M=2 E=3 K=256 N=128 quant=int4-w4a16");
}

/* ---- buffers ---- */

/* Whether the byte can be read: by a child, which a fault ends. */
static bool can_be_read(const char *byte) {
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); /* the test library's handler is the parent's */
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        _exit(*(const volatile char *)byte == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) < 2;
}

/* A subject in the device's memory that does nothing. */
static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    return mp_config_resolve(c, NULL, &offer->config, err);
}
static mp_status run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s, (void)e, (void)err;
    return MP_OK;
}

static void load(mp_subject *subject, const mp_case *c, const mp_inputs *in, mp_buffers **buffers,
                 mp_execution *e) {
    mp_buffer_sizes sizes = {0};
    mp_error err = {0};
    static mp_offer offer;
    assert_int_equal(mp_subject_describe(subject, c, &offer, &err), MP_OK);
    mp_buffer_sizes_add(c, &offer, &sizes);
    if (mp_buffers_open(subject, &sizes, MP_BUFFERS_ONCE, MP_POISON_A, buffers, &err) != MP_OK ||
        mp_buffers_load(*buffers, c, &offer, in, &err) != MP_OK)
        fail_msg("%s", err.text);
    *e = mp_buffers_execution(*buffers);
}

/* The subject gets what it would get of weights that the host has, and the host has none. Where they lie with
 * gaps the host makes them after all. */
static void a_subject_on_the_device_needs_none_of_the_host(void **state) {
    (void)state;
    static const char *const texts[] = {"M=2 E=3 K=72 N=40", "M=2 E=3 K=72 N=40 weight_row_gap=8",
                                        "M=2 E=3 K=256 N=128 quant=fp8-block"};
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    subject.copies = mp_copies_open(subject.space);
    fake.execute = right;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const mp_case c = parsed(texts[i]);
        const bool gaps = c.weight_row_gap > 0;
        mp_inputs now, later;
        mp_buffers *buffers;
        mp_execution e;
        mp_surroundings_report report;
        assert_int_equal(mp_inputs_create(&c, &now, &err), MP_OK);
        assert_int_equal(mp_inputs_create_deferring(&c, 1, &later, &err), MP_OK);
        mp_inputs_seal(&later);
        fills = 0;
        for (int round = 0; round < 2; round++) { /* the second one finds the first one's copies */
            const size_t before = fake.uploaded;
            load(&subject, &c, &later, &buffers, &e);
            assert_int_equal(fills, gaps ? 0 : 3); /* x, too, which lies there where weights have gaps */
            for (int id = MP_W1; id <= MP_W2; id += MP_W2 - MP_W1) {
                const size_t row = mp_tensor_row_bytes(&now.t[id]);
                assert_memory_equal(fake_memory((uintptr_t)e.t[id].data), now.t[id].data,
                                    gaps ? row : mp_tensor_bytes(&now.t[id]));
                assert_int_equal(can_be_read(later.t[id].data), gaps);
            }
            if (!gaps) assert_true(fake.uploaded - before < mp_tensor_bytes(&now.t[MP_W2]));
            assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
            assert_string_equal(report.input, "");
            mp_buffers_close(buffers);
        }
        mp_inputs_destroy(&later);
        mp_inputs_destroy(&now);
    }
    fake.execute = NULL;
    mp_copies_close(subject.copies);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* A wrong element that is not among those that are looked at, which any fill would be tried for. */
static mp_u64 wrong_element;

static void wrong_somewhere(const char *entry, const void *params) {
    const mp_fill_params *p = params;
    right(entry, params);
    if (strcmp(entry, "fill_numbers") == 0 && wrong_element < p->count) /* of weights */
        ((unsigned short *)fake_memory(p->data))[wrong_element] ^= 1;
}

/* Nobody is blamed for weights that the device made wrongly. */
static void what_a_device_made_is_confirmed(void **state) {
    (void)state;
    const mp_case c = parsed("M=2 E=3 K=1032 N=1000");
    mp_cuda *cuda;
    mp_error err = {0};
    mp_inputs in;
    mp_buffers *buffers;
    mp_execution e;
    mp_surroundings_report report;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    for (int wrong = 0; wrong < 2; wrong++) {
        subject.copies = mp_copies_open(subject.space);
        fake.execute = wrong ? wrong_somewhere : right;
        wrong_element = 1234567;
        assert_int_equal(mp_inputs_create_deferring(&c, 1, &in, &err), MP_OK);
        mp_inputs_seal(&in);
        load(&subject, &c, &in, &buffers, &e);
        assert_int_equal(mp_confirm_fill(&subject, &c, &in, &err), MP_OK); /* in a subject's hands: unknown */
        assert_false(can_be_read(in.t[MP_W1].data));
        assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
        mp_buffers_close(buffers);
        assert_int_equal(mp_confirm_fill(&subject, &c, &in, &err), wrong ? MP_EDEVICE : MP_OK);
        if (wrong) assert_non_null(strstr(err.text, "the device was to make w1"));
        mp_inputs_destroy(&in);
        mp_copies_close(subject.copies);
    }
    fake.execute = NULL;
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* ---- the largest numbers ---- */

static void expect_largest(const mp_tensor *on_host, const mp_tensor *later) {
    bool one[8] = {false};
    assert_true(on_host->dim[0] <= 8);
    assert_true(mp_largest_magnitude(later, NULL) == mp_largest_magnitude(on_host, NULL));
    for (int64_t e = 0; e < on_host->dim[0]; e++) {
        one[e] = true;
        assert_true(mp_largest_magnitude(later, one) == mp_largest_magnitude(on_host, one));
        one[e] = false;
    }
}

/* Bounds of sums are the same whether the host has the weights or only the device. */
static void the_largest_numbers_are_those_that_the_host_finds(void **state) {
    (void)state;
    static const char *const texts[] = {"M=2 E=3 K=72 N=40 seed=1",
                                        "M=2 E=3 K=72 N=40 dtype=fp16 seed=2",
                                        "M=2 E=3 K=128 N=64 quant=fp8-channel seed=3",
                                        "M=2 E=3 K=128 N=64 quant=int8-channel seed=4",
                                        "M=2 E=3 K=128 N=64 quant=mxfp4 seed=5",
                                        "M=2 E=3 K=128 N=64 quant=int4-w4a16 seed=6",
                                        "M=2 E=3 K=128 N=64 quant=int8-channel data=codes seed=7",
                                        "M=2 E=3 K=128 N=64 quant=int8-block data=wide seed=11",
                                        "M=2 E=3 K=128 N=64 quant=mxfp4 data=codes seed=8",
                                        "M=2 E=3 K=72 N=40 dtype=fp32 seed=9",
                                        "M=20 E=3 K=72 N=40 data=special seed=10"};
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    subject.copies = mp_copies_open(subject.space);
    fake.execute = right;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const mp_case c = parsed(texts[i]);
        mp_inputs now, later;
        mp_buffers *buffers;
        mp_execution e;
        mp_surroundings_report report;
        assert_int_equal(mp_inputs_create(&c, &now, &err), MP_OK);
        for (int again = 0; again < 2; again++) { /* what lies there already is looked at, too */
            assert_int_equal(mp_inputs_create_deferring(&c, 1, &later, &err), MP_OK);
            mp_inputs_seal(&later);
            assert_true(mp_deferred_lacks_largest(&later.t[MP_W1]));
            const double possible = mp_largest_magnitude(&later.t[MP_W1], NULL),
                         largest = mp_largest_magnitude(&now.t[MP_W1], NULL);
            assert_true(possible >= largest && (i > 1 || possible > 1.02 * largest));
            fills = 0;
            load(&subject, &c, &later, &buffers, &e);
            assert_int_equal(fills, again ? 0 : 3);
            assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
            mp_buffers_close(buffers);
            expect_largest(&now.t[MP_W1], &later.t[MP_W1]);
            expect_largest(&now.t[MP_W2], &later.t[MP_W2]);
            assert_true(mp_largest_magnitude(&later.t[MP_X], NULL) ==
                        mp_largest_magnitude(&now.t[MP_X], NULL));
            assert_int_equal(mp_confirm_fill(&subject, &c, &later, &err), MP_OK);
            mp_inputs_destroy(&later);
        }
        mp_inputs_destroy(&now);
    }
    fake.execute = NULL;
    mp_copies_close(subject.copies);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* What cannot be is refused at once; what is not, before anybody is failed by it. */
static void a_device_that_finds_others_is_found(void **state) {
    (void)state;
    static const struct {
        int off;
        bool at_once;
    } wrong[] = {{-200, true}, {1000, true}, {1, false}, {-1, false}};
    const mp_case c = parsed("M=2 E=3 K=72 N=40");
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    fake.execute = right;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mp_inputs in;
        mp_buffers *buffers;
        mp_offer offer;
        mp_buffer_sizes sizes = {0};
        mp_surroundings_report report;
        subject.copies = mp_copies_open(subject.space);
        assert_int_equal(mp_inputs_create_deferring(&c, 1, &in, &err), MP_OK);
        mp_inputs_seal(&in);
        assert_int_equal(mp_subject_describe(&subject, &c, &offer, &err), MP_OK);
        mp_buffer_sizes_add(&c, &offer, &sizes);
        assert_int_equal(mp_buffers_open(&subject, &sizes, MP_BUFFERS_ONCE, MP_POISON_A, &buffers, &err),
                         MP_OK);
        off = wrong[i].off;
        const mp_status loaded = mp_buffers_load(buffers, &c, &offer, &in, &err);
        assert_int_equal(loaded, wrong[i].at_once ? MP_EDEVICE : MP_OK);
        if (wrong[i].at_once) assert_non_null(strstr(err.text, "was found the largest number of w1[2]"));
        if (!wrong[i].at_once) {
            mp_buffers_execution(buffers);
            assert_int_equal(mp_buffers_look(buffers, &report, &err), MP_OK);
        }
        mp_buffers_close(buffers);
        if (!wrong[i].at_once) {
            assert_int_equal(mp_confirm_fill(&subject, &c, &in, &err), MP_EDEVICE);
            assert_non_null(strstr(err.text, "the largest number of w1[2], which it is not"));
        }
        mp_inputs_destroy(&in);
        mp_copies_close(subject.copies);
    }
    off = 0;
    fake.execute = NULL;
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* In place another batch's x is made in the buffer of the output. */
static void in_place_too(void **state) {
    (void)state;
    const mp_case c = parsed("M=40 E=3 K=72 N=40 mode=inplace");
    mp_cuda *cuda;
    mp_error err = {0};
    mp_inputs in, now, later;
    mp_buffers *buffers;
    mp_execution e;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    fake.execute = right;
    assert_int_equal(mp_inputs_create(&c, &in, &err), MP_OK);
    assert_int_equal(mp_inputs_other(&c, &in, SIZE_MAX, &now, &err), MP_OK);
    assert_int_equal(mp_inputs_other(&c, &in, 1, &later, &err), MP_OK);
    fills = 0;
    load(&subject, &c, &later, &buffers, &e);
    assert_int_equal(fills, 1);
    assert_ptr_equal(e.t[MP_X].data, e.t[MP_OUT].data);
    assert_memory_equal(fake_memory((uintptr_t)e.t[MP_X].data), now.t[MP_X].data,
                        mp_tensor_bytes(&now.t[MP_X]));
    assert_false(can_be_read(later.t[MP_X].data));
    fake.execute = NULL;
    mp_buffers_close(buffers);
    mp_inputs_destroy(&later);
    mp_inputs_destroy(&now);
    mp_inputs_destroy(&in);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* ---- guards ---- */

static void what_was_made_is_guarded(void **state) {
    (void)state;
    const mp_case c = parsed("M=2 E=3 K=72 N=40");
    const bool second[] = {false, true, false};
    mp_error err = {0};
    mp_inputs in;
    assert_int_equal(mp_inputs_create_deferring(&c, 1, &in, &err), MP_OK);
    mp_inputs_seal(&in);
    const mp_tensor *w1 = &in.t[MP_W1];
    const size_t matrix = mp_tensor_bytes(w1) / 3;
    assert_true(mp_inputs_unchanged(&in));
    assert_false(can_be_read(w1->data));
    for (int all = 0; all < 2; all++) {
        mp_tensor_make(w1, all ? NULL : second);
        for (size_t at = all ? 0 : matrix; at < (all ? 3 : 2) * matrix; at += matrix / 5) {
            char *byte = (char *)w1->data + at;
            assert_true(mp_inputs_unchanged(&in));
            *byte ^= 1;
            assert_false(mp_inputs_unchanged(&in));
            *byte ^= 1;
        }
    }
    assert_true(mp_inputs_unchanged(&in));
    mp_inputs_destroy(&in);
}

static mp_status write_into_weights(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s, (void)err;
    ((char *)e->t[MP_W1].data)[12345] ^= 1;
    return MP_OK;
}

/* The other subject works in the host's memory, and gets weights that until then the device alone had. */
static void a_subject_that_writes_into_them_is_seen(void **state) {
    (void)state;
    static mp_verdict v; /* large */
    mp_cuda *cuda;
    mp_error err = {0};
    mp_matrix matrix = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    assert_int_equal(mp_matrix_add(&matrix, "M=1 E=2 topk=1 K=4096 N=2048", NULL, 0, &err), MP_OK);
    mp_subject subject = {.name = "nobody", .space = mp_cuda_space(cuda), .describe = describe, .run = run};
    for (int writes = 0; writes < 2; writes++) {
        mp_subject other = {.name = "other", .describe = describe, .run = writes ? write_into_weights : run};
        const mp_run_options options = {
            .subject = &subject, .against = &other, .settings = {.once = true, .plain = true}};
        fake.execute = right;
        mp_run_case(&matrix.rows[0], &options, &v);
        const mp_check_result *input = &v.check[MP_CHECK_INPUT];
        assert_int_equal(input->answer, writes ? MP_FAILED : MP_PASSED);
        if (writes) assert_string_equal(input->text, "subject other: w1 changed");
        mp_verdict_free(&v);
    }
    fake.execute = NULL;
    mp_matrix_free(&matrix);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_device_that_fills_otherwise_is_found),
                                       cmocka_unit_test(a_subject_on_the_device_needs_none_of_the_host),
                                       cmocka_unit_test(what_a_device_made_is_confirmed),
                                       cmocka_unit_test(the_largest_numbers_are_those_that_the_host_finds),
                                       cmocka_unit_test(a_device_that_finds_others_is_found),
                                       cmocka_unit_test(in_place_too),
                                       cmocka_unit_test(what_was_made_is_guarded),
                                       cmocka_unit_test(a_subject_that_writes_into_them_is_seen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
