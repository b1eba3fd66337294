"""Show that mail and USDS messages survive the way to the other form and back, and that broken JSON breaks nothing.

    python bench/usdsfuzz.py [--mails 10000] [--messages 10000] [--mutations 100000] [--seed 1]
    python bench/usdsfuzz.py --plant summary|base64|charset|all

Hypothesis makes the mails and messages (`usdsfuzz_mails.py` writes the mails, by means of its own). With `--plant` a
bug is put into the codec for the run of this program; it must be caught. Prints counts; exit 1 when something failed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import evolve
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from usdsfuzz_mails import LETTERS, Wanted, mails, one_line, titles

from mailbridge.message import charsets
from mailbridge.message.mime import parse
from mailbridge.message.text import attachments, body_html, body_text
from mailbridge.oce import calls, mail, strictjson, usds
from mailbridge.oce.mail import Arrival, load, sender_of, to_mail, to_usds
from mailbridge.oce.strictjson import BadJSON
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import SUMMARY, USDS, Adjunct, Dest, Object, Source, USDSError

TRIBES = Tribes("AAAA", {"friends": "BBBB"})
ARRIVAL = Arrival("harold@oce", "Sat, 21 Nov 2026 10:00:00 +0000")
HERE = Source("bonnie", "1", "SMTP:mailbridge", "hush")
KEY = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08"


# --- mail to USDS to mail ---------------------------------------------------------------------------------------------


def check_mail(wanted: Wanted) -> None:
    """The mail that comes out says what went in."""
    message = to_usds(load(wanted.octets), HERE, Dest(member="harold"), KEY, TRIBES)
    arrived = usds.read(strictjson.read(strictjson.write(usds.write(message))))
    assert arrived == message
    back = parse(to_mail(evolve(arrived, source=Source("bonnie")), ARRIVAL, TRIBES))
    assert back.value("Subject") == wanted.subject, (back.value("Subject"), wanted.subject)
    assert body_text(back).rstrip("\n") == wanted.text.rstrip("\n"), (body_text(back), wanted.text)
    assert (body_html(back) or "").rstrip("\n") == wanted.html.rstrip("\n"), (body_html(back), wanted.html)
    found = [(each.filename or "", each.octets()) for each in attachments(back)]
    assert found == wanted.attachments, (found, wanted.attachments)
    for name, value in wanted.fields.items():
        assert back.value(name) == value, (name, back.value(name), value)


# --- USDS to mail to USDS ---------------------------------------------------------------------------------------------

_word = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
_extra = st.dictionaries(st.sampled_from(("Priority", "Links", "Cipher")), st.none() | st.integers(-9, 9) | one_line,
                         max_size=2)
_data = st.binary(max_size=300) | st.binary(max_size=3).map(lambda octets: octets * 2000)
_objects = st.builds(
    Object, st.sampled_from(("image/png", "application/pdf", "text/plain; charset=utf-8", "text/html", "a/b", "png")),
    _data, titles, st.just("") | one_line, _extra)
_letters = st.text(st.characters(exclude_categories=("Cs",),
                                 exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\xad\xa0"), max_size=300)
_detail = (_letters | st.sampled_from(("x" * 2000, "\u2603 " * 200_000, "a\n" * 300, "From x\n.\n..\n"))).filter(
    lambda text: not text or text.strip())
messages = st.builds(
    USDS, st.just("qMsg"), st.builds(Source, _word, _word, _word, st.just(""), st.sampled_from(("", "BBBB", "CC")),
                                     _extra),
    st.builds(Dest, st.sampled_from(("", "AAAA", "AAAA,BBBB")), _word, _word, _word, _extra),
    st.text(LETTERS, max_size=SUMMARY).map(lambda text: " ".join(text.split())).filter(lambda text: "=?" not in text),
    _detail.map(lambda text: mail.cut(text, usds.DETAIL)), st.lists(_objects, max_size=4).map(tuple),
    st.none() | st.builds(Adjunct, _letters, st.just("x/y"), one_line, _extra), st.just(KEY), st.just("2"), _extra)


def older(values: dict[str, Any]) -> dict[str, Any]:
    """The same message as the older pages of the wiki spell it."""
    values = dict(values)
    values["Func"] = values.pop("msgType")
    values["Private"] = int(values.pop("Visibility"))
    dest = values["Dest"] = dict(values["Dest"])
    if "OCE" in dest:
        dest["Key"] = dest.pop("OCE")
    if "Detail" in values:
        values["Detail "] = values.pop("Detail")
    return values


def check_message(message: USDS) -> None:
    """Through JSON it is the same, in either spelling; through a mail its cargo is."""
    values = usds.write(message)
    assert usds.read(strictjson.read(strictjson.write(values))) == message
    assert usds.read(strictjson.read(strictjson.write(older(values)))) == message
    back = to_usds(load(to_mail(message, ARRIVAL, TRIBES)), HERE, Dest(member="x"), KEY, TRIBES)
    assert back.summary == message.summary, (back.summary, message.summary)
    assert back.detail.rstrip("\n") == message.detail.rstrip("\n"), (back.detail[:80], message.detail[:80])
    found = [(each.octets, each.title) for each in back.objects if each.detail != mail.WHOLE_BODY]
    wanted = [(each.octets, each.title or f"attachment-{number}") for number, each in enumerate(message.objects, 1)]
    if message.adjunct is not None and message.adjunct.data:
        wanted.append((message.adjunct.data.encode(), "adjunct.txt"))
    assert [octets for octets, _ in found] == [octets for octets, _ in wanted], (found, wanted)
    for (_, title), (_, name) in zip(found, wanted, strict=True):
        assert title == name or (name.startswith("attachment-") and title.startswith(name)), (title, name)


# --- mutated JSON -----------------------------------------------------------------------------------------------------

_TOKENS = (b"null", b"true", b"[]", b"{}", b'""', b"-1", b"1e999", b"NaN", b"\\ud800", b"\xff", b"[" * 40,
           b"{\"a\":" * 40, b"9" * 50, b'"\\u0000"', b",", b":", b'"', b"\\", b"\xc3\xa9",
           b'"=?utf-8?q?=0ABcc:_x?="', b"\\r\\nBcc: x@y")
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 10**15, 1.5, "", "x" * 200, [], {}, [[]], {"Data": "x"}, "\r\nBcc: a@b",
                            "png", ["a"], "=?utf-8?b?Cg==?=", "\x00", "\u2028", "a@b@c", "@", "<>", '"', "harold@oce")


def examples() -> list[Any]:
    """Texts to begin with: those of the reference, and answers that carry them."""
    headers = {"Message-ID": "<a1@example.org>", "Date": "Sat, 21 Nov 2026 10:00:00 +0000", "To": "harold@oce, a <b@c>",
               "From": "Bonnie <bonnie@oce>", "Subject": "x" * 170, "References": "<a@b> <c@d>"}
    call = {"Func": "osaAppPullMsg", "Max": 50}
    picture = {"Type": "image/png", "Encoding": "base64", "Title": "sunday.png", "Data": "iVBORw0KGgo=",
               "ContentId": "a@b"}
    message = {"msgType": "qMsg", "Visibility": "2", "MsgKey": KEY, "Source": {"Member": "bonnie", "OCE": "BBBB"},
               "Dest": {"Member": "harold"}, "Summary": "x" * 164, "Detail": "Hello\n", "Object": [picture],
               "Adjunct": {"Type": "mail/rfc5322-headers", "Data": strictjson.write(headers).decode()}}
    old = {"Func": "qMsg", "Source": {"Key": "41B1", "Coterie": "1", "Member": "someone@example.org"},
           "Dest": {"Member": 1, "Coterie": 1, "Key": "4124"}, "Detail": "text", "Adjunct": "free",
           "Object": [{"Type": "png", "Data": "iVBORw0KGgo="}]}
    asked = {"msgType": "oceOp", "Source": {"Member": "harold", "AppKey": "41T3"},
             "Adjunct": {"Type": "oce/func", "Desc": "call", "Data": strictjson.write(call).decode()}}
    return [message, old, asked, {"RespCount": 1, "MsgNum": 7, "MsgId": "REQPROC", "Mesg": [message, old]},
            {"respCount": "1", "MsgNum": "-3", "MsgId": "INVMBR", "Mesg": "no"}]


def replaced(chance: random.Random, value: Any) -> Any:
    """The value with something else somewhere in it."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
        return chance.choice(_VALUES)
    if isinstance(value, dict):
        name = chance.choice(list(value))
        return {**value, name if chance.random() < 0.9 else name + " ": replaced(chance, value[name])}
    at = chance.randrange(len(value))
    return [*value[:at], replaced(chance, value[at]), *value[at + 1:]]


