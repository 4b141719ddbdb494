/* SPDX-License-Identifier: Apache-2.0 */
/* harness/run/shard*: every row is in one shard, shards cost about the same, and which one this is. */
#include "base/clock.h"
#include "harness/run/shard.h"
#include "harness/run/shard_choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static mp_error err;

/* `count` cases of very different sizes. */
static mp_matrix matrix_of(size_t count) {
    mp_matrix m = {.rows = calloc(count, sizeof *m.rows), .count = count};
    assert_non_null(m.rows);
    for (size_t i = 0; i < count; i++) {
        char text[80];
        snprintf(text, sizeof text, "M=%zu topk=2 K=64 N=32 act=silu seed=%zu", 1 + i * i % 997, i);
        m.rows[i].c = mp_case_default();
        assert_int_equal(mp_case_parse(&m.rows[i].c, text, &err), MP_OK);
    }
    return m;
}

static void every_row_is_in_one_shard(void **state) {
    (void)state;
    enum { ROWS = 200, SHARDS = 7 };
    mp_matrix whole = matrix_of(ROWS);
    int seen[ROWS] = {0};
    double part = 0;
    char digest[17] = "";
    for (int i = 0; i < SHARDS; i++) {
        mp_share share;
        assert_int_equal(mp_share_cut(&whole, (mp_shard){i, SHARDS}, 0, &share, &err), MP_OK);
        if (i == 0) strcpy(digest, share.digest);
        assert_string_equal(share.digest, digest);
        assert_int_equal(share.cases, ROWS);
        for (size_t k = 0; k < share.matrix.count; k++) {
            seen[share.place[k]]++;
            assert_true(k == 0 || share.place[k] > share.place[k - 1]); /* in the order of the matrix */
            assert_int_equal(share.matrix.rows[k].c.seed, whole.rows[share.place[k]].c.seed);
        }
        part += share.part;
        assert_true(share.part > 0.9 / SHARDS && share.part < 1.1 / SHARDS);
        mp_share_free(&share);
    }
    for (int i = 0; i < ROWS; i++) assert_int_equal(seen[i], 1);
    assert_true(part > 0.999 && part < 1.001);
    free(whole.rows);
}

/* No shard has more than the least one and the dearest row, whatever the rows are. */
static void one_dear_row_stands_alone(void **state) {
    (void)state;
    mp_matrix whole = matrix_of(9);
    mp_share share;
    whole.rows[4].c.M = 50000;
    assert_int_equal(mp_share_cut(&whole, (mp_shard){0, 3}, 0, &share, &err), MP_OK);
    assert_int_equal(share.matrix.count, 1);
    assert_int_equal(share.place[0], 4);
    mp_share_free(&share);
    free(whole.rows);
}

static void what_is_run_again_costs_more(void **state) {
    (void)state;
    mp_matrix whole = matrix_of(1);
    mp_case variants[2] = {whole.rows[0].c, whole.rows[0].c};
    const uint64_t alone = mp_row_cost(&whole.rows[0], 2);
    assert_true(mp_row_cost(&whole.rows[0], 20) > alone);
    whole.rows[0].pairs = variants;
    whole.rows[0].pair_count = 2;
    const uint64_t paired = mp_row_cost(&whole.rows[0], 2);
    assert_true(paired > alone);
    whole.rows[0].afters = variants;
    whole.rows[0].after_count = 1;
    assert_true(mp_row_cost(&whole.rows[0], 2) > paired);
    free(whole.rows);
}

static void the_digest_tells_matrices_apart(void **state) {
    (void)state;
    char one[17], group[] = "g", pair[] = "path=runner", *pairs[] = {pair};
    mp_matrix whole = matrix_of(2);
    mp_share share;
    assert_int_equal(mp_share_cut(&whole, (mp_shard){0, 1}, 0, &share, &err), MP_OK);
    assert_int_equal(share.matrix.count, 2);
    strcpy(one, share.digest);
    mp_share_free(&share);
    for (int change = 0; change < 3; change++) {
        mp_matrix other = matrix_of(2);
        mp_case variant = other.rows[1].c;
        if (change == 0) other.rows[1].c.seed = 7;
        if (change == 1) other.rows[1].group = group;
        if (change == 2)
            other.rows[1].pair_text = pairs, other.rows[1].pairs = &variant, other.rows[1].pair_count = 1;
        assert_int_equal(mp_share_cut(&other, (mp_shard){0, 1}, 0, &share, &err), MP_OK);
        assert_string_not_equal(share.digest, one);
        mp_share_free(&share);
        free(other.rows);
    }
    free(whole.rows);
}

