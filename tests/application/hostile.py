"""Transform expressions that must be refused at load: written by hand, and families made of a table each."""

from __future__ import annotations

import string

from mailbridge.application.items import ITEMS
from mailbridge.application.transform import DIRECTIVES

_HAND = r"""
<%%>
<% %>
<%
<%subject
<%subject%
<%subject>
<% <%subject%> %>
<%subject<%msg%>%>
<%|%>
<%||%>
<%subject|%>
<%|subject%>
<%subject||msg%>
<%subject| |msg%>
<%'a'|%>
<%subject msg%>
<%subject 'x'%>
<%'x' 'y'%>
<%'x'subject%>
<%subject+'x'%>
<%subject + msg%>
<%'a'+'b'%>
<%subject*1000000000%>
<%'a'*1000000000%>
<%10**10**10%>
<%1%>
<%-1%>
<%0x41%>
<%1e999%>
<%1_0%>
<%True%>
<%None%>
<%...%>
<%subject[0]%>
<%subject[::-1]%>
<%[subject]%>
<%[1]%>
<%[]%>
<%{}%>
<%{subject}%>
<%{'a':1}%>
<%(subject)%>
<%(subject,msg)%>
<%()%>
<%subject,msg%>
<%subject()%>
<%subject(msg)%>
<%'x'()%>
<%'x'.upper()%>
<%'x'.format(subject)%>
<%'{0.__class__}'.format(subject)%>
<%'%s' % subject%>
<%f'{subject}'%>
<%f"{__import__('os')}"%>
<%b'x'%>
<%r'x'%>
<%u'x'%>
<%rb'x'%>
<%'''x'''%>
<%\"\"\"x\"\"\"%>
<%'abc%>
<%"abc%>
<%'abc"%>
<%"abc'%>
<%'abc\'%>
<%'\%>
<%'a%>b%>
<%\n%>
<%\x41%>
<%subject\%>
<%'\x41'%>
<%'\u0041'%>
<%'\U00000041'%>
<%'\N{DIGIT ONE}'%>
<%'\101'%>
<%'\0'%>
<%'\a'%>
<%'\
'%>
<%'a
b'%>
<%not subject%>
<%subject or msg%>
<%a or b%>
<%subject and msg%>
<%subject if msg else app%>
<%subject == msg%>
<%subject != msg%>
<%subject < msg%>
<%subject > msg%>
<%subject is msg%>
<%subject in msg%>
<%subject = 'x'%>
<%subject := 'x'%>
<%(x := subject)%>
<%subject;msg%>
<%subject:msg%>
<%subject&msg%>
<%subject^msg%>
<%subject~msg%>
<%~subject%>
<%subject@msg%>
<%@subject%>
<%#subject%>
<%subject # comment%>
<%subject//msg%>
<%subject/msg%>
<%subject%msg%>
<%subject!r%>
<%subject?msg%>
<%subject->msg%>
<%$subject%>
<%`subject`%>
<%`id`%>
<%$(id)%>
<%=subject%>
<%!subject%>
<%*subject%>
<%**subject%>
<%lambda: subject%>
<%lambda x: x%>
<%(lambda: 1)()%>
<%[x for x in subject]%>
<%(x for x in subject)%>
<%{x for x in subject}%>
<%yield%>
<%yield subject%>
<%await subject%>
<%import os%>
<%from os import system%>
<%exec "import os"%>
<%print subject%>
<%del subject%>
<%pass%>
<%return subject%>
<%raise subject%>
<%assert subject%>
<%while True: pass%>
<%for x in subject: pass%>
<%def f(): pass%>
<%class X: pass%>
<%with subject: pass%>
<%global subject%>
<%try: pass%>
<%().__class__.__bases__[0].__subclasses__()%>
<%''.__class__.__mro__[1].__subclasses__()%>
<%[].__class__.__base__%>
<%__import__('os').system('id')%>
<%__import__("subprocess").check_output("id")%>
<%getattr(subject,'upper')()%>
<%getattr(__builtins__,'eval')('1')%>
<%__builtins__['eval']('1')%>
<%globals()['os']%>
<%open('/etc/passwd').read()%>
<%open('/etc/passwd')%>
<%eval('subject')%>
<%eval(subject)%>
<%eval(msg)%>
<%exec(msg)%>
<%compile(msg,'x','eval')%>
<%os.system('id')%>
<%os.environ%>
<%os%>
<%sys%>
<%sys.exit()%>
<%self%>
<%self.config%>
<%config.items()%>
<%request.application%>
<%cycler.__init__.__globals__%>
<%time%>
<%time.sleep(9)%>
<%time.sleep%>
<%time.time()%>
<%time.time%>
<%time.ctime()%>
<%time.tzset()%>
<%time.strftime%>
<%time.strftime()%>
<%time.strftime(%>
<%time.strftime)%>
<%time.strftime(subject)%>
<%time.strftime(msg)%>
<%time.strftime('%d'%>
<%time.strftime('%d')) %>
<%time.strftime('%d',)%>
<%time.strftime('%d',time.localtime)%>
<%time.strftime('%d',time.localtime(0))%>
<%time.strftime('%d',time.localtime(),1)%>
<%time.strftime('%d',time.gmtime(1e9))%>
<%time.strftime('%d',time.time())%>
<%time.strftime('%d',subject)%>
<%time.strftime('%d','x')%>
<%time.strftime('%d' time.gmtime())%>
<%time.strftime(('%d'))%>
<%time.strftime('%d'+'%m')%>
<%time.strftime('%d'|'%m')%>
<%time.strftime(format='%d')%>
<%time.strftime(*'%d')%>
<%time.strftime('%d').upper()%>
<%time.strftime('%d')[0]%>
<%time.strftime('%d')()%>
<%time.strftime('%d')'x'%>
<%time.strftime('%d')subject%>
<%time.strftime("%1000000d")%>
<%time.strftime('%1000000d')%>
<%time.strftime('%10d')%>
<%time.strftime('%-d')%>
<%time.strftime('%_d')%>
<%time.strftime('%^a')%>
<%time.strftime('%#c')%>
<%time.strftime('%0e')%>
<%time.strftime('%Ex')%>
<%time.strftime('%Od')%>
<%time.strftime('% d')%>
<%time.strftime('%')%>
<%time.strftime('%d%')%>
<%time.strftime('%%%')%>
<%time.strftime('%\n')%>
<%time.strftime('\x25d')%>
<%time.strftime("%d')%>
<%time.strftime.__globals__%>
<%time.strftime.__self__('%d')%>
<%time .strftime('%d')%>
<%time. strftime('%d')%>
<%Time.strftime('%d')%>
<%TIME.STRFTIME('%d')%>
<%time.Strftime('%d')%>
<%strftime('%d')%>
<%time.localtime()%>
<%time.gmtime()%>
<%time.localtime().tm_year%>
<%datetime.now()%>
<%datetime.datetime.now().strftime('%d')%>
<%SUBJECT%>
<%Subject%>
<%MSG%>
<%messagefromaddress%>
<%MessageFromAddress%>
<%message_from_address%>
<%messageToAddress%>
<%password%>
<%secret%>
<%number%>
<%subjects%>
<%subjec%>
<%subject.%>
<%.subject%>
<%subject..upper%>
<%_%>
<%__%>
<%__name__%>
<%__doc__%>
<%__file__%>
<%subject.__class__%>
<%msg.upper()%>
<%msg.encode%>
<%app.x%>
<%x.subject%>
<%subject.msg%>
fine <%subject%> and <%bad%>
<%subject%> <%
<%subject%><%%>
"""

