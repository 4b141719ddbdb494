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

    def version_line(self, *others):
        """Its version, those of the packages that others names, and what is stood in for."""
        versions = [self.version] + [f"{other.__name__} {other.__version__}" for other in others]
        return ", ".join(versions) + "".join(f"; {note}" for note in self.notes)


def words(argv, defaults):
    """The words behind the program's name: one of the modes, and key=value. defaults: what each key is
    without a word, and under "mode" the modes. Ends the program with 2 at a word that is none of them."""
    chosen = {key: value for key, value in defaults.items() if key != "mode"}
    chosen["mode"] = defaults["mode"][0]
    for word in argv:
        key, equals, value = word.partition("=")
        if not equals and word in defaults["mode"]:
            chosen["mode"] = word
        elif equals and key in chosen and key != "mode":
            chosen[key] = value
        else:
            known = ", ".join(defaults["mode"]) + ", " + ", ".join(f"{k}=" for k in defaults if k != "mode")
            _usage(f"{os.path.basename(sys.argv[0])}: '{word}': expected one of {known}")
    return chosen


def _usage(text):
    print(text, file=sys.stderr)
    sys.exit(2)