static void a_large_matrix_is_cut_at_once(void **state) {
    (void)state;
    enum { ROWS = 100000 };
    mp_matrix whole = matrix_of(ROWS);
    mp_share share;
    const double start = mp_seconds_now();
    assert_int_equal(mp_share_cut(&whole, (mp_shard){12345, MP_SHARDS_MAX}, 0, &share, &err), MP_OK);
    assert_int_equal(share.matrix.count, 1);
    assert_true(mp_seconds_now() - start < 5);
    mp_share_free(&share);
    free(whole.rows);
}

/* ---- which shard this is ---- */

static const char *const variables[] = {"GTEST_SHARD_INDEX",
                                        "GTEST_TOTAL_SHARDS",
                                        "GTEST_SHARD_STATUS_FILE",
                                        "SLURM_ARRAY_TASK_ID",
                                        "SLURM_ARRAY_TASK_MIN",
                                        "SLURM_ARRAY_TASK_MAX",
                                        "SLURM_ARRAY_TASK_STEP",
                                        "SLURM_ARRAY_TASK_COUNT",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "JOB_COMPLETION_INDEX"};

static void choose(const char *environment, const char *text, mp_shard_choice *choice, mp_status expected) {
    char copy[400], *save = NULL;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
    snprintf(copy, sizeof copy, "%s", environment);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value = '\0';
        setenv(word, value + 1, 1);
    }
    err = (mp_error){0};
    const mp_status status = mp_shard_choose(text, true, choice, &err);
    if (status != expected) fail_msg("%s --shard %s: %s", environment, text ? text : "(none)", err.text);
}

static void expect(const char *environment, const char *text, int index, int count, const char *by) {
    mp_shard_choice choice;
    choose(environment, text, &choice, MP_OK);
    if (choice.shard.index != index || choice.shard.count != count || strcmp(choice.by, by) != 0)
        fail_msg("%s --shard %s: %d/%d by '%s'", environment, text ? text : "(none)", choice.shard.index,
                 choice.shard.count, choice.by);
    assert_int_equal(choice.chosen, by[0] != '\0');
}

static void refuse(const char *environment, const char *text, const char *part) {
    mp_shard_choice choice;
    choose(environment, text, &choice, MP_EINPUT);
    if (!strstr(err.text, part)) fail_msg("%s --shard %s: %s", environment, text ? text : "(none)", err.text);
}

#define GTEST "GTEST_SHARD_INDEX=1 GTEST_TOTAL_SHARDS=3"
#define SLURM                                                                                      \
    "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_STEP=2 " \
    "SLURM_ARRAY_TASK_COUNT=4"
#define OMPI "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4"

static void who_says_which_shard(void **state) {
    (void)state;
    expect("", NULL, 0, 1, "");
    expect("", "0/1", 0, 1, "--shard");
    expect("", "3/4", 3, 4, "--shard");
    expect(GTEST, NULL, 1, 3, "GTEST_SHARD_INDEX");
    expect(GTEST, "0/2", 0, 2, "--shard");
    expect(GTEST, "auto", 1, 3, "GTEST_SHARD_INDEX");
    expect("GTEST_SHARD_INDEX= GTEST_TOTAL_SHARDS=", NULL, 0, 1, "");
    /* unasked, what stands around a run makes no part of it */
    expect(SLURM, NULL, 0, 1, "");
    expect(OMPI, NULL, 0, 1, "");
    expect("JOB_COMPLETION_INDEX=1", NULL, 0, 1, "");
    expect(SLURM, "auto", 2, 4, "SLURM_ARRAY_TASK_ID");
    expect("SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_MAX=3 SLURM_ARRAY_TASK_COUNT=1",
           "auto/8", 3, 8, "SLURM_ARRAY_TASK_ID");
    expect(OMPI, "auto", 2, 4, "OMPI_COMM_WORLD_RANK");
    expect("PMI_RANK=0 PMI_SIZE=2", "auto", 0, 2, "PMI_RANK");
    expect("JOB_COMPLETION_INDEX=6", "auto/8", 6, 8, "JOB_COMPLETION_INDEX");
    expect(SLURM " " OMPI, "auto", 2, 4, "SLURM_ARRAY_TASK_ID"); /* both say the same */
    /* Open MPI that speaks PMI, and one process in a task of an array */
    expect(OMPI " PMI_RANK=2 PMI_SIZE=4", "auto", 2, 4, "OMPI_COMM_WORLD_RANK");
    expect(SLURM " PMI_RANK=0 PMI_SIZE=1", "auto", 2, 4, "SLURM_ARRAY_TASK_ID");
    expect("GTEST_SHARD_INDEX=0 GTEST_TOTAL_SHARDS=1 " OMPI, "auto", 2, 4, "OMPI_COMM_WORLD_RANK");
}

