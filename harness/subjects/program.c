/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/program.h"

#include "base/process.h"
#include "base/text.h"
#include "cases/case_json.h"
#include "harness/frame.h"
#include "harness/progress.h"
#include "harness/subjects/foreign.h"
#include "harness/subjects/shared_space.h"
#include "harness/subjects/surroundings.h"
#include "harness/wire.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wordexp.h>

enum { END_SECONDS = 1, CLOSE_SECONDS = 10, WAIT_MS = 200 };

typedef struct program {
    char *name;     /* worker:COMMAND */
    char title[64]; /* as it calls itself */
    mp_process process;
    mp_channel channel;
    mp_shared_space memory;
    char ended[256]; /* how, once it has; "" while it lives */
} program;

/* ---- the conversation ---- */

/* It is gone, or what it says is of no use: nothing more is asked. */
static mp_status give_up(program *p, const char *why, const char *asked, mp_error *err) {
    int status;
    char end[128];
    if (why) {
        snprintf(p->ended, sizeof p->ended, "the program: %s", why);
    } else if (mp_process_wait(&p->process, END_SECONDS, &status)) {
        mp_process_end_text(status, end, sizeof end);
        snprintf(p->ended, sizeof p->ended, "the program %s", end);
    } else {
        snprintf(p->ended, sizeof p->ended, "the program closed its end and did not end");
    }
    mp_process_kill(&p->process);
    return mp_fail(err, MP_EDEVICE, "%s before it answered to %s", p->ended, asked);
}

/* Asks {asked: body}, whose reference it takes, and gives the body of {wanted: ...}: *answer, to be freed
 * with json_decref. Waits as long as it takes: the run watches the clock. */
static mp_status ask(program *p, const char *asked, json_t *body, const char *wanted, json_t **answer,
                     mp_error *err) {
    mp_error why = {0};
    json_t *message = NULL, *request = json_pack("{s:o}", asked, body);
    *answer = NULL;
    if (p->ended[0]) {
        json_decref(request);
        return mp_fail(err, MP_EDEVICE, "%s", p->ended);
    }
    mp_status status = mp_channel_push(&p->channel, request, err);
    while (status == MP_OK) {
        const bool writable = mp_channel_flush(&p->channel);
        status = mp_channel_next(&p->channel, &message, &why);
        if (status != MP_OK) return give_up(p, why.text, asked, err);
        if (!message) {
            struct pollfd fds[] = {
                {.fd = p->process.from, .events = POLLIN},
                {.fd = mp_channel_waiting(&p->channel) ? p->process.to : -1, .events = POLLOUT}};
            poll(fds, 2, WAIT_MS);
            const bool there = fds[0].revents != 0;
            if (there && !mp_channel_receive(&p->channel)) return give_up(p, NULL, asked, err);
            if (!there && !writable) return give_up(p, NULL, asked, err);
            continue;
        }
        const json_t *progress = json_object_get(message, "progress"),
                     *failed = json_object_get(message, "failed");
        if ((*answer = json_incref(json_object_get(message, wanted)))) {
            json_decref(message);
            return MP_OK;
        }
        if (failed) status = mp_json_to_failed(failed, err);
        if (!progress && !failed) status = give_up(p, "something else was said", asked, err);
        const char *stage = json_string_value(json_object_get(progress, "stage"));
        if (stage) mp_progress_stage(stage);
        json_decref(message);
    }
    return status;
}

/* What a program says of one case, bad input or a file that it cannot read, does not end the run. */
static mp_status not_of_the_run(mp_status status, mp_error *err) {
    if (status != MP_EINPUT && status != MP_EIO) return status;
    if (err) err->status = MP_EDEVICE;
    return MP_EDEVICE;
}

/* ---- what is said of a case ---- */

static json_t *case_to_json(const mp_case *c) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    return json_pack("{s:s, s:o}", "text", text, "fields", mp_case_json(c));
}

static bool are_workspaces(const json_t *list) {
    const json_t *bytes;
    size_t i;
    bool right = json_array_size(list) <= MP_WORKSPACES;
    json_array_foreach(list, i, bytes) right =
        right && json_is_integer(bytes) && json_integer_value(bytes) >= 0;
    return right;
}

