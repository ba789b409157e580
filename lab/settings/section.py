"""Settings sections: the lab's own, and those made from the core's dataclasses.

A policy is a frozen dataclass whose fields are its settings. `section` makes a section of such a
class, so that its names, defaults and ranges are written down once, and `built` makes the policy
of what was read.
"""

from __future__ import annotations

import functools
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model, model_validator
from pydantic import Field as Setting


class Section(BaseModel):
    # Strict: "6" and true are no numbers. What TOML can say with a type is not to be guessed.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataSection(Section):
    """A section that stands for a dataclass of the core."""

    model_config = ConfigDict(allow_inf_nan=False)

    stands_for: ClassVar[type[Any]]

    def built(self) -> Any:
        """The dataclass with the values of this section.

        Raises ValueError where the class says that they do not go together.
        """
        return self.stands_for(**{n: _built(getattr(self, n)) for n in type(self).model_fields})

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        self.built()
        return self


def _built(value: Any) -> Any:
    if isinstance(value, DataSection):
        return value.built()
    return tuple(map(_built, value)) if isinstance(value, tuple) else value


@functools.cache
def section(kind: type[Any], like: Any = None) -> type[DataSection]:
    """The section of a dataclass, with the class's defaults or the values of an instance of it.

    Fields that others fill in (`metadata={"wired": True}`) are no settings.
    """
    hints = get_type_hints(kind, include_extras=True)
    given: dict[str, Any] = {}
    for each in fields(kind):
        if not each.metadata.get("wired"):
            default = _default(each) if like is None else getattr(like, each.name)
            given[each.name] = _setting(hints[each.name], default), _read(default)
    made = create_model(kind.__name__, __base__=DataSection, __doc__=kind.__doc__, **given)
    made.stands_for = kind
    return made


def _default(field: Field[Any]) -> Any:
    if field.default is MISSING and field.default_factory is MISSING:
        return ...
    return field.default if field.default_factory is MISSING else field.default_factory()


def _setting(hint: Any, default: Any = ...) -> Any:
    """The type of a setting: as in the dataclass, but as TOML can write it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_setting(arguments[0], default), *arguments[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_setting, arguments))]  # noqa: UP007 - of a computed tuple
    if origin is tuple:
        items = types.GenericAlias(tuple, (_setting(arguments[0]), ...))
        return Annotated[(items, Setting(strict=False))]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return Annotated[hint, Setting(strict=False)]
    if is_dataclass(hint) and isinstance(hint, type):
        # What is not written of a section in a section is as in the outer one's default.
        return section(hint) if default is ... else section(hint, default)
    return hint


def _read(value: Any) -> Any:
    """A default as it would be read."""
    if isinstance(value, tuple):
        return tuple(map(_item, value))
    kind: Any = type(value)
    return section(kind, value)() if _is_data(value) else value


def _item(value: Any) -> Any:
    if not _is_data(value):
        return value
    kind: Any = type(value)
    made = section(kind)
    return made(**{name: _read(getattr(value, name)) for name in made.model_fields})


def _is_data(value: Any) -> bool:
    return bool(is_dataclass(type(value)))
