/* SPDX-License-Identifier: Apache-2.0 */
/* harness/bisect/shrink*.c: faults planted in the host pipeline, whose failing cases become small. With
 * MOEPARITY_TEST_ALL=1 every fault of tests/faults.c, with what became of it and how long that took. */
#include "base/clock.h"
#include "harness/bisect/repro_files.h"
#include "harness/bisect/shrink.h"
#include "moeparity/worker.h"
#include "tests/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "faulty:7": fault 7 of the table. */
static mp_status open_faulty(const char *name, mp_subject *s, mp_error *err) {
    if (strncmp(name, "faulty:", 7) != 0) return mp_subject_open(name, s, err);
    const size_t i = (size_t)atoi(name + 7);
    if (i >= fault_count) return mp_fail(err, MP_EINPUT, "%s: there are %zu faults", name, fault_count);
    *s = faulty_open(&faults[i]);
    return MP_OK;
}

static size_t fault_named(const char *name) {
    for (size_t i = 0; i < fault_count; i++)
        if (strcmp(faults[i].name, name) == 0) return i;
    fail_msg("no fault '%s'", name);
    return 0;
}

static mp_shrunk shrink(size_t f, const char *case_text, const char *pair, int64_t tries) {
    static const char *const self[] = {"/proc/self/exe", NULL};
    char subject[32];
    mp_matrix rows = {0};
    mp_shrunk result;
    mp_error err = {0};
    const bool follows = pair && strncmp(pair, "after ", 6) == 0;
    snprintf(subject, sizeof subject, "faulty:%zu", f);
    if (mp_matrix_add(&rows, case_text, &pair, pair && !follows, &err) != MP_OK ||
        (follows && mp_matrix_add_after(&rows, case_text, pair + 6, &err) != MP_OK))
        fail_msg("%s", err.text);
    const mp_suite_options how = {.settings = {.subject = subject, .plain = true, .threads = 1},
                                  .program = self};
    const mp_shrink_options options = {.tries = tries, .seconds = 60, .values = true};
    if (mp_shrink_case(&rows, &how, &options, &result, &err) != MP_OK)
        fail_msg("%s: %s", faults[f].name, err.text);
    mp_matrix_free(&rows);
    return result;
}

typedef struct expectation {
    const char *fault, *given, *pair, *signature, *smallest, *edit; /* edit "": none */
} expectation;

static const expectation expected[] = {
    {"one k group is dropped", "M=12 E=8 topk=2 K=64 N=32 filter=0.2 layout=sorted bias=1", NULL,
     "bound:gate_up", "M=1 E=1 topk=1 K=17 N=1 act=silu scope=gate_up data=integer",
     "topk_weights=0; w1=1; w1[:,:,:15]=0; w1[:,0,15:]=0; w1[:,1,15]=0; x=1; x[:,:16]=0"},
    {"up bias missing", "M=8 E=4 topk=4 K=64 N=32 bias=1 dtype=fp16 routing=zipf seed=3", NULL,
     "bound:gate_up", "M=1 E=1 topk=1 K=1 N=1 act=silu bias=1 scope=gate_up data=integer",
     "topk_weights=0; b1=1; b1[:,0]=0; w1=0; x=0"},
    {"scale missing", "M=8 E=4 topk=2 K=64 N=32 rsf=2.5 act=gelu seed=9", NULL, "bound:combine",
     "M=1 E=1 topk=1 K=1 N=1 act=silu rsf=2.5 data=integer", "topk_weights=1; w2=1; w1=1; x=1"},
};

static void faults_become_small(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const expectation *e = &expected[i];
        char signature[MP_SIGNATURE_TEXT_MAX];
        mp_shrunk r = shrink(fault_named(e->fault), e->given, e->pair, 400);
        assert_true(r.fails);
        assert_true(r.complete);
        mp_signature_text(&r.signature, signature);
        assert_string_equal(signature, e->signature);
        assert_string_equal(mp_shrunk_verdict(&r)->name, e->smallest);
        assert_string_equal(r.edit ? r.edit : "", e->edit);
        assert_non_null(strstr(r.line, e->smallest));
        mp_shrunk_free(&r);
    }
}

static void every_fault(void **state) {
    (void)state;
    const char *all = getenv("MOEPARITY_TEST_ALL");
    for (size_t i = 0; all && i < fault_count; i++) {
        if (strcmp(all, "1") != 0 && !strstr(faults[i].name, all)) continue;
        mp_shrunk r = shrink(i, faults[i].case_text, faults[i].pair, 2000);
        char signature[MP_SIGNATURE_TEXT_MAX] = "passes";
        if (r.fails) mp_signature_text(&r.signature, signature);
        print_message("%5.1f s %4d tries %s %-12s %s\n    %s\n    %s\n", r.seconds, (int)r.tries,
                      r.complete ? " " : "*", signature, faults[i].name, faults[i].case_text, r.line);
        const char *folder = getenv("MOEPARITY_TEST_REPROS");
        if (folder && r.fails) {
            char path[512], subject[32];
            mp_repro_files files;
            mp_error err = {0};
            static const char *const self[] = {"/proc/self/exe", NULL};
            snprintf(path, sizeof path, "%s/%03zu", folder, i);
            snprintf(subject, sizeof subject, "faulty:%zu", i);
            const mp_suite_options how = {
                .settings = {.subject = subject, .plain = true, .threads = 1, .edit = r.edit},
                .program = self};
            if (mp_repro_files_plan(path, &files, &err) != MP_OK ||
                mp_repro_files_write(&files, &r.rows, &how, mp_shrunk_verdict(&r), r.line, &err) != MP_OK)
                print_message("    NO REPRO: %s\n", err.text);
        }
        mp_shrunk_free(&r);
    }
}

int main(void) {
    if (mp_worker_requested()) return mp_worker_serve(open_faulty);
    const struct CMUnitTest tests[] = {cmocka_unit_test(faults_become_small), cmocka_unit_test(every_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
