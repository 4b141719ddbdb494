/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/shard_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Engines that start one program many times, and what each tells it. */
typedef struct engine {
    const char *index, *count; /* names of variables; count NULL: it tells none */
} engine;
static const engine engines[] = {
    {"GTEST_SHARD_INDEX", "GTEST_TOTAL_SHARDS"},
    {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
    {"PMI_RANK", "PMI_SIZE"}, /* MPICH and its kin */
    {"JOB_COMPLETION_INDEX", NULL},
};
enum { ENGINES = sizeof engines / sizeof *engines, GTEST = 0, SLURM = 1 };

/* Digits alone, up to `most`; false for anything else. */
static bool whole_number(const char *text, size_t length, int most, int *number) {
    long value = 0;
    if (length == 0 || length > 9) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = 10 * value + (text[i] - '0');
    }
    *number = (int)value;
    return value <= most;
}

static mp_status check(mp_shard shard, const char *by, mp_error *err) {
    if (shard.index < shard.count) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s: shard %d of %d: expected an index from 0 to %d", by, shard.index,
                   shard.count, shard.count - 1);
}

/* ---- the environment ---- */

static const char *variable(const char *name) {
    const char *value = name ? getenv(name) : NULL;
    return value && *value ? value : NULL; /* nothing is as good as not there */
}

static mp_status read_variable(const char *name, int least, int *number, mp_error *err) {
    const char *value = variable(name);
    if (!value)
        return mp_fail(err, MP_EINPUT, "%s is not set, which the other variables of a shard go with", name);
    if (whole_number(value, strlen(value), MP_SHARDS_MAX, number) && *number >= least) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s=%s: expected a whole number from %d to %d", name, value, least,
                   MP_SHARDS_MAX);
}

/* Ids of a Slurm array are MIN, MIN + STEP, ...; a list of others, as 1,3,7, numbers no shards. */
static mp_status read_slurm(mp_shard *shard, mp_error *err) {
    int id = 0, lowest = 0, highest = 0, step = 1;
    mp_status status = read_variable("SLURM_ARRAY_TASK_ID", 0, &id, err);
    if (status == MP_OK) status = read_variable("SLURM_ARRAY_TASK_COUNT", 1, &shard->count, err);
    if (status == MP_OK) status = read_variable("SLURM_ARRAY_TASK_MIN", 0, &lowest, err);
    if (status == MP_OK) status = read_variable("SLURM_ARRAY_TASK_MAX", 0, &highest, err);
    if (status == MP_OK && variable("SLURM_ARRAY_TASK_STEP"))
        status = read_variable("SLURM_ARRAY_TASK_STEP", 1, &step, err);
    if (status != MP_OK) return status;
    shard->index = (id - lowest) / step;
    if (id < lowest || (id - lowest) % step != 0 || (highest - lowest) / step + 1 != shard->count)
        return mp_fail(
            err, MP_EINPUT,
            "SLURM_ARRAY_TASK_ID=%d of %d tasks from %d to %d: expected an array that is a range, as "
            "0-7; or say how many shards there are, --shard auto/N, and the id is the index",
            id, shard->count, lowest, highest);
    return MP_OK;
}

/* count > 0: that many, whatever the engine says. */
static mp_status read_engine(int e, int count, mp_shard *shard, mp_error *err) {
    mp_status status = MP_OK;
    if (count == 0 && e == SLURM) {
        status = read_slurm(shard, err);
    } else {
        shard->count = count;
        status = read_variable(engines[e].index, 0, &shard->index, err);
        if (status == MP_OK && count == 0 && !engines[e].count)
            return mp_fail(err, MP_EINPUT,
                           "%s=%d is set, but no variable says of how many shards: expected --shard auto/N",
                           engines[e].index, shard->index);
        if (status == MP_OK && count == 0) status = read_variable(engines[e].count, 1, &shard->count, err);
    }
    return status == MP_OK ? check(*shard, engines[e].index, err) : status;
}

/* An engine may run inside of another one, which has one process then: that one tells of the whole. */
static mp_status look_around(int count, mp_shard_choice *choice, mp_error *err) {
    int found = -1;
    for (int e = 0; e < ENGINES; e++) {
        mp_shard shard;
        if (!variable(engines[e].index)) continue;
        const mp_status status = read_engine(e, count, &shard, err);
        if (status != MP_OK) return status;
        const mp_shard before = choice->shard;
        const bool same = found >= 0 && before.index == shard.index && before.count == shard.count;
        if (same || (found >= 0 && shard.count == 1)) continue;
        if (found >= 0 && before.count > 1)
            return mp_fail(
                err, MP_EINPUT,
                "--shard auto: %s says shard %d of %d, %s shard %d of %d: expected one of them; say "
                "--shard I/N",
                engines[found].index, before.index, before.count, engines[e].index, shard.index, shard.count);
        choice->shard = shard;
        found = e;
    }
    if (found < 0)
        return mp_fail(
            err, MP_EINPUT,
            "--shard auto: no engine tells which shard this is: expected one of GTEST_SHARD_INDEX, "
            "SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, PMI_RANK and JOB_COMPLETION_INDEX, or "
            "--shard I/N");
    snprintf(choice->by, sizeof choice->by, "%s", engines[found].index);
    choice->chosen = true;
    return MP_OK;
}

/* ---- the line ---- */

static mp_status refuse(const char *text, mp_error *err) {
    return mp_fail(err, MP_EINPUT,
                   "--shard %s: expected I/N, as 0/4 (I from 0 to N - 1, N at most %d), auto or auto/N", text,
                   MP_SHARDS_MAX);
}

mp_status mp_shard_choose(const char *text, bool gtest, mp_shard_choice *choice, mp_error *err) {
    int index = 0, count = 0;
    *choice = (mp_shard_choice){.shard = {0, 1}};
    if (!text && !(gtest && variable(engines[GTEST].count))) return MP_OK;
    if (!text) {
        choice->chosen = true;
        snprintf(choice->by, sizeof choice->by, "%s", engines[GTEST].index);
        return read_engine(GTEST, 0, &choice->shard, err);
    }
    const char *slash = strchr(text, '/');
    if (slash && (!whole_number(slash + 1, strlen(slash + 1), MP_SHARDS_MAX, &count) || count < 1))
        return refuse(text, err);
    const size_t length = slash ? (size_t)(slash - text) : strlen(text);
    if (length == 4 && strncmp(text, "auto", 4) == 0) return look_around(count, choice, err);
    if (!slash || !whole_number(text, length, MP_SHARDS_MAX, &index)) return refuse(text, err);
    *choice = (mp_shard_choice){.shard = {index, count}, .chosen = true, .by = "--shard"};
    return check(choice->shard, "--shard", err);
}

mp_status mp_shard_acknowledge(const mp_shard_choice *choice, mp_error *err) {
    const char *path = variable("GTEST_SHARD_STATUS_FILE");
    if (!path || strcmp(choice->by, engines[GTEST].index) != 0) return MP_OK;
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0) return mp_fail(err, MP_EIO, "GTEST_SHARD_STATUS_FILE=%s: %s", path, strerror(errno));
    close(fd);
    return MP_OK;
}
