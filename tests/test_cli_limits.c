/* SPDX-License-Identifier: Apache-2.0 */
/* cli/ where the system gives too little: never a failure of parity, never for ever, and always a word why.
 */
#include "tests/cli_support.h"

/* Memory that cannot be had is a skip with figures, or the subject could not be run: said at once, and never
 * a failure of parity. OpenBLAS by itself would ask for it for ever. */
static void an_address_space_that_is_too_small(void **state) {
    (void)state;
    static const int kib[] = {10000,  25000,  40000,  55000,  70000,  85000,
                              100000, 150000, 200000, 300000, 500000, 1000000};
    static const char *const commands[] = {
        "moeparity run --case 'M=8 topk=2' --subject host",
        "moeparity run --case 'M=8 topk=2' --subject host --in-process",
        "moeparity run --case 'M=8 topk=2' --subject ref",
        "moeparity run --case 'M=8 E=16 K=1024 N=512' --subject host",
    };
    for (size_t i = 0; i < sizeof kib / sizeof *kib; i++)
        for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
            char command[256];
            snprintf(command, sizeof command, "ulimit -v %d; timeout 60 %s", kib[i], commands[c]);
            const int code = sh(command);
            const int told = code == 127 || strstr(out, "[OK]") || strstr(out, "GiB are available") ||
                             strstr(err, "moeparity: ") || strstr(out, "[CRASH]");
            if ((code != 0 && code != 3 && code != 77 && code != 127) || !told) /* 127: not even loaded */
                fail_msg("%s: exit %d\n%s\n%s", command, code, out, err);
        }
}

/* Threads with a stack that cannot be had: OpenMP's library then calls exit(1). */
static void a_library_that_gives_up_is_no_parity_failure(void **state) {
    (void)state;
    static const char *const limits = "ulimit -v 3000000; OMP_NUM_THREADS=4 OMP_STACKSIZE=4G";
    char command[256];
    snprintf(command, sizeof command, "%s moeparity run --case M=64 --subject host", limits);
    expect(command, 3, "[CRASH]", "libgomp: Thread creation failed");
    assert_non_null(strstr(out, "the worker ended with exit code 1 before its verdict"));
    snprintf(command, sizeof command, "%s moeparity golden record t.h5 --case M=64 --subject host", limits);
    expect(command, 3, "[CRASH]", "moeparity: t.h5 was not written");
    snprintf(command, sizeof command, "%s moeparity run --case M=64 --subject host --in-process", limits);
    expect(command, 3, "", "moeparity: a library ended the program with exit code 1");
}

int main(void) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("SKIP: every test limits the address space, of which a sanitizer's shadow takes terabytes");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_space_that_is_too_small),
        cmocka_unit_test(a_library_that_gives_up_is_no_parity_failure),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
