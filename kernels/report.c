/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/report.h"

#include "kernels/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The start of the decimal number that ends at `end`. */
static const char *number_before(const char *end) {
    while (end[-1] >= '0' && end[-1] <= '9') end--;
    return end;
}

/* ptxas -v writes, for each entry: "Compiling entry function 'NAME' for ...", "Function properties for NAME",
 * "S bytes stack frame, A bytes spill stores, B bytes spill loads", and "Used R registers, ..., M bytes smem,
 * ...". */
static bool parse_entry(const char *log, const char *entry, mp_compile_report *report) {
    char title[128];
    snprintf(title, sizeof title, "Compiling entry function '%s'", entry);
    const char *at = strstr(log, title);
    if (!at) return false;
    const char *stack = strstr(at, " bytes stack frame"), *used = strstr(at, "Used ");
    if (!stack || !used) return false;
    stack = number_before(stack);
    if (sscanf(stack, "%d bytes stack frame, %d bytes spill stores, %d bytes spill loads",
               &report->stack_bytes, &report->spill_store_bytes, &report->spill_load_bytes) != 3)
        return false;
    if (sscanf(used, "Used %d registers", &report->registers) != 1) return false;
    const char *end = strchr(used, '\n'), *shared = strstr(used, " bytes smem");
    if (shared && (!end || shared < end)) report->shared_bytes = strtoll(number_before(shared), NULL, 10);
    report->serialized = strstr(log, "wgmma.mma_async instructions are serialized") != NULL;
    return true;
}

mp_status mp_compile_report_read(const char *log, const char *entry, mp_compile_report *report,
                                 mp_error *err) {
    *report = (mp_compile_report){0};
    if (parse_entry(log, entry, report)) return MP_OK;
    return mp_fail(err, MP_EINTERNAL, "no resource report of %s in NVRTC's log: %.300s", entry, log);
}

mp_status mp_kernel_compile_report(int architecture, const mp_kernel *kernel, mp_compile_report *report,
                                   mp_error *err) {
    char *log = NULL;
    *report = (mp_compile_report){0};
    mp_status status = mp_jit_log(kernel, architecture, &log, err);
    if (status == MP_OK) status = mp_compile_report_read(log, kernel->entry, report, err);
    free(log);
    return status;
}
