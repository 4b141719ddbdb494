/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of golden/ share: a directory for each test, random traces, and files as bytes. */
#ifndef MP_TESTS_GOLDEN_SUPPORT_H
#define MP_TESTS_GOLDEN_SUPPORT_H

#include "base/file.h"
#include "moeparity/golden.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* HDF5 1.10 itself leaks when it refuses a damaged file; our own allocations stay under LeakSanitizer's
 * eye. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void) {
    return "print_suppressions=0";
}

static char directory[64], path[128];
static mp_error err;

#define OK(call)                                                  \
    do {                                                          \
        err.text[0] = '\0';                                       \
        if ((call) != MP_OK) fail_msg("%s: %s", #call, err.text); \
    } while (0)

static inline int enter(void **state) {
    (void)state;
    strcpy(directory, "/tmp/moeparity_golden_XXXXXX");
    if (mkdtemp(directory) == NULL) return -1;
    snprintf(path, sizeof path, "%s/golden.h5", directory);
    return 0;
}

/* Removes the directory and says how many files were in it. */
static inline int clear_directory(void) {
    int files = 0;
    DIR *dir = opendir(directory);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char file[512];
        snprintf(file, sizeof file, "%s/%s", directory, entry->d_name);
        unlink(file);
        files++;
    }
    closedir(dir);
    return files;
}

static inline int leave(void **state) {
    (void)state;
    clear_directory();
    return rmdir(directory);
}

#define CASE "M=4 E=2 topk=2 K=10 N=6 act=silu" /* the text of case_with_seed(0) */
static inline mp_case case_with_seed(int64_t seed) {
    mp_case c = mp_case_default();
    OK(mp_case_parse(&c, CASE, &err));
    c.seed = seed;
    return c;
}

static uint64_t random_state;
static inline uint64_t next_random(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1DULL;
}

static inline mp_tensor random_tensor(mp_dtype dtype, int rank, int64_t d0, int64_t d1, int64_t d2) {
    mp_tensor t = mp_tensor_shape(dtype, rank, d0, d1, d2);
    OK(mp_tensor_alloc(&t, MP_POISON_A, &err));
    for (size_t i = 0; i < mp_tensor_bytes(&t); i++) ((uint8_t *)t.data)[i] = (uint8_t)(next_random() >> 56);
    return t;
}

/* The tensors of a recorded trace, in the order in which they are compared. */
static const mp_tensor_id recorded_ids[] = {
    MP_SORTED_TOKEN_IDS, MP_EXPERT_IDS, MP_NUM_TOKENS_POST_PADDED, MP_CACHE1, MP_CACHE2, MP_CACHE3, MP_OUT};
enum { RECORDED = sizeof recorded_ids / sizeof *recorded_ids, OF_CACHE1 = 3, OF_CACHE2, OF_CACHE3, OF_OUT };

/* All bit patterns of all formats may occur: NaN with payloads, infinities, subnormals. The shapes are not
 * those of a case: a comparison does not need that. */
static inline mp_trace random_trace(uint64_t seed) {
    random_state = seed;
    mp_trace trace = {.block_size_m = 16};
    trace.t[MP_SORTED_TOKEN_IDS] = random_tensor(MP_I32, 2, 2, 37, 1);
    trace.t[MP_EXPERT_IDS] = random_tensor(MP_E4M3, 2, 2, 5, 1);
    trace.t[MP_NUM_TOKENS_POST_PADDED] = random_tensor(MP_E5M2, 1, 7, 1, 1);
    trace.t[MP_CACHE1] = random_tensor(MP_FP64, 2, 9, 12, 1);
    trace.t[MP_CACHE2] = random_tensor(MP_FP32, 2, 9, 6, 1);
    trace.t[MP_CACHE3] = random_tensor(MP_BF16, 3, 4, 2, 10);
    trace.t[MP_OUT] = random_tensor(MP_FP16, 2, 4, 10, 1);
    return trace;
}

/* What the case of case_with_seed leaves: tensors of its shapes, with any bits. */
static inline mp_trace planned_trace(uint64_t seed) {
    mp_trace trace;
    mp_case c = case_with_seed(0);
    random_state = seed;
    mp_trace_plan(&c, 16, &trace);
    for (int i = 0; i < MP_TENSOR_COUNT; i++) {
        const mp_tensor *t = &trace.t[i];
        if (t->rank == 0) continue;
        trace.t[i] = random_tensor(t->dtype, t->rank, t->dim[0], t->dim[1], t->dim[2]);
    }
    return trace;
}

static inline void free_trace(mp_trace *trace) {
    for (int i = 0; i < MP_TENSOR_COUNT; i++) mp_tensor_free(&trace->t[i]);
}

static const mp_provenance who = {"0.1.0", "abc", "ref", "none", "gcc 12", "2026-01-02T03:04:05Z", "test"};

static inline const mp_contract *any_contract(void) {
    static mp_contract contract;
    contract = mp_contract_weakest();
    return &contract;
}

/* One case recorded into `file`. */
static inline void record(const char *file, int64_t seed, const mp_trace *trace, size_t digest_above) {
    mp_golden *golden;
    mp_case c = case_with_seed(seed);
    OK(mp_golden_create(file, &who, digest_above, &golden, &err));
    OK(mp_golden_write(golden, &c, any_contract(), "default", trace, NULL, &err));
    OK(mp_golden_commit(golden, &err));
}

/* A trace beside the stored case: one entry for each tensor that the trace has. */
static inline mp_status compare_with(mp_golden *golden, const mp_case *c, const mp_trace *trace,
                                     mp_golden_difference diff[MP_TENSOR_COUNT], int *count) {
    char name[MP_CASE_TEXT_MAX];
    mp_status status = MP_OK;
    mp_case_text(c, name, sizeof name);
    *count = 0;
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (trace->t[id].data)
            status = mp_golden_compare(golden, name, (mp_tensor_id)id, &trace->t[id], NULL, NULL,
                                       &diff[(*count)++], &err);
    return status;
}

/* The trace beside the case recorded at `path`: one entry a tensor; how many they are. */
static inline int compare(int64_t seed, const mp_trace *trace, mp_golden_difference diff[MP_TENSOR_COUNT]) {
    mp_golden *golden;
    mp_case c = case_with_seed(seed);
    int count;
    OK(mp_golden_open(path, &golden, &err));
    OK(compare_with(golden, &c, trace, diff, &count));
    mp_golden_close(golden);
    return count;
}

static inline void read_whole(char **data, size_t *size) {
    OK(mp_file_read(path, data, size, &err));
}

static inline void write_whole(const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)

#endif
