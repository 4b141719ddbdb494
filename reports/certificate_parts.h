/* SPDX-License-Identifier: Apache-2.0 */
/* Inside reports/: what the maker and the reader of certificates share. */
#ifndef MP_REPORTS_CERTIFICATE_PARTS_H
#define MP_REPORTS_CERTIFICATE_PARTS_H

#include "reports/sha256.h"

#include <jansson.h>
#include <stdbool.h>

#define MP_CERTIFICATE_FORMAT "moeparity tuned-file certificate"
enum { MP_TUNED_FILE_MOST = 4 << 20 };

/* The record's own digest: of all but itself. False without memory. */
bool mp_certificate_digest(const json_t *certificate, char digest[MP_SHA256_SIZE]);

/* "" and 0 where there is none. */
const char *mp_certificate_text(const json_t *object, const char *key);
long long mp_certificate_number(const json_t *object, const char *key);

#endif
