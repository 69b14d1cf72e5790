import stat

import pytest
from gausscert_sim import conf

TEXT = "a = 1\nenable_ssl = on   # both\n#enable_dcf = off\n   # b = 2\nname = 'x y'\n"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "cm_server.conf"
    file.write_text(TEXT)
    return file


def test_a_value_ends_at_a_blank_or_a_comment():
    assert conf.value("p = on # x\n", "p") == "on"
    assert conf.value("p=on#x\n", "p") == "on"
    assert conf.value(TEXT, "name") == "'x"


def test_the_first_uncommented_line_counts():
    assert conf.value("p = 1\n#p = 3\np = 2\n", "p") == "1"
    assert conf.value("# p = 1\n", "p") == ""


@pytest.mark.parametrize("word", ["on", "ON", "yes", "true", "1", "y", "t", "'on'"])
def test_words_that_mean_on(word):
    assert conf.is_true(word)


@pytest.mark.parametrize("word", ["off", "no", "false", "0", "", "enable"])
def test_words_that_do_not_mean_on(word):
    assert not conf.is_true(word)


def test_an_edit_keeps_everything_but_the_value(path):
    conf.edit(path, "enable_ssl", "off")
    assert path.read_text() == TEXT.replace("= on ", "= off ")


def test_an_edit_leaves_0600_and_a_backup_that_is_none(path):
    path.chmod(0o400)
    conf.edit(path, "enable_ssl", "off")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.with_name("cm_server.conf.bak").read_text() == path.read_text()


def test_a_comment_is_edited_when_nothing_else_matches(path):
    conf.edit(path, "enable_dcf", "on")
    assert "#enable_dcf = on\n" in path.read_text()
    assert conf.value(path.read_text(), "enable_dcf") == ""


def test_an_uncommented_line_goes_before_a_comment_behind_it(path):
    path.write_text("p = 1\n#p = 2\n")
    conf.edit(path, "p", "3")
    assert path.read_text() == "p = 3\n#p = 2\n"


def test_the_last_line_is_lost_without_its_newline(path):
    path.write_text("enable_ssl = on\nlost = 1")
    conf.edit(path, "enable_ssl", "off")
    assert path.read_text() == "enable_ssl = off\n"


def test_a_missing_file_comes_back_from_its_backup(path):
    path.rename(path.with_name("cm_server.conf.bak"))
    conf.edit(path, "enable_ssl", "off")
    assert conf.value(path.read_text(), "enable_ssl") == "off"


def test_an_unknown_parameter_changes_nothing(path):
    with pytest.raises(conf.Refused, match="can't find the parameter in conf"):
        conf.edit(path, "absent", "1")
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("enable_ssl", '"on"', "exists illegal character"),
        ("enable_ssl", "maybe", "outside the valid range(on|off|yes|no|true|false|1|0)"),
        ("enable_ssl", "on#", "exists illegal character"),
        ("enable_ssl", "'on", "exists illegal character"),
        ("enable-ssl", "on", "exists illegal character"),
        ("_enable_ssl", "on", "exists illegal character"),
        ("ssl_cert_expire_alert_threshold", "6", "(7 .. 180)"),
        ("ssl_cert_expire_alert_threshold", "181", "(7 .. 180)"),
        ("ssl_cert_expire_alert_threshold", "soon", "requires a integer value"),
    ],
)
def test_refused_values_are_refused_in_cms_words(parameter, value, words):
    with pytest.raises(conf.Refused) as refused:
        conf.check(parameter, value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("enable_ssl", "OFF"), ("enable_ssl", "'on'"), ("ssl_cert_expire_alert_threshold", "7"), ("a", "x")],
)
def test_good_values_pass(parameter, value):
    conf.check(parameter, value)
