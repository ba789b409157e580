"""lab.toml: what is read, where from, and what is said about what cannot be right."""

# ruff: noqa: E501 - the messages are whole lines, and a table of them reads better unbroken

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.assets import asset
from lab.errors import UsageError
from lab.settings import Loaded, Settings, flatten, load

SHIPPED = asset("lab.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lab.toml"


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(UsageError) as raised:
        load(path, overrides)
    return str(raised.value)


class TestShippedFile:
    """The commented lab.toml is the list of all settings, so it must be complete and true."""

    def test_it_changes_nothing(self) -> None:
        assert load(SHIPPED).settings == Settings()

    def test_it_has_every_key(self) -> None:
        uncommented = re.sub(r"(?m)^# (?=\w+ = )", "", SHIPPED.read_text(encoding="utf-8"))
        assert set(_leaves(tomllib.loads(uncommented))) == set(flatten(Settings()))

    def test_every_key_has_a_comment_beside_or_above_it(self) -> None:
        lines = SHIPPED.read_text(encoding="utf-8").splitlines()
        for number, text in enumerate(lines):
            if re.match(r"(# )?\w+ = ", text):
                section = next(each for each in reversed(lines[:number]) if each.startswith("["))
                assert "#" in text.lstrip("# ") or "#" in section, text


def _leaves(document: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in document.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return found


class TestOrigins:
    def test_without_a_file_all_are_defaults(self) -> None:
        assert set(load(None).origins.values()) == {"default"}

    def test_every_way_to_write_a_key_has_its_line(self, file: Path) -> None:
        file.write_text(
            "pool.min = 2\n"
            'pool . "max" = 5\n'
            "\n"
            "[lab] # name = 'x'\n"
            'runs_dir = """\n'
            'name = lab"""\n'
            "[ policy . sessions ]\n"
            "  window_s = 3.0 # sessions_per_server = 1\n"
            "[balancer]\n"
            "'port'=8081\n",
            encoding="utf-8",
        )
        assert _changed(load(file)) == {
            "pool.min": "lab.toml:1",
            "pool.max": "lab.toml:2",
            "lab.runs_dir": "lab.toml:5",
            "policy.sessions.window_s": "lab.toml:8",
            "balancer.port": "lab.toml:10",
        }

    def test_keys_of_an_inline_table_have_its_line(self, file: Path) -> None:
        file.write_text("[scaler]\n[policy]\nsessions = {window_s = 3.0}\n", encoding="utf-8")
        assert _changed(load(file)) == {"policy.sessions.window_s": "lab.toml:3"}

    def test_windows_line_ends_count_as_one(self, file: Path) -> None:
        file.write_bytes(b"[pool]\r\n\r\nmax = 6\r\n")
        assert _changed(load(file)) == {"pool.max": "lab.toml:3"}

    def test_set_goes_before_the_file(self, file: Path) -> None:
        file.write_text("[pool]\nmin = 2\nmax = 5\n", encoding="utf-8")
        loaded = load(file, ("pool.max=6", "share.path=/srv/pages"))
        assert loaded.settings.pool.max == 6
        assert loaded.settings.share.path == Path("/srv/pages")
        assert _changed(loaded) == {
            "pool.min": "lab.toml:2",
            "pool.max": "--set",
            "share.path": "--set",
        }

    def test_set_of_a_section_leaves_its_other_keys(self, file: Path) -> None:
        file.write_text("[pool]\nmin = 2\nmax = 5\n", encoding="utf-8")
        loaded = load(file, ("pool={max=7}",))
        assert (loaded.settings.pool.min, loaded.settings.pool.max) == (2, 7)
        assert _changed(loaded) == {"pool.min": "lab.toml:2", "pool.max": "--set"}


def _changed(loaded: Loaded) -> dict[str, str]:
    return {key: origin for key, origin in loaded.origins.items() if origin != "default"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            # of the wrong type
            ('[pool]\nmax = "abc"', 'pool.max = "abc" (lab.toml:2): must be a whole number from 1 to 1000'),
            ('[pool]\nmax = "6"', 'pool.max = "6" (lab.toml:2): must be a whole number from 1 to 1000; write 6 without quotes'),
            ("[pool]\nmax = true", "pool.max = true (lab.toml:2): must be a whole number from 1 to 1000"),
            ("[pool]\nmax = 6.5", "pool.max = 6.5 (lab.toml:2): must be a whole number from 1 to 1000; the nearest is 6"),
            ("pool = 3", "pool = 3 (lab.toml:1): must be a section: write [pool] and its keys below it"),
            ("[[pool]]\nmax = 3", "pool = […] (lab.toml:1): must be a section: write [pool] and its keys below it"),
            ("[policy]\nsessions = 1", "policy.sessions = 1 (lab.toml:2): must be a section: write [policy.sessions] and its keys below it"),
            ("[share]\npath = 7", "share.path = 7 (lab.toml:2): must be a path in quotes"),
            ("[network]\nsubnet = 10", "network.subnet = 10 (lab.toml:2): must be text in quotes"),
            ("[server]\nmemory = 256", "server.memory = 256 (lab.toml:2): must be a size like 256MiB or 8GiB"),
            # out of range
            ("[pool]\nmax = 5000", "pool.max = 5000 (lab.toml:2): must be a whole number from 1 to 1000; the nearest is 1000"),
            ("[scaler]\ninterval_s = 0", "scaler.interval_s = 0 (lab.toml:2): must be a number of seconds from 0.05 to 60; the nearest is 0.05"),
            ("[balancer]\ncheck_interval_ms = 1", "balancer.check_interval_ms = 1 (lab.toml:2): must be a whole number of milliseconds from 10 to 60000; the nearest is 10"),
            ("[scaler]\nboot_deadline_s = inf", "scaler.boot_deadline_s = inf (lab.toml:2): must be a number of seconds from 0.01 to 3600; the nearest is 3600"),
            ("[scaler]\nboot_deadline_s = nan", "scaler.boot_deadline_s = nan (lab.toml:2): must be a number of seconds from 0.01 to 3600"),
            # not one of the choices, or not of the form
            ('[share]\nkind = "nfss"', 'share.kind = "nfss" (lab.toml:2): must be auto, nfs or directory; did you mean nfs?'),
            ('[storage]\ndriver = "zfs"', 'storage.driver = "zfs" (lab.toml:2): must be auto, btrfs or dir'),
            ('[server]\nmemory = "256MB"', 'server.memory = "256MB" (lab.toml:2): must be a size like 256MiB or 8GiB; did you mean 256MiB?'),
            ('[lab]\nname = "My Lab"', 'lab.name = "My Lab" (lab.toml:2): must be 1 to 10 of a-z, 0-9 and -, and begin with a letter; did you mean my-lab?'),
            ('[template]\nimage = "ubuntu/24.04"', 'template.image = "ubuntu/24.04" (lab.toml:2): must be host, or REMOTE:IMAGE like ubuntu:24.04; did you mean ubuntu:24.04?'),
            ('[share]\npath = "srv/lab"', 'share.path = "srv/lab" (lab.toml:2): must be a path from /; did you mean /srv/lab?'),
            ('[share]\npath = "/srv/my pages"', 'share.path = "/srv/my pages" (lab.toml:2): must be a path of letters, digits and . _ @ + - / only'),
            ('[share]\npath = "/"', 'share.path = "/" (lab.toml:2): must be a directory of its own below /, written without ..'),
            ('[network]\nsubnet = "ten"', 'network.subnet = "ten" (lab.toml:2): must be an IPv4 subnet like 10.77.0.0/24'),
            ('[balancer]\nbind = "::1"', 'balancer.bind = "::1" (lab.toml:2): must be an IPv4 address: 127.0.0.1, or 0.0.0.0 to be reached from other machines'),
            # unknown
            ("[pool]\nmaxx = 3", "pool.maxx (lab.toml:2): no such setting; did you mean pool.max?"),
            ("[polo]\nmax = 3", "polo (lab.toml:1): no such setting; did you mean pool?"),
            ("[server]\nmax = 3", "server.max (lab.toml:2): no such setting; did you mean pool.max?"),
            ("[policy.session]\nwindow_s = 3", "policy.session (lab.toml:1): no such setting; did you mean policy.sessions?"),
            ("[pool]\nwindow_s = 3", "pool.window_s (lab.toml:2): no such setting; did you mean policy.sessions.window_s?"),
            ("zzz = 1", "zzz (lab.toml:1): no such setting; `lab settings` lists all there are"),
            ('"a\\nb" = 1', '"a\\nb" (lab.toml:1): no such setting; `lab settings` lists all there are'),
        ],
    )  # fmt: skip
    def test_one_line_names_the_key_the_place_and_what_is_right(
        self, file: Path, text: str, expected: str
    ) -> None:
        file.write_text(text, encoding="utf-8")
        assert refusal(file) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[pool]\nmin = 9", "pool.min = 9 (lab.toml:2), pool.max = 8 (default): pool.min must not be above pool.max; set pool.min to 8 or less"),
            ("[balancer]\nport = 8404", "balancer.port = 8404 (lab.toml:2), balancer.stats_port = 8404 (default): two ports are needed; set one of them to 8405, say"),
            ('[network]\nsubnet = "10.77.0.0/28"', 'network.subnet = "10.77.0.0/28" (lab.toml:2), pool.max = 8 (default): 16 addresses are too few for the 20 that are needed; make the subnet a /27 or larger'),
            ('[network]\nsubnet = "10.77.0.5/24"', 'network.subnet = "10.77.0.5/24" (lab.toml:2): must be the first address of its subnet; did you mean 10.77.0.0/24?'),
            ('[network]\nsubnet = "8.8.8.0/24"', 'network.subnet = "8.8.8.0/24" (lab.toml:2): must be private, so inside one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16'),
            ('[network]\nsubnet = "127.0.0.0/8"', 'network.subnet = "127.0.0.0/8" (lab.toml:2): must be private, so inside one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16'),
            ('[share]\npath = "/var/lib"', 'lab.state_dir = "/var/lib/lab" (default), share.path = "/var/lib" (lab.toml:2): the share and the lab\'s own /var/lib/lab/lab must not contain each other'),
        ],
    )  # fmt: skip
    def test_what_cannot_work_together_names_all_keys_that_clash(
        self, file: Path, text: str, expected: str
    ) -> None:
        file.write_text(text, encoding="utf-8")
        assert refusal(file) == expected

    def test_a_directory_too_long_for_sockets_is_refused(self, file: Path) -> None:
        file.write_text(f'[lab]\nstate_dir = "/{"x" * 80}"', encoding="utf-8")
        assert refusal(file).endswith("keep it within 80 bytes")

    def test_the_suggested_subnet_is_the_smallest_that_works(self) -> None:
        assert "make the subnet a /22 or larger" in refusal(None, "pool.max=1000")
        assert load(None, ("pool.max=1000", "network.subnet=10.4.0.0/22"))

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("pool.max", "--set pool.max: write it as section.key=value, like pool.max=6"),
            ("..=3", "--set ..=3: write it as section.key=value, like pool.max=6"),
            ("pool.max=", 'pool.max = "" (--set): must be a whole number from 1 to 1000'),
            ("pool.max.x=3", "pool.max = {…} (--set): must be a whole number from 1 to 1000"),
            ("pool={min=3,max=2}", "pool.min = 3 (--set), pool.max = 2 (--set): pool.min must not be above pool.max; set pool.min to 2 or less"),
            ("share.kind=nfs4", 'share.kind = "nfs4" (--set): must be auto, nfs or directory; did you mean nfs?'),
        ],
    )  # fmt: skip
    def test_overrides_are_refused_in_the_same_words(self, override: str, expected: str) -> None:
        assert refusal(None, override) == expected

    def test_an_override_below_a_value_of_the_file_is_refused(self, file: Path) -> None:
        file.write_text("[pool]\nmax = 3\n", encoding="utf-8")
        assert refusal(file, "pool.max.x=3") == "--set pool.max.x=3: pool.max is no section"

    def test_what_is_not_toml_is_refused_with_its_line(self, file: Path) -> None:
        file.write_text("[pool]\nmax == 3\n", encoding="utf-8")
        assert refusal(file) == f"{file}:2: not TOML: Invalid value"

    def test_what_cannot_be_read_is_refused(self, file: Path) -> None:
        assert refusal(file) == (
            f"{file}: No such file or directory: name a readable file with --settings"
        )
        file.write_bytes(b"[lab]\nname = '\xff'\n")
        assert refusal(file) == f"{file}: not UTF-8 at byte 14: save it as UTF-8"


