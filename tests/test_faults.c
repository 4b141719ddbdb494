/* SPDX-License-Identifier: Apache-2.0 */
/* harness/: every planted fault is found by the check that is there for it, and blamed on the stage that has
 * it and on no other. */
#include "harness/subjects/surroundings.h"
#include "moeparity/run_case.h"
#include "tests/faulty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char golden_path[64];

static void one_row(const fault *f, mp_matrix *matrix) {
    mp_error err = {0};
    const bool follows = f->pair && strncmp(f->pair, "after ", 6) == 0;
    if (mp_matrix_add(matrix, f->case_text, &f->pair, f->pair && !follows ? 1 : 0, &err) != MP_OK ||
        (follows && mp_matrix_add_after(matrix, f->case_text, f->pair + 6, &err) != MP_OK))
        fail_msg("%s", err.text);
}

/* The trace of the host subject as a golden file. */
static mp_golden *record(const mp_case *c) {
    static const mp_provenance who = {.origin = "test"};
    mp_error err = {0};
    mp_golden *golden = NULL;
    mp_subject host;
    mp_offer offer;
    mp_surroundings_report report;
    mp_inputs in = {0};
    mp_trace trace = {0};
    assert_int_equal(mp_subject_open("host", &host, &err), MP_OK);
    assert_int_equal(mp_subject_describe(&host, c, &offer, &err), MP_OK);
    assert_int_equal(mp_inputs_create(c, &in, &err), MP_OK);
    assert_int_equal(mp_run_surrounded(&host, c, &offer, &in, MP_POISON_A, &trace, &report, &err), MP_OK);
    assert_int_equal(mp_golden_create(golden_path, &who, SIZE_MAX, &golden, &err), MP_OK);
    assert_int_equal(mp_golden_write(golden, c, &offer.contract, "default", &trace, NULL, &err), MP_OK);
    assert_int_equal(mp_golden_commit(golden, &err), MP_OK);
    assert_int_equal(mp_golden_open(golden_path, &golden, &err), MP_OK);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return golden;
}

static bool names_stage(const mp_check_result *check, int stage) {
    char alone[32], span[32]; /* "act: " or, the last of a span, "gate_up..act: " */
    snprintf(alone, sizeof alone, "%s: ", mp_stage_name((mp_stage)stage));
    snprintf(span, sizeof span, "..%s: ", mp_stage_name((mp_stage)stage));
    const char *place = strstr(check->text, span);
    return check->answer == MP_FAILED &&
           (strncmp(check->text, alone, strlen(alone)) == 0 || (place && place == strchr(check->text, '.')));
}

/* The stages that a verdict blames: by their figures, or by name in a check's text. */
static unsigned blamed_stages(const mp_verdict *v) {
    unsigned blamed = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        if (v->stage[s].judged && v->stage[s].failed > 0) blamed |= 1u << s;
        for (int i = 0; i < MP_CHECK_COUNT; i++)
            if (names_stage(&v->check[i], s)) blamed |= 1u << s;
    }
    return blamed;
}

static unsigned failed_checks(const mp_verdict *v) {
    unsigned failed = 0;
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) failed |= 1u << i;
    return failed;
}

static void print_row(const fault *f, const mp_verdict *v) {
    printf("  %-42s %-9s", f->name, f->stage == NO_STAGE ? "-" : mp_stage_name((mp_stage)f->stage));
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) printf(" %s", mp_check_name((mp_check)i));
    printf("\n");
    fflush(stdout);
}

static void the_honest_subject_passes(const fault *f, const mp_matrix_row *row, mp_run_options options,
                                      mp_verdict *v) {
    fault honest = *f;
    honest.plant = NULL;
    mp_subject host = faulty_open(&honest);
    options.subject = &host;
    mp_verdict_free(v);
    mp_run_case(row, &options, v);
    if (v->outcome != MP_PASS)
        fail_msg("%s: the honest subject gets %s: %s", f->name, mp_outcome_name(v->outcome), v->reason);
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (f->checks & (1u << i) && v->check[i].answer != MP_PASSED)
            fail_msg("%s: %s was not judged: %s", f->name, mp_check_name((mp_check)i), v->check[i].text);
    mp_subject_close(&host);
}

