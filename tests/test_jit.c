/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler behind the kernels: what it reports, what it refuses, and the cache of what it made.
 * test_compile.c compiles all there is; this takes a moment, sanitized too. Needs NVRTC, no GPU. */
#include "kernels/driver.h"
#include "kernels/includes.h"
#include "kernels/jit.h"
#include "kernels/report.h"
#include "kernels/stage/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An entry that the log does not name has no figures. */
static void the_report_is_read(void **state) {
    (void)state;
    mp_error err = {0};
    mp_compile_report report;
    mp_kernel kernel = mp_kernel_align("align_count");
    assert_int_equal(mp_kernel_compile_report(90, &kernel, &report, &err), MP_OK);
    assert_in_range(report.registers, 8, 255);
    assert_int_equal(report.spill_store_bytes + report.spill_load_bytes, 0);
    kernel.entry = "absent";
    assert_int_equal(mp_kernel_compile_report(90, &kernel, &report, &err), MP_EINTERNAL);
    assert_non_null(strstr(err.text, "no resource report of absent"));
}

static void an_unknown_architecture_is_unsupported(void **state) {
    (void)state;
    mp_error err = {0};
    const mp_kernel kernel = mp_kernel_combine(MP_BF16, 2, 512, false, false);
    assert_int_equal(mp_jit_compile(&kernel, 999, NULL, NULL, NULL, &err), MP_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "does not know sm_999"));
}

static void no_option_is_dropped(void **state) {
    (void)state;
    mp_error err = {0};
    mp_kernel kernel = mp_kernel_combine(MP_BF16, 2, 512, false, false);
    for (int i = 0; i < 40; i++) strcat(kernel.options, " -DA");
    assert_int_equal(mp_jit_compile(&kernel, 90, NULL, NULL, NULL, &err), MP_EINTERNAL);
    assert_non_null(strstr(err.text, "more than 32 options"));
    const mp_kernel whole = mp_kernel_combine(MP_BF16, 2, 512, false, false),
                    cut = mp_make_kernel(whole.source, whole.entry, "%s -DA=%0600d", whole.options, 1);
    assert_int_equal(mp_jit_compile(&cut, 90, NULL, NULL, NULL, &err), MP_EINTERNAL);
    assert_non_null(strstr(err.text, "options of 511 bytes or more"));
}

static void errors_name_the_line(void **state) {
    (void)state;
    mp_error err = {0};
    mp_kernel kernel = mp_kernel_combine(MP_BF16, 2, 512, false, false);
    strcat(kernel.options, " -DTOPK=nonsense");
    assert_int_equal(mp_jit_compile(&kernel, 90, NULL, NULL, NULL, &err), MP_EDEVICE);
    assert_non_null(strstr(err.text, "error"));
    kernel.source = "kernels/device/absent.cu";
    assert_int_equal(mp_jit_compile(&kernel, 90, NULL, NULL, NULL, &err), MP_EINTERNAL);
}

