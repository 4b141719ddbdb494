/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/subject.h"

#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "harness/progress.h"
#include "harness/subjects/plugin.h"
#include "harness/subjects/program.h"
#include "kernels/cuda.h"
#include "moeparity/preset.h"
#include "moeparity/verdict.h"
#include "ref/contract_words.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t bytes_of(const mp_case *c, mp_tensor_set set) {
    size_t bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, 16);
        if (set & MP_IN_SET(id)) bytes += mp_tensor_bytes(&t);
    }
    return bytes;
}

/* What the contract says is stored nowhere. */
static mp_tensor_set unstored(const mp_case *c, const mp_contract *contract) {
    if (!mp_contract_fuses_act(contract, c)) return 0;
    return MP_IN_SET(MP_CACHE1_HOOKED) | (mp_case_has_lora(c) ? 0 : MP_IN_SET(MP_CACHE1));
}

static mp_status check_stored(const mp_subject *s, const mp_case *c, const mp_offer *offer, mp_error *err) {
    const mp_tensor_set shown = offer->exposes & unstored(c, &offer->contract);
    if (!shown) return MP_OK;
    return mp_fail(err, MP_EDEVICE,
                   "subject %s exposes %s, and its contract has act.input=float32: what act reads is "
                   "not stored, expose cache2 and what is behind it",
                   s->name, shown & MP_IN_SET(MP_CACHE1) ? "cache1" : "cache1_hooked");
}

mp_status mp_subject_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    mp_error why = {0};
    *offer = (mp_offer){.exposes = mp_case_outputs(c)};
    mp_status status = mp_contract_preset(MP_ANY_CONTRACT, c, &offer->contract, err);
    if (status != MP_OK) return status;
    if (!s->describe || !s->run)
        return mp_fail(err, MP_EDEVICE, "subject %s has no %s function", s->name,
                       s->describe ? "run" : "describe");
    status = s->describe(s, c, offer, err);
    if (status != MP_OK) return status;
    if (mp_contract_validate(&offer->contract, &why) != MP_OK ||
        mp_tile_validate(&offer->config.up, &why) != MP_OK ||
        mp_tile_validate(&offer->config.down, &why) != MP_OK)
        return mp_fail(err, MP_EDEVICE, "subject %s describes itself wrongly: %s", s->name, why.text);
    const int up = offer->config.up.block_size_m, down = offer->config.down.block_size_m;
    if (up != down)
        return mp_fail(err, MP_EDEVICE,
                       "subject %s names BLOCK_SIZE_M=%d of up and %d of down: they share one alignment",
                       s->name, up, down);
    const mp_tensor_set possible = mp_case_possible_outputs(c);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (offer->exposes & ~possible & MP_IN_SET(id))
            return mp_fail(err, MP_EDEVICE, "subject %s exposes %s, which is no output of this case", s->name,
                           mp_tensor_name((mp_tensor_id)id));
    if ((offer->graphs || offer->overlaps) && !(s->begin && s->streams))
        return mp_fail(err, MP_EDEVICE, "subject %s offers %s, and has no %s", s->name,
                       offer->graphs ? "graphs" : "runs that overlap", s->begin ? "streams" : "begin");
    status = check_stored(s, c, offer, err);
    if (status != MP_OK) return status;
    if (offer->exposes == 0) return mp_fail(err, MP_EDEVICE, "subject %s exposes no output", s->name);
    if (c->mode == MP_MODE_INPLACE && !(offer->exposes & MP_IN_SET(MP_OUT)))
        return mp_fail(err, MP_EDEVICE, "subject %s does not expose out, which is x in place", s->name);
    return MP_OK;
}

mp_status mp_subject_set_contract(const mp_subject *s, const mp_case *c, const mp_contract *contract,
                                  mp_offer *offer, mp_error *err) {
    offer->contract = *contract;
    if (!s->computes_by_contract) return check_stored(s, c, offer, err);
    const mp_tensor_set kept = offer->exposes & unstored(c, contract);
    offer->exposes &= ~kept;
    offer->host_bytes += bytes_of(c, kept);
    return MP_OK;
}

