/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: the table of case fields, made from MP_CASE_FIELDS, and what can be done with one
 * field. */
#ifndef MP_CASES_FIELD_H
#define MP_CASES_FIELD_H

#include "cases/case_tools.h"

#include <jansson.h>

typedef enum mp_kind { MP_KIND_INT, MP_KIND_REAL, MP_KIND_FLAG, MP_KIND_ENUM, MP_KIND_TILE } mp_kind;

typedef struct mp_field {
    const char *name, *help;
    mp_kind kind;
    size_t offset;
    bool always; /* printed even when it has its default */
    int64_t int_min, int_max;
    double real_min, real_max;
    const char *const *names; /* ENUM */
    size_t name_count;
} mp_field;

#define MP_FIELD_ONE(...) +1
#define MP_FIELD_COUNT \
    (0 MP_CASE_FIELDS(MP_FIELD_ONE, MP_FIELD_ONE, MP_FIELD_ONE, MP_FIELD_ONE, MP_FIELD_ONE))

extern const mp_field mp_fields[MP_FIELD_COUNT]; /* in list order */
extern const mp_case mp_default_case;

/* The field of that name, or NULL after setting an error that lists the known names and the likeliest one. */
const mp_field *mp_field_find(const char *name, mp_error *err);
/* Reads a whole token into the field, without a range check; false when it is not a value of that kind. */
bool mp_field_parse(const mp_field *f, mp_case *c, const char *text);
bool mp_field_in_range(const mp_field *f, const mp_case *c);
void mp_field_text(const mp_field *f, const mp_case *c, char text[64]);
int mp_field_compare(const mp_field *f, const mp_case *a, const mp_case *b);
/* "an integer from 1 to 1024" */
void mp_field_expected(const mp_field *f, char *text, size_t size);
/* MP_EINPUT "topk=0: expected an integer from 1 to 1024"; sign: "=", or what an expression has there. */
mp_status mp_field_fail(const mp_field *f, const char *sign, const char *value, mp_error *err);
json_t *mp_field_json(const mp_field *f, const mp_case *c); /* new reference */

#endif
