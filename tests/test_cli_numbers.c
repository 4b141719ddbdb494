/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that the program stores and prints, against arithmetic of the test's own. */
#include "tests/cli_support.h"

#include <hdf5.h>
#include <math.h>

/* A tensor of the only case of a golden as float64: what the caller frees, and how many elements. */
static double *numbers(const char *path, const char *tensor, size_t *count) {
    char name[1024];
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(H5Lget_name_by_idx(file, ".", H5_INDEX_NAME, H5_ITER_INC, 0, name, sizeof name, H5P_DEFAULT) >
                0);
    const hid_t group = H5Gopen2(file, name, H5P_DEFAULT), set = H5Dopen2(group, tensor, H5P_DEFAULT),
                space = H5Dget_space(set);
    *count = (size_t)H5Sget_simple_extent_npoints(space);
    double *data = malloc(*count * sizeof *data);
    assert_true(data && H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Sclose(space);
    H5Dclose(set);
    H5Gclose(group);
    H5Fclose(file);
    return data;
}

/* Without the cancellation of 1 + erf and 1 + tanh at negative arguments. */
static double exact(const char *act, double gate) {
    const long double g = gate;
    if (strcmp(act, "gelu") == 0) return (double)(g * 0.5L * erfcl(-g * sqrtl(0.5L)));
    return (double)(g / (1 + expl(-2 * sqrtl(2 / acosl(-1)) * (g + 0.044715L * g * g * g))));
}

/* float64 truth, rounded to bf16 once, at every gate that bf16 has. */
static void gelu_at_negative_gates(void **state) {
    (void)state;
    static const char *const acts[] = {"gelu", "gelu_tanh"};
    for (size_t a = 0; a < 2; a++) {
        char command[512];
        size_t both, count, negative = 0;
        snprintf(command, sizeof command,
                 "moeparity golden record %s.h5 --case 'scope=act act=%s data=exhaustive M=64 topk=1 "
                 "N=1024' --subject ref --inputs -q",
                 acts[a], acts[a]);
        expect(command, 0, "recorded 1 case", "");
        snprintf(command, sizeof command, "%s.h5", acts[a]);
        double *cache1 = numbers(command, "inputs/cache1", &both),
               *value = numbers(command, "cache2", &count);
        assert_int_equal(count, 65536);
        assert_int_equal(both, 2 * count); /* in each row 1024 gates, then as many times 1 */
        for (size_t i = 0; i < count; i++) {
            const double gate = cache1[i / 1024 * 2048 + i % 1024], expected = exact(acts[a], gate);
            if (!isfinite(gate) || !(fabs(expected) >= 0x1p-126)) continue;
            if (!(fabs(value[i] - expected) <= 0x1.0001p-8 * fabs(expected) || isinf(value[i])))
                fail_msg("%s(%.9g) is %.9g instead of %.9g", acts[a], gate, value[i], expected);
            negative += gate < -8.3;
        }
        assert_true(negative >= (a == 0 ? 40 : 10)); /* down to -13, and to -10 */
        free(cache1);
        free(value);
    }
}

/* The printed figure, where another stage has the largest ratio. */
static void max_abs_is_the_largest_of_any_stage(void **state) {
    (void)state;
    expect("moeparity run --case 'M=8 mode=no_combine' --case 'M=8 topk=1' --case M=8 --case 'M=8 act=gelu' "
           "--subject host --json max.json",
           0, "4 passed", "");
    json_t *report = json_file("max.json");
    const json_t *v, *stage;
    const char *name, *row = out;
    size_t i, elsewhere = 0;
    json_array_foreach(json_object_get(report, "verdicts"), i, v) {
        double largest = 0, ratio = 0, of_worst = 0, printed;
        json_object_foreach(json_object_get(v, "stages"), name, stage) {
            const double error = json_number_value(json_object_get(stage, "max_abs")),
                         r = json_number_value(json_object_get(stage, "max_ratio"));
            largest = fmax(largest, error);
            if (r > ratio) ratio = r, of_worst = error;
        }
        elsewhere += of_worst < largest;
        assert_non_null(row = strstr(row, "max-abs="));
        assert_int_equal(sscanf(row, "max-abs=%lf", &printed), 1);
        assert_true(largest > 0 && fabs(printed - largest) <= 0.006 * largest);
        row++;
    }
    assert_true(elsewhere > 0);
    json_decref(report);
}

/* As the README says: down does not apply the router weights. */
static void no_combine_gives_unweighted_rows(void **state) {
    (void)state;
    size_t weights, weighted, rows;
    expect("moeparity golden record weighted.h5 --case 'M=4 E=3 K=16 N=8' --subject ref --inputs -q && "
           "moeparity golden record rows.h5 --case 'M=4 E=3 K=16 N=8 mode=no_combine' --subject ref -q",
           0, "recorded 1 case", "");
    double *w = numbers("weighted.h5", "inputs/topk_weights", &weights),
           *cache3 = numbers("weighted.h5", "cache3", &weighted),
           *out_rows = numbers("rows.h5", "out", &rows);
    assert_int_equal(weights, 4 * 2);
    assert_int_equal(weighted, 4 * 2 * 16);
    assert_int_equal(rows, weighted);
    for (size_t i = 0; i < rows; i++) {
        assert_true(w[i / 16] < 0.99);
        assert_true(fabs(out_rows[i] * w[i / 16] - cache3[i]) <= 0x1p-7 * fabs(cache3[i]));
    }
    free(w);
    free(cache3);
    free(out_rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_at_negative_gates),
        cmocka_unit_test(max_abs_is_the_largest_of_any_stage),
        cmocka_unit_test(no_combine_gives_unweighted_rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