mp_status mp_subject_describe_as(mp_subject *s, const mp_case *c, const char *words, mp_offer *offer,
                                 mp_error *err) {
    mp_contract named;
    mp_status status = mp_subject_describe(s, c, offer, err);
    if (status != MP_OK || !words) return status;
    status = mp_contract_of_words(words, c, &named, err);
    return status == MP_OK ? mp_subject_set_contract(s, c, &named, offer, err) : status;
}

/* The stages of the CPU's pipelines are long enough to be waited for. */
static mp_status tell_stage(void *self, const mp_stage_call *call, mp_stage stage, mp_error *err) {
    (void)self, (void)call, (void)err;
    mp_progress_stage(mp_stage_name(stage));
    return MP_OK;
}

/* ref: the float64 reference, stored in the case's formats. */

static mp_status ref_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    const mp_status status = mp_contract_preset("float64", c, &offer->contract, err);
    if (status != MP_OK) return status;
    const bool shaped = mp_engine_of_cpu() == &mp_engine_blas; /* OpenBLAS chooses its kernels by shape */
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        if (i == MP_GATE_UP || i == MP_DOWN) offer->contract.promise[i].batch_invariant = !shaped;
    return mp_config_resolve(c, &s->query, &offer->config, err);
}

static mp_status ref_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_reference reference = {.engine = mp_engine_of_cpu(), .stage_ns = e->stage_ns};
    mp_executor executor = mp_reference_executor(&reference);
    executor.before = tell_stage;
    return mp_run_as_given(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

/* host: the pipeline on the CPU in the arithmetic of sm_90. */

static mp_status host_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    offer->contract = mp_host_contract(c);
    offer->host_bytes = bytes_of(c, mp_case_hidden(c));
    return mp_config_resolve(c, &s->query, &offer->config, err);
}

static mp_status host_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    (void)s;
    mp_prediction prediction = {.contract = &e->offer->contract, .stage_ns = e->stage_ns};
    mp_executor executor = mp_predict_executor(&prediction);
    executor.before = tell_stage;
    return mp_run_as_given(&executor, e->c, e->offer->config.up.block_size_m, e->t, err);
}

/* The loop over the stages knows of a path only what stages and chunks it has. */
static bool pipeline_same_call(const mp_case *c, const mp_case *variant) {
    mp_case alike = *variant;
    alike.path = c->path;
    if (mp_case_compare(&alike, c) != 0 || mp_case_chunks(variant) != mp_case_chunks(c)) return false;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(variant, (mp_stage)s) != mp_case_has_stage(c, (mp_stage)s)) return false;
    return true;
}

/* cuda: the kernels on the first GPU. */

/* Tuned for this device, unless another one was asked for. */
static mp_config_query cuda_query(const mp_subject *s) {
    mp_config_query query = s->query;
    if (!query.device || !*query.device) query.device = mp_cuda_device_name(s->self);
    return query;
}

static mp_status cuda_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    offer->contract = mp_contract_of_architecture(mp_cuda_architecture(s->self), c);
    offer->exposes |= mp_cuda_hooked_tensors(s->self, c);
    offer->graphs = offer->overlaps = mp_cuda_can_begin(c);
    offer->contract.hooks_add = mp_cuda_hooked_tensors(s->self, c) != 0;
    mp_cuda_scratch(c, offer->workspace_bytes);
    const mp_config_query query = cuda_query(s);
    const mp_status status = mp_config_resolve(c, &query, &offer->config, err);
    if (status != MP_OK) return status;
    mp_cuda_note_stages(s->self, c, &offer->config);
    return mp_cuda_room(s->self, &offer->device_available, &offer->device_bytes, err);
}