def mutated(chance: random.Random, value: Any) -> bytes:
    """A text that may be broken: other values, other octets, or both."""
    for _ in range(chance.randrange(3)):
        value = replaced(chance, value)
    octets = bytearray(strictjson.write(value))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(4):
            case 0:
                octets[at:at + chance.randrange(1, 9)] = b""
            case 1:
                octets[at:at] = chance.choice(_TOKENS)
            case 2:
                octets[at:at + 1] = bytes([chance.randrange(256)])
            case _:
                octets[at:at] = octets[max(0, at - chance.randrange(1, 60)):at]
    return bytes(octets)


def take(octets: bytes) -> str:
    """What becomes of a text: the name of a typed error, or what it is. Raises what must not be raised."""
    try:
        value = strictjson.read(octets)
    except BadJSON:
        return "bad JSON"
    found = []
    for name, reading in (("answer", calls.read_answer), ("message", usds.read)):
        try:
            found.append((name, reading(value)))
        except USDSError:
            continue
    if not found:
        return "no USDS"
    for name, each in found:
        if name == "answer":
            try:
                values = calls.items(each)
            except USDSError:
                values = []
            for inner in values:
                take(strictjson.write(inner))
            continue
        sender_of(each, TRIBES)
        octets = to_mail(each, ARRIVAL, TRIBES)
        head = octets.partition(b"\r\n\r\n")[0]
        assert b"\r\nBcc" not in head and b"\n" not in head.replace(b"\r\n", b""), head
        load(octets)
        try:
            calls.read_call(each)
        except USDSError:
            continue
    return found[0][0]


