"""The command, called in this process."""

from jaxdae import cli


def run(capsys, *words):
    """Exit status, standard output and standard error."""
    status = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, sentence, *words):
    """Exit status 2 and one line, a sentence."""
    status, _, err = run(capsys, *words)
    assert status == 2, err
    assert sentence in err and err.startswith("jaxdae: ") and err.count("\n") == 1