static void judge_fault(const fault *f) {
    mp_matrix matrix = {0};
    mp_verdict *v = calloc(1, sizeof *v);
    assert_non_null(v);
    one_row(f, &matrix);
    mp_subject subject = faulty_open(f);
    mp_run_options options = {.subject = &subject, .settings = {.repeat = 3, .plain = true}};
    if (f->checks & CHECK(GOLDEN)) options.golden = record(&matrix.rows[0].c);

    mp_run_case(&matrix.rows[0], &options, v);
    print_row(f, v);
    if (v->outcome != MP_FAIL) fail_msg("%s: %s %s", f->name, mp_outcome_name(v->outcome), v->reason);
    const unsigned missed = f->checks & ~failed_checks(v), blamed = blamed_stages(v),
                   expected = f->stage == NO_STAGE ? 0 : 1u << f->stage;
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (missed & (1u << i))
            fail_msg("%s: check %s did not fail; the reason is %s", f->name, mp_check_name((mp_check)i),
                     v->reason);
    if (blamed != expected)
        fail_msg("%s: stages blamed %#x, expected %#x; the reason is %s", f->name, blamed, expected,
                 v->reason);
    for (int i = 0; i < MP_CHECK_COUNT;
         i++) { /* poison in align's integers shows as a dependence on old contents only */
        if (f->stage == NO_STAGE || !(f->checks & (1u << i)) ||
            (f->stage == MP_ALIGN && i == MP_CHECK_POISON))
            continue;
        if (!names_stage(&v->check[i], f->stage))
            fail_msg("%s: check %s does not name the stage: %s", f->name, mp_check_name((mp_check)i),
                     v->check[i].text);
    }
    if (f->checks & CHECK(RANKS)) { /* the part that is wrong, and its stage */
        const char *text = v->check[MP_CHECK_RANKS].text;
        printf("    %.100s\n", text);
        assert_true((strstr(text, ": rank ") || strstr(text, ": shard ")) && strstr(text, ": bound: down: "));
    }
    if (f->stage != NO_STAGE && f->checks & CHECK(BOUND))
        assert_int_equal(mp_verdict_worst_stage(v), f->stage);

    the_honest_subject_passes(f, &matrix.rows[0], options, v);
    mp_golden_close(options.golden);
    mp_subject_close(&subject);
    mp_matrix_free(&matrix);
    mp_verdict_free(v);
    free(v);
}

static void every_fault_is_found(void **state) {
    (void)state;
    printf("  %-42s %-9s checks that failed\n", "fault", "stage");
    for (size_t i = 0; i < fault_count; i++) judge_fault(&faults[i]);
}

static const fault *fault_named(const char *name) {
    for (size_t i = 0; i < fault_count; i++)
        if (strcmp(faults[i].name, name) == 0) return &faults[i];
    fail_msg("no fault is named %s", name);
    return NULL;
}