static mp_status cuda_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    return mp_cuda_run(s->self, e->c, &e->offer->config, e->t, e->workspace, e->timed, e->stage_ns, err);
}

static mp_status cuda_begin(mp_subject *s, const mp_execution *e, void *stream, mp_error *err) {
    return mp_cuda_begin(s->self, e->c, &e->offer->config, e->t, e->workspace, stream, err);
}

static mp_status cuda_prepare(mp_subject *s, const mp_case *cases, size_t count, mp_error *err) {
    mp_case *known = malloc((count + 1) * sizeof *known);
    mp_config *configs = malloc((count + 1) * sizeof *configs);
    const mp_config_query query = cuda_query(s);
    size_t found = 0;
    mp_status status = known && configs ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %zu cases", count);
    for (size_t i = 0; status == MP_OK && i < count; i++) {
        known[found] = cases[i];
        if (mp_config_resolve(&cases[i], &query, &configs[found], NULL) == MP_OK) found++;
    }
    if (status == MP_OK)
        status = mp_cuda_prepare(s->self, known, configs, found, (int)sysconf(_SC_NPROCESSORS_ONLN), err);
    free(known);
    free(configs);
    return status;
}

static void cuda_close(mp_subject *s) {
    mp_cuda_close(s->self);
}

static mp_status cuda_open(mp_subject *s, mp_error *err) {
    mp_cuda *cuda = NULL;
    const mp_status status = mp_cuda_open(&cuda, err);
    if (status != MP_OK) return status;
    *s = (mp_subject){.name = "cuda",
                      .self = cuda,
                      .space = mp_cuda_space(cuda),
                      .describe = cuda_describe,
                      .run = cuda_run,
                      .streams = mp_cuda_streams(cuda),
                      .begin = cuda_begin,
                      .prepare = cuda_prepare,
                      .close = cuda_close};
    snprintf(s->device, sizeof s->device, "%s", mp_cuda_device_name(cuda));
    snprintf(s->versions, sizeof s->versions, "%s", mp_cuda_versions(cuda));
    return MP_OK;
}

static bool begins_with(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

mp_status mp_subject_open(const char *name, mp_subject *s, mp_error *err) {
    *s = (mp_subject){0};
    if (strcmp(name, "ref") == 0) {
        *s = (mp_subject){
            .name = "ref", .describe = ref_describe, .run = ref_run, .same_call = pipeline_same_call};
        return MP_OK;
    }
    if (strcmp(name, "host") == 0 || strcmp(name, "auto") == 0) {
        if (strcmp(name, "auto") == 0) { /* a GPU that is there but does not work is an error, not a reason to
                                            run elsewhere */
            const mp_status status = cuda_open(s, err);
            if (status != MP_EUNSUPPORTED || mp_gpu_required()) return status;
        }
        *s = (mp_subject){.name = "host",
                          .computes_by_contract = true,
                          .describe = host_describe,
                          .run = host_run,
                          .same_call = pipeline_same_call};
        return MP_OK;
    }
    if (strcmp(name, "cuda") == 0) return cuda_open(s, err);
    if (begins_with(name, MP_PLUGIN_PREFIX)) return mp_plugin_open(name, s, err);
    if (begins_with(name, MP_PROGRAM_PREFIX)) return mp_program_open(name, s, err);
    const size_t length = strlen(name);
    const bool library = length > 3 && strcmp(name + length - 3, ".so") == 0;
    return mp_fail(err, MP_EINPUT,
                   "unknown subject '%s': expected ref, host, cuda, auto, plugin:PATH or worker:COMMAND%s%s",
                   name, library ? ", as " MP_PLUGIN_PREFIX : "", library ? name : "");
}

bool mp_subject_is_foreign(const char *name) {
    return begins_with(name, MP_PLUGIN_PREFIX) || begins_with(name, MP_PROGRAM_PREFIX);
}

void mp_subject_close(mp_subject *s) {
    if (s->close) s->close(s);
    *s = (mp_subject){0};
}
