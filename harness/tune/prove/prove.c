/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tune/prove/prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The cases of the plan with the tiles of the files named, which the compiler is asked about. */
static mp_status compile(mp_tune_shape *shape, mp_error *err) {
    const mp_tune_plan *plan = &shape->plan;
    if (!shape->target.runs) { /* another dtype's kernel needs other registers and other shared memory */
        snprintf(shape->facts.skipped, sizeof shape->facts.skipped, "no case here has %s",
                 shape->target.dtype);
        return MP_OK;
    }
    mp_case *cases = malloc((plan->count + 1) * sizeof *cases);
    if (!cases) return mp_fail(err, MP_EMEMORY, "no memory for %zu cases", plan->count);
    for (size_t i = 0; i < plan->count; i++) {
        cases[i] = plan->launch[i].c;
        cases[i].tile = plan->launch[i].up;
        cases[i].tile_down = plan->launch[i].down;
    }
    const mp_status status = mp_facts_find(cases, plan->count, &shape->target.limits, &shape->facts, err);
    free(cases);
    return status;
}

static mp_status run_matrix(const mp_tune_request *request, const mp_matrix *matrix, mp_verdict **verdicts,
                            mp_run_info *info, mp_error *err) {
    mp_suite_options suite = request->suite;
    *verdicts = calloc(matrix->count, sizeof **verdicts);
    if (!*verdicts) return mp_fail(err, MP_EMEMORY, "no memory for %zu verdicts", matrix->count);
    const double before = info->seconds;
    if (request->begin) request->begin(request->ctx, matrix, &suite);
    const mp_status status = mp_suite_run(matrix, &suite, *verdicts, info, err);
    info->seconds += before;
    return status;
}

/* All rows; then, where a process died, its launches one by one. */
static mp_status run(const mp_tune_request *request, mp_tune_shape *shape, mp_run_info *info, mp_error *err) {
    mp_tune_plan *plan = &shape->plan;
    if (plan->matrix.count == 0) return MP_OK;
    mp_status status = run_matrix(request, &plan->matrix, &shape->verdicts, info, err);
    if (status != MP_OK) return status;
    mp_tune_take_verdicts(plan, shape->verdicts);
    status = mp_tune_plan_alone(plan, shape->verdicts, err);
    if (status != MP_OK || plan->alone.count == 0 || info->interrupted) return status;
    status = run_matrix(request, &plan->alone, &shape->alone, info, err);
    if (status == MP_OK) mp_tune_take_alone(plan, shape->alone);
    return status;
}

/* Times are taken of what has been proven: here alone a subject runs in this process. */
static mp_status time_keys(const mp_tune_request *request, const mp_tune_result *result, mp_tune_shape *shape,
                           mp_error *err) {
    mp_error why = {0};
    const mp_race_options options = {.subject = request->suite.settings.subject,
                                     .old = *result->against.path ? &result->against : NULL,
                                     .rounds = request->rounds,
                                     .threshold = request->threshold};
    const mp_status status = mp_race_keys(&shape->plan, &options, &shape->races, &shape->race_count, &why);
    if (status == MP_EUNSUPPORTED) {
        snprintf(shape->not_timed, sizeof shape->not_timed, "%s", why.text);
        return MP_OK;
    }
    if (status != MP_OK && err) *err = why;
    return status;
}

/* The loader by whose rules the file runs: sglang's where both would read it, as in the audit. */
static const mp_loader *loader_of(const mp_tune_result *result) {
    for (size_t i = 0; i < result->audit.file_count; i++)
        if (strcmp(result->audit.file[i].table.path, result->target.path) == 0 &&
            result->audit.file[i].readers & MP_READ_BY_SGLANG)
            return &mp_loaders[MP_LOADER_SGLANG];
    return &mp_loaders[MP_LOADER_VLLM];
}

static mp_status prove_shape(const mp_tune_request *request, mp_tune_result *result, mp_tune_shape *shape,
                             mp_run_info *info, mp_error *err) {
    mp_tune_choice choice = request->choice;
    if (request->instead_of) choice.instead_of = &result->instead_of;
    mp_status status = mp_tune_plan_make(&shape->target, &choice, &shape->plan, err);
    if (status == MP_OK && !request->plan_only) status = compile(shape, err);
    /* Somebody else's kernels are not those that were compiled, and show themselves what their steps do. */
    if (status == MP_OK && !mp_subject_is_foreign(request->suite.settings.subject)) {
        mp_tune_take_facts(&shape->plan, &shape->facts);
        if (!request->plan_only)
            status = mp_scale_steps_find(&shape->plan, loader_of(result), &shape->steps, err);
        mp_tune_take_scale_steps(&shape->plan, &shape->steps);
    }
    if (status == MP_OK) status = mp_tune_plan_rows(&shape->plan, &choice, err);
    if (status == MP_OK && !*result->not_run) status = run(request, shape, info, err);
    if (status == MP_OK && !*result->not_run && request->against && !info->interrupted)
        status = time_keys(request, result, shape, err);
    return status;
}

/* Another table of the same kernel, to be compared with. */
static mp_status read_other(const char *path, const mp_tune_target *target, mp_tune_target *other,
                            mp_error *err) {
    const mp_status status = mp_tune_target_read(path, other, err);
    if (status != MP_OK) return status;
    if (other->E != target->E || other->N != target->N || strcmp(other->dtype, target->dtype) != 0)
        return mp_fail(err, MP_EINPUT, "%s and %s are tables of different kernels: E, N or dtype differ",
                       path, target->path);
    return MP_OK;
}

