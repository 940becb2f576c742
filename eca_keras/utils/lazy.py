"""Packages whose names are imported when they are first used (PEP 562)."""

import importlib
import sys


def load(home):
    """Return what `module:name` stands for."""
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def attach(package, **modules):
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Type checkers do not see these names: import them under `TYPE_CHECKING`.

    Args:
        package: Its `__name__`.
        **modules: Names by the module of the package that defines them;
            submodules that are public themselves under `package_`.
    """
    submodules = modules.pop("package_", ())
    homes = {
        name: f"{package}.{module.replace('__', '.')}"
        for module, names in modules.items()
        for name in names
    }
    public = sorted([*homes, *submodules])

    def __getattr__(name):
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return __getattr__, lambda: public, public
