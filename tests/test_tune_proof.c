/* SPDX-License-Identifier: Apache-2.0 */
/* Which launches a tuned file asks for, beside a search of every M; what changes between two files; what
 * subjects with a fault make of a proof; and the statistics of times. */
#include "harness/tune/prove/changes.h"
#include "harness/tune/prove/prove.h"
#include "moeparity/worker.h"
#include "ref/predict/predict.h"
#include "tests/faults.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { MOST_KEYS = 6, MOST_KEY = 60, SEARCHED = 200 };

static char folder[] = "/tmp/moeparity.XXXXXX";
#define NAME "E=4,N=32,device_name=Nobodys.json" /* of no known architecture: nothing is compiled */

static uint32_t state_of_chance = 1;
static int chance(int below) {
    state_of_chance = state_of_chance * 1664525u + 1013904223u;
    return (int)(state_of_chance >> 8) % below;
}

/* A file of some keys in any order, its tiles out of a few. */
static void make_table(mp_tuned_file *file, mp_tuned_entry *entries) {
    static const int blocks[] = {16, 32, 64};
    *file = (mp_tuned_file){.entries = entries, .first = INT64_MAX};
    const int keys = 1 + chance(MOST_KEYS);
    while ((int)file->count < keys) {
        const int64_t key = 1 + chance(MOST_KEY);
        bool there = false;
        for (size_t i = 0; i < file->count; i++) there = there || entries[i].key == key;
        if (there) continue;
        entries[file->count++] = (mp_tuned_entry){.key = key, .tile = {blocks[chance(3)], 32, 32, 1, 4, 2}};
        if (key < file->first) file->first = key;
        if (key > file->last) file->last = key;
    }
}

static const mp_point *point_at(const mp_point *points, size_t count, int64_t M) {
    for (size_t i = 0; i < count; i++)
        if (points[i].M == M) return &points[i];
    return NULL;
}

static void points_are_where_a_search_finds_them(void **unused) {
    (void)unused;
    for (int round = 0; round < 2000; round++) {
        mp_tuned_entry entries[MOST_KEYS];
        mp_tuned_file file;
        mp_point *points;
        size_t count, left_out;
        make_table(&file, entries);
        assert_int_equal(mp_points_of(&file, NULL, INT32_MAX, &points, &count, &left_out, NULL), MP_OK);
        assert_int_equal(left_out, 0);
        for (size_t i = 0; i < count; i++) {
            assert_ptr_equal(points[i].entry, mp_tuned_nearest(&file, points[i].M));
            assert_true(points[i].why && (i == 0 || points[i].M > points[i - 1].M));
        }
        for (size_t i = 0; i < file.count; i++) assert_non_null(point_at(points, count, entries[i].key));
        assert_non_null(point_at(points, count, 1));
        assert_non_null(point_at(points, count, file.last + 1));
        for (int64_t M = 1; M < SEARCHED; M++) { /* both sides of every change */
            if (mp_tuned_nearest(&file, M) == mp_tuned_nearest(&file, M + 1)) continue;
            assert_non_null(point_at(points, count, M));
            assert_non_null(point_at(points, count, M + 1));
        }
        for (size_t i = 0; i < file.count; i++) { /* a tail for each key that has one */
            bool possible = false, had = false;
            int64_t first, last, from = 0, to = 0;
            for (int64_t M = SEARCHED; M > 0; M--) {
                if (mp_tuned_nearest(&file, M) != &entries[i]) continue;
                if (!to) to = M;
                from = M;
                if (M % entries[i].tile.block_size_m == 0) continue;
                possible = true;
                had = had || point_at(points, count, M);
            }
            assert_true(had || !possible);
            mp_point_range(&file, &entries[i], &first, &last);
            assert_int_equal(first, from);
            assert_int_equal(last, to == SEARCHED ? INT64_MAX : to);
        }
        free(points);
    }
}