VALUES = st.recursive(
    st.one_of(
        st.booleans().map(lambda value: str(value).lower()),
        st.integers().map(str),
        st.floats().map(repr),
        st.sampled_from(["1e400", "-0.0", "2024-01-01", "07:32:00", f"{10**40}", "9" * 5000]),
        st.text().map(lambda text: '"' + "".join(f"\\U{ord(letter):08x}" for letter in text) + '"'),
        st.sampled_from(['"nfs"', '"/"', '"10.0.0.0/0"', '"::/0"', '"/a\\u0000"', '"9GiB"']),
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | inner.map(lambda part: f"{{ x = {part} }}")
    ),
    max_leaves=4,
)
KEYS = st.sampled_from([*flatten(Settings()), *Settings.model_fields, "x", "pool.x", "policy.x"])
DOCUMENTS = st.lists(st.tuples(KEYS, VALUES), max_size=4, unique_by=lambda pair: pair[0]).map(
    lambda pairs: "\n".join(f"{key} = {value}" for key, value in pairs)
)


class TestAnyJunk:
    """Whatever a file or an override holds: settings, or one line that says what is wrong."""

    @given(DOCUMENTS | st.text() | st.binary())
    def test_a_file_gives_settings_or_one_line(self, document: str | bytes) -> None:
        data = document if isinstance(document, bytes) else document.encode("utf-8", "replace")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "lab.toml")
            path.write_bytes(data)
            _settings_or_one_line(path)

    @given(st.tuples(KEYS | st.text(), VALUES | st.text(alphabet=st.characters())).map("=".join))
    def test_an_override_gives_settings_or_one_line(self, override: str) -> None:
        _settings_or_one_line(None, override)

    @pytest.mark.parametrize(
        "document", ["a = " + "[" * 5000, "a = " + "{a = " * 5000, "a." * 3000 + "a = 1"]
    )
    def test_deep_nesting_is_refused(self, file: Path, document: str) -> None:
        file.write_text(document, encoding="utf-8")
        _settings_or_one_line(file)


def _settings_or_one_line(path: Path | None, *overrides: str) -> None:
    try:
        assert isinstance(load(path, overrides).settings, Settings)
    except UsageError as error:
        message = str(error)
        assert message
        assert len(message.splitlines()) == 1
        assert message.isprintable()
        assert len(message) < 500
