# SPDX-License-Identifier: Apache-2.0
"""What a kernel takes, named field by field: supports= for people."""

import difflib

from moeparity._case import FREE, OPTIONS


def only(**allowed):
    """A supports= that takes a case only if its fields have the values that are named here; an option that is
    not named must have its usual value.

        @moeparity.subject(supports=moeparity.only(mode=("combine", "inplace"), path=...))

    Options are the fields that change what is computed: act, gated, interleaved, mode, bias,
    apply_router_weight_on_input, layout, path, fused_sum, dtype, shared, quant, lora_adapters, ... The other
    fields (M, E, topk, K, N, rsf, filter, routing, data, ...) are free unless they are named.

    allowed  field -> one value; several, as a tuple, list, set or range; or ... for every value

    TypeError for a name that is no field, ValueError for a value that an option never has.
    """
    for name, values in allowed.items():
        if name not in OPTIONS and name not in FREE:
            near = difflib.get_close_matches(name, [*OPTIONS, *FREE], n=1)
            raise TypeError(
                f"only({name}=...): a case has no field {name!r}"
                f"{f'; is {near[0]} meant?' if near else f': there are ' + ', '.join([*OPTIONS, *FREE])}"
            )
        for value in _values(name, values):
            if name in OPTIONS and value not in OPTIONS[name]:
                known = ", ".join(map(_text, OPTIONS[name]))
                raise ValueError(f"only({name}={value!r}): expected one of {known}")
    usual = {name: values[0] for name, values in OPTIONS.items()}
    usual["lora_adapters"] = 0  # a number, and yet one that changes what is computed
    return Only({**usual, **allowed})


class Only:
    """Called with a case, and the name of the kernel: None, or why the case is not taken."""

    def __init__(self, allowed):
        self._allowed = {name: _values(name, values) for name, values in allowed.items() if values is not ...}

    def __call__(self, case, kernel="the kernel"):
        for name, values in self._allowed.items():
            if case.fields[name] not in values:
                return f"{name}={_text(case.fields[name])}: {kernel} takes {name}={_list(values)}"
        return None


def _values(name, values):
    if values is ...:
        return ()
    if isinstance(values, (str, int, float)):
        return (values,)
    if not isinstance(values, (tuple, list, set, frozenset, range)) or len(values) == 0:
        raise TypeError(
            f"only({name}={values!r}): expected a value, a tuple, list, set or range of some, or ..."
        )
    return values


def _list(values):
    if isinstance(values, range):
        return f"{values.start}..{values[-1]}" + (f" in steps of {values.step}" if values.step != 1 else "")
    return "|".join(map(_text, values))


def _text(value):
    return str(int(value)) if isinstance(value, bool) else str(value)
