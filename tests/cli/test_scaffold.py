"""What ``bench new`` writes, without running it: paths, names, the entry point, and what it leaves alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bench.cli.scaffold import PARTS, check_name, files, with_entry_point, write
from bench.errors import UsageError

LEADS_TO = {
    "method": ("bench.methods", "two-words", "my_bench.two_words:TwoWords"),
    "dataset": ("bench.datasets", "two-words", "my_bench.two_words:TwoWords"),
    "protocol": ("bench.protocols", "two-words", "my_bench.two_words:TWO_WORDS"),
    "report": ("bench.reports", "kind.two-words", "my_bench.two_words:two_words_tables"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_new_package_holds_the_file_its_test_and_its_entry_point(kind: str, tmp_path: Path) -> None:
    made = files(kind, "two-words", tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in made] == [
        "my_bench/__init__.py",
        "my_bench/two_words.py",
        "tests/test_two_words.py",
        "pyproject.toml",
    ]
    group, key, value = LEADS_TO[kind]
    project = tomllib.loads(made[tmp_path / "pyproject.toml"])
    assert project["project"]["entry-points"] == {group: {key: value}}
    assert value.partition(":")[2] in made[tmp_path / "my_bench" / "two_words.py"]
    assert not any("$" in text for text in made.values())
    assert not list(tmp_path.iterdir())  # nothing is written before everything is checked


def test_a_second_one_joins_the_package_of_the_folder(tmp_path: Path) -> None:
    write(files("method", "one", tmp_path, "ours_too"))
    before = (tmp_path / "pyproject.toml").read_text()
    made = files("method", "another", tmp_path)
    assert tmp_path / "ours_too" / "another.py" in made
    assert tmp_path / "ours_too" / "__init__.py" not in made
    after = made[tmp_path / "pyproject.toml"]
    line = '"another" = "ours_too.another:Another"\n'
    assert after.replace(line, "") == before
    assert tomllib.loads(after)["project"]["entry-points"]["bench.methods"].keys() == {"one", "another"}


def test_a_package_in_src_is_found(tmp_path: Path) -> None:
    (tmp_path / "src" / "lab").mkdir(parents=True)
    (tmp_path / "src" / "lab" / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "the-lab"\nversion = "1"\n')
    made = files("protocol", "house", tmp_path)
    assert tmp_path / "src" / "lab" / "house.py" in made
    assert made[tmp_path / "pyproject.toml"].startswith('[project]\nname = "the-lab"\nversion = "1"\n\n[project.entry')


@pytest.mark.parametrize("name", ["", "Big", "two_words", "1st", "a--b", "-a", "a-", "../up", "ünder", "a" * 41])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="A name is a letter and then letters, digits and single hyphens"):
        check_name(name)


def test_a_word_of_python_is_no_name() -> None:
    with pytest.raises(UsageError, match="'lambda' is a word of Python"):
        check_name("lambda")


@pytest.mark.parametrize("package", ["methods", "json", "my-bench", "class", "", "a/b"])
def test_a_package_that_would_hide_another_is_refused(package: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"A package cannot be called '{package}'"):
        files("method", "one", tmp_path, package)


@pytest.mark.parametrize("there", ["my_bench/one.py", "tests/test_one.py"])
def test_no_file_is_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match=f"{there} is there already and is not overwritten"):
        files("method", "one", tmp_path)


def test_a_project_that_cannot_be_read_or_whose_package_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "lab"\n')
    with pytest.raises(UsageError, match=r"pyproject.toml is there, but no folder lab beside it"):
        files("method", "one", tmp_path)
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(UsageError, match=r"pyproject.toml cannot be read \("):
        files("method", "one", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "lab"\n[project.entry-points]\n"bench.methods" = {old = "lab:Old"}\n',
        '[project]\nname = "lab"\n[project.entry-points."bench.methods"]\n"new" = "lab:Old"\n',
        '[project]\nname = "lab"\nentry-points = 3\n',
        "[tool.other]\n",
    ],
    ids=["inline", "key taken", "no table", "no project"],
)
def test_what_is_written_otherwise_is_left_to_its_author(text: str) -> None:
    with pytest.raises(UsageError, match=r'is not written as expected: add "new" = "lab.new:New" below \[project'):
        with_entry_point(text, "bench.methods", "new", "lab.new:New", "pyproject.toml")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\): name another folder by --folder"):
        write(files("method", "one", tmp_path / "file" / "below"))