/* What is there must be of its type: nothing is guessed. */
static mp_status check_offer(const json_t *said, mp_error *err) {
    static const struct {
        const char *name, *expected;
        json_type type;
    } members[] = {
        {"contract", "a text", JSON_STRING},
        {"contract_fields", "a text", JSON_STRING},
        {"exposes", "a list of names", JSON_ARRAY},
        {"workspace_bytes", "a list of numbers", JSON_ARRAY},
        {"host_bytes", "a whole number", JSON_INTEGER},
        {"block_size_m", "a whole number", JSON_INTEGER},
    };
    const char *wrong = are_workspaces(json_object_get(said, "workspace_bytes")) ? NULL : "workspace_bytes",
               *expected = "a list of numbers";
    for (size_t i = 0; i < sizeof members / sizeof *members && !wrong; i++) {
        const json_t *value = json_object_get(said, members[i].name);
        const json_int_t number = json_integer_value(value); /* 0 of what is none */
        const bool typed = !value || json_is_null(value) || json_typeof(value) == members[i].type;
        if (typed && number >= 0 && number <= INT64_MAX / 2) continue;
        wrong = members[i].name;
        expected = members[i].expected;
    }
    if (!wrong) return MP_OK;
    return mp_fail(err, MP_EDEVICE, "the subject describes itself wrongly: %s: expected %s", wrong, expected);
}

static size_t bytes_of(const json_t *json) {
    const json_int_t bytes = json_integer_value(json);
    return bytes > 0 ? (size_t)bytes : 0;
}

/* The words of a list, separated by blanks; NULL where there is no list. */
static const char *words_of(const json_t *list, mp_text *words) {
    const json_t *word;
    size_t i;
    json_array_foreach(list, i, word)
        mp_text_add(words, "%s%s", i ? " " : "", json_is_string(word) ? json_string_value(word) : "?");
    return json_is_array(list) ? mp_text_get(words) : NULL;
}

static mp_status program_describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    program *p = s->self;
    json_t *said;
    mp_text exposes = {0};
    mp_status status = ask(p, "describe", case_to_json(c), "offer", &said, err);
    status = not_of_the_run(status, err);
    if (status != MP_OK) return status;
    if ((status = check_offer(said, err)) != MP_OK) {
        json_decref(said);
        return status;
    }
    const json_t *workspace = json_object_get(said, "workspace_bytes");
    const json_int_t block = json_integer_value(json_object_get(said, "block_size_m"));
    const mp_foreign_words words = {
        json_string_value(json_object_get(said, "contract")),
        json_string_value(json_object_get(said, "contract_fields")),
        words_of(json_object_get(said, "exposes"), &exposes),
        block > INT_MAX ? INT_MAX : (int)block,
    };
    for (size_t i = 0; i < MP_WORKSPACES; i++)
        offer->workspace_bytes[i] = bytes_of(json_array_get(workspace, i));
    status = mp_foreign_offer(&words, c, &s->query, offer, err);
    offer->host_bytes =
        bytes_of(json_object_get(said, "host_bytes")) +
        mp_surroundings_device_bytes(s, c, offer); /* the tensors lie in memory of their own */
    mp_text_free(&exposes);
    json_decref(said);
    return status;
}

/* ---- a run ---- */

static json_t *tensor_to_json(const program *p, const mp_tensor *t, mp_tensor_id id, bool is_output) {
    json_t *shape = json_array();
    for (int d = 0; d < t->rank; d++) json_array_append_new(shape, json_integer(t->dim[d]));
    return json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "name", mp_tensor_name(id), "dtype",
                     mp_dtype_name(t->dtype), "shape", shape, "is_output", (int)is_output, "offset",
                     (json_int_t)mp_shared_space_offset(&p->memory, t->data), "bytes",
                     (json_int_t)mp_tensor_bytes(t));
}

static json_t *run_to_json(const program *p, const mp_execution *e) {
    const mp_tensor_set outputs = mp_case_possible_outputs(e->c);
    const mp_config *config = &e->offer->config;
    json_t *tensors = json_array(), *workspace = json_array();
    char up[64], down[64];
    mp_tile_text(&config->up, up);
    mp_tile_text(&config->down, down);
    for (int id = 0; id < MP_TENSOR_COUNT; id++)
        if (e->t[id].data)
            json_array_append_new(tensors,
                                  tensor_to_json(p, &e->t[id], (mp_tensor_id)id, outputs & MP_IN_SET(id)));
    for (int i = 0; i < MP_WORKSPACES; i++)
        if (e->workspace[i])
            json_array_append_new(workspace,
                                  json_pack("{s:I, s:I}", "offset",
                                            (json_int_t)mp_shared_space_offset(&p->memory, e->workspace[i]),
                                            "bytes", (json_int_t)e->offer->workspace_bytes[i]));
    return json_pack("{s:o, s:o, s:o, s:I, s:i, s:s, s:s}", "case", case_to_json(e->c), "tensors", tensors,
                     "workspace", workspace, "memory_bytes", (json_int_t)p->memory.bytes, "block_size_m",
                     config->up.block_size_m, "tile", up, "tile_down", down);
}

