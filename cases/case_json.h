/* SPDX-License-Identifier: Apache-2.0 */
/* A case as JSON. */
#ifndef MP_CASES_CASE_JSON_H
#define MP_CASES_CASE_JSON_H

#include "moeparity/case.h"

#include <jansson.h>

json_t *mp_case_json(const mp_case *c); /* every field, defaults included; new reference */

#endif
