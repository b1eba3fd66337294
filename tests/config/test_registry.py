"""Registry exports as Windows writes them, and as they come after an editor or a mail program had them."""

from __future__ import annotations

from time import perf_counter

from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.registry import Data, Export, Value, parse, split_path

FIVE = "Windows Registry Editor Version 5.00\n\n"
PATH = ("software", "datasys")
KEY = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Datasys]\n"


def export(text: str, head: str = FIVE) -> Export:
    """What an export with these lines says."""
    return parse(b"\xff\xfe" + (head + text).replace("\n", "\r\n").encode("utf-16-le"))


def one(line: str, head: str = FIVE) -> Data:
    """The value named `a` of a key with this line."""
    read = export(KEY + line, head)
    key = read.key(PATH)
    assert key is not None and not read.faults, read
    return key.values["a"].data


class ValueTests(SynchronousTestCase):
    """Each kind of value."""

    def test_kinds(self) -> None:
        """Text, numbers, octets and lists of texts are read as Windows means them."""
        for line, data in [
            ('"a"="b"', "b"), ('"a" = "b" ; said', "b"), ('"A"=""', ""), ('"a"="\\\\d\\"e\\\\"', '\\d"e\\'),
            ('"a"="x;y"', "x;y"), ('"a"="one\ntwo"', "one\ntwo"), ('"a"="\u010de\u0161tina"', "\u010de\u0161tina"),
            ('"a"=dword:0000001f', 31), ('"a"=DWORD:1F', 31), ('"a"=hex(4):01,00,00,00', 1),
            ('"a"=hex(b):02,00,00,00,00,00,00,00', 2), ('"a"=hex:01,ff', b"\x01\xff"), ('"a"=hex:', b""),
            ('"a"=hex(2):61,00,25,00,00,00', "a%"), ('"a"=hex(7):61,00,00,00,62,00,00,00,00,00', ("a", "b")),
            ('"a"=hex(7):61,00,\\\n  00,00,62,00,\\\n  00,00,00,00', ("a", "b")), ('"a"=hex(7):00,00', ()),
            ('"a"=hex(0):', b""),
        ]:
            self.assertEqual(one(line), data, line)

    def test_code_page_octets(self) -> None:
        """In an export of the old kind the octets of texts are of a code page."""
        self.assertEqual(one('"a"=hex(7):61,e8,00,62,00,00', "REGEDIT4\n"), ("a\u010d", "b"))
        self.assertEqual(one('"a"=hex(2):25,61,00', "REGEDIT4\n\n"), "%a")

    def test_as_text(self) -> None:
        """A number is shown as Windows means it, signed; a list one entry a line."""
        for data, text, texts in [
            (0xFFFFFFF1, "-15", ("-15",)), (31, "31", ("31",)), (("a", "b"), "a\nb", ("a", "b")), ((), "", ()),
            (b"\x01\xff", "hex:01,ff", ("hex:01,ff",)), ("x", "x", ("x",)),
        ]:
            self.assertEqual((Value("a", data).text, Value("a", data).texts), (text, texts))


