/* SPDX-License-Identifier: Apache-2.0 */
/* A record as a list of its fields. Both directions of its JSON form run through the same list, so that they
 * cannot drift apart. */
#ifndef MP_HARNESS_FIELDS_H
#define MP_HARNESS_FIELDS_H

#include "moeparity/status.h"
#include "moeparity/texts.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_FIELD_TEXT_MAX (1 << 20) /* bytes of a text that is read */

typedef enum mp_field_kind {
    MP_FIELD_TEXT,
    MP_FIELD_CHARS, /* an array */
    MP_FIELD_REAL,
    MP_FIELD_INT64,
    MP_FIELD_INT,
    MP_FIELD_BOOL
} mp_field_kind;
typedef struct mp_field {
    const char *name;
    mp_field_kind kind;
    size_t offset, size;
} mp_field;
#define FIELD(kind, type, name) \
    { #name, MP_FIELD_##kind, offsetof(type, name), sizeof(((type *)NULL)->name) }

/* Makes every text "". */
void mp_clear_texts(const mp_field *fields, size_t count, void *record);
json_t *mp_fields_to_json(const mp_field *fields, size_t count, const void *record); /* new reference */
/* texts: owns those of the record; NULL where it has none. MP_EINPUT names the field and what was expected.
 */
mp_status mp_fields_from_json(const mp_field *fields, size_t count, const json_t *object, void *record,
                              mp_texts *texts, mp_error *err);

/* JSON has no NaN and no Inf: they become the texts "nan", "inf" and "-inf". */
json_t *mp_real_to_json(double value); /* new reference */
bool mp_real_from_json(const json_t *json, double *value);

#endif
