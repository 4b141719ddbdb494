/* SPDX-License-Identifier: Apache-2.0 */
/* What the messages of all conversations are made of: with workers, and with subjects that are programs. */
#ifndef MP_HARNESS_WIRE_H
#define MP_HARNESS_WIRE_H

#include "moeparity/status.h"

#include <jansson.h>
#include <limits.h>

/* The text as JSON, which is UTF-8: what is not becomes \\xNN. */
json_t *mp_json_text(const char *text);
/* A path must come back as it was: where it is not UTF-8 it is a list of its bytes. */
json_t *mp_json_path(const char *path);
mp_status mp_json_to_path(const json_t *json, const char *what, char path[PATH_MAX], mp_error *err);

/* {"failed": {"status": "bad input", "error": "..."}} */
json_t *mp_json_failed(const mp_error *err);
/* Returns the status, and what has no known one as MP_EINTERNAL. */
mp_status mp_json_to_failed(const json_t *failed, mp_error *err);

#endif
