/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/devices.h"

#include "kernels/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "CUDA_VISIBLE_DEVICES"

/* Part `index` of "GPU-1,GPU-2"; where nobody has said what is visible, the index itself. */
static mp_status set_visible(mp_device *device, int index, const char *visible, mp_error *err) {
    const char *part = visible;
    for (int i = 0; part && i < index; i++) part = strchr(part, ',') ? strchr(part, ',') + 1 : NULL;
    if (visible && !part)
        return mp_fail(err, MP_EINPUT, VARIABLE "=%.100s: expected device %d in it", visible, index);
    const size_t length = part ? strcspn(part, ",") : 0;
    const int written =
        part ? snprintf(device->visible, sizeof device->visible, VARIABLE "=%.*s", (int)length, part)
             : snprintf(device->visible, sizeof device->visible, VARIABLE "=%d", index);
    snprintf(device->name, sizeof device->name, "%d", index);
    return written < (int)sizeof device->visible
               ? MP_OK
               : mp_fail(err, MP_EINPUT, VARIABLE ": a name of %zu characters: expected at most %zu", length,
                         sizeof device->visible - sizeof VARIABLE - 1);
}

static mp_status add(mp_devices *devices, int index, const char *visible, mp_error *err) {
    mp_device *device = &devices->device[devices->count];
    const mp_status status = set_visible(device, index, visible, err);
    for (int i = 0; status == MP_OK && i < devices->count; i++)
        if (strcmp(devices->device[i].name, device->name) == 0)
            return mp_fail(err, MP_EINPUT, "--devices: %d is named twice", index);
    devices->count += status == MP_OK;
    return status;
}

static mp_status refuse(const char *text, mp_error *err) {
    return mp_fail(err, MP_EINPUT, "--devices %.100s: expected the numbers of devices, as 0,1, or all", text);
}

mp_status mp_devices_read(const char *text, int there, const char *visible, mp_devices *devices,
                          mp_error *err) {
    const bool all = text && strcmp(text, "all") == 0;
    mp_status status = MP_OK;
    *devices = (mp_devices){0};
    if (!text) return MP_OK;
    if (all && there == 0)
        return mp_fail(err, MP_EINPUT, "--devices all: there is no device on this machine");
    for (int i = 0; all && i < there && i < MP_DEVICES_MAX && status == MP_OK; i++)
        status = add(devices, i, visible, err);
    for (const char *p = text; !all && status == MP_OK;) {
        const size_t digits = strspn(p, "0123456789");
        if (digits == 0 || digits > 4 || (p[digits] != ',' && p[digits] != '\0')) return refuse(text, err);
        const int index = atoi(p);
        if (index >= there)
            return mp_fail(err, MP_EINPUT, "--devices %.100s: there is no device %d: this machine has %d%s",
                           text, index, there, there > 0 ? ", from 0 on" : "");
        if ((status = add(devices, index, visible, err)) != MP_OK || p[digits] == '\0') return status;
        p += digits + 1;
    }
    return status;
}

mp_status mp_devices_choose(const char *text, mp_devices *devices, mp_error *err) {
    int there = 0;
    *devices = (mp_devices){0};
    if (!text) return MP_OK;
    mp_status status = mp_cuda_count(&there, err);
    if (status != MP_OK) {
        mp_error_prefix(err, "--devices %.100s", text);
        err->status = MP_EINPUT;
        return MP_EINPUT;
    }
    return mp_devices_read(text, there, getenv(VARIABLE), devices, err);
}
