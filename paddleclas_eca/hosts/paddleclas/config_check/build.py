"""Build the parts of a config with PaddleClas's own builders, and report what fails.

A part that cannot be built here fails in the same way in training. The network is built without
values for its parameters (``paddle.LazyGuard``), which takes up to a second. Building changes
nothing in this process: see :func:`isolated`.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Collection, Iterator
from typing import Any, Callable

import paddle

from ....checks.findings import Finding, error
from ....checks.values import ignored
from ....configs import Config, section
from ....errors import UserError, suggestion
from ....models import MODELS
from ....training.seeding import without_trace
from ..locate import PaddleClas
from .parts import (
    INNER_NETWORKS,
    Part,
    entries,
    losses_and_metrics,
    named_parts,
    networks,
    optimizers,
    transform_lists,
    transforms,
)

# Steps of an epoch that schedules are built with; they only want a number.
_STEPS = 100
# Networks of this package, which refuse `pretrained: True`.
_OURS = (*MODELS, "ECA_Backbone")
# How many wrong options of one network are reported at once.
_MOST_OPTIONS = 5
# Keys of an Arch section that PaddleClas or its Engine reads, not the network.
_OF_ANY_ARCH = {"name", "use_sync_bn", "use_ml_decoder", "is_rec", "class_num", "use_ssld"}
_OF_ANY_ARCH |= {"infer_output_key", "infer_add_softmax", "infer_model_name", "pretrained"}
_OF_REC_MODEL = {"Backbone", "BackboneStopLayer", "Neck", "Head", "head_feature_from"}
# Keys that PaddleClas removes from a section before it builds from it, and keys that it adds.
_TAKEN_OUT = {
    "dataset": {"name", "batch_transform_ops"},
    "sampler": {"name", "shuffle"},
    "loss": {"weight"},
    "optimizer": {"name", "scope", "lr", "regularizer", "clip_norm"},
    # rules.py reports a learning_rate beside the values of Piecewise.
    "schedule": {"name", "learning_rate", "verbose"},
    "step": {"name"},
}
_ADDED = {
    "sampler": {"dataset", "data_source", "total_epochs"},
    "operator": {"class_num"},
    "optimizer": {"learning_rate"},
    "schedule": {"epochs", "step_each_epoch"},
}


@contextlib.contextmanager
def isolated(ppcls: PaddleClas) -> Iterator[None]:
    """Build objects without changing the state of this process.

    Automatic names of parameters, which checkpoints refer to, and names that networks give are
    counted separately; random generators are restored; PaddleClas logs and prints nothing.
    """
    logger = ppcls.module("utils.logger")._logger
    disabled, logger.disabled = logger.disabled, True
    try:
        with without_trace():
            yield
    finally:
        logger.disabled = disabled


class Built:
    """What was built of a config, and what went wrong.

    Attributes:
        findings: the errors, and warnings of options that nothing reads.
        network: the network, without values; None where it cannot be built.
        transforms: by the key of their list, the transforms that images or batches go through;
            missing where one of them cannot be built.
    """

    def __init__(self, ppcls: PaddleClas, config: Config) -> None:
        """Build all parts of a config for training.

        Args:
            ppcls: the PaddleClas that is to train.
            config: a config that the rules have been applied to; it is not changed.
        """
        self.findings: list[Finding] = []
        self.transforms: dict[str, list[Any]] = {}
        self._ppcls = ppcls
        self._config = copy.deepcopy(dict(config))
        with isolated(ppcls):
            self.network = self._build_network()
            losses = self._build_losses_and_metrics()
            self._build_optimizers(losses)
            self._build_data()
            self._build_inference()

    def _attempt(self, place: str, settings: Any, build: Callable[[], Any]) -> Any:
        """What ``build`` returns; None after an error, which is kept."""
        try:
            return build()
        except (Exception, SystemExit) as failure:
            self.findings.append(explain(failure, place, settings))
            return None

    def _build_part(self, part: Part, build: Callable[[], Any]) -> Any:
        """Like :meth:`_attempt`, for a part whose class shows which options it takes."""
        kind = part.find(self._ppcls)
        if kind is None:
            return None  # reported as an unknown name
        wrong = list(wrong_options(part, kind))
        self.findings += wrong
        if wrong:
            return None
        built = self._attempt(part.place, part.settings, build)
        # OpSampler takes operators by name, and some losses take the options of another.
        hands_on = part.name == "OpSampler" or section(part.settings, "base_loss_name")
        if built is not None and not hands_on:
            known = {*_parameters(kind), *_TAKEN_OUT.get(part.kind, ())}
            self.findings += ignored(part.place, part.settings, known)
        return built

    # The network.

    def _build_network(self) -> Any:
        sections = dict(networks(self._config))
        if any(
            not hasattr(self._ppcls.module("arch"), str(s.get("name"))) for s in sections.values()
        ):
            return None
        config = copy.deepcopy(self._config)
        config.pop("Slim", None)
        given = copy.deepcopy(config["Arch"])
        _without_weights(config["Arch"], _OURS)
        weightless = config["Arch"] != given
        # With insert_after, one image runs through the network, which needs values.
        lazily = not any(s.get("insert_after") for s in sections.values())

        builder = self._ppcls.module("arch").build_model

        def build() -> Any:
            if lazily:
                try:
                    with paddle.LazyGuard():
                        return builder(copy.deepcopy(config), "train")
                except (UserError, TypeError):
                    raise
                except Exception:
                    pass  # perhaps only because the parameters have no values
            try:
                return builder(copy.deepcopy(config), "train")
            except UnboundLocalError:
                if weightless:
                    return None  # some networks of PaddleClas cannot be built without weights
                raise

        network = self._attempt("Arch", config["Arch"], build)
        if network is not None:
            self.findings += _ignored_by_network(self._ppcls, "Arch", self._config["Arch"], network)
        elif self.findings:
            self._find_further_options(config["Arch"], build)
        return network

    def _find_further_options(self, arch: Config, build: Callable[[], Any]) -> None:
        """Find further wrong options of a network, by leaving out those found so far."""
        for _ in range(_MOST_OPTIONS):
            place = self.findings[-1].place
            key = place.removeprefix("Arch.")
            if key not in arch or key in ("name", "models"):
                return
            del arch[key]
            count = len(self.findings)
            self._attempt("Arch", arch, build)
            if len(self.findings) == count:
                return
            if not self.findings[-1].place.startswith("Arch."):
                # An error about the removed key.
                del self.findings[-1]
                return

    # What trains it.

    def _build_losses_and_metrics(self) -> list[Any]:
        builders = {
            "loss": self._ppcls.module("loss").build_loss,
            "metric": self._ppcls.module("metric").build_metrics,
        }
        built = []
        for part in losses_and_metrics(self._config, "train"):
            entry = [{part.name: part.settings}]
            thing = self._build_part(part, lambda part=part, e=entry: builders[part.kind](e))
            if part.kind == "loss" and part.place.startswith("Loss.Train") and thing is not None:
                built.append(thing)
        return built

    def _build_optimizers(self, losses: list[Any]) -> None:
        package = self._ppcls.module("optimizer")
        epochs = self._config["Global"].get("epochs") or 1
        models = [self.network, *losses]
        for part in optimizers(self._config):
            given = copy.deepcopy(part.settings)
            if part.kind == "schedule":
                self._build_part(
                    part,
                    lambda given=given: package.build_lr_scheduler(given, epochs, _STEPS),
                )
                continue
            if not isinstance(given, dict):
                continue
            # The schedule is checked as a part of its own.
            given["lr"] = {"learning_rate": 0.1}
            regularizer = given.get("regularizer")
            name = section(regularizer, "name")
            if regularizer is not None and name not in ("L1", "L2"):
                self.findings.append(
                    error(
                        f"{part.place}.regularizer.name",
                        f"Paddle has no regularizer {name!r}: it is L1 or L2",
                    )
                )
                continue
            if self.network is None:
                kind = part.find(self._ppcls)
                self.findings += wrong_options(part, kind) if kind else ()
                continue
            if "scope" in given:
                given = [{part.name: given}]
            self._build_part(
                part, lambda given=given: package.build_optimizer(given, epochs, _STEPS, models)
            )

    # Data.

    def _build_data(self) -> None:
        for part in named_parts(self._config, "train"):
            if part.kind in ("dataset", "sampler") and part.name is not None:
                kind = part.find(self._ppcls)
                if kind is not None:
                    self.findings += wrong_options(part, kind)
        if self._config["Global"].get("use_dali"):
            return  # DALI builds its own pipelines from them
        for place, listed in transform_lists(self._config):
            self._build_transforms(place, listed)

    def _build_transforms(self, place: str, listed: Any) -> None:
        create = self._ppcls.module("data").create_operators
        if not place.endswith("batch_transform_ops") and place != "Infer.transforms":
            common = self._ppcls.module("data.dataloader.common_dataset")
            create = common.create_operators
        class_num = self._config["Arch"].get("class_num", self._config["Global"].get("class_num"))
        options = [class_num] if len(inspect.signature(create).parameters) > 1 else []
        built = []
        for part in transforms(place, listed):
            if part.key.endswith(".OpSampler") or ".RandomApply." in part.key:
                continue  # built by the operator that contains them
            entry = [{part.name: copy.deepcopy(part.settings)}]
            built.append(self._build_part(part, lambda entry=entry: create(entry, *options)))
        if all(operators is not None for operators in built):
            self.transforms[place] = [operator for operators in built for operator in operators]

    def _build_inference(self) -> None:
        given = section(self._config, "Infer")
        if not given:
            return
        post = given.get("PostProcess")
        for key, present, example in (
            ("transforms", given.get("transforms"), "as in DataLoader.Eval, then ToCHWImage"),
            ("PostProcess.name", section(post, "name"), "such as to Topk"),
        ):
            if not present:
                message = f"predictions need it. Set it, {example}; or remove the section Infer"
                self.findings.append(error(f"Infer.{key}", message))
        build = self._ppcls.module("data.postprocess").build_postprocess
        for part in named_parts(self._config, "train"):
            if part.key == "Infer.PostProcess.name" and "func" not in post:
                self._build_part(part, lambda: build(post))
            elif part.key == "Infer.PostProcess.func":
                self._attempt(part.place, post, lambda: build(post))


def _without_weights(part: Any, ours: Collection[str]) -> None:
    """Keep all networks from loading weights; another check tests that the files exist."""
    if isinstance(part, dict):
        # True stays for networks without published weights: they raise an error, and load nothing.
        if part.get("pretrained") and not (part["pretrained"] is True and part.get("name") in ours):
            part["pretrained"] = False
        part.pop("pretrained_list", None)
    if isinstance(part, (dict, list)):
        for value in part.values() if isinstance(part, dict) else part:
            _without_weights(value, ours)


def _parameters(kind: type) -> set[str]:
    """The options that a class and its bases name."""
    return {
        parameter.name
        for base in kind.__mro__
        if "__init__" in vars(base) and base is not object
        for parameter in inspect.signature(base.__init__).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def wrong_options(part: Part, kind: type) -> Iterator[Finding]:
    """Options of a part that its class does not accept, and required ones that are missing."""
    given = {} if part.settings is None else part.settings
    if not isinstance(given, dict):
        yield error(
            part.place, f"{given!r} is not a section; it takes `key: value` lines, indented"
        )
        return
    parameters = inspect.signature(kind).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind == p.VAR_KEYWORD for p in parameters)
    taken, added = _TAKEN_OUT.get(part.kind, set()), _ADDED.get(part.kind, set())
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in {*given, *added}:
            yield error(f"{part.place}.{name}", f"{kind.__name__} needs {name!r}. Set it")
    valid = {*named, *taken}
    for key in given if not open_ended else ():
        if key not in valid:
            meant = suggestion(str(key), valid)
            yield error(f"{part.place}.{key}", f"{kind.__name__} has no option {key!r}{meant}")


def explain(failure: BaseException, place: str, settings: Any) -> Finding:
    """An error of building a section, at the key that its message names."""
    message = " ".join(str(failure).split()) or type(failure).__name__
    if isinstance(failure, UserError):
        found = Finding.of(failure, place)
        return found if found.place != place else error(_key_of(message, place, settings), message)
    where = _key_of(message, place, settings)
    if len(message) > 400:
        message = f"{message[:400]}..."
    return error(where, f"PaddleClas cannot build it: {type(failure).__name__}: {message}")


def _key_of(message: str, place: str, settings: Any) -> str:
    """The key of a section, or of one in it, that a message names: one in quotes before others.

    A text that is the value of a key and that the message quotes comes first.
    """
    keys: dict[str, str] = {}
    for where, key, value in _walk(place, settings):
        if isinstance(value, str) and f"{value!r} is neither" in message:
            return where
        keys.setdefault(key, where)
    words = re.findall(r"'(\w+)'", message) + re.findall(r"\w+", message)
    return next((keys[word] for word in words if word in keys), place)


def _walk(place: str, part: Any) -> Iterator[tuple[str, str, Any]]:
    """(full key, last key, value) of a section and of those in it."""
    if not isinstance(part, (dict, list)):
        return
    nested = []
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        where = f"{place}.{key}"
        if len(str(key)) > 1 and key != "name":
            yield where, str(key), value
        nested.append((where, value))
    for where, value in nested:
        yield from _walk(where, value)


def _ignored_by_network(
    ppcls: PaddleClas, place: str, given: Any, network: Any
) -> Iterator[Finding]:
    """Options of a network, and of those that it is made of, that nothing reads."""
    name = given["name"]
    if name == "RecModel":
        yield from ignored(place, given, _OF_ANY_ARCH | _OF_REC_MODEL)
        yield from _ignored_by_network(
            ppcls, f"{place}.Backbone", given["Backbone"], network.backbone
        )
        return
    factory = getattr(ppcls.module("arch"), name)
    known = set(inspect.signature(factory).parameters) | _parameters(type(network))
    for found in ignored(place, given, known | _OF_ANY_ARCH):
        # Some networks read options that their signatures do not name; a typo is like one of these.
        if "Did you mean" in found.message:
            yield found
    inner = INNER_NETWORKS.get(name)
    if inner:
        yield from _ignored_by_network(ppcls, f"{place}.{inner}", given[inner], network)
    models = entries(f"{place}.models", given.get("models"))
    for (key, role, one), built in zip(models, getattr(network, "model_list", ())):
        yield from _ignored_by_network(ppcls, f"{key}.{role}", one, built)
