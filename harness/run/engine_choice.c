/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/engine_choice.h"

#include "cases/graph_tables.h"
#include "kernels/cuda.h"
#include "offload/cross_check.h"

#include <stdlib.h>
#include <string.h>

/* Additions and multiplications in float64, of values and masses of both GEMMs once. 16 cores take 0.1 s for
 * them, two 0.7 s; a device that is not open yet 0.3 s to open, and the weights then travel anew. */
#define PAYS_FROM 0x1p36

/* Weights that a CPU decodes, the same whether one slot reads them or many, where a GPU finds them in its
 * memory: 16 cores take 0.15 s for so many. Not of a case so small that the CPU computes most of it anyway,
 * because it computes some slots of every GEMM again. */
#define PAYS_FROM_WEIGHTS 0x1p28
enum { PAYS_FROM_SLOTS = 4 * MP_CROSS_CHECKED };

/* Elements of an activation, and terms of sums over topk: 16 cores take 0.35 to 1 s for so many, a device
 * that is not open yet 0.3 s to open. */
#define PAYS_FROM_ELEMENTS 0x1p28

/* Of the memory that is free while a judge begins to work, what it may take: most is left to others. */
enum { MEMORY_SHARE = 4 };

typedef enum wanted { WANTED_AUTO, WANTED_CPU, WANTED_DEVICE, WANTED_COUNT } wanted;
static const char *const names[WANTED_COUNT] = {"auto", "cpu", "device"};

/* WANTED_COUNT: the name is none of them. */
static wanted wanted_of(const mp_settings *settings) {
    int w = 0;
    while (settings->engine && w < WANTED_COUNT && strcmp(settings->engine, names[w]) != 0) w++;
    return (wanted)w;
}

mp_status mp_engine_choice_check(const mp_settings *settings, mp_error *err) {
    const wanted w = wanted_of(settings);
    if (w == WANTED_COUNT)
        return mp_fail(err, MP_EINPUT, "engine '%.100s': expected auto, cpu or device", settings->engine);
    if (w == WANTED_DEVICE && settings->plain)
        return mp_fail(err, MP_EINPUT, "engine 'device' with plain loops: expected one of both");
    return MP_OK;
}

static mp_status open_offload(mp_engine_choice *choice, const mp_settings *settings, mp_error *err) {
    choice->tried = true;
    return mp_offload_open(MEMORY_SHARE * (settings->jobs > 1 ? settings->jobs : 1), &choice->offload, err);
}

mp_status mp_engine_choice_begin(mp_engine_choice *choice, const mp_settings *settings, mp_error *err) {
    *choice = (mp_engine_choice){0};
    if (wanted_of(settings) != WANTED_DEVICE) return MP_OK;
    const mp_status status = open_offload(choice, settings, err);
    if (status != MP_OK) mp_error_prefix(err, "--engine device");
    return status;
}

bool mp_engine_pays(const mp_case *c, bool weights_are_there) {
    const int64_t slots = mp_case_slots(c), experts = slots < c->E ? slots : c->E;
    const double products = mp_case_products(c),
                 elements = (mp_case_has_stage(c, MP_ACT) ? (double)(slots * c->N) : 0) +
                            (mp_case_has_stage(c, MP_COMBINE) ? (double)(slots * c->K) : 0);
    return 4 * (double)slots * products >= PAYS_FROM || elements >= PAYS_FROM_ELEMENTS ||
           (weights_are_there && slots >= PAYS_FROM_SLOTS && (double)experts * products >= PAYS_FROM_WEIGHTS);
}

mp_offload *mp_engine_choose(mp_engine_choice *choice, const mp_settings *settings, const mp_subject *subject,
                             const mp_case *c) {
    const wanted w = wanted_of(settings);
    if (w == WANTED_DEVICE) return choice->offload;
    if (w == WANTED_CPU || settings->plain) return NULL;
    if (!mp_engine_pays(c, subject && mp_cuda_is_space(subject->space))) return NULL;
    if (!choice->tried) open_offload(choice, settings, NULL);
    return choice->offload && mp_offload_is_fast(choice->offload) ? choice->offload : NULL;
}

void mp_engine_prepare(mp_engine_choice *choice, const mp_settings *settings, mp_subject *subject,
                       const mp_matrix *matrix) {
    mp_case *cases = malloc((matrix->count + 1) * sizeof *cases);
    mp_contract *contracts = malloc((matrix->count + 1) * sizeof *contracts);
    mp_offload *offload = NULL;
    size_t count = 0;
    mp_offer offer;
    for (size_t i = 0; cases && contracts && i < matrix->count; i++) {
        mp_offload *chosen = mp_engine_choose(choice, settings, subject, &matrix->rows[i].c);
        if (!chosen || mp_subject_describe(subject, &matrix->rows[i].c, &offer, NULL) != MP_OK) continue;
        offload = chosen;
        cases[count] = matrix->rows[i].c;
        contracts[count++] = offer.contract;
    }
    if (offload) mp_offload_prepare(offload, cases, contracts, count);
    free(cases);
    free(contracts);
}

void mp_engine_choice_end(mp_engine_choice *choice) {
    mp_offload_close(choice->offload);
    *choice = (mp_engine_choice){0};
}
