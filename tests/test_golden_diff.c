/* SPDX-License-Identifier: Apache-2.0 */
/* harness/goldens/: two goldens side by side: which cases, every difference in its own words, and what
 * explains it. */
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/goldens/refresh.h"
#include "tests/golden_support.h"

static void append_line(void *ctx, const char *line) {
    strcat(ctx, line);
    strcat(ctx, "\n");
}

/* What a comparison is told in. */
typedef struct told {
    const char *a, *b;
    char *lines;
} told;

static mp_status visit(void *ctx, const mp_case_diff *d, mp_error *error) {
    const told *t = ctx;
    return mp_case_diff_text(d, t->a, t->b, append_line, t->lines, error);
}

static mp_diff_counts counts;
static mp_status diff_by(const char *a, const char *b, const mp_align_rules *rules, char *lines) {
    mp_golden *in_a, *in_b;
    lines[0] = '\0';
    OK(mp_golden_open(a, &in_a, &err));
    OK(mp_golden_open(b, &in_b, &err));
    const mp_status status = mp_goldens_diff(in_a, in_b, rules, visit, &(told){a, b, lines}, &counts, &err);
    mp_golden_close(in_a);
    mp_golden_close(in_b);
    return status;
}

static bool diff_files(const char *a, const char *b, char *lines) {
    OK(diff_by(a, b, &(mp_align_rules){0}, lines));
    return mp_diff_is_equal(&counts);
}

#define AS_DIGESTS " (stored as digests of rows: record with a larger --digest-above to see elements)"

static void diff_of_two_files(void **state) {
    (void)state;
    char other[256], lines[8192], expected[512];
    snprintf(other, sizeof other, "%s/other.h5", directory);
    mp_trace trace = planned_trace(13);

    for (int how = 0; how < 4; how++) { /* stored in full or as digests: no difference */
        record(path, 0, &trace, how & 1 ? 0 : SIZE_MAX);
        record(other, 0, &trace, how & 2 ? 0 : SIZE_MAX);
        assert_true(diff_files(path, other, lines));
        assert_string_equal(lines, "");
        ((uint16_t *)trace.t[MP_CACHE3].data)[25] = 0x3F80;
        record(path, 0, &trace, how & 1 ? 0 : SIZE_MAX);
        ((uint16_t *)trace.t[MP_CACHE3].data)[25] = 0x4000;
        record(other, 0, &trace, how & 2 ? 0 : SIZE_MAX);
        assert_false(diff_files(path, other, lines));
        assert_string_equal(
            lines, how == 0 ? CASE ": cache3: down: token 1 slot 0 column 5, expert 0: 2 (4000) instead of 1 "
                                   "(3F80); 1 of 80 elements differ, by at most 128 ulp: one row, column 5; "
                                   "1 row, max-abs=1.00e+00; ulps 65..128: 1; experts 0 (1 of 4 rows)\n"
                            : CASE ": cache3: down: token 1 slot 0, expert 0: one row; experts "
                                   "0 (1 of 4 rows)" AS_DIGESTS "\n");
    }

    record(other, 3, &trace, SIZE_MAX);
    assert_false(diff_files(path, other, lines));
    snprintf(expected, sizeof expected, CASE ": only in %s\n" CASE " seed=3: only in %s\n", path, other);
    assert_string_equal(lines, expected);

    mp_tensor cache1 = trace.t[MP_CACHE1];
    record(path, 0, &trace, SIZE_MAX);
    trace.t[MP_CACHE1].data = NULL;
    record(other, 0, &trace, SIZE_MAX);
    assert_false(diff_files(path, other, lines));
    snprintf(expected, sizeof expected, CASE ": cache1: only in %s\n", path);
    assert_string_equal(lines, expected);
    trace.t[MP_CACHE1] = cache1;

    free_trace(&trace);
}

/* What one file of a pair is made with. */
typedef struct recording {
    const mp_contract *contract;
    const char *config;
    const mp_trace *trace;
    const mp_inputs *inputs;
    bool store_inputs;
} recording;