class FileTests(SynchronousTestCase):
    """The file around the values."""

    def test_encodings(self) -> None:
        """UTF-16 in both orders, UTF-8, the Windows code pages, with a mark and without, all give the same."""
        text = FIVE + KEY + '"a"="p\u0159\u00edli\u0161"\n'
        for octets in (
            b"\xff\xfe" + text.encode("utf-16-le"), b"\xfe\xff" + text.encode("utf-16-be"), text.encode("utf-16-le"),
            text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("cp1250"),
        ):
            key = parse(octets).key(PATH)
            assert key is not None
            self.assertEqual(key.values["a"].data, "p\u0159\u00edli\u0161", octets[:8])

    def test_named_code_page(self) -> None:
        """An export that names its code page is read by it: the same octet is another letter there."""
        text = "REGEDIT4\n" + KEY + '"output_code_page"="%s"\n"a"="\xe8"\n'
        for page, letter in (("cp1250", "\u010d"), ("cp1252", "\xe8"), ("cp1251", "\u0438")):
            key = parse((text % page).encode("latin-1")).key(PATH)
            assert key is not None
            self.assertEqual(key.values["a"].data, letter, page)

    def test_keys(self) -> None:
        """Keys are found in any case, under any hive and below Wow6432Node; a key named twice is one."""
        read = export("[HKLM\\Software\\WOW6432Node\\DATASYS]\n\"a\"=\"1\"\n"
                      "[hkey_local_machine\\SOFTWARE\\datasys\\X]\n"
                      "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Datasys]\n\"b\"=\"2\"\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Datasys\\y\\z]")
        key = read.key(("SOFTWARE", "datasys"))
        assert key is not None
        self.assertEqual({name: value.text for name, value in key.values.items()}, {"a": "1", "b": "2"})
        self.assertEqual(list(read.below(PATH)), ["X", "y"])
        self.assertEqual(split_path(r" SOFTWARE\Datasys\ "), ("SOFTWARE", "Datasys"))

    def test_deleted(self) -> None:
        """Deleted keys and values are gone, and what stands under a deleted key is no value of another."""
        read = export(KEY + '"a"="1"\n"b"="2"\n"a"=-\n' + KEY.replace("]", "\\X]") + '"c"="3"\n'
                      + KEY.replace("[", "[-").replace("]", "\\X]") + '"d"="4"\n')
        (key,) = read.keys.values()
        self.assertEqual((key.path, list(key.values)), (("SOFTWARE", "Datasys"), ["b"]))
        self.assertEqual(read.faults, ())

    def test_faults(self) -> None:
        """A line that cannot be read is named with its number and costs only itself."""
        read = export(KEY + 'nonsense\n; a comment\n"x"=what\n"y"=hex:zz\n"z"="open\n"a"="1"\n[broken\n"lost"="2"\n'
                      + '"w"=hex(7):1ff\n' + KEY + '"b"="3"\n"e"="open\n' + KEY + '"f"="4"')
        key = read.key(PATH)
        assert key is not None
        self.assertEqual(list(key.values), ["a", "b", "f"])
        self.assertEqual([fault.partition(":")[0] for fault in read.faults],
                         ["line 4", "line 6", "line 7", "line 8", "line 10", "line 15"])

    def test_no_export(self) -> None:
        """What is no registry export is refused as a whole."""
        for octets in (b"", b"\xff\xfe", b"[smtp]\nlisten = 1\n", b"\0" * 50, b"MZ\x90\0"):
            self.assertIn("is no registry export", str(self.assertRaises(ValueError, parse, octets)))


pieces = st.sampled_from([
    '"', "\\", "a", "=", "-", "[", "]", "\n", ";", "@", ",", " ", "hex", "hex(7):", "dword:", "00,", "ff", ":", "\\\n",
    '"a"="', '"\n', "[HKLM\\SOFTWARE\\x]\n", "\0", "\u010d", "\r", "\u2028", "\x85",
])


class PropertyTests(SynchronousTestCase):
    """What holds for all files."""

    @property_settings(deadline=None)
    @given(st.lists(pieces, max_size=60), st.sampled_from(["utf-16-le", "utf-8", "cp1250"]))
    def test_any_text(self, parts: list[str], encoding: str) -> None:
        """Anything below the first line gives values and faults, each on one line, and never a crash."""
        read = parse((FIVE + "".join(parts)).encode(encoding, "replace"))
        for fault in read.faults:
            self.assertNotIn("\n", fault)

    @property_settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets after the first line are read or named."""
        parse(b"REGEDIT4\r\n[HKLM\\x]\r\n" + octets)

    @property_settings(deadline=None)
    @given(st.dictionaries(st.text(st.characters(codec="utf-16"), max_size=20).filter(lambda name: "\r" not in name),
                           st.text(st.characters(codec="utf-16"), max_size=40).filter(lambda text: "\r" not in text)))
    def test_round_trip(self, values: dict[str, str]) -> None:
        """Whatever text Windows exports comes back as it was, quotes, backslashes and line ends too."""
        escaped = {
            name.replace("\n", " "): text for name, text in values.items()
        }
        lines = "".join(
            '"{}"="{}"\n'.format(*(part.replace("\\", "\\\\").replace('"', '\\"') for part in pair))
            for pair in escaped.items()
        )
        key = parse(b"\xff\xfe" + (FIVE + KEY + lines).encode("utf-16-le")).key(PATH)
        assert key is not None
        self.assertEqual({name: value.data for name, value in key.values.items()},
                         {name.lower(): text for name, text in escaped.items()})

    def test_long_and_hostile(self) -> None:
        """Files made to be slow to read take no longer than others of their size."""
        for line in (
            '"a"="x\n', "hex:" + "0" * 50, '"a"=hex:\\\n', "\\" * 60 + "\n", "[" + "]" * 60, '"a"="\\\n', " " * 60,
        ):
            started = perf_counter()
            parse((FIVE + line * 20_000).encode())
            self.assertLess(perf_counter() - started, 2.0, line)
