"""attrs' `define` and `frozen`, which make classes at half the cost.

The package has some 300 small classes, and attrs compiles code for each while the package is
imported; a `__repr__` is two fifths of that. Here all classes share one, which reads the fields of
whatever it is asked to show. Type checkers see attrs' own decorators.
"""

from collections.abc import Callable
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from attrs import define as define
    from attrs import frozen as frozen
else:

    def define(cls: type | None = None, **options: Any) -> Any:
        """As `attrs.define`."""
        return _made(attrs.define, cls, options)

    def frozen(cls: type | None = None, **options: Any) -> Any:
        """As `attrs.frozen`."""
        return _made(attrs.frozen, cls, options)


def _made(make: Callable[..., Any], cls: type | None, options: dict[str, Any]) -> Any:
    def decorate(target: Any) -> Any:
        if options.get("repr", True) and "__repr__" not in vars(target):
            target.__repr__ = shown
        return make(target, **options)

    return decorate if cls is None else decorate(cls)


@recursive_repr("...")
def shown(self: Any) -> str:
    """`Name(field=value, …)`: what attrs would have compiled for the class."""
    shows = ((f.name, repr if f.repr is True else f.repr) for f in attrs.fields(type(self)))
    inner = ", ".join(f"{name}={show(getattr(self, name))}" for name, show in shows if show)
    return f"{type(self).__qualname__.rsplit('>.', 1)[-1]}({inner})"