static mp_status read_targets(const mp_tune_request *request, mp_tune_result *result, mp_error *err) {
    const mp_tune_target *target = &result->target;
    mp_status status = mp_tune_target_read(request->path, &result->target, err);
    if (status == MP_OK && request->instead_of)
        status = read_other(request->instead_of, target, &result->instead_of, err);
    if (status == MP_OK && request->against && strcmp(request->against, "default") != 0)
        status = read_other(request->against, target, &result->against, err);
    return status;
}

/* What is wrong with the files as they stand, whatever runs: the rules of tune audit. */
static mp_status audit(mp_tune_result *result, mp_error *err) {
    char *paths[] = {result->target.path, result->target.down_path};
    return mp_audit_paths(paths, *result->target.down_path ? 2 : 1, &(mp_audit_options){0}, &result->audit,
                          err);
}

/* A pipeline that has no table of its own would run its default tile, and prove none of the file's. */
static mp_status check_own_tiles(const mp_tune_request *request, mp_error *err) {
    const char *subject = request->suite.settings.subject;
    if (!request->choice.own_tiles || mp_subject_is_foreign(subject)) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "--own-tiles with subject %s: it looks no tile up; expected a plug-in or a program",
                   subject);
}

mp_status mp_tune_prove(const mp_tune_request *request, mp_tune_result *result, mp_run_info *info,
                        mp_error *err) {
    mp_tune_target *shapes = calloc(MP_TUNE_SHAPES_MAX, sizeof *shapes);
    *result = (mp_tune_result){0};
    mp_status status = shapes ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for shapes");
    if (status == MP_OK) status = check_own_tiles(request, err);
    if (status == MP_OK) status = read_targets(request, result, err);
    if (status == MP_OK) status = audit(result, err);
    if (status == MP_OK)
        status = mp_tune_shapes(&result->target, request->model, request->with, shapes, &result->count, err);
    if (status == MP_OK && request->plan_only)
        snprintf(result->not_run, sizeof result->not_run, "a plan alone was asked for");
    else if (status == MP_OK && request->compile_only)
        snprintf(result->not_run, sizeof result->not_run, "only what needs no GPU was asked for");
    else if (status == MP_OK && !result->target.runs)
        snprintf(result->not_run, sizeof result->not_run, "no case here has %s", result->target.dtype);
    for (int i = 0; i < result->count && status == MP_OK && !info->interrupted; i++) {
        result->shape[i].target = shapes[i];
        status = prove_shape(request, result, &result->shape[i], info, err);
    }
    result->ran = status == MP_OK && !*result->not_run;
    free(shapes);
    return status;
}

void mp_tune_result_free(mp_tune_result *result) {
    for (int i = 0; i < result->count; i++) {
        mp_tune_shape *shape = &result->shape[i];
        for (size_t v = 0; shape->verdicts && v < shape->plan.matrix.count; v++)
            mp_verdict_free(&shape->verdicts[v]);
        for (size_t v = 0; shape->alone && v < shape->plan.alone.count; v++)
            mp_verdict_free(&shape->alone[v]);
        free(shape->verdicts);
        free(shape->alone);
        free(shape->races);
        mp_facts_free(&shape->facts);
        mp_scale_steps_free(&shape->steps);
        mp_tune_plan_free(&shape->plan);
    }
    result->count = 0;
    mp_audit_free(&result->audit);
}

mp_tune_tally mp_tune_count(const mp_tune_result *result) {
    mp_tune_tally tally = {0};
    for (int i = 0; i < result->count; i++)
        for (size_t k = 0; k < result->shape[i].plan.count; k++) {
            const mp_proof proof = result->shape[i].plan.launch[k].proof;
            tally.total++;
            tally.proven += proof == MP_PROVEN;
            tally.refuted += proof == MP_REFUTED;
            tally.unproven += proof == MP_UNPROVEN;
        }
    return tally;
}

static bool all_skipped(const mp_tune_result *result) {
    for (int i = 0; i < result->count; i++)
        for (size_t k = 0; result->shape[i].verdicts && k < result->shape[i].plan.matrix.count; k++)
            if (result->shape[i].verdicts[k].outcome != MP_SKIP) return false;
    return true;
}

static bool all_kept(const mp_tune_result *result) {
    for (int i = 0; i < result->count; i++) {
        const mp_tune_shape *shape = &result->shape[i];
        if (shape->not_timed[0]) return false;
        for (size_t k = 0; k < shape->race_count; k++)
            if (shape->races[k].outcome != MP_RACE_KEPT) return false;
    }
    return true;
}

int mp_tune_exit_code(const mp_tune_result *result, const mp_run_info *info) {
    const mp_tune_tally tally = mp_tune_count(result);
    if (tally.refuted || result->audit.count[MP_SEVERITY_ERROR]) return MP_EXIT_FAILURE;
    if (info->interrupted) return MP_EXIT_BROKEN;
    if (tally.total && tally.unproven == 0) return all_kept(result) ? MP_EXIT_OK : MP_EXIT_FAILURE;
    if (!all_skipped(result)) return MP_EXIT_FAILURE;
    return mp_gpu_required() ? MP_EXIT_BROKEN : MP_EXIT_SKIPPED;
}
