/* SPDX-License-Identifier: Apache-2.0 */
/* The JUnit XML report, for CI servers: a testsuite for each group of the matrix, a testcase for each case. A
 * FAIL is a <failure>, a CRASH or TIMEOUT an <error>, a SKIP a <skipped>; their text is the case's part of
 * the terminal table. */
#include "base/file.h"
#include "reports/report.h"
#include "reports/xml.h"

#include <stdlib.h>
#include <string.h>

static const char *suite_name(const mp_verdict *v) {
    return v->group[0] != '\0' ? v->group : "cases";
}

static mp_status put_case(FILE *out, const mp_verdict *v, mp_error *err) {
    static const char *const elements[MP_OUTCOME_COUNT] = {NULL, "failure", "skipped", "error", "error"};
    fprintf(out, "    <testcase");
    mp_xml_attribute(out, "classname", suite_name(v));
    mp_xml_attribute(out, "name", v->name);
    fprintf(out, " time=\"%.6f\">\n", v->seconds);
    char *row = NULL;
    size_t size;
    FILE *memory = open_memstream(&row, &size);
    if (memory == NULL) return mp_fail(err, MP_EMEMORY, "no memory for the report of %s", v->name);
    mp_report_row(memory, v, &(mp_row_style){0});
    if (fclose(memory) != 0) {
        free(row);
        return mp_fail(err, MP_EMEMORY, "no memory for the report of %s", v->name);
    }
    const char *element = elements[v->outcome];
    if (element != NULL) {
        fprintf(out, "      <%s", element);
        mp_xml_attribute(out, "type", mp_outcome_name(v->outcome));
        mp_xml_attribute(out, "message", v->reason);
        fputc('>', out);
        if (v->outcome != MP_SKIP) mp_xml_text(out, row);
        fprintf(out, "</%s>\n", element);
    } else {
        fprintf(out, "      <system-out>");
        mp_xml_text(out, row);
        fprintf(out, "</system-out>\n");
    }
    fprintf(out, "    </testcase>\n");
    free(row);
    return MP_OK;
}

static void put_totals(FILE *out, const mp_tally *tally, double seconds) {
    fprintf(out, " tests=\"%lld\" failures=\"%lld\" errors=\"%lld\" skipped=\"%lld\" time=\"%.6f\"",
            (long long)tally->total, (long long)tally->count[MP_FAIL],
            (long long)(tally->count[MP_CRASH] + tally->count[MP_TIMEOUT]), (long long)tally->count[MP_SKIP],
            seconds);
}

static void put_properties(FILE *out, const mp_run_info *info) {
    const struct {
        const char *name, *value;
    } properties[] = {
        {"version", info->version},
        {"commit", info->commit},
        {"command", info->command},
        {"subject", info->subject},
        {"device", info->device},
        {"versions", info->versions},
        {"blas", info->blas},
        {"cpu", info->host},
        {"interrupted", info->interrupted ? "true" : "false"},
    };
    fprintf(out, "    <properties>\n");
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++) {
        fprintf(out, "      <property");
        mp_xml_attribute(out, "name", properties[i].name);
        mp_xml_attribute(out, "value", properties[i].value);
        fprintf(out, "/>\n");
    }
    fprintf(out, "    </properties>\n");
}

/* The suite that begins with verdicts[first]; nothing when its group has begun before. */
static mp_status put_suite(FILE *out, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                           size_t first, mp_error *err) {
    const char *name = suite_name(&verdicts[first]);
    for (size_t i = 0; i < first; i++)
        if (strcmp(suite_name(&verdicts[i]), name) == 0) return MP_OK;
    mp_tally tally = {0};
    double seconds = 0;
    for (size_t i = first; i < count; i++) {
        if (strcmp(suite_name(&verdicts[i]), name) != 0) continue;
        mp_tally_add(&tally, &verdicts[i]);
        seconds += verdicts[i].seconds;
    }
    fprintf(out, "  <testsuite");
    mp_xml_attribute(out, "name", name);
    put_totals(out, &tally, seconds);
    mp_xml_attribute(out, "timestamp", info->date);
    fprintf(out, ">\n");
    put_properties(out, info);
    mp_status status = MP_OK;
    for (size_t i = first; i < count && status == MP_OK; i++)
        if (strcmp(suite_name(&verdicts[i]), name) == 0) status = put_case(out, &verdicts[i], err);
    fprintf(out, "  </testsuite>\n");
    return status;
}

mp_status mp_report_junit(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                          mp_error *err) {
    mp_status status = MP_OK;
    char *text = NULL;
    size_t size = 0;
    mp_tally tally = {0};
    double seconds = 0; /* the sum over the cases, so that the suites add up to it */
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return mp_fail(err, MP_EMEMORY, "no memory for the JUnit report of %zu cases", count);
    for (size_t i = 0; i < count; i++) {
        mp_tally_add(&tally, &verdicts[i]);
        seconds += verdicts[i].seconds;
    }
    fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"moeparity\"");
    put_totals(out, &tally, seconds);
    fprintf(out, ">\n");
    for (size_t i = 0; i < count && status == MP_OK; i++)
        status = put_suite(out, info, verdicts, count, i, err);
    fprintf(out, "</testsuites>\n");
    bool complete = ferror(out) == 0;
    if ((fclose(out) != 0 || !complete) && status == MP_OK)
        status = mp_fail(err, MP_EMEMORY, "no memory for the JUnit report of %zu cases", count);
    if (status == MP_OK) status = mp_file_replace(path, text, size, err);
    free(text);
    return status;
}
