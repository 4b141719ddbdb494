/* SPDX-License-Identifier: Apache-2.0 */
/* Which GPUs of this machine a run uses: --devices. Each worker is started with one of them visible, so that
 * kernels, plug-ins and programs all find it as their first one. */
#ifndef MP_HARNESS_DEVICES_H
#define MP_HARNESS_DEVICES_H

#include "moeparity/status.h"

enum { MP_DEVICES_MAX = 64 };

typedef struct mp_device {
    char name[12];     /* as --devices has it: its place among those that this program sees, "1" */
    char visible[160]; /* what a worker's environment says: "CUDA_VISIBLE_DEVICES=GPU-8f6d..." */
} mp_device;

typedef struct mp_devices {
    mp_device device[MP_DEVICES_MAX];
    int count; /* 0: nobody has chosen, and workers see what this program sees */
} mp_devices;

/* Reads "0,1" or "all", of as many devices as there are. text NULL is none; visible: CUDA_VISIBLE_DEVICES of
 * this program, whose parts the devices are, or NULL. MP_EINPUT for another text, for one that is named twice
 * or is not there, and for `all` of none. */
mp_status mp_devices_read(const char *text, int there, const char *visible, mp_devices *devices,
                          mp_error *err);
/* The same of this machine: the driver is asked, but where text is NULL. MP_EINPUT, too, where it finds none.
 */
mp_status mp_devices_choose(const char *text, mp_devices *devices, mp_error *err);

#endif
