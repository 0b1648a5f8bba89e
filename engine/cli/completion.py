"""Completion scripts for bash, zsh and fish, made from the program's own parsers.

The scripts hold all they need: completing runs no Python.
"""

import argparse
from collections.abc import Iterator

from prefetch_scheduler.policies.values import frozen

SHELLS = ("bash", "zsh", "fish")
_PATHS = frozenset({"FILE", "DIR", "PATH", "SESSIONS", "PREDICTIONS"})
"""Names of arguments that are paths."""


@frozen
class Option:
    """An option, or an argument without a name (`flags` is empty then)."""

    flags: tuple[str, ...]
    about: str
    takes_value: bool
    words: tuple[str, ...]
    """The values that it may have; empty: any."""
    is_path: bool


@frozen
class Command:
    name: str
    about: str
    options: tuple[Option, ...]

    @property
    def flags(self) -> list[str]:
        return [flag for option in self.options for flag in option.flags]

    @property
    def arguments(self) -> list[Option]:
        return [option for option in self.options if not option.flags]


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The completion script of one of `SHELLS`.

    Raises:
        KeyError: it is none of them.
    """
    commands = list(_commands(parser))
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(make(parser.prog, commands)) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[Command]:
    """The program itself, under an empty name, then its commands."""
    yield Command("", "", tuple(_options(parser)))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield Command(name, helps.get(name, ""), tuple(_options(inner)))


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        yield Option(
            flags=tuple(action.option_strings),
            about=(action.help or "").replace("%(default)s", str(action.default)).split(" (")[0],
            takes_value=action.nargs != 0,
            words=tuple(map(str, action.choices or ())),
            is_path=str(action.metavar) in _PATHS,
        )


# ---- bash ----------------------------------------------------------------------------------------


def _bash(program: str, commands: list[Command]) -> Iterator[str]:
    top, *named = commands
    names = " ".join(command.name for command in named)
    function = f"_{program.replace('-', '_')}"
    yield f"# bash completion for {program}"
    yield f"{function}() {{"
    yield '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"'
    yield '    local command="" i'
    yield "    COMPREPLY=()"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield '        case "${COMP_WORDS[i]}" in'
    yield f'            {"|".join(c.name for c in named)}) command="${{COMP_WORDS[i]}}"; break ;;'
    yield "        esac"
    yield "    done"
    yield '    case "$command $prev" in'
    for command in commands:
        for option in command.options:
            if not option.flags or not option.takes_value:
                continue
            pattern = "|".join(f'"{command.name} {flag}"' for flag in option.flags)
            words = _bash_words(" ".join(option.words)) if option.words else ":"
            yield f"        {pattern}) {words}; return ;;"
    yield "    esac"
    yield '    case "$command" in'
    yield f'        "") {_bash_words(" ".join((names, *top.flags)))} ;;'
    for command in named:
        words = " ".join((*command.flags, *(w for a in command.arguments for w in a.words)))
        files = any(argument.is_path for argument in command.arguments)
        yield f"        {command.name})"
        if files:
            yield '            [[ "$cur" != -* ]] && return'
        yield f"            {_bash_words(words)} ;;"
    yield "    esac"
    yield "}"
    yield f"complete -o filenames -F {function} {program}"


_BASH_FILES = 'mapfile -t COMPREPLY < <(compgen -f -- "$cur")'


def _bash_words(words: str) -> str:
    return f'mapfile -t COMPREPLY < <(compgen -W {_quoted(words)} -- "$cur")'


def _bash_values(option: Option) -> str:
    if option.words:
        return _bash_words(" ".join(option.words))
    return _BASH_FILES if option.is_path else ":"


# ---- zsh -----------------------------------------------------------------------------------------


def _zsh(program: str, commands: list[Command]) -> Iterator[str]:
    top, *named = commands
    function = f"_{program.replace('-', '_')}"
    yield f"#compdef {program}"
    yield f"{function}() {{"
    yield "    local command i"
    yield "    local -a commands=("
    for command in named:
        yield f"        {_quoted(f'{command.name}:{command.about}')}"
    yield "    )"
    yield "    for ((i = 2; i < CURRENT; i++)); do"
    yield '        case "${words[i]}" in'
    yield f'            {"|".join(c.name for c in named)}) command="${{words[i]}}"; break ;;'
    yield "        esac"
    yield "    done"
    yield '    if [[ -n "$command" ]]; then'
    yield "        # From here on the command is what is completed."
    yield '        words=("${(@)words[i,-1]}")'
    yield "        ((CURRENT -= i - 1))"
    yield "    fi"
    yield '    case "$command" in'
    yield f"        '') _describe -t commands command commands; _arguments {_zsh_specs(top)} ;;"
    for command in named:
        yield f"        {command.name}) _arguments {_zsh_specs(command)} ;;"
    yield "    esac"
    yield "}"
    # Both ways of having it: as a file in $fpath, and by `eval` in ~/.zshrc.
    yield f'if [[ "$funcstack[1]" = {function} ]]; then'
    yield f'    {function} "$@"'
    yield "else"
    yield f"    compdef {function} {program}"
    yield "fi"


def _zsh_specs(command: Command) -> str:
    specs: list[str] = []
    for option in command.options:
        about = option.about.translate({ord(c): f"\\{c}" for c in "[]:\\"})
        action = f"({' '.join(option.words)})" if option.words else "_files" * option.is_path
        value = f":value:{action or ' '}" if option.takes_value else ""
        specs += [f"{flag}[{about}]{value}" for flag in option.flags]
        if not option.flags:
            specs.append(f"*:{about}:{action or ' '}")
    return " ".join(map(_quoted, specs))


# ---- fish ----------------------------------------------------------------------------------------


def _fish(program: str, commands: list[Command]) -> Iterator[str]:
    top, *named = commands
    names = " ".join(command.name for command in named)
    first = _quoted(f"not __fish_seen_subcommand_from {names}")
    yield f"# fish completion for {program}"
    yield f"complete -c {program} -f"
    for command in named:
        about = _quoted(command.about)
        yield f"complete -c {program} -n {first} -a {command.name} -d {about}"
    for option in top.options:
        yield f"complete -c {program} -n {first} {_fish_option(option)}"
    for command in named:
        inside = _quoted(f"__fish_seen_subcommand_from {command.name}")
        for option in command.options:
            if option.flags:
                yield f"complete -c {program} -n {inside} {_fish_option(option)}"
            elif option.words:
                yield f"complete -c {program} -n {inside} -a {_quoted(' '.join(option.words))}"
            elif option.is_path:
                yield f"complete -c {program} -n {inside} -F"


def _fish_option(option: Option) -> str:
    flags = [
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
    ]
    parts = [*flags, "-d", _quoted(option.about)]
    if option.takes_value:
        parts.append("-r")
        if option.words:
            parts += ["-a", _quoted(" ".join(option.words))]
        elif option.is_path:
            parts.append("-F")
    return " ".join(parts)


def _quoted(text: str) -> str:
    """In single quotes, as all three shells read it. An apostrophe becomes a typographic one."""
    return "'" + text.replace("'", "’") + "'"
