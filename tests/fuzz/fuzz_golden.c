/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files: refused with a reason, or every part of it can be asked for. */
#include "fuzz/fuzz.h"

#include "golden/files.h"

/* HDF5 1.10 itself leaks when it refuses a damaged file; our own allocations stay under LeakSanitizer's eye.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libhdf5\n";
}

static void ignore(void *ctx, const char *line) {
    (void)ctx, (void)line;
}

static void ask_for_case(mp_golden *golden, size_t index) {
    char name[MP_CASE_TEXT_MAX], contract[256];
    mp_golden_difference difference[MP_TENSOR_COUNT];
    mp_case c = mp_case_default();
    mp_trace trace = {0};
    mp_error err = {0};
    int count = 0;
    int64_t block_size_m = 0;
    if (mp_golden_case_name(golden, index, name, &err) != MP_OK || mp_case_parse(&c, name, &err) != MP_OK)
        return;
    fuzz_require_told(mp_golden_contract(golden, &c, contract, sizeof contract, &err), &err);
    fuzz_require_told(mp_golden_block_size_m(golden, &c, &block_size_m, &err), &err);
    if (c.M > 64 || c.topk > 8 || c.K > 1024 || c.N > 1024 || c.E > 64)
        return; /* a trace of a few megabytes */
    if (mp_trace_create(&c, 16, MP_POISON_A, &trace, &err) == MP_OK)
        fuzz_require_told(mp_golden_compare(golden, &c, &trace, difference, &count, &err), &err);
    mp_trace_destroy(&trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mp_golden *golden = NULL;
    mp_error err = {0};
    size_t count = 0;
    bool equal = false;
    const mp_status status = mp_golden_open(fuzz_file("golden.h5", data, size), &golden, &err);
    fuzz_require_told(status, &err);
    if (status != MP_OK) return 0;
    fuzz_require_told(mp_golden_list(golden, ignore, NULL, &err), &err);
    if (mp_golden_check(golden, &err) == MP_OK)
        fuzz_require_told(mp_golden_diff(golden, golden, ignore, NULL, &equal, &err), &err);
    fuzz_require_told(mp_golden_case_count(golden, &count, &err), &err);
    for (size_t i = 0; i < count; i++) ask_for_case(golden, i);
    mp_golden_close(golden);
    return 0;
}