/* A second request is served from the disk; a damaged entry is not believed. */
static void cache_survives_damage(void **state) {
    (void)state;
    const char *folder = getenv("MOEPARITY_CACHE");
    char command[256];
    void *first = NULL, *second = NULL, *third = NULL;
    size_t first_bytes = 0, second_bytes = 0, third_bytes = 0;
    const mp_kernel kernel = mp_kernel_combine(MP_BF16, 2, 512, false, false);
    assert_int_equal(mp_jit_cubin(&kernel, 90, &first, &first_bytes, NULL), MP_OK);
    assert_true(first_bytes > 0);
    assert_int_equal(mp_jit_cubin(&kernel, 90, &second, &second_bytes, NULL), MP_OK);
    assert_int_equal(first_bytes, second_bytes);
    assert_memory_equal(first, second, first_bytes);
    snprintf(command, sizeof command,
             "for f in '%s'/*.cubin; do printf x | dd of=$f bs=1 seek=300 conv=notrunc status=none; done",
             folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(mp_jit_cubin(&kernel, 90, &third, &third_bytes, NULL), MP_OK);
    assert_int_equal(first_bytes, third_bytes);
    assert_memory_equal(first, third, first_bytes);
    free(first);
    free(second);
    free(third);
}

static int count_registers(const mp_kernel *kernel) {
    mp_compile_report report;
    mp_error err = {0};
    if (mp_kernel_compile_report(90, kernel, &report, &err) != MP_OK) fail_msg("%s", err.text);
    return report.registers;
}

/* So is what the compiler said: of this source under these options, and no other. */
static void reports_are_kept_too(void **state) {
    (void)state;
    const mp_kernel kernel = mp_kernel_combine(MP_BF16, 4, 512, false, false),
                    other = mp_kernel_combine(MP_FP64, 1, 33, false, false);
    assert_int_equal(system("rm -f \"$MOEPARITY_CACHE\"/*.log"), 0);
    const int registers = count_registers(&kernel);
    assert_int_equal(system("cd \"$MOEPARITY_CACHE\" && mv *.log kept"), 0);
    const int others = count_registers(&other);
    assert_int_not_equal(registers, others);
    assert_int_equal(system("cd \"$MOEPARITY_CACHE\" && mv kept *.log"), 0);
    assert_int_equal(count_registers(&other), registers); /* another's, put in its place: it is read */
    assert_int_equal(system("cd \"$MOEPARITY_CACHE\" && printf x | dd of=$(echo *.log) bs=1 seek=300 "
                            "conv=notrunc status=none"),
                     0);
    assert_int_equal(count_registers(&other), others);
    assert_int_equal(count_registers(&kernel), registers);
}

/* A source, two texts that it reaches, and one that it names in no line that includes. */
enum { SOURCE, OUTER, INNER, STRANGER, TEXTS };
static struct mp_device_text files[TEXTS];
static const mp_device_texts own_texts = {files, TEXTS};

static void write_own_texts(void) {
    files[SOURCE] = (struct mp_device_text){"x/source.cu", "// #include \"x/stranger.h\"\n"
                                                           "#include \"x/outer.h\"\n"
                                                           "extern \"C\" __global__ void f(int *y) "
                                                           "{ *y = inner(); }\n"};
    files[OUTER] = (struct mp_device_text){"x/outer.h", "#pragma once\n\n"
                                                        "#ifdef ABSENT\n"
                                                        "#include \"x/absent.h\"\n"
                                                        "#endif\n"
                                                        "\t# include  \"x/inner.h\" // at the end"};
    files[INNER] = (struct mp_device_text){"x/inner.h", "#pragma once\n"
                                                        "#include \"x/outer.h\"\n"
                                                        "__device__ int inner() { return 1; }\n"};
    files[STRANGER] = (struct mp_device_text){"x/stranger.h", "// one\n"};
}

static void texts_are_found_through_others(void **state) {
    (void)state;
    const struct mp_device_text *found[MP_MAX_INCLUDES];
    write_own_texts();
    assert_int_equal(mp_device_includes(&own_texts, "x/source.cu", found), 3);
    for (int i = SOURCE; i <= INNER; i++) assert_ptr_equal(found[i], &files[i]);
    assert_int_equal(mp_device_includes(&own_texts, "x/inner.h", found), 2);
    assert_int_equal(mp_device_includes(&own_texts, "x/source", found), 0);

    struct mp_device_text chain[MP_MAX_INCLUDES + 1];
    char names[MP_MAX_INCLUDES + 1][8], lines[MP_MAX_INCLUDES + 1][32];
    for (int i = 0; i <= MP_MAX_INCLUDES; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        snprintf(lines[i], sizeof lines[i], "#include \"%d\"", i + 1);
        chain[i] = (struct mp_device_text){names[i], lines[i]};
    }
    const mp_device_texts longest = {chain, MP_MAX_INCLUDES}, longer = {chain, MP_MAX_INCLUDES + 1};
    assert_int_equal(mp_device_includes(&longest, "0", found), MP_MAX_INCLUDES);
    assert_int_equal(mp_device_includes(&longer, "0", found), -1);
}

/* Logs in the cache after another request for the kernel of own_texts. */
static int count_logs(const char *options) {
    mp_kernel kernel = {.texts = &own_texts, .source = "x/source.cu", .entry = "f"};
    int count = 0;
    char *log = NULL;
    mp_error err = {0};
    strcpy(kernel.options, options);
    if (mp_jit_log(&kernel, 90, &log, &err) != MP_OK) fail_msg("%s", err.text);
    free(log);
    FILE *list = popen("ls \"$MOEPARITY_CACHE\"/*.log | wc -l", "r");
    assert_non_null(list);
    assert_int_equal(fscanf(list, "%d", &count), 1);
    pclose(list);
    return count;
}

/* A change of what a kernel includes compiles it again, of any other text not. */
static void the_key_covers_what_is_included(void **state) {
    (void)state;
    write_own_texts();
    const int first = count_logs("");
    files[STRANGER].text = "// two\n";
    assert_int_equal(count_logs(""), first);
    files[INNER].text = "__device__ int inner() { return 2; }\n";
    assert_int_equal(count_logs(""), first + 1);
    files[OUTER].text = "#include \"x/inner.h\"\n";
    assert_int_equal(count_logs(""), first + 2);
    files[SOURCE].text =
        "#include \"x/outer.h\"\nextern \"C\" __global__ void f(int *y) { *y = -inner(); }\n";
    assert_int_equal(count_logs(""), first + 3);
    assert_int_equal(count_logs("-DX"), first + 4);
    write_own_texts();
    assert_int_equal(count_logs(""), first + 4);
}

int main(void) {
    const mp_nvrtc *nvrtc;
    mp_error err = {0};
    char folder[] = "/tmp/test_jit.XXXXXX", command[64];
    if (mp_nvrtc_load(&nvrtc, &err) != MP_OK) {
        printf("SKIP: %s\n", err.text);
        return 77;
    }
    if (!mkdtemp(folder) || setenv("MOEPARITY_CACHE", folder, 1) != 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_is_read),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(cache_survives_damage),
        cmocka_unit_test(an_unknown_architecture_is_unsupported),
        cmocka_unit_test(no_option_is_dropped),
        cmocka_unit_test(reports_are_kept_too),
        cmocka_unit_test(texts_are_found_through_others),
        cmocka_unit_test(the_key_covers_what_is_included),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) == 0 ? failed : 1;
}
