/* SPDX-License-Identifier: Apache-2.0 */
/* The findings of an audit -> terminal, JSON, SARIF, JUnit XML. */
#ifndef MP_REPORTS_AUDIT_H
#define MP_REPORTS_AUDIT_H

#include "harness/tune/audit/audit.h"

#include <stdio.h>

/* Up to which severity findings are printed; those that are known are counted only. */
void mp_report_audit_text(FILE *out, const mp_audit *audit, mp_severity most);
/* Every rule with its findings, then one line of counts; gone: of the baseline, there no more. */
void mp_report_audit_summary(FILE *out, const mp_audit *audit, size_t gone, double seconds);
void mp_report_audit_rules(FILE *out);

/* All write whole files or none; on failure an old file stays. `version` is this program's. */
mp_status mp_report_audit_json(const char *path, const mp_audit *audit, const char *version, mp_error *err);
/* SARIF 2.1.0. Addresses of files are relative to the working directory, which stands for the root of the
 * sources. */
mp_status mp_report_audit_sarif(const char *path, const mp_audit *audit, const char *version, bool baseline,
                                mp_error *err);
/* A testsuite for each folder, a testcase for each file, which fails where it has a new error. */
mp_status mp_report_audit_junit(const char *path, const mp_audit *audit, mp_error *err);

#endif