/* Of the golden that CI verifies: a code or a scale that another quantiser makes. */
static void the_stock_golden_sees_codes_and_scales(void **state) {
    (void)state;
    static const struct {
        const char *fault, *scheme;
    } planted[] = {{"codes are cut instead of rounded", "int8-channel"},
                   {"a scale by a rounded reciprocal", "fp8-channel"}};
    mp_golden *golden = NULL;
    mp_error err = {0};
    if (mp_golden_open(MP_MATRIX_FOLDER "/../golden/quant.h5", &golden, &err) != MP_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        char text[128];
        fault f = *fault_named(planted[i].fault);
        snprintf(text, sizeof text, "M=17 E=4 topk=2 K=320 N=192 quant=%s", planted[i].scheme);
        f.case_text = text;
        for (int honest = 0; honest < 2; honest++) {
            mp_matrix matrix = {0};
            mp_verdict v = {0};
            if (honest) f.plant = NULL;
            mp_subject subject = faulty_open(&f);
            one_row(&f, &matrix);
            mp_run_case(&matrix.rows[0], &(mp_run_options){.subject = &subject, .golden = golden}, &v);
            const mp_check_result *check = &v.check[MP_CHECK_GOLDEN];
            if (check->answer != (honest ? MP_PASSED : MP_FAILED) ||
                (!honest && !strstr(check->text, ": quant_x: ")))
                fail_msg("%s: the golden says %s: %s", text, honest ? "of the honest subject" : f.name,
                         check->text);
            mp_subject_close(&subject);
            mp_matrix_free(&matrix);
            mp_verdict_free(&v);
        }
    }
    mp_golden_close(golden);
}

static bool row_sees(const mp_matrix_row *row, const fault *f, mp_check check) {
    mp_verdict *v = calloc(1, sizeof *v);
    mp_subject subject = faulty_open(f);
    assert_non_null(v);
    mp_run_case(row, &(mp_run_options){.subject = &subject}, v);
    const bool sees =
        f->stage == NO_STAGE ? v->check[check].answer == MP_FAILED : names_stage(&v->check[check], f->stage);
    if (sees) {
        const bool alone = (failed_checks(v) & ~(1u << check)) == 0;
        printf("  %-44s %s: %.40s%s\n", f->name, v->name, v->check[check].text,
               alone ? "" : " (and other checks)");
    }
    mp_subject_close(&subject);
    mp_verdict_free(v);
    free(v);
    return sees;
}

/* Each of the faults that live on the run before shows in a stock row; with MOEPARITY_TEST_ALL all that do
 * are listed. */
static void stock_rows_see_what_lives_on_the_run_before(void **state) {
    (void)state;
    mp_matrix matrix = {0};
    mp_error err = {0};
    if (mp_matrix_load(&matrix, MP_MATRIX_FOLDER "/edge.yaml", &err) != MP_OK ||
        mp_matrix_load(&matrix, MP_MATRIX_FOLDER "/lora.yaml", &err) != MP_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < fault_count; i++) {
        const fault *f = &faults[i];
        const bool align = strstr(f->case_text, "scope=align") != NULL;
        int seen = 0;
        if (!(f->checks & CHECK(SEQUENCE))) continue;
        for (size_t r = 0; r < matrix.count && (seen == 0 || getenv("MOEPARITY_TEST_ALL")); r++) {
            const mp_matrix_row *row = &matrix.rows[r];
            if (row->after_count > 0 && (row->c.scope == MP_SCOPE_ALIGN) == align)
                seen += row_sees(row, f, MP_CHECK_SEQUENCE);
        }
        if (seen == 0) fail_msg("%s: no row of edge.yaml and lora.yaml sees it", f->name);
    }
    mp_matrix_free(&matrix);
}

/* Each fault of quantised experts shows in a stock row of its scheme. */
static void stock_rows_see_faults_of_quantised_experts(void **state) {
    (void)state;
    mp_matrix matrix = {0}, own = {0};
    mp_error err = {0};
    int planted = 0;
    if (mp_matrix_load(&matrix, MP_MATRIX_FOLDER "/quant.yaml", &err) != MP_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < fault_count; i++) {
        const fault *f = &faults[i];
        int seen = 0;
        if (strstr(f->case_text, "quant=") == NULL || f->stage == NO_STAGE) continue;
        one_row(f, &own);
        const mp_case *mine = &own.rows[0].c;
        for (int other = 0; other < 2; other++) /* first where it is likely: in rows of the same data */
            for (size_t r = 0; r < matrix.count && (seen == 0 || getenv("MOEPARITY_TEST_ALL")); r++) {
                const mp_case *c = &matrix.rows[r].c;
                if (c->quant == mine->quant && c->scope == MP_SCOPE_ALL &&
                    c->scale_layout == mine->scale_layout && (c->data != mine->data) == other)
                    seen += row_sees(&matrix.rows[r], f, MP_CHECK_BOUND);
            }
        mp_matrix_free(&own);
        own = (mp_matrix){0};
        planted++;
        if (seen == 0) fail_msg("%s: no row of quant.yaml sees it", f->name);
    }
    assert_true(planted >= 11);
    mp_matrix_free(&matrix);
}