static void what_is_no_shard(void **state) {
    (void)state;
    static const char *const texts[] = {"",       "1",     "1/",   "/2",       "1/0",
                                        "-1/2",   "1/2/3", "a/2",  "1/b",      "auto/",
                                        "auto/0", "autos", "1 /2", "1/100001", "99999999999/100000"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) refuse("", texts[i], "expected I/N");
    refuse("", "2/2", "--shard: shard 2 of 2: expected an index from 0 to 1");
    refuse("", "auto", "no engine tells which shard this is");
    refuse("", "auto/4", "no engine tells which shard this is");
    refuse("GTEST_TOTAL_SHARDS=2", NULL, "GTEST_SHARD_INDEX is not set");
    refuse("GTEST_TOTAL_SHARDS=2 GTEST_SHARD_INDEX=2", NULL, "shard 2 of 2");
    refuse("GTEST_TOTAL_SHARDS=two GTEST_SHARD_INDEX=0", NULL,
           "GTEST_TOTAL_SHARDS=two: expected a whole number");
    refuse("GTEST_TOTAL_SHARDS=0 GTEST_SHARD_INDEX=0", NULL, "GTEST_TOTAL_SHARDS=0: expected");
    refuse("OMPI_COMM_WORLD_RANK=0", "auto", "OMPI_COMM_WORLD_SIZE is not set");
    refuse("JOB_COMPLETION_INDEX=1", "auto", "expected --shard auto/N");
    refuse("JOB_COMPLETION_INDEX=4", "auto/4", "shard 4 of 4");
    refuse("SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=7 SLURM_ARRAY_TASK_COUNT=3",
           "auto", "expected an array that is a range");
    refuse(SLURM " OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4", "auto",
           "SLURM_ARRAY_TASK_ID says shard 2 of 4, OMPI_COMM_WORLD_RANK shard 1 of 4");
}

static void a_runner_sees_that_shards_are_known(void **state) {
    (void)state;
    char folder[] = "/tmp/moeparity_shard_XXXXXX", environment[200], path[80];
    mp_shard_choice choice;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/status", folder);
    snprintf(environment, sizeof environment, GTEST " GTEST_SHARD_STATUS_FILE=%s", path);
    choose(environment, "0/2", &choice, MP_OK); /* another one's say */
    assert_int_equal(mp_shard_acknowledge(&choice, &err), MP_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    choose(environment, NULL, &choice, MP_OK);
    assert_int_equal(mp_shard_acknowledge(&choice, &err), MP_OK);
    assert_int_equal(access(path, F_OK), 0);
    setenv("GTEST_SHARD_STATUS_FILE", "/no/such/folder/status", 1);
    assert_int_equal(mp_shard_acknowledge(&choice, &err), MP_EIO);
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_in_one_shard),
        cmocka_unit_test(one_dear_row_stands_alone),
        cmocka_unit_test(what_is_run_again_costs_more),
        cmocka_unit_test(the_digest_tells_matrices_apart),
        cmocka_unit_test(a_large_matrix_is_cut_at_once),
        cmocka_unit_test(who_says_which_shard),
        cmocka_unit_test(what_is_no_shard),
        cmocka_unit_test(a_runner_sees_that_shards_are_known),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
