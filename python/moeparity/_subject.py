# SPDX-License-Identifier: Apache-2.0
"""A Python function as a subject: what it asks for, what it promises, and how it is called."""

import difflib
import functools
import inspect
import re

from moeparity import _arrays
from moeparity._only import Only

ADDED = ("b1", "b2", "shared_output")  # what a kernel that never asks for them cannot add
MAP = "expert_map"  # and without this one it takes the ids of all ranks' experts for its own
# What tensors are named, the field that cases have them by, and its value in cases that have not.
COME_WITH = (
    (r"lora_\w+|token_lora|adapter_enabled|seg_indptr|req_to_lora", "lora_adapters", 0),
    (r"\w+_(scale|zero|codes)", "quant", "none"),
)
ANY = "any"  # the contract of a kernel of which nothing is known: what every sane one meets


class Unsupported(Exception):
    """Raised by a kernel, anywhere: this case is a SKIP with this text as its reason."""


def subject(
    function=None,
    *,
    name=None,
    version=None,
    contract=None,
    scope=None,
    exposes=None,
    supports=None,
    tensors=None,
    block_size_m=None,
):
    """Says of a function what moeparity cannot see. The function itself stays as it is.

    name, version  as reports show them; else the function's name
    contract       what it promises of its arithmetic: the name of a contract, fields that differ behind it
                   ("sm_90 act.rounding=gate-rounded"); a dict {"preset": ..., field: value}; or a function of
                   the case that gives either. None: "any", what every sane kernel meets
    scope          the stage that it is alone, "act": all other cases are a SKIP
    exposes        names of the outputs that it leaves, "cache1 out" or a list, or a function of the case that
                   gives them. None: those that its parameters name, else what it returns
    supports       moeparity.only(mode="combine", ...), or a function of the case: None or True, or why the
                   case cannot be run, which is a SKIP
    tensors        "numpy", "torch" (on the host), "cuda" (torch on the GPU), "cupy". None: torch where the
                   function's module has torch imported (on the GPU if there is one), else numpy
    block_size_m   the block to which align pads, a power of two in 16..256, 144, or a function of the case.
                   None: that of the tile
    """
    options = dict(
        name=name,
        version=version,
        contract=contract,
        scope=scope,
        exposes=exposes,
        supports=supports,
        tensors=tensors,
        block_size_m=block_size_m,
    )

    def decorate(f):
        described = Subject(f, **options)
        try:
            f.__moeparity__ = described
        except AttributeError as error:
            raise TypeError(f"{f!r} is no function that can be decorated: {error}") from error
        return f

    return decorate if function is None else decorate(function)


def subject_of(function, **options):
    """The Subject that a function was decorated with, or one without options; `options` that are given go
    before those."""
    described = getattr(function, "__moeparity__", None)
    if isinstance(function, Subject):
        described = function
    if described is None:
        return Subject(function, **options)
    return Subject(described.function, **{**described.options, **options}) if options else described


