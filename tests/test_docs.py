"""Links, commands and tables of the documents are those of the repository."""

from __future__ import annotations

import argparse
import re

import pytest
from documents import DOCUMENTS, REPOSITORY, TRANSLATIONS, blocks, cli_words, inline_commands, read

from paddleclas_eca import cli, list_models
from paddleclas_eca.configs import find_config
from paddleclas_eca.models import MODELS

# Configs that users write, or `prepare folder` does.
_OF_USERS = {"flowers/ECA_ResNet50.yaml", "prints_config/ECA_MobileNetV2_x0_25.yaml"}


def anchors(document: str) -> set[str]:
    """The fragments that GitHub gives the headings."""
    text = re.sub(r"^```.*?^```", "", read(document), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", read(document)):
        if link.startswith("http"):
            continue
        path, _, fragment = link.partition("#")
        target = ((REPOSITORY / document).parent / path).resolve() if path else None
        assert target is None or target.exists(), link
        if fragment:
            name = str(target.relative_to(REPOSITORY)) if target else document
            assert fragment in anchors(name), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document):
    # The changelog names what was removed.
    if document == "CHANGELOG.md":
        return
    text = read(document)
    for path in re.findall(
        r"(?<![\w/.])((?:tools|maintenance|benchmarks|requirements|ppcls_configs|tests)/[\w./-]+\w)",
        text,
    ):
        assert (REPOSITORY / path).exists(), path
    for config in set(re.findall(r" -c ([\w./-]*\w)", text)) - _OF_USERS - {"CONFIG"}:
        find_config(config)


class Parsed(Exception):
    """The command line is valid."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_parse(document, monkeypatch):
    def parse(self, *args):
        original(self, *args)
        raise Parsed

    original = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    commands = [block.text for block in blocks(document) if block.language == "bash"]
    for command in [*commands, *inline_commands(document)]:
        words = cli_words(command)
        if words is not None:
            with pytest.raises(Parsed):
                cli.main(words)


def table_of_models(document: str) -> tuple[str, str]:
    """The command that writes the table, and the table."""
    return re.search(
        r"<!-- models: written by `paddleclas-eca (.+?)` -->\n(.*?)<!-- end of models -->",
        read(document),
        re.DOTALL,
    ).groups()


def rows(document: str) -> list[list[str]]:
    lines = table_of_models(document)[1].splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_tables_of_models_have_the_models():
    all_rows = rows("docs/models.md")
    assert [name for name, *_ in all_rows] == list_models()
    of_the_paper = [row for row in all_rows if row[-1] != "–"]
    assert rows("README.md") == of_the_paper
    for name, *_, k_size, top1, top5 in of_the_paper:
        model = MODELS[name]
        assert k_size == ", ".join(map(str, model.k_size))
        assert (float(top1), float(top5)) == (model.top1, model.top5)


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/models.md"])
def test_tables_of_models_are_those_of_summary(document, capsys):
    command, table = table_of_models(document)
    assert cli.main(command.split()) == 0
    assert capsys.readouterr().out == table


@pytest.mark.parametrize("translation, original", TRANSLATIONS.items())
def test_translations_have_the_same_content(translation, original):
    for pattern in (
        r"(?ms)^ *```.*?^ *```",  # commands and code
        r"(?ms)^<!-- models.*?<!-- end of models -->",
        r"(?m)^#+(?= )",  # sections
        r"(?m)^\|",  # rows of tables
        r"\]\((?:https?://[^)]+|[^)]*?(\w+\.\w+)(?:#[^)]*)?)\)",  # links
        r"(?m)(-o (?:'[^']+'|[\w./=:-]+))",  # options in the text
    ):
        of_each = []
        for document in (original, translation):
            # Each links to the other.
            text = re.sub(r"(?m)^(\[English\]|English \|).*$", "", read(document))
            found = [" ".join(words.split()) for words in re.findall(pattern, text)]
            of_each.append(sorted(word.replace("README_zh", "README") for word in found))
        assert of_each[0] == of_each[1], pattern


def test_every_translation_is_linked():
    for translation, original in TRANSLATIONS.items():
        name = translation.removeprefix("docs/")
        assert f"({name})" in read(original)
