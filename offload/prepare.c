/* SPDX-License-Identifier: Apache-2.0 */
/* What judging launches, compiled before it is needed: by a thread of its own, while the subject compiles and
 * the first cases are made. */
#include "kernels/jit.h"
#include "offload/handle.h"
#include "offload/sums.h"

#include "cases/graph_tables.h"
#include "cases/scheme.h"

#include <stdlib.h>
#include <string.h>

/* Those without options. */
static const char *const sources[] = {"offload/device/decode.cu",         "offload/device/gemm_float64.cu",
                                      "offload/device/screen.cu",         "offload/device/confirm.cu",
                                      "offload/device/steps.cu",          "offload/device/screen_act.cu",
                                      "offload/device/screen_combine.cu", "offload/device/confirm_act.cu",
                                      "offload/device/confirm_combine.cu"};
/* And of cases whose activations are quantised. */
static const char *const of_quantised[] = {"offload/device/balls.cu", "offload/device/screen_quant.cu",
                                           "offload/device/confirm_quant.cu"};
enum { OF_QUANTISED = sizeof of_quantised / sizeof *of_quantised };
enum { SOURCES = sizeof sources / sizeof *sources, KERNELS_A_GEMM = 2 };

struct mp_preparation {
    pthread_t thread;
    int architecture, count;
    mp_kernel kernel[];
};

static void *compile(void *self) {
    const mp_preparation *p = self;
#pragma omp parallel for schedule(dynamic, 1) num_threads(p->count)
    for (int i = 0; i < p->count; i++) {
        void *cubin = NULL;
        size_t bytes = 0;
        if (mp_jit_cubin(&p->kernel[i], p->architecture, &cubin, &bytes, NULL) == MP_OK) free(cubin);
    }
    return NULL;
}

static void add(mp_preparation *p, const mp_kernel *kernel) {
    if (!kernel->source) return;
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->kernel[i].source, kernel->source) == 0 &&
            strcmp(p->kernel[i].options, kernel->options) == 0)
            return;
    p->kernel[p->count++] = *kernel;
}

/* The prediction's, of plain numbers: what codes become is told by their tensors, which are not there yet. */
static void add_sums(mp_preparation *p, const mp_case *c, const mp_contract *contract, mp_stage stage) {
    if (!mp_case_has_stage(c, stage) || c->quant) return;
    mp_tensor a = mp_tensor_shape(c->dtype, 2, 1, c->K, 1),
              w = mp_tensor_shape(c->dtype, 3, 1, 1, stage == MP_DOWN ? c->N : c->K);
    const mp_multiplied m = {.plain = {.a = {.codes = &a}, .w = {.codes = &w}}};
    mp_sums sums;
    if (mp_sums_of(mp_stage_gemm_contract(contract, stage), &m, &sums, NULL) != MP_OK) return;
    add(p, &sums.kernel);
    add(p, &sums.redo);
}

void mp_offload_prepare(mp_offload *o, const mp_case *cases, const mp_contract *contracts, size_t count) {
    if (o->preparation || !*mp_jit_cache_folder(NULL)) return;
    mp_preparation *p =
        calloc(1, sizeof *p + (SOURCES + OF_QUANTISED + 2 * KERNELS_A_GEMM * count) * sizeof *p->kernel);
    if (!p) return;
    p->architecture = mp_cuda_architecture(o->cuda);
    for (int i = 0; i < SOURCES; i++)
        p->kernel[p->count++] = (mp_kernel){.texts = &mp_offload_texts, .source = sources[i]};
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < OF_QUANTISED && mp_scheme_of(&cases[i])->quantises_activations; k++)
            add(p, &(mp_kernel){.texts = &mp_offload_texts, .source = of_quantised[k]});
        add_sums(p, &cases[i], &contracts[i], MP_GATE_UP);
        add_sums(p, &cases[i], &contracts[i], MP_DOWN);
    }
    if (pthread_create(&p->thread, NULL, compile, p) == 0)
        o->preparation = p;
    else
        free(p);
}

void mp_offload_prepared(mp_offload *o) {
    if (!o->preparation) return;
    pthread_join(o->preparation->thread, NULL);
    free(o->preparation);
    o->preparation = NULL;
}
