"""Bad input gets one sentence and status 2, leaves nothing behind, and nothing in a file is executed."""

import marshal
import pickle
import sys
from pathlib import Path

import _bad_files as bad_files
import _bad_input as bad_input
import jaxtyping
import pytest

from jaxdae import cli

pytestmark = pytest.mark.slow

EXECUTING = ("pickle.find_class", "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen")
"""What Python reports to audit hooks when something else than its own modules is about to be executed."""


@pytest.fixture(scope="module", autouse=True)
def _as_in_use():
    """No annotation is checked, as in a user's process."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("bad")
    bad_files.make_files(path)
    return path


@pytest.fixture(scope="module")
def audited():
    """The events of `EXECUTING` since the fixture was made; a hook stays for the life of the process."""
    events = []
    sys.addaudithook(lambda event, arguments: events.append((event, arguments)) if event in EXECUTING else None)
    return events


@pytest.fixture(scope="module")
def rows(files, audited):
    audited.clear()
    return bad_input.run_cases(files)


def test_each_case_gets_its_sentence_and_leaves_nothing(rows):
    assert len({row.case.words for row in rows}) >= 200
    faults = [f"{' '.join(row.case.words)[:150]}: {row.why}; it said {row.said[:300]!r}" for row in rows if not row.ok]
    assert not faults, "\n".join(faults)


def test_loading_executes_nothing(rows, audited, files):
    assert audited == [] and not list(files.rglob(bad_files.MARKER))


def test_the_files_would_execute_something(tmp_path, monkeypatch):
    """Else the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    code = marshal.dumps(compile(bad_files.CODE, "lambda", "exec"))
    for execute in (lambda: pickle.loads(pickle.dumps(bad_files.Executed())), lambda: exec(marshal.loads(code))):
        execute()
        assert Path(bad_files.MARKER).exists()
        Path(bad_files.MARKER).unlink()


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_of_a_verb_has_a_case(verb):
    """An option that no sentence of `_bad_input` fits makes the case fail, one that is not walked fails here."""
    given = {word.split("=")[0] for case in bad_input.all_cases() if case.words[0] == verb for word in case.words}
    for action in bad_input.parser_of(verb)._actions:
        if action.option_strings and action.dest != "help":
            assert given & set(action.option_strings), f"{verb} {action.option_strings[0]} has no case"


@pytest.mark.parametrize("fault", ["two lines", "status", "traceback", "a file", "other words"])
def test_a_case_that_is_not_refused_well_is_noticed(tmp_path, monkeypatch, fault):
    def main(words):
        if fault == "traceback":
            raise RuntimeError("a defect")
        if fault == "a file":
            Path("new").touch()
        print("jaxdae: this is not allowed" + "\nat all" * (fault == "two lines"), file=sys.stderr)
        return 1 if fault == "status" else 2

    monkeypatch.setattr(cli, "main", main)
    case = bad_input.Case("", (), "something else" if fault == "other words" else "not allowed")
    [row] = bad_input.run_cases(tmp_path, [case])
    assert not row.ok and row.why