/* 16 serves 16..32, and neither end is a tail of its blocks. */
static void a_key_of_whole_blocks_gets_a_tail(void **unused) {
    (void)unused;
    mp_tuned_entry entries[] = {{.key = 15, .tile = {16, 32, 32, 1, 4, 2}},
                                {.key = 16, .tile = {16, 32, 32, 1, 4, 2}},
                                {.key = 48, .tile = {16, 32, 32, 1, 4, 2}}};
    const mp_tuned_file file = {.entries = entries, .count = 3, .first = 15, .last = 48};
    mp_point *points;
    size_t count, left_out;
    assert_int_equal(mp_points_of(&file, NULL, INT32_MAX, &points, &count, &left_out, NULL), MP_OK);
    const mp_point *tail = point_at(points, count, 17);
    assert_non_null(tail);
    assert_int_equal(tail->why, MP_POINT_TAIL);
    free(points);
}

static void larger_batches_are_counted(void **unused) {
    (void)unused;
    mp_tuned_entry entries[] = {{.key = 8, .tile = {16, 32, 32, 1, 4, 2}},
                                {.key = INT64_MAX, .tile = {16, 32, 32, 1, 4, 2}}};
    const mp_tuned_file file = {.entries = entries, .count = 2, .first = 8, .last = INT64_MAX};
    mp_point *points;
    size_t count, left_out;
    assert_int_equal(mp_points_of(&file, NULL, INT32_MAX, &points, &count, &left_out, NULL), MP_OK);
    assert_int_equal(left_out, 3); /* both sides of the change, and the key */
    assert_int_equal(count, 2);    /* 1, 8 */
    assert_int_equal(points[1].why, MP_POINT_KEY);
    free(points);
    const mp_tuned_file many = {.entries = entries, .count = MP_POINT_KEYS_MAX + 1};
    assert_int_equal(mp_points_of(&many, NULL, INT32_MAX, &points, &count, &left_out, NULL), MP_EINPUT);
}

/* ---- two files ---- */

static void write_table(const char *path, const mp_tuned_file *file) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs("{", out);
    for (size_t i = 0; i < file->count; i++) {
        const mp_tile *t = &file->entries[i].tile;
        fprintf(out,
                "%s\"%lld\": {\"BLOCK_SIZE_M\": %d, \"BLOCK_SIZE_N\": %d, \"BLOCK_SIZE_K\": %d, "
                "\"GROUP_SIZE_M\": %d, \"num_warps\": %d, \"num_stages\": %d}",
                i ? ", " : "", (long long)file->entries[i].key, t->block_size_m, t->block_size_n,
                t->block_size_k, t->group_size_m, t->num_warps, t->num_stages);
    }
    fputs("}\n", out);
    assert_int_equal(fclose(out), 0);
}

