/* SPDX-License-Identifier: Apache-2.0 */
/* The version: of these headers, and of the library that a program runs with. The build takes it from here.
 * While it begins with 0, a second number that changes may break the interface. */
#ifndef MOEPARITY_VERSION_H
#define MOEPARITY_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define MOEPARITY_VERSION "0.1.0"
#define MOEPARITY_VERSION_MAJOR 0
#define MOEPARITY_VERSION_MINOR 1
#define MOEPARITY_VERSION_PATCH 0

/* MOEPARITY_VERSION of the library itself. */
const char *mp_version(void);

#ifdef __cplusplus
}
#endif

#endif
