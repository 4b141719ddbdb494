/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/facts.h"

#include "cases/case_tools.h"
#include "kernels/driver.h"
#include "kernels/gemm/gemm.h"
#include "kernels/jit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mp_tile *tile_of(const mp_case *c, mp_stage stage) {
    return stage == MP_DOWN && !mp_tile_is_auto(&c->tile_down) ? &c->tile_down : &c->tile;
}

const mp_tile_facts *mp_facts_of(const mp_facts *facts, const mp_case *c, mp_stage stage) {
    for (size_t i = 0; i < facts->count; i++)
        if (facts->tile[i].stage == stage && mp_tile_same(&facts->tile[i].tile, tile_of(c, stage)))
            return &facts->tile[i];
    return NULL;
}

/* Which kernel the tile is for its GEMM, or why there is none. */
static void find_kernel(const mp_case *c, const mp_device_limits *limits, mp_tile_facts *f,
                        mp_kernel *kernel) {
    const mp_config config = {.up = f->tile, .down = f->tile, .tile_named = true};
    const mp_gemm_request request = mp_gemm_of_case(c, &config, f->stage);
    mp_gemm gemm;
    mp_error err = {0};
    if (mp_gemm_find(&request, limits, &gemm, &err) != MP_OK) {
        snprintf(f->why, sizeof f->why, "%s", err.text);
        return;
    }
    f->stages = gemm.stages;
    f->shared_bytes = gemm.shared_bytes;
    *kernel = gemm.kernel;
}

static void compile(const mp_kernel *kernel, const mp_device_limits *limits, mp_tile_facts *f) {
    mp_error err = {0};
    const mp_status status = mp_kernel_compile_report(limits->architecture, kernel, &f->report, &err);
    f->compiled = status == MP_OK;
    if (status == MP_EINTERNAL) return; /* it compiles, and nothing is known of it */
    if (f->compiled && f->report.stack_bytes > MP_STACK_BYTES_MAX) {
        f->compiled = false;
        mp_fail(&err, MP_EUNSUPPORTED, "%d bytes of stack a thread: expected at most %d",
                f->report.stack_bytes, MP_STACK_BYTES_MAX);
    }
    if (!f->compiled) snprintf(f->why, sizeof f->why, "%s", err.text);
}

/* Both GEMMs of a tile are most often one kernel, and so are tiles that differ in GROUP_SIZE_M alone. */
static size_t same_kernel(const mp_kernel *kernels, size_t i) {
    size_t k = 0;
    while (k < i && (strcmp(kernels[k].source, kernels[i].source) != 0 ||
                     strcmp(kernels[k].options, kernels[i].options) != 0))
        k++;
    return k;
}

static void compile_all(const mp_kernel *kernels, const mp_device_limits *limits, mp_facts *facts) {
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < facts->count; i++)
        if (!facts->tile[i].why[0] && same_kernel(kernels, i) == i)
            compile(&kernels[i], limits, &facts->tile[i]);
    for (size_t i = 0; i < facts->count; i++) {
        mp_tile_facts *f = &facts->tile[i];
        if (f->why[0]) continue;
        const mp_tile_facts *first = &facts->tile[same_kernel(kernels, i)];
        f->compiled = first->compiled;
        f->report = first->report;
        if (f != first) memcpy(f->why, first->why, sizeof f->why);
        f->shared_bytes += f->report.shared_bytes;
    }
}

mp_status mp_facts_find(const mp_case *cases, size_t count, const mp_device_limits *limits, mp_facts *facts,
                        mp_error *err) {
    static const mp_stage stages[] = {MP_GATE_UP, MP_DOWN};
    const mp_nvrtc *nvrtc;
    mp_error why = {0};
    *facts = (mp_facts){0};
    if (limits->architecture == 0)
        mp_fail(&why, MP_EUNSUPPORTED, "the architecture of this device is not known here");
    else if (mp_nvrtc_load(&nvrtc, &why) == MP_OK)
        mp_jit_check_architecture(limits->architecture, &why);
    snprintf(facts->skipped, sizeof facts->skipped, "%s", why.text);
    if (why.text[0]) return MP_OK;
    facts->tile = calloc(2 * count + 1, sizeof *facts->tile);
    mp_kernel *kernels = calloc(2 * count + 1, sizeof *kernels);
    if (!facts->tile || !kernels) {
        free(kernels);
        return mp_fail(err, MP_EMEMORY, "no memory for the tiles of %zu cases", count);
    }
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < 2; s++) {
            if (mp_facts_of(facts, &cases[i], stages[s])) continue;
            mp_tile_facts *f = &facts->tile[facts->count];
            *f = (mp_tile_facts){.tile = *tile_of(&cases[i], stages[s]), .stage = stages[s]};
            kernels[facts->count].source = "";
            find_kernel(&cases[i], limits, f, &kernels[facts->count++]);
        }
    compile_all(kernels, limits, facts);
    free(kernels);
    return MP_OK;
}

void mp_facts_free(mp_facts *facts) {
    free(facts->tile);
    facts->tile = NULL;
    facts->count = 0;
}