static bool same(const mp_tile *a, const mp_tile *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static void changes_are_what_a_search_finds(void **unused) {
    (void)unused;
    for (int round = 0; round < 60; round++) {
        mp_tuned_entry entries[2][MOST_KEYS];
        static mp_tune_target target[2];
        mp_tune_change *changes;
        size_t count, at = 0;
        char path[2][128];
        for (int i = 0; i < 2; i++) {
            mp_tuned_file file;
            make_table(&file, entries[i]);
            snprintf(path[i], sizeof path[i], "%s/%d-%d", folder, round, i);
            assert_int_equal(mkdir(path[i], 0777), 0);
            strcat(path[i], "/" NAME);
            write_table(path[i], &file);
            assert_int_equal(mp_tune_target_read(path[i], &target[i], NULL), MP_OK);
        }
        assert_int_equal(mp_tune_changes(&target[0], &target[1], &changes, &count, NULL), MP_OK);
        for (int64_t M = 1; M < SEARCHED; M++) {
            const mp_tile *before = &mp_tuned_nearest(target[0].up, M)->tile,
                          *after = &mp_tuned_nearest(target[1].up, M)->tile;
            while (at < count && changes[at].last < M) at++;
            const mp_tune_change *c = at < count && changes[at].first <= M ? &changes[at] : NULL;
            assert_int_equal(c != NULL, !same(before, after));
            if (c) assert_true(same(&c->old_up, before) && same(&c->new_down, after));
        }
        free(changes);
    }
}

/* ---- faults ---- */

static const fault *planted;

static mp_status open_faulty(const char *name, mp_subject *s, mp_error *err) {
    (void)name;
    (void)err;
    *s = faulty_open(planted);
    return MP_OK;
}

/* Proves a file with keys 4, 6 and 40 by a subject with a fault. */
static mp_tune_result *prove_by(const fault *f, bool each, bool in_process, mp_run_info *info) {
    mp_tuned_entry entries[] = {{.key = 4, .tile = {16, 32, 32, 1, 4, 2}},
                                {.key = 6, .tile = {32, 32, 32, 1, 4, 2}},
                                {.key = 40, .tile = {16, 64, 32, 1, 4, 2}}};
    const mp_tuned_file file = {.entries = entries, .count = COUNT(entries)};
    char path[128];
    mp_error err = {0};
    mp_tune_result *result = calloc(1, sizeof *result);
    assert_non_null(result);
    snprintf(path, sizeof path, "%s/" NAME, folder);
    write_table(path, &file);
    planted = f;
    mp_run_info_init(info);
    const mp_tune_request request = {.path = path,
                                     .with = "K=64 topk=2",
                                     .choice = {.each = each},
                                     .suite = {.settings = {.subject = "faulty", .plain = true},
                                               .in_process = in_process,
                                               .program = (const char *[]){"/proc/self/exe", NULL},
                                               .open_subject = open_faulty}};
    if (mp_tune_prove(&request, result, info, &err) != MP_OK) fail_msg("%s", err.text);
    return result;
}

static mp_tune_result *prove(const fault *f, bool each, mp_run_info *info) {
    return prove_by(f, each, true, info);
}

static const mp_launch *launch_at(const mp_tune_result *result, int64_t M) {
    const mp_tune_plan *plan = &result->shape[0].plan;
    for (size_t i = 0; i < plan->count; i++)
        if (plan->launch[i].c.M == M) return &plan->launch[i];
    fail_msg("no launch at M=%lld", (long long)M);
    return NULL;
}

static void done(mp_tune_result *result, mp_run_info *info) {
    mp_tune_result_free(result);
    mp_run_info_free(info);
    free(result);
}

/* The one launch that is wrong is refuted, whether it is a smaller batch or a row, and no other. */
static void the_wrong_launch_is_named(void **unused) {
    (void)unused;
    for (int each = 0; each < 2; each++) {
        const fault wrong = {.name = "wrong at five tokens", .plant = wrong_at_five_tokens};
        mp_run_info info;
        mp_tune_result *result = prove(&wrong, each, &info);
        const mp_tune_tally tally = mp_tune_count(result);
        assert_int_equal(launch_at(result, 5)->proof, MP_REFUTED);
        /* by itself, six tokens are wrong too: without the last they are five, as the check batch has them */
        assert_int_equal(tally.refuted, each ? 2 : 1);
        assert_int_equal(launch_at(result, 6)->proof, each ? MP_REFUTED : MP_PROVEN);
        assert_int_equal(tally.unproven, 0);
        assert_int_equal(mp_tune_exit_code(result, &info), MP_EXIT_FAILURE);
        assert_non_null(strstr(launch_at(result, 5)->reason, "gate_up"));
        assert_int_equal(result->shape[0].plan.matrix.count, each ? tally.total : 1);
        done(result, &info);
    }
}

static void written_behind_at_five(const faulty_run *run) {
    if (run->c->M == 5) written_behind_out(run);
}

/* Bits are right, and a guard zone of one launch is not: it is that launch's. */
static void a_guard_zone_is_its_launchs(void **unused) {
    (void)unused;
    const fault wrong = {.name = "written behind the output at five tokens", .plant = written_behind_at_five};
    mp_run_info info;
    mp_tune_result *result = prove(&wrong, false, &info);
    const mp_launch *five = launch_at(result, 5);
    assert_int_equal(five->proof, MP_REFUTED);
    assert_non_null(strstr(five->reason, "guard"));
    if (launch_at(result, 41)->proof != MP_PROVEN) fail_msg("%s", launch_at(result, 41)->reason);
    assert_int_equal(mp_tune_key_proof(&result->shape[0].plan, five->point.entry, NULL), MP_REFUTED);
    done(result, &info);
}

static void wrong_at_the_largest(const faulty_run *run) {
    if (run->c->M >= 40) k_group_dropped(run);
}

/* What equals a batch that is wrong, or differs from it, is neither proven nor refuted by that: it is judged
 * by itself. */
static void nothing_is_learnt_from_what_is_wrong(void **unused) {
    (void)unused;
    const fault everywhere = {.name = "a k group dropped", .plant = k_group_dropped},
                large = {.name = "wrong at the largest", .plant = wrong_at_the_largest};
    const fault *const wrong[] = {&everywhere, &large};
    for (int i = 0; i < 2; i++) {
        mp_run_info info;
        mp_tune_result *result = prove(wrong[i], false, &info);
        const mp_tune_tally tally = mp_tune_count(result);
        assert_int_equal(launch_at(result, 41)->proof, MP_REFUTED);
        assert_int_equal(launch_at(result, 40)->proof, MP_REFUTED);
        assert_int_equal(tally.refuted, i == 0 ? tally.total : 2);
        assert_int_equal(tally.unproven, 0);
        assert_int_equal(result->shape[0].plan.alone.count, tally.total - 1);
        assert_int_equal(mp_tune_exit_code(result, &info), MP_EXIT_FAILURE);
        done(result, &info);
    }
}

static void die_at_five(const faulty_run *run) {
    if (run->c->M == 5) abort();
}

/* What a worker of this test serves. */
static const fault dying = {.name = "dies at five tokens", .plant = die_at_five};

/* A launch that takes its process with it: the others of its row are proven each by itself. */
static void a_launch_that_dies_is_named(void **unused) {
    (void)unused;
    mp_run_info info;
    mp_tune_result *result = prove_by(&dying, false, false, &info);
    const mp_launch *five = launch_at(result, 5);
    assert_int_equal(five->proof, MP_REFUTED);
    assert_non_null(strstr(five->reason, "CRASH: the worker died of signal 6"));
    assert_int_equal(launch_at(result, 41)->proof, MP_PROVEN);
    assert_int_equal(launch_at(result, 1)->proof, MP_PROVEN);
    assert_int_equal(launch_at(result, 6)->proof, MP_REFUTED); /* the check batch has five of its tokens */
    assert_int_equal(mp_tune_count(result).unproven, 0);
    done(result, &info);
}

static void the_honest_subject_is_proven(void **unused) {
    (void)unused;
    const fault none = {.name = "none"};
    mp_run_info info;
    mp_tune_result *result = prove(&none, false, &info);
    const mp_tune_tally tally = mp_tune_count(result);
    assert_int_equal(tally.proven, tally.total);
    assert_int_equal(tally.total, 8); /* 1, 4, 5, 6, 23, 24, 40, 41 */
    assert_int_equal(mp_tune_exit_code(result, &info), MP_EXIT_OK);
    done(result, &info);
}

/* ---- arithmetic that depends on the tile ---- */

/* Sums of a tile of K each, in the fp8 accumulator of a warp group, are added in float32, as published
 * kernels do. */
static mp_status describe_tiled(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    offer->contract = mp_host_contract(c);
    const mp_status status = mp_config_resolve(c, NULL, &offer->config, err);
    mp_gemm_contract *gemms[] = {&offer->contract.gate_up, &offer->contract.down};
    for (int i = 0; i < 2; i++) {
        gemms[i]->group = 32;
        gemms[i]->fraction_bits = gemms[i]->result_fraction_bits = 13;
        gemms[i]->k_order = MP_K_ASCENDING;
        gemms[i]->promotion = (i ? &offer->config.down : &offer->config.up)->block_size_k;
    }
    return status;
}

static mp_status run_tiled(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_prediction prediction = {.contract = &e->offer->contract, .stage_ns = e->stage_ns};
    const mp_executor executor = mp_predict_executor(&prediction);
    return mp_run_as_given(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

static mp_status open_tiled(const char *name, mp_subject *s, mp_error *err) {
    (void)err;
    *s = (mp_subject){.name = name, .describe = describe_tiled, .run = run_tiled};
    return MP_OK;
}

/* Keys whose tiles of K differ have other bits, and none of them is wrong. */
static void other_arithmetic_promises_no_bits(void **unused) {
    (void)unused;
    mp_tuned_entry entries[] = {{.key = 4, .tile = {16, 32, 128, 1, 4, 2}},
                                {.key = 5, .tile = {16, 32, 64, 1, 4, 2}}};
    const mp_tuned_file file = {.entries = entries, .count = COUNT(entries)};
    char path[192];
    snprintf(path, sizeof path, "%s/E=4,N=128,device_name=Nobodys,dtype=fp8_w8a8,block_shape=[128, 128].json",
             folder);
    write_table(path, &file);
    for (int each = 0; each < 2; each++) {
        mp_run_info info;
        mp_error err = {0};
        mp_tune_result *result = calloc(1, sizeof *result);
        assert_non_null(result);
        mp_run_info_init(&info);
        const mp_tune_request request = {
            .path = path,
            .with = "K=256 topk=2",
            .choice = {.each = each},
            .suite = {.settings = {.subject = "tiled"}, .in_process = true, .open_subject = open_tiled}};
        if (mp_tune_prove(&request, result, &info, &err) != MP_OK) fail_msg("%s", err.text);
        const mp_tune_tally tally = mp_tune_count(result);
        assert_int_equal(tally.refuted, 0);
        assert_int_equal(launch_at(result, 6)->proof, MP_PROVEN);
        assert_int_equal(launch_at(result, 5)->proof, MP_PROVEN);
        const mp_launch *four = launch_at(result, 4);
        assert_int_equal(four->proof, each ? MP_PROVEN : MP_UNPROVEN);
        assert_non_null(strstr(four->reason, each ? "judged by itself" : "and has others"));
        done(result, &info);
    }
}

/* ---- times ---- */

/* Conover, Practical Nonparametric Statistics, table of ranks for a 95 % interval of the median. */
static void ranks_are_those_of_the_table(void **unused) {
    (void)unused;
    static const int table[][2] = {{5, 0},  {6, 1},  {8, 1},  {9, 2},  {10, 2},
                                   {15, 4}, {20, 6}, {25, 8}, {50, 18}};
    for (size_t i = 0; i < COUNT(table); i++) assert_int_equal(mp_median_bound(table[i][0]), table[i][1]);
}

static void a_key_loses_by_its_interval(void **unused) {
    (void)unused;
    mp_race r = {0};
    double fast[10], slow[10], mixed[10];
    for (int i = 0; i < 10; i++) {
        fast[i] = 0.9 + 0.01 * i;
        slow[i] = 1.2 - 0.01 * i;
        mixed[i] = i < 4 ? 0.9 : 1.2; /* its median is beyond the threshold, its interval holds it */
    }
    mp_race_judge(mp_ratio_of(fast, 10), 0.05, &r);
    assert_int_equal(r.outcome, MP_RACE_KEPT);
    assert_true(fabs(r.ratio - 0.945) < 1e-12 && fabs(r.low - 0.91) < 1e-12 && fabs(r.high - 0.98) < 1e-12);
    mp_race_judge(mp_ratio_of(slow, 10), 0.05, &r);
    assert_int_equal(r.outcome, MP_RACE_LOST);
    mp_race_judge(mp_ratio_of(mixed, 10), 0.05, &r);
    assert_int_equal(r.outcome, MP_RACE_UNDECIDED);
    mp_race_judge(mp_ratio_of(slow, 10), 0.25, &r);
    assert_int_equal(r.outcome, MP_RACE_KEPT);
    mp_race_judge(mp_ratio_of(fast, 5), 0.05, &r); /* too few for any interval */
    assert_int_equal(r.outcome, MP_RACE_UNDECIDED);
}

static int make_folder(void **unused) {
    (void)unused;
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **unused) {
    (void)unused;
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void) {
    planted = &dying;
    if (mp_worker_requested()) return mp_worker_serve(open_faulty);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_where_a_search_finds_them),
        cmocka_unit_test(a_key_of_whole_blocks_gets_a_tail),
        cmocka_unit_test(larger_batches_are_counted),
        cmocka_unit_test(changes_are_what_a_search_finds),
        cmocka_unit_test(the_honest_subject_is_proven),
        cmocka_unit_test(the_wrong_launch_is_named),
        cmocka_unit_test(a_guard_zone_is_its_launchs),
        cmocka_unit_test(a_launch_that_dies_is_named),
        cmocka_unit_test(nothing_is_learnt_from_what_is_wrong),
        cmocka_unit_test(other_arithmetic_promises_no_bits),
        cmocka_unit_test(ranks_are_those_of_the_table),
        cmocka_unit_test(a_key_loses_by_its_interval),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