static mp_status program_run(mp_subject *s, const mp_execution *e, mp_error *err) {
    program *p = s->self;
    json_t *done;
    mp_status status = ask(p, "run", run_to_json(p, e), "done", &done, err);
    status = not_of_the_run(status, err);
    if (status != MP_OK) return status;
    const json_t *times = json_object_get(done, "stage_ns");
    for (int i = 0; i < MP_STAGE_COUNT; i++)
        e->stage_ns[i] += json_number_value(json_object_get(times, mp_stage_name((mp_stage)i)));
    json_decref(done);
    return MP_OK;
}

static void program_close(mp_subject *s) {
    program *p = s->self;
    int status;
    mp_process_hang_up(&p->process);
    if (p->process.pid) mp_process_wait(&p->process, CLOSE_SECONDS, &status);
    mp_process_kill(&p->process);
    mp_channel_free(&p->channel);
    mp_shared_space_close(&p->memory);
    free(p->name);
    free(p);
}

/* ---- opening ---- */

static mp_status start(program *p, mp_error *err) {
    const char *command = p->name + strlen(MP_PROGRAM_PREFIX);
    char variable[64];
    wordexp_t words;
    snprintf(variable, sizeof variable, MP_PROGRAM_VARIABLE "=%d", MP_PROGRAM_PROTOCOL);
    if (wordexp(command, &words, WRDE_NOCMD) != 0)
        return mp_fail(err, MP_EINPUT, "%s: expected worker:COMMAND, quoted as for a shell", p->name);
    mp_status status = words.we_wordc > 0 ? mp_shared_space_open(&p->memory, err)
                                          : mp_fail(err, MP_EINPUT, "%s: expected worker:COMMAND", p->name);
    signal(SIGPIPE, SIG_IGN); /* a program that is gone is found when it is read from */
    if (status == MP_OK)
        status = mp_process_start((const char *const *)words.we_wordv, variable, p->memory.descriptor,
                                  &p->process, err);
    wordfree(&words);
    p->channel.in = p->process.from;
    p->channel.out = p->process.to;
    return status;
}

static mp_status greet(program *p, mp_subject *s, mp_error *err) {
    json_t *hello;
    mp_status status =
        ask(p, "hello", json_pack("{s:i}", "protocol", MP_PROGRAM_PROTOCOL), "hello", &hello, err);
    if (status != MP_OK) return status;
    const json_int_t protocol = json_integer_value(json_object_get(hello, "protocol"));
    const char *name = json_string_value(json_object_get(hello, "name")),
               *version = json_string_value(json_object_get(hello, "version"));
    snprintf(p->title, sizeof p->title, "%s", name ? name : "");
    snprintf(s->versions, sizeof s->versions, "%s %s", p->title, version ? version : "");
    if (protocol != MP_PROGRAM_PROTOCOL)
        status = mp_fail(err, MP_EINPUT, "%s speaks protocol %lld of subjects; this program speaks %d",
                         p->name, (long long)protocol, MP_PROGRAM_PROTOCOL);
    else if (!p->title[0])
        status = mp_fail(err, MP_EINPUT, "%s gave no name", p->name);
    json_decref(hello);
    return status;
}

mp_status mp_program_open(const char *name, mp_subject *s, mp_error *err) {
    program *p = calloc(1, sizeof *p);
    if (p) p->name = strdup(name);
    if (!p || !p->name) {
        free(p);
        return mp_fail(err, MP_EMEMORY, "no memory for a subject");
    }
    p->memory.descriptor = -1;
    p->process = (mp_process){.to = -1, .from = -1};
    *s = (mp_subject){.name = p->name,
                      .self = p,
                      .space = &p->memory.space,
                      .describe = program_describe,
                      .run = program_run,
                      .close = program_close};
    mp_status status = start(p, err);
    if (status == MP_OK) status = greet(p, s, err);
    if (status != MP_OK) mp_subject_close(s);
    return status;
}