# --- planted bugs -----------------------------------------------------------------------------------------------------


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The codec with a bug: long subjects lose their end, base64 of another alphabet, one charset for another."""
    kept = mail.load, usds.b64encode, dict(charsets._KNOWN)
    try:
        if bug == "summary":
            globals()["load"] = lambda octets: evolve(kept[0](octets), subject=None)
        elif bug == "base64":
            usds.b64encode = urlsafe_b64encode  # type: ignore[assignment]
        elif bug == "charset":
            charsets._KNOWN["koi8r"] = "cp1251"
        yield
    finally:
        globals()["load"] = kept[0]
        usds.b64encode = kept[1]
        charsets._KNOWN.clear()
        charsets._KNOWN.update(kept[2])


# --- the program ------------------------------------------------------------------------------------------------------


def run(name: str, strategy: Any, check: Callable[[Any], None], count: int, number: int, quiet: bool = False) -> bool:
    """Check that many; whether all went well."""
    done = Counter[str]()

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=(Phase.generate,) if quiet else (Phase.generate, Phase.shrink))
    @given(strategy)
    def checked(value: Any) -> None:
        done["run"] += 1
        check(value)

    start = time.perf_counter()
    try:
        checked()
    except Exception as error:
        print(f"{name}: FAILED after {done['run']}: {type(error).__name__}: {str(error)[:120 if quiet else 2000]}")
        return False
    print(f"{name}: {done['run']} went there and back in {time.perf_counter() - start:.0f} s")
    return True


def mutate(count: int, number: int) -> bool:
    """Read that many mutated texts; whether all went well."""
    chance = random.Random(number)
    texts, found = examples(), Counter[str]()
    longest, start = 0.0, time.perf_counter()
    for _ in range(count):
        octets = mutated(chance, chance.choice(texts))
        began = time.perf_counter()
        try:
            found[take(octets)] += 1
        except Exception as error:
            found["FAILED"] += 1
            if found["FAILED"] <= 5:
                print(f"mutated JSON: {type(error).__name__}: {str(error)[:200]}: {octets!r}")
        longest = max(longest, time.perf_counter() - began)
    said = ", ".join(f"{number} {what}" for what, number in sorted(found.items()))
    seconds = time.perf_counter() - start
    print(f"mutated JSON: {count} texts in {seconds:.0f} s, at most {longest * 1000:.1f} ms for one: {said}")
    return not found["FAILED"] and found["message"] > 0 and found["answer"] > 0


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=("summary", "base64", "charset", "all"))
    asked = parser.parse_args()
    if asked.plant:
        missed = 0
        for bug in ("summary", "base64", "charset") if asked.plant == "all" else (asked.plant,):
            with planted(bug):
                well = run("mails", mails, check_mail, asked.mails, asked.seed, True) and run(
                    "messages", messages, check_message, asked.messages, asked.seed, True)
            print(f"planted bug {bug}: {'NOT CAUGHT' if well else 'caught'}")
            missed += well
        return 1 if missed else 0
    results = [run("mails", mails, check_mail, asked.mails, asked.seed),
               run("USDS messages", messages, check_message, asked.messages, asked.seed),
               mutate(asked.mutations, asked.seed)]
    print("all went well" if all(results) else "SOMETHING FAILED")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