static void record_as(const char *file, recording r) {
    mp_golden *golden;
    mp_case c = case_with_seed(0);
    OK(mp_golden_create(file, &who, SIZE_MAX, &golden, &err));
    if (r.store_inputs) mp_golden_store_inputs(golden);
    OK(mp_golden_write(golden, &c, r.contract, r.config, r.trace, r.inputs, &err));
    OK(mp_golden_commit(golden, &err));
}

/* Everything that is stored with a case has a line of its own. */
static void diff_of_what_belongs_to_a_case(void **state) {
    (void)state;
    char other[256], lines[8192], digests[256], contracts[2048], identities[256], all[4096];
    snprintf(other, sizeof other, "%s/other.h5", directory);
    mp_case c = case_with_seed(0);
    mp_contract weakest = mp_contract_weakest(), split = weakest, quiet = weakest;
    char text[2][MP_CONTRACT_TEXT_MAX];
    split.down.split_k = 4;
    quiet.padding = MP_ROW_ZERO; /* another contract, of which the sentence for people says nothing */
    mp_contract_text(&weakest, text[0], sizeof text[0]);
    mp_contract_text(&split, text[1], sizeof text[1]);
    snprintf(contracts, sizeof contracts, CASE ": contract: '%s' -> '%s'\n", text[0], text[1]);
    snprintf(identities, sizeof identities, CASE ": contract: digest %016llx -> %016llx\n",
             (unsigned long long)mp_contract_digest(&weakest),
             (unsigned long long)mp_contract_digest(&quiet));
    snprintf(all, sizeof all,
             "%s" CASE ": config: 'default' -> 'y'\n" CASE ": block_size_m: 16 -> 32\n" CASE
             ": sorted_token_ids: not compared: it is padded to another block_size_m\n" CASE
             ": expert_ids: not compared: ",
             contracts);
    mp_trace trace = planned_trace(17), tiled;
    mp_inputs inputs, changed;
    OK(mp_inputs_create(&c, &inputs, &err));
    OK(mp_inputs_create(&c, &changed, &err));
    ((float *)changed.t[MP_TOPK_WEIGHTS].data)[3] = 2.0f;
    mp_trace_plan(&c, 32, &tiled); /* another tile: larger align tensors */
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        const bool align = mp_tensors[i].rows == MP_ROWS_CHUNK;
        if (!align) tiled.t[i] = trace.t[i];
        if (align && tiled.t[i].rank > 0) OK(mp_tensor_alloc(&tiled.t[i], 0, &err));
    }
    snprintf(digests, sizeof digests, CASE ": inputs: digest %016llx -> %016llx\n",
             (unsigned long long)mp_inputs_digest(&inputs), (unsigned long long)mp_inputs_digest(&changed));
    const recording first = {&weakest, "default", &trace, &inputs, false};
    const struct {
        recording a, b;
        const char *lines;
    } pairs[] = {
        {first, {&split, "default", &trace, &inputs, false}, contracts},
        {first, {&quiet, "default", &trace, &inputs, false}, identities},
        {first, {&weakest, "", &trace, &inputs, false}, CASE ": config: 'default' -> ''\n"},
        {first, {&weakest, "default", &trace, &changed, false}, digests},
        {first, {&weakest, "default", &trace, &changed, true}, digests},
        {first, {&weakest, "default", &trace, &inputs, true}, ""},
        {first, {&weakest, "default", &trace, NULL, false}, ""}, /* a file of before */
        {{&weakest, "default", &trace, &inputs, true},
         {&weakest, "default", &trace, &changed, true},
         CASE ": inputs/topk_weights: "},
        {first, {&split, "y", &tiled, &inputs, false}, all},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        record_as(path, pairs[i].a);
        record_as(other, pairs[i].b);
        assert_int_equal(diff_files(path, other, lines), pairs[i].lines[0] == '\0');
        const size_t whole = strlen(pairs[i].lines);
        const bool line_ends = whole == 0 || pairs[i].lines[whole - 1] == '\n';
        if (line_ends ? strcmp(lines, pairs[i].lines) != 0 : strncmp(lines, pairs[i].lines, whole) != 0)
            fail_msg("pair %zu: expected\n%s\nin\n%s", i, pairs[i].lines, lines);
    }
    for (int i = 0; i <= MP_NUM_TOKENS_POST_PADDED; i++) mp_tensor_free(&tiled.t[i]);
    mp_inputs_destroy(&inputs);
    mp_inputs_destroy(&changed);
    free_trace(&trace);
}

