/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of published models. */
#ifndef MP_CASES_MODELS_H
#define MP_CASES_MODELS_H

#include <stddef.h>

/* A published model's shape, by name (cases/models.c); NULL when unknown. Fields not given by the model keep
 * their default. */
typedef struct mp_model {
    const char *name;
    const char *overrides; /* "E=8 topk=2 K=4096 N=14336" */
} mp_model;
const mp_model *mp_model_find(const char *name);
const mp_model *mp_model_list(size_t *count);
#define MP_MODEL_NAMES_MAX 600
void mp_model_names(char text[MP_MODEL_NAMES_MAX]); /* "Mixtral-8x7B, Mixtral-8x22B, ..." */

#endif
