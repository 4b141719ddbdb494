/* SPDX-License-Identifier: Apache-2.0 */
/* One self-contained page of HTML from one JSON report, or from two that are compared. */
#ifndef MP_REPORTS_PAGE_H
#define MP_REPORTS_PAGE_H

#include "moeparity/status.h"

#include <jansson.h>

/* A report that the page holds, and what it calls it. */
typedef struct mp_page_report {
    const char *name; /* of its file, without folders */
    const json_t *json;
} mp_page_report;

/* Writes the page, whole or not at all (mp_file_replace). Of two reports the first is the older one. Numbers
 * are held with nine digits. Nothing of a report is read as HTML. */
mp_status mp_report_page(const char *path, const mp_page_report *reports, int count, mp_error *err);

#endif