class Subject:
    """A function and what was said of it."""

    def __init__(self, function, **options):
        if not callable(function):
            raise TypeError(f"{function!r} is no function: a subject is one of (x, w1, ..., case)")
        known = inspect.signature(subject).parameters
        for option in options:
            if option not in known or option == "function":
                raise TypeError(f"a subject has no option {option!r}")
        self.function = function
        self.options = options
        self.name = options.get("name") or _name_of(function)
        self.version = options.get("version")
        self.scope = options.get("scope")
        self._parameters = _parameters_of(function, self.name)
        exposes = options.get("exposes")
        self._exposes = exposes if callable(exposes) else _words("exposes", exposes)
        self._library = None

    @property
    def library(self):
        """The arrays that it takes, a member of _arrays; opened when it is asked for first."""
        if self._library is None:
            self._library = _arrays.open_library(
                self.options.get("tensors") or _arrays.library_of(inspect.unwrap(_innermost(self.function)))
            )
        return self._library

    def offer(self, case):
        """What it promises of a case, as the protocol has it. Unsupported where it cannot run it."""
        if self.scope not in (None, case.scope):
            raise Unsupported(f"{self.name} is {self.scope} alone")
        supports = self.options.get("supports")
        named = (self.name,) if isinstance(supports, Only) else ()
        answer = supports(case, *named) if supports else None
        if answer is not None and answer is not True:
            raise Unsupported(answer if isinstance(answer, str) else f"{self.name} does not support it")
        for name, parameter in self._parameters.items():
            if (
                name != "case"
                and name not in case.inputs + case.outputs
                and parameter.default is parameter.empty
            ):
                raise Unsupported(self._absent(name, case))
        unseen = [name for name in ADDED if name in case.inputs and name not in self._parameters]
        if unseen:
            option = "shared=add" if unseen == ["shared_output"] else "bias=1"
            raise Unsupported(f"{option}: {self.name} has no parameter {', '.join(unseen)}")
        if MAP in case.inputs and MAP not in self._parameters:
            raise Unsupported(f"{MAP}={case.expert_map}: {self.name} has no parameter {MAP}")
        offer = {}
        exposes = self._exposed(case)
        if exposes:
            offer["exposes"] = list(exposes)
        elif named := self._exposes_of(case):
            raise Unsupported(
                f"{self.name} leaves {', '.join(named)}; the case's outputs are "
                f"{', '.join(case.outputs)}"
            )
        offer["contract"] = contract_words(self.options.get("contract"), case)
        block = self.options.get("block_size_m")
        block = block(case) if callable(block) else block
        if block is not None:
            offer["block_size_m"] = int(block)
        return offer

    def run(self, case, places, memory):
        """Calls the function on the tensors of a run, and copies what it returned into them. Gives the names
        of the outputs that are left."""
        views = {p["name"]: self.library.view(_arrays.held(p), memory) for p in places}
        writable = [p["name"] for p in places if p["is_output"]]
        arguments = {}
        for name, parameter in self._parameters.items():
            if name == "case":
                arguments[name] = case
            elif name in views:
                arguments[name] = views[name]
            elif parameter.default is parameter.empty:
                raise Unsupported(self._absent(name, case))
        returned = self.function(**arguments)
        left = [name for name in writable if name in arguments]
        for name, value in self._named(returned, case, writable, left).items():
            self.library.take(f"{self.name} returned {name}: it" if name else self.name, value, views[name])
            if name not in left:
                left.append(name)
        missing = [name for name in self._exposed(case) if name not in left]
        if missing:
            raise ValueError(
                f"{self.name} exposes {', '.join(missing)}, and returned {', '.join(left)} only"
            )
        return left

    def _exposes_of(self, case):
        """What was said of its outputs, () where nothing was."""
        return _words("exposes", self._exposes(case)) if callable(self._exposes) else self._exposes

    def _exposed(self, case):
        """The outputs of a case that are known to be left before it runs; () where only the run tells."""
        named = self._exposes_of(case) or [name for name in self._parameters if name in case.outputs]
        return [name for name in named if name in case.outputs]

    def _named(self, returned, case, writable, left):
        """What was returned, by the names of outputs."""
        if returned is None and left:
            return {}
        single = self._single(case)
        if returned is None:
            raise TypeError(
                f"{self.name} returned None; expected {single or 'a dict'}, or a dict of outputs by name: "
                f"{', '.join(case.outputs)}"
            )
        if not isinstance(returned, dict):
            if isinstance(returned, (tuple, list)):
                raise TypeError(
                    f"{self.name} returned a {type(returned).__name__}; expected an array, or a dict of "
                    f"outputs by name: {', '.join(case.outputs)}"
                )
            if not single:
                raise TypeError(
                    f"{self.name} returned one array; expected a dict of outputs by name: "
                    f"{', '.join(case.outputs)}"
                )
            return {single: returned}
        if not returned and not left:
            raise ValueError(f"{self.name} returned an empty dict; expected {', '.join(case.outputs)}")
        for name in returned:
            if name not in case.outputs:
                raise ValueError(
                    f"{self.name} returned {name!r}, which is no output of this case: expected "
                    f"{', '.join(case.outputs)}"
                )
            if name not in writable:
                raise ValueError(
                    f"{self.name} returned {name!r}, which it does not expose: expected "
                    f"{', '.join(writable)}; name it in exposes="
                )
        return returned

    def _single(self, case):
        """The output that an array without a name is."""
        exposed = self._exposed(case)
        if len(exposed) == 1:
            return exposed[0]
        if len(case.outputs) == 1:
            return case.outputs[0]
        return "out" if "out" in case.outputs else None

    def _absent(self, name, case):
        for names, field, without in COME_WITH:
            if re.fullmatch(names, name) and case.fields.get(field) == without:
                return f"{field}={without}: {self.name} asks for {name}, which such a case has not"
        has = case.inputs + case.outputs
        near = difflib.get_close_matches(name, has, n=1, cutoff=0.8)
        return (
            f"{self.name} asks for {name}, which this case has not"
            f"{f'; is {near[0]} meant?' if near else f': it has ' + ', '.join(has)}"
        )


def contract_words(contract, case):
    """What stands behind contract=, as the program reads it: "preset field=value ..."."""
    if callable(contract):
        contract = contract(case)
    if contract is None:
        return ANY
    if isinstance(contract, str):
        return contract
    if isinstance(contract, dict):
        fields = dict(contract)
        words = [str(fields.pop("preset", ""))]
        return " ".join(words + [f"{name}={_value(value)}" for name, value in fields.items()]).strip()
    raise TypeError(f"contract={contract!r}: expected a text, a dict or a function of the case")


def _value(value):
    return int(value) if isinstance(value, bool) else value


def _words(option, value):
    if value is None:
        return ()
    words = value.split() if isinstance(value, str) else list(value)
    if not words or not all(isinstance(word, str) for word in words):
        raise TypeError(f"{option}={value!r}: expected names of outputs")
    return tuple(words)


def _innermost(function):
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function):
    return getattr(_innermost(function), "__name__", type(function).__name__)


def _parameters_of(function, name):
    parameters = inspect.signature(function).parameters
    for parameter in parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(
                f"{name}: the parameter {parameter} tells no tensor by its name: expected x, w1, ..., case"
            )
    return parameters
