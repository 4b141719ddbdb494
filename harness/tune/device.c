/* SPDX-License-Identifier: Apache-2.0 */
/* Sources. Compute capability of a name: NVIDIA's list "CUDA GPUs". Shared memory of a block: the CUDA C++
 * Programming Guide, "Technical Specifications per Compute Capability", maximum amount of shared memory per
 * thread block: 96 KiB (7.0), 64 (7.5), 163 (8.0), 99 (8.6, 8.9), 227 (9.0, 10.x), 99 (12.x). TMA: from 9.0
 * on. */
#include "harness/tune/device.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define KIB *1024
static const mp_device_facts table[] = {
    {"Tesla_V100", MP_NVIDIA, 70, 96 KIB, false},
    {"Tesla_T4", MP_NVIDIA, 75, 64 KIB, false},
    {"NVIDIA_V100", MP_NVIDIA, 70, 96 KIB, false},
    {"NVIDIA_T4", MP_NVIDIA, 75, 64 KIB, false},
    {"NVIDIA_A100", MP_NVIDIA, 80, 163 KIB, false},
    {"NVIDIA_A800", MP_NVIDIA, 80, 163 KIB, false},
    {"NVIDIA_A30", MP_NVIDIA, 80, 163 KIB, false},
    {"NVIDIA_A10", MP_NVIDIA, 86, 99 KIB, false},
    {"NVIDIA_A10G", MP_NVIDIA, 86, 99 KIB, false},
    {"NVIDIA_A40", MP_NVIDIA, 86, 99 KIB, false},
    {"NVIDIA_GeForce_RTX_30", MP_NVIDIA, 86, 99 KIB, false},
    {"NVIDIA_GeForce_RTX_40", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_L4", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_L20", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_L40", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_L40S", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_RTX_6000_Ada", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_RTX_5880_Ada", MP_NVIDIA, 89, 99 KIB, false},
    {"NVIDIA_H100", MP_NVIDIA, 90, 227 KIB, true},
    {"NVIDIA_H800", MP_NVIDIA, 90, 227 KIB, true},
    {"NVIDIA_H200", MP_NVIDIA, 90, 227 KIB, true},
    {"NVIDIA_H20", MP_NVIDIA, 90, 227 KIB, true},
    {"NVIDIA_GH200", MP_NVIDIA, 90, 227 KIB, true},
    {"NVIDIA_B100", MP_NVIDIA, 100, 227 KIB, true},
    {"NVIDIA_B200", MP_NVIDIA, 100, 227 KIB, true},
    {"NVIDIA_GB200", MP_NVIDIA, 100, 227 KIB, true},
    {"NVIDIA_B300", MP_NVIDIA, 103, 227 KIB, true},
    {"NVIDIA_GB300", MP_NVIDIA, 103, 227 KIB, true},
    {"NVIDIA_GeForce_RTX_50", MP_NVIDIA, 120, 99 KIB, true},
    {"NVIDIA_RTX_PRO_", MP_NVIDIA, 120, 99 KIB, true},
    {"NVIDIA_GB10", MP_NVIDIA, 121, 99 KIB, true},
};

static const struct {
    const char *begin;
    mp_vendor vendor;
} vendors[] = {{"NVIDIA", MP_NVIDIA}, {"Tesla", MP_NVIDIA}, {"GeForce", MP_NVIDIA},
               {"AMD", MP_AMD},       {"Radeon", MP_AMD},   {"Intel", MP_INTEL}};

const char *mp_vendor_name(mp_vendor vendor) {
    static const char *const names[] = {"NVIDIA", "AMD", "Intel", "an unknown vendor"};
    return names[vendor];
}

static bool begins(const char *name, const char *begin) {
    for (; *begin; name++, begin++)
        if ((*name == ' ' ? '_' : *name) != *begin) return false;
    return true;
}

mp_device_facts mp_device_by_name(const char *device) {
    mp_device_facts found = {.begin = "", .vendor = MP_VENDOR_UNKNOWN};
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if (strncasecmp(device, vendors[i].begin, strlen(vendors[i].begin)) == 0)
            found.vendor = vendors[i].vendor;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *begin = table[i].begin;
        const size_t length = strlen(begin);
        if (!begins(device, begin) || length < strlen(found.begin)) continue;
        /* NVIDIA_A100 is no NVIDIA_A10, and an L20Y no L20; RTX_40 begins the names of a series. */
        const bool series = strstr(begin, "_RTX_");
        if (series || !isalnum((unsigned char)device[length])) found = table[i];
    }
    return found;
}

/* What drivers report of the devices whose short names occur. */
static const char *const full_names[][2] = {
    {"NVIDIA_H100", "NVIDIA_H100_80GB_HBM3, NVIDIA_H100_PCIe or NVIDIA_H100_NVL"},
    {"NVIDIA_A100", "NVIDIA_A100-SXM4-80GB, NVIDIA_A100-SXM4-40GB or NVIDIA_A100_80GB_PCIe"},
    {"NVIDIA_A800", "NVIDIA_A800-SXM4-80GB or NVIDIA_A800_80GB_PCIe"},
};

const char *mp_device_full_names(const char *device) {
    for (size_t i = 0; i < sizeof full_names / sizeof *full_names; i++)
        if (strcmp(device, full_names[i][0]) == 0) return full_names[i][1];
    return NULL;
}
