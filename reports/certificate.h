/* SPDX-License-Identifier: Apache-2.0 */
/* The record of how a tuned file was proven, for the pull request that brings it, and the check of such a
 * record. It is JSON: what was run, on what, when, with which results, and SHA-256 digests of the file, of
 * the report with all figures, and of the record itself. Digests find what was changed by mistake, and a
 * record that belongs to another file. They are no signature: `by` is a name. */
#ifndef MP_REPORTS_CERTIFICATE_H
#define MP_REPORTS_CERTIFICATE_H

#include "harness/tune/prove/prove.h"
#include "moeparity/texts.h"

#include <jansson.h>

enum { MP_CERTIFICATE_VERSION = 1 };

/* report: the path of the JSON report that was written before, or NULL. *certificate is the caller's. MP_EIO:
 * the files cannot be read. */
mp_status mp_certificate_make(const mp_tune_request *request, const mp_tune_result *result,
                              const mp_run_info *info, const char *by, const char *report,
                              json_t **certificate, mp_error *err);
mp_status mp_certificate_write(const char *path, const json_t *certificate, mp_error *err);
/* For people: the same in Markdown. */
mp_status mp_certificate_markdown(const char *path, const json_t *certificate, mp_error *err);

/* MP_EINPUT: no certificate, or one of a later version. */
mp_status mp_certificate_read(const char *path, json_t **certificate, mp_error *err);
/* What it says of how it was made, to prove the file again; texts live as long as the certificate. */
mp_tune_request mp_certificate_request(const json_t *certificate, const char *file);
/* The path of the tuned file that it names, beside the certificate where it is not there; to be freed. */
char *mp_certificate_file(const char *path, const json_t *certificate);

/* Whether it proves `file`: appends a line for each reason why it does not to `against`, and to `notes` what
 * a reader should know all the same. report may be NULL. Errors are those of reading the file. */
mp_status mp_certificate_check(const json_t *certificate, const char *file, const char *report,
                               mp_texts *against, mp_texts *notes, mp_error *err);

#endif
