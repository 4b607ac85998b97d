"""Options of commands that are derived from settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from smap_ros.errors import InputError
from smap_ros.estimators.options import MODEL_SETTINGS, ModelChoice, ModelOptions
from smap_ros.graph.parameters import CameraNodeOptions
from smap_ros.settings import Setting, Value, settings_of
from smap_ros.temporal.options import SmootherConfig

_SHORT = {"bundle": "-b", "engine": "-e"}
_OF_ALL = {one.name: one for one in settings_of(ModelOptions)}
_PANEL = "Model"


# Of what has the images itself, as commands have.
RECTIFIED = next(one for one in settings_of(CameraNodeOptions) if one.name == "rectified")
# Of what smooths, by the names that launch files have them under.
SMOOTHING = tuple(
    replace(one, name=name)
    for name, of in (("smoothing", "smoother"), ("smoothing_delay", "delay"))
    for one in settings_of(SmootherConfig)
    if one.name == of
)
# Where people are written as they were found, unless something else is asked for.
UNSMOOTHED = (replace(SMOOTHING[0], default="none"), SMOOTHING[1])


def takes_model(
    *names: str, kinds: bool = True, further: Sequence[Setting] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of models, for its parameter ``model`` of type ``ModelChoice``.

    Args:
        names: those of all models that it takes; all by default.
        kinds: whether it takes those of the kinds of models as well.
        further: settings that are parameters of the command by their own names.
    """
    chosen = [one for name, one in _OF_ALL.items() if name in (names or _OF_ALL)]
    settings = [*chosen, *(MODEL_SETTINGS if kinds else ())]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**words: Any) -> None:
            texts = ((one, words.pop(one.name)) for one in settings)
            stated = {one.name: _read(one, text) for one, text in texts if text is not None}
            for one in further:
                text = words[one.name]
                words[one.name] = one.default if text is None else _read(one, text)
            command(model=ModelChoice.of(stated), **words)

        signature = inspect.signature(command, eval_str=True)
        derived = {"model", *(one.name for one in further)}
        own = [p for name, p in signature.parameters.items() if name not in derived]
        parameters = [*own, *map(_parameter, (*further, *settings))]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def model_words(choice: ModelChoice, without: Sequence[str] = ()) -> list[str]:
    """The words of a command line that choose a model again.

    Args:
        choice: the model.
        without: settings of all models that the command has no option for.
    """
    values: dict[str, Value] = {**dict(choice.model), **choice.options}
    words = []
    for one in (*_OF_ALL.values(), *MODEL_SETTINGS):
        if one.name in values and one.name not in without:
            words += [_option(one), one.text(values[one.name])]
    return words


def option_words(choice: ModelChoice) -> list[str]:
    """The options that were given of the model's kind, as a command has them."""
    return [_option(one) for one in MODEL_SETTINGS if one.name in choice.options]


def _read(one: Setting, text: str) -> Value | None:
    """What a word means; refused as Typer refuses, in the setting's words."""
    try:
        return one.parse(text)
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{_option(one)}'") from None


def _parameter(one: Setting) -> inspect.Parameter:
    default = f" [dim]\\[default: {one.text(one.default)}][/dim]" if one.default is not None else ""
    allowed = f" ({one.limits})" if one.limits else ""
    option = typer.Option(
        *(_option(one), *([_SHORT[one.name]] if one.name in _SHORT else [])),
        metavar="|".join(one.choices) or {bool: "true|false", str: "TEXT"}.get(one.kind, "NUMBER"),
        help=f"{one.help}{allowed}{default}",
        rich_help_panel=None if one.name == RECTIFIED.name else _PANEL,
        show_default=False,
    )
    annotation = Annotated[str | None, option]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(one.name, keyword, default=None, annotation=annotation)


def _option(one: Setting) -> str:
    return f"--{one.name.replace('_', '-')}"