/* Whether a case has what a fault of adapters takes, as the fault's own has it. */
static bool may_show(const mp_case *c, const mp_case *own) {
    return c->scope == own->scope && c->gated == own->gated && c->sentinel == own->sentinel &&
           c->lora_ranks == own->lora_ranks && (c->lora_disabled > 0) == (own->lora_disabled > 0);
}

/* Each check of each fault of adapters fails in a row of lora.yaml that CI runs. */
static void stock_rows_see_faults_of_adapters(void **state) {
    (void)state;
    mp_matrix matrix = {0}, own = {0};
    mp_error err = {0};
    int planted = 0;
    if (mp_matrix_load(&matrix, MP_MATRIX_FOLDER "/lora.yaml", &err) != MP_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < fault_count; i++) {
        const fault *f = &faults[i];
        if (strstr(f->case_text, "lora_adapters=") == NULL || f->stage == NO_STAGE) continue;
        one_row(f, &own);
        const mp_case *c = &own.rows[0].c;
        for (int check = 0; check < MP_CHECK_COUNT; check++) {
            int seen = 0;
            if (!(f->checks & (1u << check))) continue;
            for (size_t r = 0; r < matrix.count && (seen == 0 || getenv("MOEPARITY_TEST_ALL")); r++) {
                mp_matrix_row row = matrix.rows[r];
                row.pair_count = row.after_count = 0; /* of one run */
                if (row.tier < MP_FULL && may_show(&row.c, c)) seen += row_sees(&row, f, (mp_check)check);
            }
            if (seen == 0)
                fail_msg("%s: no row of lora.yaml fails %s", f->name, mp_check_name((mp_check)check));
        }
        planted++;
        mp_matrix_free(&own);
        own = (mp_matrix){0};
    }
    assert_true(planted >= 21);
    mp_matrix_free(&matrix);
}

/* A check that no fault can fail would be a check nobody has seen fail. */
static void every_check_and_stage_has_a_fault(void **state) {
    (void)state;
    /* Those of graphs and streams are planted in subjects that have streams: tests/test_streams.c. */
    unsigned checks = CHECK(GRAPH) | CHECK(STREAMS), stages = 0;
    for (size_t i = 0; i < fault_count; i++) {
        checks |= faults[i].checks & ~ON_DEVICE;
        if (faults[i].stage != NO_STAGE) stages |= 1u << faults[i].stage;
    }
    assert_int_equal(checks, (1u << MP_CHECK_COUNT) - 1);
    assert_int_equal(stages, (1u << MP_STAGE_COUNT) - 1);
}

static int make_folder(void **state) {
    (void)state;
    char folder[] = "/tmp/moeparity.XXXXXX";
    if (!mkdtemp(folder)) return -1;
    snprintf(golden_path, sizeof golden_path, "%s/golden.h5", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(golden_path);
    *strrchr(golden_path, '/') = '\0';
    return rmdir(golden_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_is_found),
        cmocka_unit_test(the_stock_golden_sees_codes_and_scales),
        cmocka_unit_test(stock_rows_see_what_lives_on_the_run_before),
        cmocka_unit_test(stock_rows_see_faults_of_quantised_experts),
        cmocka_unit_test(stock_rows_see_faults_of_adapters),
        cmocka_unit_test(every_check_and_stage_has_a_fault),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
