"""Reads a configuration from YAML or a mapping, and names every fault with its place."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any

import attrs
from attrs import field

from prefetch_scheduler.engine.yaml_core import LONGEST, Document, Place, read_yaml
from prefetch_scheduler.policies.config import SOCKET_WORDS, Config, contradictions, leaves
from prefetch_scheduler.policies.config_rules import (
    KeyList,
    KeyLists,
    Path,
    Rule,
    Table,
    settled,
    value_faults,
)
from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.figures import shown
from prefetch_scheduler.policies.values import define, frozen
from prefetch_scheduler.policies.yaml_text import printable

_LONGEST_WORD = 80  # of a key that a message quotes, or that is compared with the valid ones
TOP_KEY = "prefetch_scheduler_config"
"""The key that the specification puts the configuration under; it may be left out."""


def load_config(source: Config | Mapping[str, Any] | str | os.PathLike[str] | None) -> Config:
    """The configuration that a host means.

    Args:
        source: a `Config` (returned as it is), a mapping of the YAML file's shape, the path of a
            YAML file, or None for the defaults.

    Raises:
        ConfigError: `source` has faults or cannot be read. Each line of a file's error begins
            with `FILE:LINE:COL`, each line of a mapping's with the path of the value.
    """
    if source is None:
        return Config()
    if isinstance(source, Config):
        return source
    if isinstance(source, Mapping):
        return _checked(Document(data=source), None)
    if isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        return _checked(read_yaml(_bytes_of(name)), name)
    raise ConfigError(
        f"configuration: {shown(source)} is neither a Config nor a mapping, a path or None"
    )


def _bytes_of(name: str) -> bytes:
    try:
        with FilePath(name).open("rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a NUL in the name
        reason = str(error)
    raise ConfigError(f"{name}: the configuration cannot be read: {reason}")


@frozen
class _Fault:
    path: Path
    text: str
    at_key: bool = False
    """Whether the key is at fault, not the value."""

    @property
    def line(self) -> str:
        where = ".".join(printable(part[:_LONGEST_WORD]) for part in self.path)
        return f"{where}: {self.text}" if where else self.text

    def place(self, document: Document) -> Place:
        """Where the fault stands: the nearest place known, from the value outwards."""
        if self.at_key and self.path in document.keys:
            return document.keys[self.path]
        known = (document.values.get(self.path[:n]) for n in range(len(self.path), -1, -1))
        return next((place for place in known if place is not None), Place(1, 1))


def _checked(document: Document, name: str | None) -> Config:
    faults = [(place, text) for place, text in document.faults]
    if document.data is None and faults:  # nothing could be read
        raise _error(name, faults)
    data = document.data
    if isinstance(data, Mapping) and TOP_KEY in data:
        beside = [_Fault((str(k),), f"move it below {TOP_KEY}", True) for k in data if k != TOP_KEY]
        faults += [(fault.place(document), fault.line) for fault in beside]
        document = document.below(TOP_KEY)
    reader = _Reader()
    config = reader.config(document.data)
    faults += [(fault.place(document), fault.line) for fault in reader.faults]
    if config is None or faults:
        raise _error(name, faults)
    return config if name is None else _from_folder(config, os.path.dirname(os.path.abspath(name)))


def _from_folder(config: Config, folder: str) -> Config:
    """The same with its paths relative to the folder of its file, `~` being a home folder."""
    path, socket = config.cache.cold_path, config.monitor.socket
    if path != Config().cache.cold_path or config.cache.cold_store != "memory":
        path = os.path.join(folder, os.path.expanduser(path))  # somebody has written or uses it
    if socket not in SOCKET_WORDS:
        socket = os.path.join(folder, os.path.expanduser(socket))
    return attrs.evolve(
        config,
        cache=attrs.evolve(config.cache, cold_path=path),
        monitor=attrs.evolve(config.monitor, socket=socket),
    )


def _error(name: str | None, faults: list[tuple[Place, str]]) -> ConfigError:
    if name is None:
        return ConfigError([text for _, text in faults])
    in_order = sorted(faults, key=lambda fault: fault[0])
    return ConfigError([f"{printable(name)}:{place}: {text}" for place, text in in_order])


@define
class _Reader:
    """Walks the data along the fields of `Config`; notes every fault and goes on."""

    faults: list[_Fault] = field(factory=list)

    def config(self, data: object) -> Config | None:
        """The configuration; None where there are faults."""
        given = self._group(Config, data, ())
        self._contradictions(given)
        if self.faults:
            return None
        groups = _groups()
        return Config(**{k: groups[k](**v) if k in groups else v for k, v in given.items()})

    def _note(self, path: Path, text: str, *, at_key: bool = False) -> None:
        self.faults.append(_Fault(path, text, at_key))

    def _group(self, cls: type, data: object, path: Path) -> dict[str, Any]:
        """The sound values of one group, by key. Nothing below its key means all defaults."""
        if data is None:
            return {}
        fields = attrs.fields_dict(cls)
        if not isinstance(data, Mapping):
            self._note(path, f"{shown(data)} is not a mapping with any of {', '.join(fields)}")
            return {}
        given: dict[str, Any] = {}
        for key, value in data.items():
            here = (*path, str(key))
            if key not in fields:
                self._unknown(here, tuple(fields))
                continue
            metadata = fields[key].metadata
            if "group" in metadata:
                given[key] = self._group(metadata["group"], value, here)
            else:
                self._value(given, metadata["rule"], value, here)
        return given

    def _value(self, given: dict[str, Any], rule: Rule, value: Any, path: Path) -> None:
        if value is None and isinstance(rule, Table | KeyList | KeyLists):
            return  # every line below the key is commented out
        if isinstance(rule, Table) and isinstance(value, Mapping):
            for word in value:
                if word not in rule.keys:
                    self._unknown((*path, str(word)), rule.keys)
            value = {word: cell for word, cell in value.items() if word in rule.keys}
        kept = settled(rule, value)
        faults = list(value_faults(rule, kept, path))
        for where, text in faults:
            self._note(where, text)
        if not faults:
            given[path[-1]] = kept

    def _unknown(self, path: Path, allowed: tuple[str, ...]) -> None:
        where = f" in {'.'.join(path[:-1])}" if path[1:] else ""
        nearest = _nearest(path[-1], allowed)
        hint = f"; nearest valid key: {nearest}" if nearest else ""
        text = f"unknown key; allowed{where}: {', '.join(allowed)}{hint}"
        self._note(path, text, at_key=True)

    def _contradictions(self, given: Mapping[str, Any]) -> None:
        """Compares what is sound: a faulty value has its own line, and contradicts nothing."""
        faulty = {fault.path[:2] for fault in self.faults}
        values: dict[Path, Any] = {}
        for path, _, default in leaves(Config()):
            if path not in faulty and path[:1] not in faulty:
                values[path] = _lookup(given, path, default)
        for low, high, text in contradictions(values):
            if _lookup(given, low, None) is not None:
                self._note(low, text)
            else:  # the other one was written, this one is the default
                self._note(high, f"{'.'.join(low)}: {text}")


def _lookup(given: Mapping[str, Any], path: Path, default: Any) -> Any:
    within = given.get(path[0], {}) if len(path) > 1 else given
    return within.get(path[-1], default)


def _groups() -> dict[str, type]:
    return {
        attribute.name: attribute.metadata["group"]
        for attribute in attrs.fields(Config)
        if "group" in attribute.metadata
    }


def _nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed key most like `name`; else the key of another group that has just that name."""
    word = name[:_LONGEST_WORD].lower().replace("-", "_")
    import difflib  # only for what is misspelt

    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    if close:
        return close[0]
    for path, _, _ in leaves(Config()):
        if path[-1] == word:
            return ".".join(path)
    return None