/* Only what a stage's bits depend on explains other bits of it; what is behind it reads them. */
static void what_explains_other_bits(void **state) {
    (void)state;
    enum { CORE = 1, ANY = 0 };
    static const struct {
        int accumulator;
        double ulps; /* of the activation, 8 before */
        bool other_overflow;
        const char *config; /* "x" before */
        mp_tensor_id differs[3];
        int64_t refused;
        const char *line;
    } rows[] = {
        {CORE, 8, false, "x", {MP_CACHE1}, 1, "refused: cache1: differ under"},
        {CORE, 2, false, "x", {MP_CACHE1}, 1, "refused: cache1: differ under"},
        {CORE, 2, false, "x", {MP_CACHE2, MP_CACHE3, MP_OUT}, 0, "legal: cache2: the contract has changed\n"},
        {CORE,
         2,
         false,
         "x",
         {MP_CACHE2, MP_CACHE3, MP_OUT},
         0,
         "legal: cache3, out: what its stage reads has"},
        {CORE, 2, false, "x", {MP_CACHE3}, 1, "refused: cache3: differ under"}, /* cache2 is as it was */
        {CORE, 8, true, "x", {MP_CACHE1, MP_OUT}, 0, "legal: cache1, out: the contract has changed\n"},
        {CORE, 8, false, "y", {MP_CACHE1}, 1, "refused: cache1: differ under"},
        {CORE, 8, false, "y", {0}, 0, "legal: no bit differs: the tiles have changed\n"},
        {ANY, 8, false, "y", {MP_CACHE1}, 0, "legal: cache1: the tiles have changed\n"},
        {ANY, 8, false, "y", {MP_CACHE2}, 1, "refused: cache2: differ under"},
    };
    const mp_case c = case_with_seed(0);
    mp_trace trace = planned_trace(13);
    char other[256], lines[8192];
    snprintf(other, sizeof other, "%s/other.h5", directory);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mp_golden *golden[2];
        mp_contract contract = mp_contract_weakest();
        if (rows[i].accumulator == CORE)
            contract.gate_up = contract.down =
                (mp_gemm_contract){.accumulator = MP_ACC_TENSOR_CORE, .group = 16, .fraction_bits = 25};
        for (int side = 0; side < 2; side++) {
            OK(mp_golden_create(side ? other : path, &who, SIZE_MAX, &golden[side], &err));
            OK(mp_golden_write(golden[side], &c, &contract, side ? rows[i].config : "x", &trace, NULL, &err));
            OK(mp_golden_commit(golden[side], &err));
            contract.act_ulps = rows[i].ulps;
            if (rows[i].other_overflow) contract.overflow = MP_OVERFLOW_SATURATE;
            for (int k = 0; k < 3 && rows[i].differs[k] && side == 0; k++)
                ((uint16_t *)trace.t[rows[i].differs[k]].data)[1] ^= 1;
        }
        mp_refresh refresh = {0};
        lines[0] = '\0';
        OK(mp_golden_open(path, &golden[0], &err));
        OK(mp_golden_open(other, &golden[1], &err));
        OK(mp_golden_refresh_judge(golden[0], golden[1], &refresh, append_line, lines, &err));
        mp_golden_close(golden[0]);
        mp_golden_close(golden[1]);
        if (refresh.refused[MP_REFUSE_BITS] != rows[i].refused || !strstr(lines, rows[i].line))
            fail_msg("row %zu: '%s' not in\n%s", i, rows[i].line, lines);
    }
    free_trace(&trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(diff_of_two_files),
        TEST(diff_of_what_belongs_to_a_case),
        TEST(what_explains_other_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
