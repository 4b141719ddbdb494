/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/page.h"

#include "base/file.h"
#include "base/text.h"
#include "reports/page_parts.h"
#include "reports/report.h"
#include "reports/report_json.h"

#include <stdlib.h>
#include <string.h>

/* The reports as JSON that may stand in a script element: with `<` as an escape of JSON's there is no
 * `</script>` in it, and no `<!--`. NULL where memory ran out. */
static char *embedded(const mp_page_report *reports, int count) {
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:O}", "name", reports[i].name, "report", (json_t *)reports[i].json));
    char *plain = json_array_size(list) == (size_t)count
                      ? json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(9))
                      : NULL;
    json_decref(list);
    if (plain == NULL) return NULL;
    size_t length = 0, escapes = 0;
    for (; plain[length] != '\0'; length++) escapes += plain[length] == '<';
    char *safe = malloc(length + 5 * escapes + 1), *to = safe;
    for (const char *from = plain; safe != NULL && *from != '\0'; from++) {
        if (*from == '<')
            to = stpcpy(to, "\\u003c");
        else
            *to++ = *from;
    }
    if (safe != NULL) *to = '\0';
    free(plain);
    return safe;
}

mp_status mp_report_page(const char *path, const mp_page_report *reports, int count, mp_error *err) {
    static const char *const places[] = {"{{style}}", "{{reports}}", "{{script}}"};
    enum { PLACES = sizeof places / sizeof *places };
    mp_part parts[2 * PLACES + 1];
    char *json = embedded(reports, count);
    if (json == NULL) return mp_fail(err, MP_EMEMORY, "no memory for the page %s", path);
    const mp_part filled[PLACES] = {
        {mp_page_css, mp_page_css_bytes}, {json, strlen(json)}, {mp_page_js, mp_page_js_bytes}};
    const char *rest = (const char *)mp_page_html, *end = rest + mp_page_html_bytes;
    for (int i = 0; i < PLACES; i++) {
        const char *place = memmem(rest, (size_t)(end - rest), places[i], strlen(places[i]));
        if (place == NULL) {
            free(json);
            return mp_fail(err, MP_EINTERNAL, "page.html has no %s", places[i]);
        }
        parts[2 * i] = (mp_part){rest, (size_t)(place - rest)};
        parts[2 * i + 1] = filled[i];
        rest = place + strlen(places[i]);
    }
    parts[2 * PLACES] = (mp_part){rest, (size_t)(end - rest)};
    const mp_status status = mp_file_replace_parts(path, parts, 2 * PLACES + 1, err);
    free(json);
    return status;
}

mp_status mp_report_html(const char *path, const mp_run_info *info, const mp_verdict *verdicts, size_t count,
                         mp_error *err) {
    json_t *json = mp_report_to_json(info, verdicts, count);
    const mp_page_report report = {"this run", json};
    const mp_status status = json != NULL
                                 ? mp_report_page(path, &report, 1, err)
                                 : mp_fail(err, MP_EMEMORY, "no memory for the page of %zu cases", count);
    json_decref(json);
    return status;
}
