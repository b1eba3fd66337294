"""The lines of the control protocol, and what is not taken for one."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import (
    LONGEST_LINE,
    Answer,
    Kind,
    OperationError,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                    max_leaves=8)


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_round_trip(self) -> None:
        """A request arrives as it was sent, whatever characters it holds, in one line."""
        request = Request(7, "user add", {"name": "zo\u00eb", "password": "a\nb\u2028"})
        line = encode_request(request)
        self.assertNotIn(b"\n", line)
        self.assertEqual(request, decode_request(line))

    def test_arguments_may_be_left_out(self) -> None:
        """A command without arguments needs none, and no id."""
        self.assertEqual(Request(None, "status", {}), decode_request(b'{"command": "status"}'))

    def test_refused(self) -> None:
        """What is not strict JSON, or no request, is a usage error that does not repeat what was sent."""
        for line in (
            b"", b"{", b"[]", b"1", b'"x"', b"\xff", b'{"command": 1}', b'{"command": "x", "arguments": []}',
            b'{"id": 1}', b'{"id": 1.5, "command": "x"}', b'{"id": true, "command": "x"}',
            b'{"command": "x", "more": 1}',
            b'{"command": "secret", "command": "y"}', b'{"command": "secret", "arguments": {"a": NaN}}',
            b'{"command": "x", "arguments": {"a": -Infinity}}', b'{"command": "secret", "arguments": {"a": "\\ud800"}}',
            b'{"command": "x", "arguments": ' + b"[" * 100_000, b'{"id": ' + b"1" * 10_000 + b', "command": "x"}',
            b'{"command": "x", "arguments": {"a": {"b": 1, "b": 2}}}', b'"' + b"x" * LONGEST_LINE + b'"',
        ):
            error = self.assertRaises(OperationError, decode_request, line)
            self.assertEqual(Kind.USAGE, error.kind)
            self.assertNotIn("secret", str(error))

    def test_no_password_in_repr(self) -> None:
        """The repr of a request shows no arguments."""
        self.assertNotIn("hidden", repr(Request(1, "user add", {"password": "hidden"})))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
    def test_nothing_else_is_raised(self, line: bytes) -> None:
        """Any line is a request or a usage error."""
        try:
            self.assertIsInstance(decode_request(line).command, str)
        except OperationError as error:
            self.assertEqual(Kind.USAGE, error.kind)


class AnswerTests(SynchronousTestCase):
    """Answers."""

    def test_forms(self) -> None:
        """Success and failure look as the protocol says."""
        self.assertEqual({"id": 1, "ok": True, "result": {"a": []}}, json.loads(encode_answer(Answer(1, {"a": []}))))
        failure = Answer("x", error=OperationError(Kind.CONFLICT, "taken"))
        expected = {"id": "x", "ok": False, "error": "taken", "kind": "conflict"}
        self.assertEqual(expected, json.loads(encode_answer(failure)))

    def test_round_trip(self) -> None:
        """The caller gets the error with its kind."""
        error = decode_answer(encode_answer(Answer(2, error=OperationError(Kind.CONFLICT, "taken")))).error
        assert error is not None
        self.assertEqual((Kind.CONFLICT, "taken"), (error.kind, str(error)))

    def test_unknown_kind(self) -> None:
        """A kind that only a later version knows is a failure."""
        error = decode_answer(b'{"id": 1, "ok": false, "error": "x", "kind": "new"}').error
        assert error is not None
        self.assertEqual(Kind.FAILED, error.kind)
