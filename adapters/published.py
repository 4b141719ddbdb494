# SPDX-License-Identifier: Apache-2.0
"""Modules of a package that is installed, without the engine around them.

The kernel files of an engine import a few names of the rest of it: device predicates, flags of a server that
runs, operators of a native library. Importing the whole engine for them would start half of it and needs
everything that it depends on. So the package is not executed from its top: its folders are entered in
sys.modules as they are on disk, the modules that have arithmetic in them are the package's own, and the names
that have none are stood in for. What is stood in for and does compute is noted, and goes into the version of
the subject, so that every report says it.
"""
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import os
import sys
import types


class Absent(Exception):
    """Why the kernels of a package cannot be had here. A subject answers each case with it: a SKIP."""


class Package:
    """A package on disk.

    name     as it is imported
    version  of its metadata
    notes    what is stood in for and computes something, in words for people
    """

    def __init__(self, name, known):
        """Finds it, and executes nothing of it. known: the version that the adapter was written for.
        Absent where there is none."""
        here = os.path.dirname(os.path.abspath(__file__))
        path = [p for p in sys.path if os.path.abspath(p or ".") != here]
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or not spec.submodule_search_locations:
            raise Absent(f"the package {name} is not installed (the adapter knows {name} {known})")
        self.name = name
        self.notes = []
        self.root = list(spec.submodule_search_locations)[0]
        try:
            self.version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            self.version = "of unknown version"
        if self.version != known:
            self.notes.append(f"the adapter was written for {known}")
        self.stand_in(name)

    def stand_in(self, name, **names):
        """Enters a module of these names that has no code; modules below it are found in the package's
        folder. A name that is asked for and not given raises AttributeError, as in any module."""
        parent, _, last = name.rpartition(".")
        if parent and parent not in sys.modules:
            self.stand_in(parent)
        module = types.ModuleType(name)
        folder = os.path.join(os.path.dirname(self.root), *name.split("."))
        module.__path__ = [folder] if os.path.isdir(folder) else []
        module.__dict__.update(names)
        sys.modules[name] = module
        if parent:
            setattr(sys.modules[parent], last, module)
        return module

    def own(self, name):
        """The package's own module. Absent says what it lacks."""
        try:
            return importlib.import_module(name)
        except Exception as error:  # whatever a package does while it is imported, the run goes on without it
            raise Absent(f"{self.name} {self.version}: {name} cannot be imported: {error!r}") from error

    def function(self, module, name, parameters):
        """A function of its own, which must take these parameters (a text of names): another version may
        have changed it. Absent says how."""
        found = getattr(module, name, None)
        if found is None:
            raise Absent(f"{self.name} {self.version}: {module.__name__} has no {name}")
        taken = inspect.signature(found).parameters
        missing = [p for p in parameters.split() if p not in taken]
        if missing:
            raise Absent(f"{self.name} {self.version}: {name} does not take {', '.join(missing)}")
        return found

    def note(self, text):
        """Says once that something is stood in for."""
        if text not in self.notes:
            self.notes.append(text)

    def version_line(self):
        """Its version, those of torch and Triton, and what is stood in for."""
        versions = [self.version] + [f"{name} {sys.modules[name].__version__}" for name in ("torch", "triton")
                                     if name in sys.modules]
        return ", ".join(versions) + "".join(f"; {note}" for note in self.notes)


def opened(package):
    """(package(), ""), or (None, why it cannot be had here)."""
    try:
        import torch  # noqa: F401
        import triton  # noqa: F401
    except ImportError as error:
        return None, f"{error.name} is not installed"
    try:
        return package(), ""
    except Absent as reason:
        return None, str(reason)


def tensors(torch):
    """What a subject asks for: tensors on the GPU, where there is one."""
    if torch is None:
        return "numpy"
    return "cuda" if torch.cuda.is_available() else "torch"


def words(known):
    """The words behind the name of a program that was started as a subject, by their keys: one of
    known["mode"], and key=value with one of known[key], or with any value where that is None. The first of a
    list is the default, "" that of any value. A word that is none of them ends the program with 2.

    Started by hand its words are those of moeparity: it is the subject with its defaults."""
    chosen = {key: values[0] if values else "" for key, values in known.items()}
    if "MOEPARITY_SUBJECT" not in os.environ:
        return chosen
    for word in sys.argv[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            key, value = "mode", word
        if key not in known or (known[key] and value not in known[key]):
            forms = known["mode"] + [f"{k}={'|'.join(v) if v else '...'}" for k, v in known.items() if k != "mode"]
            print(f"{sys.argv[0]}: '{word}': expected one of {', '.join(forms)}", file=sys.stderr)
            sys.exit(2)
        chosen[key] = value
    return chosen
