/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: one group of a matrix file -> rows. */
#ifndef MP_CASES_GROUP_H
#define MP_CASES_GROUP_H

#include "cases/yaml.h"
#include "moeparity/matrix.h"

/* Appends the group's cases to *m; errors name file and line. `defaults` are the file's. */
mp_status mp_group_expand(mp_yaml *y, const yaml_node_t *node, const mp_case *defaults, mp_matrix *m);
/* Sets the fields of a mapping on *c. */
mp_status mp_group_set_fields(mp_yaml *y, const yaml_node_t *mapping, const char *what, mp_case *c);

/* Appends a row without pairs; a pair to a row; a case that runs before it. The texts are copied. */
mp_status mp_matrix_append(mp_matrix *m, const mp_case *c, mp_tier tier, const char *group, mp_error *err);
mp_status mp_matrix_append_pair(mp_matrix_row *row, const mp_case *variant, const char *text, mp_error *err);
mp_status mp_matrix_append_after(mp_matrix_row *row, const mp_case *before, const char *text, mp_error *err);

#endif