_BUILTINS = (
    "abs", "all", "any", "bool", "breakpoint", "bytes", "callable", "chr", "delattr", "dict", "dir", "divmod",
    "enumerate", "exit", "filter", "float", "format", "frozenset", "hasattr", "hash", "help", "hex", "id", "input",
    "int", "isinstance", "iter", "len", "list", "locals", "map", "max", "memoryview", "min", "next", "object", "ord",
    "pow", "print", "quit", "range", "repr", "reversed", "round", "set", "setattr", "sorted", "str", "sum", "super",
    "tuple", "type", "vars", "zip",
)
_LOOKALIKES = (
    "<%ѕubject%>", "<%ｓubject%>", "<%sub\u200bject%>", "<%subject\u00a0%>", "<%\ufeffsubject%>", "<%\u2018x\u2019%>",
    "<%\u201cx\u201d%>", "<%subject\u2028%>", "<%subject\x00%>", "<%subject\x0b|msg%>", "<%subject\x0c%>",
    "<%subject\x1f%>", "<%\x7fsubject%>", "<%subject\u2223msg%>", "<%time\uff0estrftime('%d')%>",
    "<%time.strftime\uff08'%d')%>", "<%١%>", "<%𝓈ubject%>", "<%time.strftime('%\u0664')%>", "<%'\\\u0578'%>",
    "<%time.strftime('%\ud800')%>", "<%\ud800%>",
)


def expressions() -> list[str]:
    """All of them, each once."""
    lines = _HAND.strip("\n").replace("<%'\\\n'%>", "\0").replace("<%'a\nb'%>", "\1").split("\n")
    hand = [line.replace("\0", "<%'\\\n'%>").replace("\1", "<%'a\nb'%>") for line in lines]
    families = [
        *_LOOKALIKES,
        *(f"<%{name}(subject)%>" for name in _BUILTINS),
        *(f"<%{name}%>" for name in _BUILTINS if name not in ITEMS),
        *(f"<%{item}.upper()%>" for item in ITEMS),
        *(f"<%{item}[0]%>" for item in ITEMS),
        *(f"<%{item}+{item}%>" for item in ITEMS),
        *(f"<%{item.swapcase()}%>" for item in ITEMS),
        *(f"<%'{item}%>" for item in ITEMS),
        *(f"<%time.strftime('%{letter}')%>" for letter in string.printable[:94] if letter not in DIRECTIVES + "'\\"),
        *(f"<%'\\{letter}'%>" for letter in string.printable[:94] if letter not in "\\'\"nrt"),
        *(f"<%subject{sign}msg%>" for sign in "+-*/%&^=!?:;@#$~<>{}[]()\\.`"),
        *("<%" * depth + "subject" + "%>" * depth for depth in (2, 10, 1000)),
        *("<%" + "(" * depth + "subject" + ")" * depth + "%>" for depth in (1, 10, 3000)),
        "<%" + "subject|" * 1000 + "%>",
        "<%'" + "a" * 8000 + "%>",
        "x" * 8193,
    ]
    return list(dict.fromkeys([*hand, *families]))
